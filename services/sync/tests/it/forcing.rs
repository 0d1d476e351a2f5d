//! A forced rollback at the monolith's side: reverse is fenced, and what comes later is kept for a person.

use crate::world::{World, bucket, until};
use banyan_core::protocol::conflict::{Conflict, Settle};
use banyan_core::protocol::exposure::{CutOff, ReverseCut, Reversed};
use banyan_core::row::{FenceOwner, RowWrite};
use banyan_core::{Bucket, OwnerEpoch};
use banyan_runtime::client::CallError;
use serde_json::json;

fn activity(id: u64) -> RowWrite {
    let row = json!({"id": id, "user_id": 1, "action": "read", "created_at": "2026-01-01 00:00:00"});
    serde_json::from_value(json!({"op": "upsert", "table": "notification_activity", "row": row})).unwrap()
}

async fn conflicts(world: &World) -> Vec<Conflict> {
    world.sync.get("/v1/conflicts?capability=notifications").await.unwrap()
}

async fn settle(world: &World, (id, action): (u64, &str)) -> Result<Conflict, CallError> {
    let settle =
        Settle { capability: "notifications".into(), by: "ann".into(), reason: "it is right".into() };
    world.sync.post(&format!("/v1/conflicts/{id}/{action}"), &settle).await
}

async fn activities(world: &World) -> u64 {
    world.number("SELECT COUNT(*) FROM notification_activity").await
}

#[tokio::test]
async fn what_comes_after_a_cut_waits_for_the_fence_and_becomes_a_conflict() {
    let Some(world) = World::start().await else { return };
    let (mine, number) = (bucket(1), bucket(1).iter().next().unwrap());
    assert!(world.fence(mine.clone(), FenceOwner::Service, 7).await);
    world.reversed(world.peer.publish_in(number, vec![activity(1)])).await;
    assert!(world.fence(mine.clone(), FenceOwner::Moving, 9).await);
    let command =
        ReverseCut { capability: "notifications".into(), owner_epoch: OwnerEpoch(9), buckets: mine.clone() };
    let off: CutOff = world.sync.post("/v1/reverse/cut", &command).await.unwrap();
    let reversed = Reversed { incarnation: "first".into(), position: 1 };
    assert_eq!((off.reversed, off.outbox, off.intents), (reversed, Some(vec![]), vec![]));
    world.peer.publish_in(number, vec![activity(2)]);
    world.peer.publish_in(number, vec![activity(3)]);
    until("reverse says why it waits", async || {
        world.status().await.faults.join(" ").contains("a forced rollback is under way")
    })
    .await;
    let off: CutOff = world.sync.post("/v1/reverse/cut", &command).await.unwrap();
    assert_eq!((off.reversed.position, off.outbox), (1, Some(vec![(number, 2)])));
    assert_eq!(activities(&world).await, 1);

    assert!(world.fence(mine.clone(), FenceOwner::Monolith, 9).await);
    world.reversed(3).await;
    let queued = conflicts(&world).await;
    assert_eq!(queued.iter().map(|c| c.event.position).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(activities(&world).await, 1);
    let replayed = settle(&world, (queued[0].id, "replay")).await.unwrap();
    let discarded = settle(&world, (queued[1].id, "discard")).await.unwrap();
    let settled = [replayed, discarded].map(|c| c.settled.map(|s| (s.how, s.by, s.reason)).unwrap());
    let by = |how: &str| (how.to_owned(), "ann".to_owned(), "it is right".to_owned());
    assert_eq!(settled, [by("replayed"), by("discarded")]);
    assert_eq!((activities(&world).await, conflicts(&world).await.len()), (2, 0));
    assert!(settle(&world, (queued[0].id, "replay")).await.is_err(), "it is settled");
    // The service hears of the replayed row as of any other.
    until("the row is carried", async || world.peer.rows("notification_activity").contains_key(&2)).await;
    world.stop().await;
}

#[tokio::test]
async fn a_conflict_is_replayed_only_where_the_monolith_owns_the_bucket() {
    let Some(world) = World::start().await else { return };
    let (mine, number) = (bucket(1), bucket(1).iter().next().unwrap());
    world.reversed(world.peer.publish_in(number, vec![activity(5)])).await;
    let id = conflicts(&world).await[0].id;
    assert!(world.fence(mine, FenceOwner::Service, 7).await);
    let refused = settle(&world, (id, "replay")).await.unwrap_err().to_string();
    assert!(refused.contains("not the monolith's"), "{refused}");
    assert_eq!((activities(&world).await, conflicts(&world).await.len()), (0, 1));
    world.stop().await;
}

#[tokio::test]
async fn a_service_that_owns_nothing_may_begin_with_another_database() {
    let Some(world) = World::start().await else { return };
    let other = Bucket::of("2");
    assert!(world.fence([other].into_iter().collect(), FenceOwner::Service, 7).await);
    world.reversed(world.peer.publish(vec![activity(1)])).await;
    world.peer.memory().incarnation = "second".into();
    world.peer.memory().outbox.clear();
    world.peer.publish_in(other, vec![activity(2)]);
    until("the other database is noticed", async || {
        world.status().await.faults.join(" ").contains("holds events of first")
    })
    .await;
    assert!(world.fence([other].into_iter().collect(), FenceOwner::Monolith, 9).await);
    until("reverse goes on", async || {
        world.status().await.reverse_live && !conflicts(&world).await.is_empty()
    })
    .await;
    assert_eq!((activities(&world).await, conflicts(&world).await[0].incarnation.as_str()), (1, "second"));
    world.stop().await;
}
