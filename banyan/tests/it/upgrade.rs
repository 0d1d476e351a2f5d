//! Another process in the gateway's place, under load.

use banyan_core::{Phase, Side};
use banyan_runtime::clock::Boot;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::load::{Events, Load, USER};
use crate::world::{PATIENCE, World, runs};

/// How often each is done in one run.
const ROUNDS: usize = 10;
/// So long a drain that a stream outlives the test.
const LONG_DRAIN: &str = "drain_ms_max = 3600000";

/// Moves the user's bucket there and back until it is told to stop; how often. Each time as control does it:
/// freeze, wait until every gateway with a lease goes by it and has nothing of before in flight, flip, thaw.
async fn move_around(world: &World, stop: &AtomicBool) -> u64 {
    let mut moves = 0;
    let mut owner = Side::Monolith;
    while !stop.load(SeqCst) {
        let to = if owner == Side::Monolith { Side::Service } else { Side::Monolith };
        let frozen = world.control.set(USER, (owner, Phase::Moving, moves + 1));
        let deadline = Boot::now().plus(PATIENCE);
        while !world.control.is_acknowledged(frozen) {
            assert!(Boot::now() < deadline, "the freeze is not acknowledged");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        moves += 1;
        owner = to;
        world.control.set(USER, (owner, Phase::Steady, moves + 1));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    moves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_reloads_and_upgrades_under_load_fail_no_request_while_buckets_move() {
    let world = World::start(LONG_DRAIN).await;
    let mut events = Events::open(world.gateway).await;
    assert!(events.read(3).await);
    let first_writes = world.monolith.writes();
    let load = Load::start(world.gateway, 4);
    let stop = AtomicBool::new(false);
    let changes = async {
        let mut pids = Vec::new();
        for round in 0..ROUNDS {
            let bound = format!("workers = {}\nin_flight_max = {}", 1 + round % 3, 100 + round);
            world.configure(&[("workers = 2", &bound)]);
            let said = world.banyan(&["reload"]).await.unwrap();
            assert!(said.contains("in force now: gateway.in_flight_max"), "{said}");
            pids.push(world.upgrade().await);
            let before = load.seen.answered();
            world.until("requests are answered", async || load.seen.answered() > before + 20).await;
            assert!(events.read(2).await, "the first process carries the stream on");
        }
        stop.store(true, SeqCst);
        pids
    };
    let (pids, moves) = tokio::join!(changes, move_around(&world, &stop));
    let (answered, writes, failures) = load.stop().await;
    assert_eq!(failures, [""; 0], "of {answered} requests with {moves} moves");
    assert_eq!([world.monolith.strays(), world.service.strays()], [[""; 0]; 2], "writes at the wrong side");
    assert_eq!(world.monolith.writes() - first_writes + world.service.writes(), writes, "each write once");
    assert!(moves >= ROUNDS as u64 && answered > 20 * ROUNDS, "{moves} moves, {answered} requests");
    // Whoever has no client left has ended, without its deadline; only the stream's process and the newest stay.
    world.until("all between have ended", async || pids.iter().filter(|pid| runs(**pid)).count() == 1).await;
    assert!(runs(pids[ROUNDS - 1]) && world.process.is_running());
    world.monolith.open_gate();
    while events.read(1).await {}
    world.until("the first has ended", async || !world.process.is_running()).await;
    world.until("its lease is given back", async || world.control.holders() == 1).await;
    eprintln!(
        "{ROUNDS} reloads and upgrades, {moves} moves, {answered} requests, {writes} writes, no failure"
    );
}

#[tokio::test]
async fn a_successor_that_does_not_come_up_leaves_everything_as_it_was() {
    let world = World::start("upgrade_ms_max = 2000").await;
    let crashes = world.script("crashes", "#!/bin/sh\nexit 7\n");
    let hangs = world.script("hangs", "#!/bin/sh\nexec sleep 1000\n");
    let table = [
        (crashes.as_str(), "exit status: 7"),
        (&hangs, "did not ask for the sockets within 2000 ms"),
        ("/nowhere/banyan", "cannot start /nowhere/banyan"),
    ];
    for (binary, named) in table {
        let fault = world.banyan(&["upgrade", "--binary", binary]).await.unwrap_err();
        assert!(fault.contains(named), "{binary}: {fault}");
        assert_eq!(world.ask("POST", "/api/notifications").await, (200, "written".into()));
    }
    // The real binary gets no lease: it cannot route, so it must not accept.
    world.control.set_open(false);
    let fault = world.banyan(&["upgrade"]).await.unwrap_err();
    assert!(fault.contains("within 2000 ms"), "{fault}");
    assert_eq!(world.ask("POST", "/api/notifications").await, (200, "written".into()));
    assert!(world.process.is_running());
    assert_eq!(world.control.holders(), 1);
}

#[tokio::test]
async fn a_second_upgrade_at_the_same_time_is_refused() {
    let world = World::start("upgrade_ms_max = 600000").await;
    world.control.set_open(false);
    let (first, ()) = tokio::join!(world.banyan(&["upgrade"]), async {
        let refused = async || world.banyan(&["upgrade"]).await;
        // The one that comes first to the door waits for its successor's lease.
        let running = async || world.process.log_tail(200).contains("started to take over");
        world.until("the first is running", running).await;
        let fault = refused().await.unwrap_err();
        assert!(fault.contains("an upgrade is running already"), "{fault}");
        assert_eq!(world.ask("GET", "/").await.0, 200);
        world.control.set_open(true);
    });
    assert!(first.unwrap().contains("accepts now"));
    world.until("the old one has ended", async || !world.process.is_running()).await;
    assert_eq!(world.ask("POST", "/api/notifications").await, (200, "written".into()));
}

#[tokio::test]
async fn another_address_is_taken_over_by_an_upgrade() {
    let world = World::start("").await;
    let port = banyan_testkit::free_port().unwrap();
    let (address, other) =
        (format!("gateway = \"{}\"", world.gateway), format!("gateway = \"127.0.0.1:{port}\""));
    world.configure(&[(&address, &other)]);
    world.upgrade().await;
    let other = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(crate::load::Client::new(other).ask("GET", "/").await.unwrap().0, 200);
    let closed = async || tokio::net::TcpStream::connect(world.gateway).await.is_err();
    world.until("nobody listens at the old address", closed).await;
}
