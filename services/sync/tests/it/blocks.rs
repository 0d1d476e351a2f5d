//! Blocks of ids never meet the ids that the monolith gives out.

use crate::world::{CAPABILITY, World, quick, until};
use banyan_core::protocol::monolith::{BlockRequest, IdBlock};
use banyan_core::row::Change;
use banyan_runtime::client::CallError;
use banyan_sync::Config;
use mysql_async::prelude::Queryable as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

async fn block(world: &World, table: &str, size: u64) -> Result<IdBlock, CallError> {
    let request = BlockRequest { capability: CAPABILITY.into(), table: table.into(), size };
    world.sync.post("/v1/blocks", &request).await
}

#[tokio::test]
async fn concurrent_inserts_never_land_in_a_block() {
    let Some(world) = World::start().await else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..4_u64 {
        let (mut connection, stop) = (world.connect().await, Arc::clone(&stop));
        writers.push(async move {
            let mut written = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                // Some in a transaction that stays open for a while, some of several rows.
                connection.query_drop("START TRANSACTION").await.unwrap();
                let rows = if writer == 0 { 40 } else { 1 };
                let values = vec![format!("({writer}, 'n')"); rows].join(",");
                for _ in 0..2 {
                    connection
                        .query_drop(format!("INSERT INTO notifications (user_id, title) VALUES {values}"))
                        .await
                        .unwrap();
                    written += rows as u64;
                }
                connection.query_drop("COMMIT").await.unwrap();
            }
            written
        });
    }
    let leaser = async {
        let mut blocks = Vec::new();
        for size in [1, 10, 500, 1000, 1, 2000, 300, 50] {
            blocks.push(block(&world, "notifications", size).await.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        blocks
    };
    let (blocks, written) = tokio::join!(leaser, futures(writers));
    for (place, block) in blocks.iter().enumerate() {
        let inside =
            format!("SELECT COUNT(*) FROM notifications WHERE id BETWEEN {} AND {}", block.first, block.last);
        assert_eq!(world.number(&inside).await, 0, "{block:?}");
        assert!(blocks[..place].iter().all(|b| b.last < block.first || block.last < b.first), "{blocks:?}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM notifications").await, written, "no insert was refused");
    // Not even later, and not by force.
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'next')").await;
    let newest = world.number("SELECT MAX(id) FROM notifications").await;
    assert!(blocks.iter().all(|b| newest > b.last));
    for id in [blocks[2].first, blocks[2].last] {
        let forced = format!("INSERT INTO notifications (id, user_id, title) VALUES ({id}, 1, 'forced')");
        assert_eq!(world.refused(&forced).await, "45B03");
    }
    let below = format!(
        "INSERT INTO notifications (id, user_id, title) VALUES ({}, 1, 'below')",
        blocks[2].first - 1
    );
    world.sql(&below).await;
    world.stop().await;
}

async fn futures(writers: Vec<impl Future<Output = u64>>) -> u64 {
    let mut all: Vec<_> = writers.into_iter().map(Box::pin).collect();
    let mut sum = 0;
    std::future::poll_fn(|cx| {
        all.retain_mut(|writer| match writer.as_mut().poll(cx) {
            std::task::Poll::Ready(written) => {
                sum += written;
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(sum) } else { std::task::Poll::Pending }
    })
    .await
}

#[tokio::test]
async fn a_long_transaction_that_inserted_does_not_hold_a_block_up() {
    let Some(world) = World::start().await else { return };
    block(&world, "notification_activity", 10).await.unwrap();
    let mut open = world.connect().await;
    open.query_drop("START TRANSACTION").await.unwrap();
    open.query_drop("INSERT INTO notification_activity (user_id, action, created_at) VALUES (1, 'a', NOW())")
        .await
        .unwrap();
    for _ in 0..3 {
        block(&world, "notification_activity", 100).await.unwrap();
    }
    open.query_drop("COMMIT").await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_monolith_that_has_outrun_the_post_makes_a_block_wait_and_fail_in_words() {
    let Some(mut world) = World::build().await else { return };
    world.start_sync(Config { block_distance: 100, block_wait_ms_max: 1000, ..quick() }).await;
    world.install().await;
    let many = vec!["(1, 'a', NOW())"; 500].join(",");
    let insert = format!("INSERT INTO notification_activity (user_id, action, created_at) VALUES {many}");
    world.sql(&insert).await;
    let mut open = world.connect().await;
    open.query_drop("START TRANSACTION").await.unwrap();
    open.query_drop(&insert).await.unwrap();
    let late = block(&world, "notification_activity", 10).await.unwrap_err();
    assert!(late.is_refused("no_block") && late.to_string().contains("open transactions"), "{late}");
    open.query_drop("COMMIT").await.unwrap();
    until("a block can be had", async || block(&world, "notification_activity", 10).await.is_ok()).await;
    world.stop().await;
}

#[tokio::test]
async fn making_a_block_leaves_no_trace_at_the_service_and_in_the_reverse_position() {
    let Some(world) = World::start().await else { return };
    let before = world.peer.memory().changes.len();
    let first = block(&world, "notifications", 100).await.unwrap();
    let second = block(&world, "notifications", 100).await.unwrap();
    assert!(first.last < second.first);
    world.carried().await;
    let changes = world.peer.memory().changes[before..].to_vec();
    assert!(changes.iter().all(|c| matches!(c, Change::Fence(_))), "{changes:?}");
    let position = "SELECT COALESCE(MAX(position), 0) FROM banyan_tag WHERE capability = 'notifications'";
    assert_eq!(world.number(position).await, 0);
    for (table, size, code) in [("users", 10, "no_blocks"), ("notifications", 0, "malformed_request")] {
        assert!(block(&world, table, size).await.unwrap_err().is_refused(code));
    }
    world.stop().await;
}
