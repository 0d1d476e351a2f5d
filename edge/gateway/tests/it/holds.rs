//! Writes of a moving bucket wait, within bounds, and go to whoever owns the bucket then.

use banyan_core::{Phase, Side};

use crate::client::{Ask, Connection};
use crate::world::{World, until};

fn write(user: &str) -> Ask {
    Ask::of_user("DELETE", "/api/notifications/3", user).csrf()
}

async fn held(world: &World, count: usize) {
    let what = format!("{count} writes are held");
    until(&what, async || world.holds().await["held"] == count).await;
}

#[tokio::test]
async fn a_held_write_goes_to_the_new_owner() {
    let world = World::start().await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let waiting = write("7").start(world.gateway);
    held(&world, 1).await;
    // Reads of the bucket and writes of others go on.
    assert_eq!(world.ask(Ask::of_user("GET", "/api/notifications", "7")).await.text(), "monolith");
    assert_eq!(world.ask(write("8")).await.text(), "monolith");
    world.set(&["7"], (Side::Service, Phase::Opening, 5)).await;
    assert_eq!(world.ask(Ask::of_user("GET", "/api/notifications", "7")).await.text(), "service");
    assert!(!waiting.is_finished());
    world.set(&["7"], (Side::Service, Phase::Steady, 5)).await;
    assert_eq!(waiting.await.unwrap().text(), "service");
    assert_eq!(world.service.last().header("banyan-owner-epoch"), Some("5"));
    let holds = world.holds().await;
    assert_eq!(holds["hold_ms"]["count"], 1);
    assert!(holds["hold_ms"]["max"].as_f64().unwrap() > 0.0, "{holds}");
}

#[tokio::test]
async fn a_restored_attempt_lets_its_writes_go_where_they_would_have_gone() {
    let world = World::start().await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let waiting = write("7").start(world.gateway);
    held(&world, 1).await;
    world.set(&["7"], (Side::Monolith, Phase::Restoring, 1)).await;
    assert!(!waiting.is_finished());
    world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
    assert_eq!(waiting.await.unwrap().text(), "monolith");
}

#[tokio::test]
async fn a_hold_ends_at_its_bound_in_time() {
    let world = World::start_with(|config| config.hold_ms_max = 30).await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let answer = world.ask(write("7")).await;
    assert_eq!((answer.code(), answer.problem().as_str()), (503, "hold_limit"));
    assert_eq!(world.monolith.seen().len() + world.service.seen().len(), 0);
    held(&world, 0).await;
}

#[tokio::test]
async fn holds_are_bounded_in_number_and_bytes() {
    let world = World::start_with(|config| {
        config.hold_requests_max = 2;
        config.hold_bytes_max = 20_000;
    })
    .await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let heavy = || Ask::of_user("POST", "/api/notifications", "7").form(&"x".repeat(15_000));
    let first = heavy().start(world.gateway);
    held(&world, 1).await;
    assert_eq!(world.ask(heavy()).await.problem(), "hold_limit");
    let second = write("7").start(world.gateway);
    held(&world, 2).await;
    assert_eq!(world.ask(write("7")).await.problem(), "hold_limit");
    world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
    assert_eq!((first.await.unwrap().code(), second.await.unwrap().code()), (200, 200));
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_hold_and_is_never_sent() {
    let world = World::start_with(|config| config.hold_requests_max = 1).await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    for ask in [write("7"), Ask::of_user("POST", "/api/notifications", "7").form("title=x")] {
        let waiting = ask.start(world.gateway);
        held(&world, 1).await;
        waiting.abort();
        held(&world, 0).await;
    }
    world.set(&["7"], (Side::Monolith, Phase::Steady, 1)).await;
    assert_eq!(world.ask(write("8")).await.code(), 200);
    assert_eq!(world.monolith.seen().len(), 1);
    assert!(world.control.reports().last().unwrap().undrained.is_empty());
}

#[tokio::test]
async fn the_body_of_a_held_write_follows_when_it_goes_on() {
    let world = World::start().await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let body = "y".repeat(2 << 20);
    let waiting = Ask::new("PUT", "/api/users/7/preferences").body("text/plain", &body).start(world.gateway);
    held(&world, 1).await;
    world.set(&["7"], (Side::Service, Phase::Steady, 5)).await;
    assert_eq!(waiting.await.unwrap().text(), "service");
    assert_eq!(world.service.last().body.len(), body.len());
}

#[tokio::test]
async fn many_held_writes_are_all_released_once() {
    let world = World::start().await;
    world.set(&["7"], (Side::Monolith, Phase::Moving, 1)).await;
    let waiting: Vec<_> = (0..50).map(|_| write("7").start(world.gateway)).collect();
    held(&world, 50).await;
    world.set(&["7"], (Side::Service, Phase::Steady, 5)).await;
    for answer in waiting {
        assert_eq!(answer.await.unwrap().text(), "service");
    }
    assert_eq!(world.service.seen().len(), 50);
    let mut connection = Connection::open(world.gateway).await;
    assert_eq!(connection.send(write("7")).await.text(), "service");
}
