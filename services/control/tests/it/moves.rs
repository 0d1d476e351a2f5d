//! A share is asked for and reached, and the reports say how.

use crate::world::{World, brisk, buckets, until};
use banyan_control::Config;
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport};
use banyan_core::protocol::monolith::Direction;
use banyan_core::{Bucket, BucketSet, Side};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_moves_by_steps_and_comes_back() {
    let world = World::start().await;
    let mut at_service = BucketSet::empty();
    for (percent, count) in [(1.0, 41), (10.0, 410), (50.0, 2048), (100.0, 4096)] {
        // Without a share, an advance is the next step.
        assert_eq!(world.ask("advance", None).await.unwrap().wanted_percent, percent);
        let status = world.arrive(percent).await;
        assert_eq!(status.service_buckets.len(), count);
        assert!(at_service.difference(&status.service_buckets).is_empty(), "growing keeps who is there");
        at_service = status.service_buckets;
    }
    world.ask("rollback", None).await.unwrap();
    let status = world.arrive(0.0).await;
    assert_eq!((status.service_buckets.len(), status.handovers, status.aborted), (0, 5, 0));
    assert!(status.waiting_for.is_empty(), "{:?}", status.waiting_for);
    check_reports(&world.handovers().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_share_moves_in_portions_and_the_last_come_back_first() {
    let mut config = crate::world::brisk();
    config.buckets_max = 1000;
    let world = World::start_with(config).await;
    let first = world.go("advance", 10.0).await.service_buckets;
    world.go("advance", 100.0).await;
    let status = world.go("rollback", 0.0).await;
    assert_eq!((status.handovers, status.aborted), (1 + 4 + 5, 0));
    let reports = world.handovers().await;
    let sizes: Vec<usize> = reports.iter().rev().map(|r| r.buckets.len()).collect();
    assert_eq!(sizes, [410, 1000, 1000, 1000, 686, 1000, 1000, 1000, 1000, 96]);
    assert!(reports[0].buckets.difference(&first).is_empty(), "who went first comes back last");
}

fn check_reports(reports: &[HandoverReport]) {
    let facts = |r: &HandoverReport| (r.to, r.buckets.len(), r.outcome);
    let done = HandoverOutcome::Done;
    let wanted = [
        (Side::Monolith, 4096, done),
        (Side::Service, 2048, done),
        (Side::Service, 1638, done),
        (Side::Service, 369, done),
        (Side::Service, 41, done),
    ];
    assert_eq!(reports.iter().map(facts).collect::<Vec<_>>(), wanted);
    assert!(reports.windows(2).all(|pair| pair[0].owner_epoch > pair[1].owner_epoch));
    let names = |r: &HandoverReport| r.steps.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let forth = [
        "prepare", "probe", "freeze", "acks", "gates", "mark", "apply", "journal", "open", "release",
        "settle",
    ];
    let back = ["gates", "mark", "apply", "close", "reverse", "journal", "open", "release", "settle"];
    assert_eq!(names(&reports[4]), forth);
    assert_eq!(names(&reports[0])[4..], back);
    for report in reports {
        let all: u64 = report.steps.iter().map(|(_, ms)| ms).sum();
        assert!(report.hold_ms < 1000 && report.hold_ms <= all + 20, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handover_begins_only_when_the_streams_are_fit() {
    let world = World::start().await;
    type Spoil = fn(&World);
    let spoil: [(&str, Spoil); 5] = [
        ("banyan fence install", |w| w.peers.sides().unhealthy.not_installed = true),
        ("lags 5000 ms", |w| w.peers.sides().unhealthy.lag_ms = 5000),
        ("XA", |w| w.peers.sides().unhealthy.xa_prepared = 1),
        ("no valid lease", |w| w.peers.sides().unhealthy.unleased = true),
        ("owner epoch 900", |w| w.peers.sides().unhealthy.shows_owner_epoch = Some(900)),
    ];
    world.ask("pause", None).await.unwrap();
    world.ask("advance", Some(1.0)).await.unwrap();
    for (cause, spoil) in spoil {
        world.peers.sides().unhealthy = Default::default();
        spoil(&world);
        world.ask("resume", None).await.unwrap();
        world.until_status(cause, |s| s.waiting_for.iter().any(|waits| waits.contains(cause))).await;
        world.ask("pause", None).await.unwrap();
    }
    let status = world.status().await;
    assert_eq!((status.percent, status.handovers, status.aborted), (0.0, 0, 0));
    assert!(world.peers.sides().calls.iter().all(|path| path != "/v1/fence/set"));
    world.peers.sides().unhealthy = Default::default();
    world.ask("resume", None).await.unwrap();
    world.arrive(1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_lasts_makes_stragglers() {
    let world = World::start().await;
    world.peers.sides().unhealthy.not_installed = true;
    world.ask("advance", Some(1.0)).await.unwrap();
    world.until_status("all wait", |s| s.stragglers.len() == 41).await;
    world.peers.sides().unhealthy = Default::default();
    world.arrive(1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_keeps_its_bucket_back() {
    let world = World::start().await;
    world.peers.sides().unhealthy.dead_letters = Some(7.try_into().unwrap());
    world.ask("advance", Some(100.0)).await.unwrap();
    world.until_status("all others move", |s| s.service_buckets.len() == 4095).await;
    let named = |s: &banyan_core::protocol::migration::MigrationStatus| {
        s.stragglers == buckets("7") && s.waiting_for.iter().any(|w| w.starts_with("bucket 7: "))
    };
    world.until_status("it is named", named).await;
    world.peers.sides().unhealthy = Default::default();
    world.arrive(100.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_comes_during_an_attempt_keeps_its_owner() {
    let world = World::start().await;
    let bucket: Bucket = 7.try_into().unwrap();
    world.peers.sides().letter_at_mark = Some(bucket);
    world.ask("advance", Some(100.0)).await.unwrap();
    world.until_status("the attempt is restored", |s| s.aborted > 0).await;
    let report = world.handovers().await.into_iter().find(|h| h.outcome == HandoverOutcome::Restored);
    let causes = report.unwrap().causes;
    assert!(causes.iter().any(|c| c.starts_with("bucket 7: a change that could not")), "{causes:?}");
    assert!(!world.status().await.service_buckets.contains(bucket), "its last change is not there yet");
    world.peers.sides().letter_at_mark = None;
    world.arrive(100.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_ends_an_advance_that_waits() {
    // Longer than the test is patient: only the wish can end the wait.
    let world = World::start_with(Config { apply_ms_max: 60_000, ..brisk() }).await;
    world.go("advance", 10.0).await;
    world.peers.sides().marks_stuck = true;
    world.ask("advance", Some(100.0)).await.unwrap();
    until("it waits for the watermark", async || {
        world.peers.sides().calls.last().is_some_and(|path| path == "/v1/marks/wait")
    })
    .await;
    world.ask("rollback", Some(10.0)).await.unwrap();
    let status = world.arrive(10.0).await;
    assert_eq!((status.handovers, status.aborted), (1, 1));
    world.peers.sides().marks_stuck = false;
    world.go("rollback", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_is_not_reached_in_time_restores() {
    let world = World::start().await;
    for (action, percent, stream) in
        [("advance", 10.0, Direction::Forward), ("rollback", 0.0, Direction::Reverse)]
    {
        world.peers.sides().marks_stuck = true;
        let aborted = world.ask(action, Some(percent)).await.unwrap().aborted;
        world.until_status("an attempt is restored", |s| s.aborted > aborted).await;
        let report = world.handovers().await.remove(0);
        assert_eq!(report.outcome, HandoverOutcome::Restored, "{stream:?}");
        assert!(report.causes.iter().any(|c| c.contains("within 600 ms")), "{:?}", report.causes);
        world.peers.sides().marks_stuck = false;
        world.arrive(percent).await;
    }
}
