//! What the gateway tells control, when, and what it does without a lease.

use banyan_core::{Phase, Side};
use banyan_runtime::clock::{self, Boot};
use std::time::Duration;

use crate::client::Ask;
use crate::world::{World, until};

fn write(user: &str) -> Ask {
    Ask::of_user("DELETE", "/api/notifications/3", user).csrf()
}

/// A write whose answer takes until the gate opens.
fn hanging(user: &str) -> Ask {
    Ask::of_user("POST", "/notifications/3/hang", user).csrf()
}

async fn acknowledged(world: &World, version: u64, undrained: &[&str]) {
    let what = format!("version {version} is acknowledged with {undrained:?} undrained");
    until(&what, async || world.control.is_acknowledged(version, undrained)).await;
}

#[tokio::test]
async fn a_version_is_acknowledged_with_the_writes_that_are_still_in_flight() {
    let world = World::start().await;
    let slow = [hanging("7").start(world.gateway), hanging("8").start(world.gateway)];
    until("both have been sent", async || world.monolith.seen().len() == 2).await;
    // Steady buckets have nothing to drain.
    let version = world.set(&["9"], (Side::Monolith, Phase::Moving, 1)).await;
    acknowledged(&world, version, &[]).await;
    let version = world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    acknowledged(&world, version, &["7"]).await;
    let waiting = write("7").start(world.gateway);
    world.monolith.open_gate(true);
    for answer in slow {
        assert_eq!(answer.await.unwrap().code(), 200);
    }
    acknowledged(&world, version, &[]).await;
    let drained = world.holds().await["drained_write_ms_max"].as_f64().unwrap();
    assert!(drained > 0.0, "{drained}");
    world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
    assert_eq!(waiting.await.unwrap().code(), 200);
}

#[tokio::test]
async fn the_end_of_the_last_write_is_told_within_milliseconds() {
    let world = World::start().await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let before = world.monolith.seen().len();
        let slow = hanging("7").start(world.gateway);
        until("it has been sent", async || world.monolith.seen().len() > before).await;
        let version = world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
        acknowledged(&world, version, &["7"]).await;
        world.monolith.open_gate(true);
        slow.await.unwrap();
        let start = clock::instant();
        acknowledged(&world, version, &[]).await;
        fastest = fastest.min(start.elapsed());
        world.monolith.open_gate(false);
        world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
    }
    // The machine may be busy; at its best it takes a fraction of this, and the long poll would take a second.
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn no_write_is_sent_after_its_freeze_was_acknowledged() {
    let world = World::start().await;
    for round in 0..20 {
        let writes: Vec<_> = (0..8).map(|_| write("7").start(world.gateway)).collect();
        let version = world.control.set(&["7"], (Side::Monolith, Phase::Moving, 1));
        acknowledged(&world, version, &[]).await;
        let sent = world.monolith.seen().len();
        let held = world.holds().await["held"].as_u64().unwrap();
        assert_eq!(world.monolith.seen().len(), sent, "round {round}");
        // Requests that have not been decided yet are held when they are.
        world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
        for write in writes {
            assert_eq!(write.await.unwrap().code(), 200);
        }
        assert!(held <= 8);
    }
    assert_eq!(world.monolith.seen().len(), 160);
}

#[tokio::test]
async fn a_write_counts_until_its_answer_although_its_client_has_left() {
    let world = World::start().await;
    let slow = hanging("7").start(world.gateway);
    until("it has been sent", async || world.monolith.seen().len() == 1).await;
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    let version = world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    acknowledged(&world, version, &["7"]).await;
    // Another client's request has been answered since: the gateway knows that the first has left.
    assert_eq!(world.ask(Ask::new("GET", "/")).await.code(), 200);
    let before = world.control.reports().len();
    until("more reports have come", async || world.control.reports().len() > before + 20).await;
    assert!(world.control.is_acknowledged(version, &["7"]));
    world.monolith.open_gate(true);
    acknowledged(&world, version, &[]).await;
}

#[tokio::test]
async fn a_write_counts_until_the_last_byte_of_its_answer() {
    let world = World::start().await;
    for leaves in [false, true] {
        let before = world.monolith.seen().len();
        let slow = Ask::of_user("POST", "/notifications/3/trickle", "7").csrf();
        let mut client = Some(slow.begin(world.gateway, "begun").await);
        assert!(world.monolith.seen().len() > before);
        if leaves {
            client = None;
        }
        let version = world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
        acknowledged(&world, version, &["7"]).await;
        let reports = world.control.reports().len();
        until("more reports have come", async || world.control.reports().len() > reports + 20).await;
        assert!(world.control.is_acknowledged(version, &["7"]));
        world.monolith.open_gate(true);
        acknowledged(&world, version, &[]).await;
        world.monolith.open_gate(false);
        world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
        drop(client);
    }
}

#[tokio::test]
async fn without_control_routing_goes_on_until_the_lease_ends_and_then_stops() {
    let world = World::start().await;
    world.control.set_lease_ms(600);
    world.set(&["7"], (Side::Service, Phase::Steady, 5)).await;
    world.control.set_down(true);
    let down = Boot::now();
    let read = || Ask::of_user("GET", "/api/notifications", "7");
    assert_eq!(world.ask(read()).await.text(), "service");
    until("the lease has ended", async || world.ask(read()).await.code() == 503).await;
    // The lease that control granted first was longer.
    assert!(down.elapsed() > Duration::from_millis(300), "{:?}", down.elapsed());
    for ask in [read(), write("7"), write("8"), Ask::new("POST", "/unsubscribe").form("email=u7%40x")] {
        assert_eq!(world.ask(ask).await.problem(), "no_lease");
    }
    for ask in [Ask::of_user("GET", "/notifications", "7"), Ask::of_user("POST", "/payments", "7")] {
        assert_eq!(world.ask(ask).await.text(), "monolith");
    }
    let sent = world.service.seen().iter().filter(|seen| seen.method != "GET").count();
    assert_eq!(sent, 0);
    world.control.set_down(false);
    until("the lease is back", async || world.ask(read()).await.text() == "service").await;
}

#[tokio::test]
async fn a_held_write_outlives_a_lease_that_comes_back() {
    let world = World::start().await;
    world.control.set_lease_ms(300);
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let waiting = write("7").start(world.gateway);
    until("it is held", async || world.holds().await["held"] == 1).await;
    world.control.set_down(true);
    until("the lease has ended", async || world.ask(write("8")).await.code() == 503).await;
    world.control.set(&["7"], (Side::Service, Phase::Steady, 5));
    assert!(!waiting.is_finished());
    world.control.set_down(false);
    assert_eq!(waiting.await.unwrap().text(), "service");
}
