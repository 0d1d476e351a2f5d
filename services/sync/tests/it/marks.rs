//! Marks in both directions resolve when the other side has committed, at once.

use crate::world::{CAPABILITY, World, bucket};
use banyan_core::OwnerEpoch;
use banyan_core::protocol::monolith::{Direction, MarkReached, MarkWait};
use banyan_core::row::FenceOwner;
use banyan_runtime::clock;

async fn wait(world: &World, direction: Direction, epoch: u64, wait_ms: u64) -> bool {
    let owner_epoch = OwnerEpoch(epoch);
    let wait = MarkWait { capability: CAPABILITY.into(), direction, owner_epoch, wait_ms };
    world.sync.post::<_, MarkReached>("/v1/marks/wait", &wait).await.unwrap().reached
}

#[tokio::test]
async fn a_forward_mark_stands_behind_everything_that_was_written_before_it() {
    let Some(world) = World::start().await else { return };
    for epoch in 7..12 {
        world.sql(&format!("INSERT INTO notifications (user_id, title) VALUES (1, 'n{epoch}')")).await;
        let begun = clock::instant();
        assert!(world.fence(bucket(1), FenceOwner::Moving, epoch).await);
        assert!(wait(&world, Direction::Forward, epoch, 9000).await);
        assert!(begun.elapsed().as_millis() < 1000, "{:?}", begun.elapsed());
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
