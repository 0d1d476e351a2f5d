//! Marks in both directions resolve when the other side has committed, at once.

use crate::world::{CAPABILITY, World, bucket};
use banyan_core::OwnerEpoch;
use banyan_core::protocol::monolith::{Direction, MarkReached, MarkWait};
use banyan_core::row::FenceOwner;

async fn wait(world: &World, direction: Direction, epoch: u64, wait_ms: u64) -> bool {
    ask(world, direction, epoch, wait_ms).await.reached
}

async fn ask(world: &World, direction: Direction, epoch: u64, wait_ms: u64) -> MarkReached {
    let (owner_epoch, buckets) = (OwnerEpoch(epoch), bucket(1).union(&bucket(2)));
    let wait = MarkWait { capability: CAPABILITY.into(), direction, owner_epoch, buckets, wait_ms };
    world.sync.post("/v1/marks/wait", &wait).await.unwrap()
}

#[tokio::test]
async fn a_dead_letter_before_a_forward_mark_keeps_it_back() {
    let Some(world) = World::start().await else { return };
    world.peer.memory().dead_letters = bucket(2).union(&bucket(3));
    assert!(world.fence(bucket(1), FenceOwner::Moving, 7).await);
    let held = ask(&world, Direction::Forward, 7, 9000).await;
    assert_eq!((held.reached, held.dead_letters), (false, bucket(2)));
    world.peer.memory().dead_letters = bucket(3);
    let passed = ask(&world, Direction::Forward, 7, 9000).await;
    assert!(passed.reached && passed.dead_letters.is_empty(), "a letter of another bucket is no matter");
    world.stop().await;
}

#[tokio::test]
async fn a_forward_mark_stands_behind_everything_that_was_written_before_it() {
    let Some(world) = World::start().await else { return };
    for epoch in 7..12 {
        world.sql(&format!("INSERT INTO notifications (user_id, title) VALUES (1, 'n{epoch}')")).await;
        assert!(world.fence(bucket(1), FenceOwner::Moving, epoch).await);
        assert!(wait(&world, Direction::Forward, epoch, 9000).await);
        assert_eq!(world.peer.rows("notifications").len() as u64, epoch - 6);
        assert_eq!(world.peer.memory().fences.last().unwrap().0, FenceOwner::Moving);
        assert!(world.fence(bucket(1), FenceOwner::Monolith, epoch).await);
    }
    // The fence of an owner is no mark, and a mark of the future is not reached.
    assert!(world.fence(bucket(1), FenceOwner::Service, 50).await);
    world.carried().await;
    assert!(!wait(&world, Direction::Forward, 50, 50).await);
    world.stop().await;
}

#[tokio::test]
async fn a_forward_mark_waits_for_the_services_commit() {
    let Some(world) = World::start().await else { return };
    world.peer.memory().closed = true;
    assert!(world.fence(bucket(1), FenceOwner::Moving, 7).await);
    assert!(!wait(&world, Direction::Forward, 7, 100).await, "the service has not committed it");
    let fault = crate::world::until("the fault is told", async || {
        let status = world.status().await;
        !status.faults.is_empty() && !status.forward_live
    });
    fault.await;
    world.peer.memory().closed = false;
    assert!(wait(&world, Direction::Forward, 7, 9000).await);
    world.until_copied().await;
    world.stop().await;
}

#[tokio::test]
async fn a_reverse_mark_stands_behind_all_events_before_it() {
    let Some(world) = World::start().await else { return };
    let row = serde_json::json!({"op": "upsert", "table": "notification_preferences",
        "row": {"user_id": 1, "email_enabled": 0, "salutation": "Herr"}});
    world.peer.publish(vec![serde_json::from_value(row).unwrap()]);
    world.peer.mark(7);
    assert!(wait(&world, Direction::Reverse, 7, 9000).await);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM notification_preferences WHERE email_enabled = 0").await,
        1
    );
    assert!(!wait(&world, Direction::Forward, 7, 20).await, "the other direction");
    world.stop().await;
}
