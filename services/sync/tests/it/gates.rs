//! Taking gates without standing in a queue, and losing them.

use crate::world::{CAPABILITY, World, bucket};
use banyan_core::protocol::monolith::{GatesRelease, GatesTake, GatesTaken};
use banyan_core::row::FenceOwner;
use banyan_core::{BucketSet, Turn};
use banyan_runtime::client::CallError;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

async fn take(world: &World, attempt: u64, buckets: BucketSet) -> Result<GatesTaken, CallError> {
    let turn = Turn { term: 1, attempt, step: 1 };
    let command = GatesTake { capability: CAPABILITY.into(), turn, buckets, patience_ms: 40 };
    world.sync.post("/v1/gates/take", &command).await
}

async fn release(world: &World, attempt: u64, kill_connection_id: Option<u64>) {
    let command = GatesRelease { capability: CAPABILITY.into(), attempt, kill_connection_id };
    let () = world.sync.post("/v1/gates/release", &command).await.unwrap();
}

async fn writer(world: &World, user: u64) -> Conn {
    let mut writer = world.connect().await;
    writer.query_drop("START TRANSACTION").await.unwrap();
    let insert = format!("INSERT INTO notifications (user_id, title) VALUES ({user}, 'open')");
    writer.query_drop(insert).await.unwrap();
    writer
}

#[tokio::test]
async fn buckets_of_open_writers_are_left_out_and_the_writers_named() {
    let Some(world) = World::start().await else { return };
    let mut open = writer(&world, 1).await;
    let taken = take(&world, 7, BucketSet::all()).await.unwrap();
    assert_eq!(taken.taken, BucketSet::all().difference(&bucket(1)));
    let holder = taken.holders.iter().find(|h| h.connection_id == u64::from(open.id())).unwrap();
    assert_eq!((holder.user.as_str(), &holder.statement), ("root", &None));
    assert_eq!(taken.xa_prepared, 0);
    // The writer goes on in its bucket; one of a taken bucket waits until the gates are released.
    open.query_drop("UPDATE notifications SET is_read = 1 WHERE user_id = 1").await.unwrap();
    let waits = world.try_sql("SET STATEMENT innodb_lock_wait_timeout = 1 FOR INSERT INTO notifications (user_id, title) VALUES (2, 'late')");
    let error = waits.await.unwrap_err().to_string();
    assert!(error.contains("1205"), "{error}");
    open.query_drop("COMMIT").await.unwrap();
    release(&world, 7, None).await;
    world.sql("INSERT INTO notifications (user_id, title) VALUES (2, 'now')").await;
    let all = take(&world, 8, BucketSet::all()).await.unwrap();
    assert_eq!((all.taken, all.holders), (BucketSet::all(), vec![]));
    world.stop().await;
}

#[tokio::test]
async fn a_waiting_writer_obeys_the_fence_that_was_set_meanwhile() {
    let Some(world) = World::start().await else { return };
    take(&world, 7, bucket(1)).await.unwrap();
    let insert = "INSERT INTO notification_activity (user_id, action, created_at) VALUES (1, 'cron', NOW())";
    let cron = async { world.refused(insert).await };
    let handover = async {
        let waiting = "SELECT COUNT(*) FROM information_schema.processlist
            WHERE info LIKE 'INSERT INTO notification_activity%' AND time_ms > 50 AND db = DATABASE()";
        crate::world::until("the cron job waits", async || world.number(waiting).await > 0).await;
        assert!(
            world.fence(bucket(1), FenceOwner::Moving, 7).await,
            "the fence is not locked by who waits at the gate"
        );
        assert!(world.fence(bucket(1), FenceOwner::Service, 7).await);
        release(&world, 7, None).await;
    };
    assert_eq!(tokio::join!(cron, handover).0, "45B01");
    world.stop().await;
}

#[tokio::test]
async fn a_later_turn_takes_over_and_an_earlier_one_is_refused() {
    let Some(world) = World::start().await else { return };
    let first = take(&world, 7, bucket(1)).await.unwrap();
    let second = take(&world, 8, bucket(2)).await.unwrap();
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'free')").await;
    assert!(take(&world, 7, bucket(1)).await.unwrap_err().is_refused("stale_turn"));
    // The release of an attempt that holds nothing touches no other, not even by a connection id.
    release(&world, 7, Some(second.connection_id)).await;
    let held = "SELECT bucket FROM banyan_gate WHERE bucket = CRC32('2') & 4095 FOR UPDATE NOWAIT";
    assert!(world.try_sql(held).await.is_err());
    release(&world, 8, Some(first.connection_id)).await;
    world.sql(held).await;
    world.stop().await;
}

#[tokio::test]
async fn a_predecessors_connection_is_killed_and_nobody_elses() {
    let Some(mut world) = World::start().await else { return };
    let lost = take(&world, 7, bucket(1)).await.unwrap();
    // A successor knows only what is journalled.
    let holder = world.sync.clone();
    let other = World::connect(&world).await;
    let config = crate::world::quick();
    world.start_sync(config).await;
    release(&world, 7, Some(u64::from(other.id()))).await;
    release(&world, 7, Some(999_999_999)).await;
    let alive = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}", other.id());
    assert_eq!(world.number(&alive).await, 1, "a number that belongs to somebody else is left alone");
    release(&world, 7, Some(lost.connection_id)).await;
    let gone =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {}", lost.connection_id);
    crate::world::until("the connection ends", async || world.number(&gone).await == 0).await;
    world.sql("INSERT INTO notifications (user_id, title) VALUES (1, 'free')").await;
    // The fence of the attempt can still be set; its gates must be taken anew.
    assert!(world.fence(bucket(1), FenceOwner::Moving, 7).await);
    let again = Turn { term: 2, attempt: 7, step: 1 };
    let command =
        GatesTake { capability: CAPABILITY.into(), turn: again, buckets: bucket(1), patience_ms: 0 };
    let retaken: GatesTaken = holder.post("/v1/gates/take", &command).await.unwrap();
    assert_ne!(retaken.connection_id, lost.connection_id);
    world.stop().await;
}

#[tokio::test]
async fn a_prepared_xa_transaction_is_counted() {
    let Some(world) = World::start_alone().await else { return };
    let mut xa = world.connect().await;
    for sql in ["XA START 'x'", "INSERT INTO sessions VALUES ('s', '')", "XA END 'x'", "XA PREPARE 'x'"] {
        xa.query_drop(sql).await.unwrap();
    }
    assert_eq!(take(&world, 7, bucket(1)).await.unwrap().xa_prepared, 1);
    assert_eq!(world.status().await.xa_prepared, 1);
    xa.query_drop("XA ROLLBACK 'x'").await.unwrap();
    world.carried().await;
    assert_eq!(world.status().await.faults, Vec::<String>::new());
    world.stop().await;
}
