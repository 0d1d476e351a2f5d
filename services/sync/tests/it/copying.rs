//! The copy ends with what the monolith holds, while it is being written to.

use crate::world::{World, quick, until};
use banyan_core::protocol::monolith::VerifyReport;
use banyan_core::row::Change;
use banyan_sync::Config;
use mysql_async::prelude::Queryable as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Small chunks, so that there are many bounds.
fn small() -> Config {
    Config { chunk_rows: 50, chunk_pause_ms: 1, ..quick() }
}

async fn seed(world: &World, rows: u64) {
    world.sql(&format!("INSERT INTO notifications (user_id, title) SELECT 1 + seq % 97, CONCAT('n', seq) FROM seq_1_to_{rows}")).await;
    world
        .sql(&format!(
            "INSERT INTO users (name, email) SELECT 'u', CONCAT('u', seq) FROM seq_1_to_{}",
            rows / 10
        ))
        .await;
}

async fn verified(world: &World) -> VerifyReport {
    world.sync.post("/v1/verify", &world.of()).await.unwrap()
}

#[tokio::test]
async fn a_copy_under_concurrent_writes_equals_its_source() {
    let Some(mut world) = World::build().await else { return };
    seed(&world, 3000).await;
    world.start_sync(small()).await;
    let copied = AtomicBool::new(false);
    let mut monolith = world.connect().await;
    let writer = async {
        let mut n = 0_u64;
        while !copied.load(Ordering::Relaxed) {
            n += 1;
            // Just before the copy's front, where a chunk may be read at this moment.
            let front = world.peer.memory().copied.get("notifications").and_then(|p| p.through).unwrap_or(0);
            let id = n * 7919 % 3200;
            for sql in [
                format!("UPDATE notifications SET title = 'changed {n}', is_read = 1 WHERE id = {id}"),
                format!("DELETE FROM notifications WHERE id = {}", n * 104_729 % 3000),
                format!("INSERT INTO notifications (user_id, title) VALUES ({n}, 'new')"),
                format!("UPDATE notifications SET id = id + 100000 WHERE id = {}", n * 31 % 3000),
                format!("UPDATE notifications SET body = 'b{n}' WHERE id > {front} AND id <= {front} + 110"),
                format!("DELETE FROM notifications WHERE id = {front} + 60 + {n} % 50"),
                format!("UPDATE users SET name = 'changed {n}' WHERE id = {}", n % 300),
            ] {
                monolith.query_drop(sql).await.unwrap();
            }
        }
        n
    };
    let copy = async {
        until("everything is copied", async || world.status().await.copied).await;
        copied.store(true, Ordering::Relaxed);
    };
    let (rounds, ()) = tokio::join!(writer, copy);
    assert!(rounds > 10 && world.peer.memory().chunks > 60, "{rounds} rounds");
    let report = verified(&world).await;
    assert_eq!((report.mismatches, report.samples), (0, vec![]));
    assert_eq!(
        report.rows_compared,
        world.number("SELECT (SELECT COUNT(*) FROM notifications) + (SELECT COUNT(*) FROM users)").await
    );
    let status = world.status().await;
    assert_eq!(status.copy_rows, status.copy_rows_estimated);
    world.stop().await;
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_after_lost_answers_and_restarts() {
    let Some(mut world) = World::build().await else { return };
    seed(&world, 2000).await;
    world.start_sync(small()).await;
    until("some chunks are copied", async || world.peer.memory().chunks > 5).await;
    world.peer.memory().lose_answers = 3;
    until("answers were lost", async || world.peer.memory().lose_answers == 0).await;
    until("more chunks are copied", async || world.peer.memory().chunks > 20).await;
    world.stop_sync().await;
    let chunks = world.peer.memory().chunks;
    world.sql("UPDATE notifications SET title = 'meanwhile' WHERE id < 100").await;
    world.start_sync(small()).await;
    world.until_copied_without_fence().await;
    let report = verified(&world).await;
    assert_eq!((report.mismatches, report.rows_compared), (0, 2200));
    assert!(world.peer.memory().chunks - chunks < 40, "it did not begin again");
    world.stop().await;
}

#[tokio::test]
async fn only_the_declared_columns_of_a_reference_table_travel() {
    let Some(world) = World::start().await else { return };
    world.sql("INSERT INTO users (name, email, password) VALUES ('Ann', 'ann@x', 'secret')").await;
    world.carried().await;
    let before = world.peer.memory().changes.len();
    world.sql("UPDATE users SET password = 'other'").await;
    world.sql("UPDATE users SET name = 'Anne'").await;
    world.carried().await;
    let changes = world.peer.memory().changes[before..].to_vec();
    assert_eq!(world.peer.rows("users")[&1].keys().collect::<Vec<_>>(), ["email", "id", "name"]);
    assert!(matches!(&changes[..], [Change::Update { .. }]), "a change of what is left out is none");
    world.stop().await;
}
