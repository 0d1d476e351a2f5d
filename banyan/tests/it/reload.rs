//! Another configuration while the gateway runs.

use banyan_core::{Phase, Side};
use serde_json::{Value, json};

use crate::load::{Client, USER};
use crate::world::World;

const ROUTE: &str = r#"path = "/api/notifications""#;

async fn reload(world: &World) -> Value {
    serde_json::from_str(&world.banyan(&["reload", "--json"]).await.unwrap()).unwrap()
}

#[tokio::test]
async fn what_can_change_does_and_the_rest_is_named() {
    let world = World::start("").await;
    assert_eq!(world.ask("POST", "/new").await, (200, "monolith".into()));
    world.control.set(USER, (Side::Service, Phase::Steady, 2));
    let address = format!("gateway = \"{}\"", world.gateway);
    let changes = [
        (ROUTE, r#"path = "/new""#),
        (address.as_str(), "gateway = \"127.0.0.1:1\""),
        ("workers = 2", "workers = 3\nin_flight_max = 9"),
        ("[gateway]", "[control]\nack_ms_max = 500\n[gateway]"),
    ];
    world.configure(&changes);
    let report = reload(&world).await;
    assert_eq!(report["applied"], json!(["capability.notifications.routes", "gateway.in_flight_max"]));
    assert_eq!(report["pending"], json!(["gateway.workers", "listen.gateway"]));
    assert_eq!(report["elsewhere"], json!(["control.ack_ms_max"]));
    world
        .until("the new route is one of the capability", async || {
            world.ask("POST", "/new").await == (200, "service".into())
        })
        .await;
    let before = world.monolith.writes();
    assert_eq!(world.ask("POST", "/api/notifications").await.1, "written");
    assert_eq!(world.monolith.writes(), before + 1, "the old route is nobody's but the monolith's now");
    let again = reload(&world).await;
    assert_eq!((&again["applied"], &again["pending"]), (&json!([]), &report["pending"]));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_and_is_told() {
    let world = World::start("").await;
    let table = [
        ("workers = 2", "workers = 2\nhold_ms_max = 0", "duplicate key"),
        ("hold_ms_max = 100000", "hold_ms_max = 0", "[gateway] `hold_ms_max` 0"),
        ("[gateway]", "[control]\nlease_ms = 1\n[gateway]", "[control] `lease_ms` 1"),
        (ROUTE, r#"path = "no path""#, "no path"),
        ("[monolith]", "[monolith", "banyan.toml"),
    ];
    for (from, to, named) in table {
        world.configure(&[(from, to)]);
        let fault = world.banyan(&["reload"]).await.unwrap_err();
        assert!(fault.contains(named), "{to}: {fault}");
        assert_eq!(world.ask("POST", "/api/notifications").await, (200, "written".into()));
    }
    // Two of them are no TOML: they do not even say where the process is, so it was not asked.
    assert_eq!(world.metric("banyan_reloads_total{outcome=\"refused\"}").await, 3.0);
    assert!(world.process.log_tail(100).contains("nothing has changed"), "{}", world.process.log_tail(9));
    assert_eq!(world.metric("banyan_reloads_total{outcome=\"applied\"}").await, 0.0);
    world.configure(&[]);
    assert_eq!(world.banyan(&["reload"]).await.unwrap(), "nothing has changed\n");
}

#[tokio::test]
async fn a_request_in_flight_ends_with_the_settings_it_began_with() {
    let world = World::start("monolith_timeout_ms = 600000").await;
    let mut early = Client::new(world.gateway);
    let early = tokio::join!(early.ask("POST", "/hang"), async {
        // A second one hangs only behind the first, so that the first has been sent.
        world.until("it is in flight", async || in_flight(&world).await == 1.0).await;
        world.configure(&[("monolith_timeout_ms = 600000", "monolith_timeout_ms = 100")]);
        assert_eq!(reload(&world).await["applied"], json!(["gateway.monolith_timeout_ms"]));
        assert_eq!(world.ask("POST", "/hang").await.0, 504);
        assert_eq!(in_flight(&world).await, 1.0);
        world.monolith.open_gate();
    })
    .0;
    assert_eq!(early.unwrap(), (200, "after the gate".into()));
}

async fn in_flight(world: &World) -> f64 {
    world.metric("banyan_gateway_in_flight{group=\"rest\"}").await
}

#[tokio::test]
async fn a_signal_reloads_too_and_the_log_goes_by_its_new_filter() {
    let world = World::start("").await;
    let lines = |path: &str| world.process.log_tail(10_000).lines().filter(|l| l.contains(path)).count();
    assert_eq!(world.ask("GET", "/before").await.0, 200);
    world.until("the request is logged", async || lines("/before") == 1).await;
    world.configure(&[("[monolith]", "log_filter = \"info,access=off\"\n[monolith]")]);
    world.process.signal(banyan_testkit::Signal::HUP);
    let applied = async || world.metric("banyan_reloads_total{outcome=\"applied\"}").await == 1.0;
    world.until("the signal has been followed", applied).await;
    assert_eq!(world.ask("GET", "/between").await.0, 200);
    world.configure(&[]);
    assert_eq!(reload(&world).await["applied"], json!(["log_filter"]));
    assert_eq!(world.ask("GET", "/after").await.0, 200);
    world.until("requests are logged again", async || lines("/after") == 1).await;
    assert_eq!(lines("/between"), 0);
}
