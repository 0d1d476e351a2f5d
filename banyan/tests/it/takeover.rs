//! A successor that somebody else has started, and what becomes of the sockets where a process dies.

use crate::load::Load;
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn a_supervisor_may_start_the_successor() {
    let mut world = World::start("").await;
    let load = Load::start(world.gateway, 2);
    let successor = world.spawn("successor", &["--take-over"]);
    world.until("the old one has ended", async || !world.process.is_running()).await;
    let before = load.seen.answered();
    world.until("requests are answered", async || load.seen.answered() > before + 20).await;
    assert_eq!(load.stop().await.2, [""; 0]);
    world.process = successor;
    // And it ends as ever.
    world.process.terminate(PATIENCE).unwrap();
    assert!(tokio::net::TcpStream::connect(world.gateway).await.is_err(), "nobody listens");
    world.until("no lease is left", async || world.control.holders() == 0).await;
}

#[tokio::test]
async fn where_nobody_is_left_to_hand_over_a_gateway_starts_afresh() {
    let mut world = World::start("").await;
    world.process.kill();
    world.process = world.spawn("afresh", &["--take-over"]);
    let answers = async || crate::load::Client::new(world.gateway).ask("GET", "/").await.is_ok();
    world.until("the gateway answers", answers).await;
    let fault = world.banyan(&["run", "control", "--take-over"]).await.unwrap_err();
    assert!(fault.contains("only a gateway can take over"), "{fault}");
}

#[tokio::test]
async fn a_process_that_dies_amid_an_upgrade_is_succeeded() {
    let mut world = World::start("upgrade_ms_max = 600000").await;
    world.control.set_open(false);
    let successor = world.spawn("successor", &["--take-over"]);
    world.until("the successor waits for its lease", async || world.refuses_upgrades().await).await;
    world.process.kill();
    world.control.set_open(true);
    world.until("the successor accepts", async || world.is_routed().await).await;
    world.process = successor;
}

#[tokio::test]
async fn a_process_that_is_told_to_end_amid_an_upgrade_takes_its_successor_with_it() {
    let mut world = World::start("upgrade_ms_max = 600000").await;
    world.control.set_open(false);
    let successor = world.spawn("successor", &["--take-over"]);
    world.until("the successor waits for its lease", async || world.refuses_upgrades().await).await;
    world.process.terminate(PATIENCE).unwrap();
    world.until("the successor has ended", async || !successor.is_running()).await;
    assert!(successor.log_tail(20).contains("is ending"), "{}", successor.log_tail(20));
    assert!(tokio::net::TcpStream::connect(world.gateway).await.is_err(), "nobody listens");
}
