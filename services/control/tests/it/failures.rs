//! Each call fails before or after it takes effect, once and for long: before the flip all is restored,
//! after it all is finished, and in the end the share is reached.

use crate::peers::{Point, Trouble};
use crate::world::{World, buckets};
use banyan_core::BucketSet;

const CALLS: [&str; 8] = [
    "/v1/status",
    "/v1/ownership",
    "/v1/gates/take",
    "/v1/gates/release",
    "/v1/fence/set",
    "/v1/marks/wait",
    "/v1/ownership/open",
    "/v1/ownership/close",
];

async fn check(times: u32) {
    let world = World::start().await;
    let mut percent = 0.0;
    for path in CALLS {
        for point in [Point::Before, Point::After] {
            for up in [true, false] {
                world.peers.sides().trouble = Some(Trouble::Fails { path, point, times });
                let action = if up { "advance" } else { "rollback" };
                percent = if up { 50.0 } else { 0.0 };
                world.go(action, percent).await;
            }
        }
    }
    let status = world.arrive(percent).await;
    assert_eq!(status.handovers, 32, "each share was reached by one handover");
    assert!(status.aborted > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_once_costs_an_attempt_at_most() {
    check(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_for_long_is_tried_until_it_succeeds() {
    check(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_after_the_flip_is_named_and_finished() {
    let world = World::start().await;
    let trouble = Trouble::Fails { path: "/v1/ownership/open", point: Point::Before, times: u32::MAX };
    world.peers.sides().trouble = Some(trouble);
    world.ask("advance", Some(10.0)).await.unwrap();
    world.until_status("it is named", |s| s.waiting_for.iter().any(|w| w.contains("as planned"))).await;
    let status = world.status().await;
    assert_eq!((status.service_buckets.len(), status.handovers, status.aborted), (410, 0, 0));
    world.peers.sides().trouble = None;
    assert!(world.arrive(10.0).await.waiting_for.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_has_seen_a_later_coordinator_stops_this_one() {
    let world = World::start().await;
    world.peers.sides().raise_guards(&BucketSet::all());
    world.ask("advance", Some(1.0)).await.unwrap();
    world.until_status("it stops", |s| s.waiting_for.iter().any(|w| w.contains("another control"))).await;
    let calls = world.peers.sides().calls.len();
    world.ask("rollback", Some(0.0)).await.unwrap();
    assert_eq!(world.status().await.wanted_percent, 0.0);
    assert_eq!(world.peers.sides().calls.len(), calls, "it calls nobody any more");
    assert_eq!(world.peers.sides().open(buckets("1").iter().next().unwrap()), None);
}
