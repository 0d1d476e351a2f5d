//! Buckets that cannot be had stay behind, are named, and follow; the others do not wait for them.

use crate::world::{World, buckets};
use banyan_core::{Bucket, BucketSet};

fn bucket(number: u16) -> Bucket {
    Bucket::try_from(number).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_with_a_long_transaction_follows_when_it_ends() {
    let world = World::start().await;
    world.peers.sides().busy.extend([bucket(17), bucket(300)]);
    for (action, percent, moved) in [("advance", 100.0, 4094), ("rollback", 0.0, 2), ("advance", 100.0, 4094)]
    {
        world.ask(action, Some(percent)).await.unwrap();
        world
            .until_status("as far as can be", |s| {
                let left = if action == "advance" {
                    4096 - s.service_buckets.len()
                } else {
                    s.service_buckets.len()
                };
                left == s.stragglers.len()
            })
            .await;
        let status = world.status().await;
        if action == "advance" {
            assert_eq!((status.service_buckets.len(), &status.stragglers), (moved, &buckets("17,300")));
            let cause = "buckets 17, 300: transaction of app@localhost (connection 40), open for 12 s, running \
                         `SELECT SLEEP(30)`";
            assert_eq!(status.waiting_for, [cause]);
        } else {
            assert!(status.service_buckets.is_empty() && status.stragglers.is_empty());
        }
    }
    world.peers.sides().busy.clear();
    let status = world.arrive(100.0).await;
    // Tries that found nothing free held nobody, so none of them is an attempt.
    assert_eq!((status.aborted, status.waiting_for.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_leaves_only_what_cannot_be_had() {
    let world = World::start().await;
    world.go("advance", 100.0).await;
    world.peers.sides().busy.insert(bucket(17));
    world.ask("rollback", None).await.unwrap();
    world.until_status("all others are back", |s| s.service_buckets == buckets("17")).await;
    world.until_status("it is named", |s| s.stragglers == buckets("17")).await;
    world.peers.sides().busy.clear();
    world.arrive(0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_keeps_only_its_bucket() {
    let world = World::start().await;
    world.gateways[1].set_in_flight(buckets("17,4000"));
    world.ask("advance", Some(100.0)).await.unwrap();
    world.until_status("all others move", |s| s.service_buckets.len() == 4094).await;
    world.until_status("they are named", |s| s.stragglers == buckets("17,4000")).await;
    let report = world.status().await.handover.unwrap();
    assert_eq!((report.left, report.buckets.len()), (buckets("17,4000"), 4094));
    assert!(report.causes[0].starts_with("buckets 17, 4000: a write in flight"), "{:?}", report.causes);
    world.gateways[1].set_in_flight(BucketSet::empty());
    world.arrive(100.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_that_ends_is_waited_for() {
    let world = World::start().await;
    let all = BucketSet::all();
    world.gateways[0].set_in_flight(all.clone());
    world.ask("advance", Some(100.0)).await.unwrap();
    let frozen = |gateway: &crate::gateway::Gateway| gateway.version() > 1;
    crate::world::until("the freeze is known", async || frozen(&world.gateways[0])).await;
    world.gateways[0].set_in_flight(BucketSet::empty());
    let status = world.arrive(100.0).await;
    assert_eq!((status.handovers, status.aborted), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_in_flight_everywhere_restore_all() {
    let mut config = crate::world::brisk();
    config.drain_ms_max = 150;
    let world = World::start_with(config).await;
    let seed = world.go("advance", 1.0).await.service_buckets;
    world.gateways[0].set_in_flight(BucketSet::all());
    world.ask("advance", Some(10.0)).await.unwrap();
    world.until_status("an attempt is restored", |s| s.aborted > 0).await;
    world.until_status("all are named", |s| s.stragglers.len() == 410 - 41).await;
    world.gateways[0].set_in_flight(BucketSet::empty());
    let status = world.arrive(10.0).await;
    assert!(seed.difference(&status.service_buckets).is_empty());
    assert!((1..=5).contains(&status.aborted), "{}", status.aborted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_gateway_delays_a_handover_for_its_lease_at_most() {
    let mut world = World::start().await;
    world.kill_gateway(1);
    world.go("advance", 50.0).await;
}
