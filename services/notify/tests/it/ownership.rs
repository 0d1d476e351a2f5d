//! Which writes are refused, and what a close leaves behind.

use crate::peers::Peers;
use crate::world::{EPOCH, World, fence, of, until};
use banyan_core::row::FenceOwner;
use banyan_core::{BucketSet, OwnerEpoch};
use banyan_runtime::clock;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_write_of_another_owner_epoch_is_refused() {
    let world = World::owned().await;
    let read_all = |epoch| world.ask("POST", "/api/notifications/read-all").epoch(epoch).send();
    for epoch in [EPOCH - 1, EPOCH + 1] {
        let refused = read_all(epoch).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "not_owner"));
    }
    assert_eq!(read_all(EPOCH).await.status, 200);
    assert!(world.close(of("7"), EPOCH + 1).await);
    let refused = read_all(EPOCH).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "not_owner"));
    assert_eq!(world.ask("GET", "/api/notifications").send().await.status, 200, "reads go on");
    assert!(world.open(of("7"), EPOCH + 2).await);
    assert_eq!(read_all(EPOCH).await.status, 409);
    assert_eq!(read_all(EPOCH + 2).await.status, 200);
    assert_eq!(world.rows("notification_activity").await.len(), 2);
}

#[tokio::test]
async fn the_mark_of_a_close_stands_behind_every_event_of_its_buckets() {
    let world = World::owned().await;
    let writes = (0..50).map(|n| {
        let title = format!("r{n}");
        world.ask("POST", "/api/notifications").json(json!({ "title": title })).send()
    });
    let (answers, closed) =
        tokio::join!(futures_util::future::join_all(writes), world.close(BucketSet::all(), EPOCH + 1));
    assert!(closed);
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert!(refused.iter().all(|answer| answer.code() == "not_owner"), "{refused:?}");
    let events = world.events(0).await;
    let mark = events.iter().position(|event| event.mark == Some(OwnerEpoch(EPOCH + 1))).unwrap();
    assert_eq!(mark + 1, events.len(), "nothing stands behind the mark");
    assert_eq!(
        (events[mark].kind.as_str(), events[mark].bucket, events[mark].rows.len()),
        ("banyan.mark", None, 0)
    );
    let reminded = events.iter().filter(|event| event.kind == "notification.reminded").count();
    assert_eq!(reminded, accepted.len());
    let positions: Vec<u64> = events.iter().map(|event| event.position).collect();
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
    for answer in accepted {
        let position: u64 = answer.header("banyan-position").parse().unwrap();
        assert!(position < events[mark].position);
    }
}

#[tokio::test]
async fn a_database_without_rows_opens_no_bucket() {
    let mut world = World::owned().await;
    let remove = async |file: &std::path::Path| {
        for end in ["", "-wal", "-shm"] {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            let _ = std::fs::remove_file(name);
        }
    };
    world.restart(remove).await;
    let refused = world.try_open(of("7"), EPOCH + 1).await.unwrap_err();
    assert!(refused.is_refused("empty_database"), "{refused}");
    assert_eq!(world.ownership().await.open, []);
    world.copy().await;
    assert!(world.open(of("7"), EPOCH + 1).await);
}

#[tokio::test]
async fn a_late_turn_changes_nothing() {
    let world = World::owned().await;
    let late = banyan_core::protocol::target::OwnershipClose {
        turn: banyan_core::Turn { term: 1, attempt: 1, step: 1 },
        buckets: BucketSet::all(),
        owner_epoch: OwnerEpoch(9),
    };
    let applied: banyan_core::protocol::monolith::Applied =
        world.role.post("/v1/ownership/close", &late).await.unwrap();
    assert!(!applied.applied && world.events(0).await.is_empty());
    let open = world.ownership().await.open;
    assert_eq!(open, [(OwnerEpoch(EPOCH), BucketSet::all())]);
}

#[tokio::test]
async fn without_a_lease_nothing_owned_is_written() {
    let world = World::owned().await;
    let write = || world.ask("POST", "/api/notifications").json(json!({"title": "t"})).send();
    Peers::set(&world.peers.granting, false);
    until("the lease has run out", async || !world.ownership().await.leased).await;
    let refused = write().await;
    assert_eq!(
        (refused.status, refused.code().as_str(), refused.header("retry-after")),
        (503, "no_lease", "1")
    );
    assert_eq!(world.ask("GET", "/api/notifications").send().await.status, 200);
    world.import(vec![fence(FenceOwner::Service, of("9"), EPOCH)]).await;
    Peers::set(&world.peers.granting, true);
    until("writes are accepted again", async || write().await.status == 201).await;
    world.tasks.stop(Duration::from_secs(20)).await;
    assert_eq!(world.peers.given_back.lock().unwrap().len(), 1, "the lease is given back at shutdown");
    world.stop_peers().await;
}

#[tokio::test]
async fn all_buckets_are_opened_and_closed_in_milliseconds() {
    let world = World::owned().await;
    // Every other bucket: as many runs as there can be.
    let odd: BucketSet = (0..2048).map(|n| banyan_core::Bucket::try_from(n * 2 + 1).unwrap()).collect();
    let mut best = Duration::MAX;
    for epoch in 10..15 {
        let start = clock::instant();
        assert!(world.close(odd.clone(), epoch).await && world.open(odd.clone(), epoch).await);
        best = best.min(start.elapsed());
    }
    assert!(best < Duration::from_millis(200), "{best:?}");
    println!("close and open of 2048 scattered buckets: {best:?}");
}
