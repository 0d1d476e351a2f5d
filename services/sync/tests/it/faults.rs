//! What a stream does not understand stops it, in words, and loses nothing.

use crate::world::{World, bucket, quick, until};
use banyan_core::OwnerEpoch;
use banyan_core::row::FenceOwner;
use banyan_sync::Config;

async fn fault(world: &World, words: &str) -> String {
    let told = std::sync::Mutex::new(String::new());
    until(&format!("the fault says `{words}`"), async || {
        let faults = world.status().await.faults.join("\n");
        *told.lock().unwrap() = faults.clone();
        faults.contains(words)
    })
    .await;
    told.into_inner().unwrap()
}

#[tokio::test]
async fn a_truncate_stops_the_stream_until_a_person_has_dealt_with_it() {
    let Some(mut world) = World::start().await else { return };
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'gone')").await;
    world.sql("TRUNCATE TABLE sessions").await;
    world.carried().await;
    world.sql("TRUNCATE TABLE notifications").await;
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'behind it')").await;
    let told = fault(&world, "rows of `notifications` went without row events").await;
    assert_eq!(world.peer.rows("notifications")[&1]["title"], "gone", "nothing behind it was applied");
    let place = told.split("add \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    world.stop_sync().await;
    world.start_sync(Config { acknowledged: vec![place], ..quick() }).await;
    world.carried().await;
    assert_eq!(world.peer.rows("notifications")[&1]["title"], "behind it");
    world.stop().await;
}

#[tokio::test]
async fn a_change_of_columns_pauses_and_one_that_does_not_matter_passes() {
    let Some(mut world) = World::start().await else { return };
    world.sql("ALTER TABLE notifications ADD KEY (priority)").await;
    world.sql("ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0 AFTER id").await;
    world.sql("INSERT INTO users (name, email) VALUES ('Ann', 'ann@x')").await;
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'old shape')").await;
    world.carried().await;
    assert_eq!(world.peer.rows("users")[&1]["name"], "Ann", "a captured column has moved");
    world.sql("ALTER TABLE notifications ADD COLUMN icon varchar(20) NULL").await;
    world.sql("INSERT INTO notifications (user_id, title, icon) VALUES (1, 'new shape', 'bell')").await;
    let told = fault(&world, "table `notifications` has other columns").await;
    assert!(told.contains("restart sync once the service knows them"), "{told}");
    assert_eq!(world.peer.rows("notifications").len(), 1);
    world.stop_sync().await;
    world.start_sync(quick()).await;
    world.carried().await;
    assert_eq!(world.peer.rows("notifications")[&2]["icon"], "bell");
    world.stop().await;
}

#[tokio::test]
async fn a_write_that_was_logged_as_a_statement_stops_the_stream() {
    let Some(world) = World::start().await else { return };
    world.sql("SET STATEMENT binlog_format = 'STATEMENT' FOR INSERT INTO sessions VALUES ('a', '')").await;
    world.carried().await;
    world
        .sql(
            "SET STATEMENT binlog_format = 'STATEMENT' FOR INSERT INTO users (name, email) VALUES ('a', 'b')",
        )
        .await;
    fault(&world, "set binlog_format=ROW everywhere").await;
    world.stop().await;
}

#[tokio::test]
async fn savepoints_and_rolled_back_writes_do_not_reach_the_service() {
    use mysql_async::prelude::Queryable as _;
    let Some(world) = World::start().await else { return };
    let mut monolith = world.connect().await;
    for sql in [
        "CREATE TABLE log (t text) ENGINE=MyISAM",
        "START TRANSACTION",
        "INSERT INTO notifications (user_id, title) VALUES (1, 'kept')",
        "SAVEPOINT trans2",
        "INSERT INTO notifications (user_id, title) VALUES (1, 'undone')",
        "INSERT INTO log VALUES ('not undone: the binlog must hold the savepoint')",
        "ROLLBACK TO trans2",
        "INSERT INTO notifications (user_id, title) VALUES (1, 'kept too')",
        "COMMIT",
        "START TRANSACTION",
        "INSERT INTO notifications (user_id, title) VALUES (1, 'undone')",
        "INSERT INTO log VALUES ('not undone either')",
        "ROLLBACK",
    ] {
        monolith.query_drop(sql).await.unwrap();
    }
    world.carried().await;
    let titles: Vec<String> =
        world.peer.rows("notifications").values().map(|r| r["title"].as_str().unwrap().into()).collect();
    assert_eq!(titles, ["kept", "kept too"]);
    world.stop().await;
}

#[tokio::test]
async fn a_purged_binlog_is_named_exactly() {
    let Some(mut world) = World::start_alone().await else { return };
    world.stop_sync().await;
    let old = world.peer.memory().position.clone().unwrap();
    world.sql("FLUSH BINARY LOGS").await;
    world.sql("FLUSH BINARY LOGS").await;
    let newest: Vec<mysql_async::Row> = world.rows("SHOW MASTER STATUS").await;
    let newest: String = newest[0].get(0).unwrap();
    until("the file is purged", async || {
        world.sql(&format!("PURGE BINARY LOGS TO '{newest}'")).await;
        world.rows::<mysql_async::Row>("SHOW BINARY LOGS").await.len() == 1
    })
    .await;
    world.start_sync(quick()).await;
    let told = fault(&world, "the copy must be made anew").await;
    assert!(told.contains(&format!("needs the binlog from {}:{}", old.file, old.offset)), "{told}");
    assert!(told.contains(&newest), "{told}");
    world.stop().await;
}

#[tokio::test]
async fn a_service_without_a_position_is_refused_while_the_fence_gives_it_buckets() {
    let Some(mut world) = World::start().await else { return };
    assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
    world.stop_sync().await;
    world.peer.memory().position = None;
    world.peer.memory().fences.clear();
    world.start_sync(quick()).await;
    fault(&world, "it lost its database").await;
    assert_eq!(world.peer.memory().position, None);
    let monolith = FenceOwner::Monolith;
    assert!(world.fence(bucket(1), monolith, 8).await);
    until("the stream begins", async || world.peer.memory().position.is_some()).await;
    let told = world.peer.memory().fences.clone();
    assert_eq!(told, [(monolith, OwnerEpoch(1), 4095), (monolith, OwnerEpoch(8), 1)], "the fence as it is");
    world.stop().await;
}

#[tokio::test]
async fn the_stream_follows_the_binlog_across_files_and_restarts_of_the_server() {
    let Some(world) = World::start_alone().await else { return };
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'a')").await;
    world.sql("FLUSH BINARY LOGS").await;
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'b')").await;
    world.carried().await;
    world.server.with(|mariadb| mariadb.kill());
    world.server.with(|mariadb| mariadb.restart()).unwrap();
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'c')").await;
    world.carried().await;
    assert_eq!(world.peer.rows("notifications").len(), 3);
    world.until_copied().await;
    world.stop().await;
}
