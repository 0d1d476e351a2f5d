//! control is killed before and after each of its calls, and started again on the same journal.

use crate::peers::{Point, Trouble};
use crate::world::World;
use banyan_core::protocol::migration::HandoverOutcome;

/// Kills control at every call of a move, until a move has fewer calls; how many kills that were.
async fn check(world: &mut World, point: Point, (action, percent): (&str, f64)) -> usize {
    let (back, from) = if action == "advance" { ("rollback", 0.0) } else { ("advance", percent + 10.0) };
    for nth in 1.. {
        if (world.status().await.percent - from).abs() > 0.05 {
            world.go(back, from).await;
        }
        let before = world.peers.sides().calls.len();
        world.peers.sides().trouble = Some(Trouble::Hangs { number: before + nth, point });
        world.ask(action, Some(percent)).await.unwrap();
        let finished = tokio::select! {
            () = world.peers.until_hung() => false,
            _ = world.arrive(percent) => true,
        };
        world.peers.sides().trouble = None;
        if finished {
            return nth - 1;
        }
        world.kill_control();
        world.start_control().await;
        world.arrive(percent).await;
    }
    unreachable!("a move has an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_before_any_call_of_an_advance_is_survived() {
    let mut world = World::start().await;
    assert_eq!(check(&mut world, Point::Before, ("advance", 10.0)).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_after_any_call_of_an_advance_is_survived() {
    let mut world = World::start().await;
    assert_eq!(check(&mut world, Point::After, ("advance", 10.0)).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_before_any_call_of_a_rollback_is_survived() {
    let mut world = World::start().await;
    world.go("advance", 10.0).await;
    assert_eq!(check(&mut world, Point::Before, ("rollback", 0.0)).await, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_after_any_call_of_a_rollback_is_survived() {
    let mut world = World::start().await;
    world.go("advance", 10.0).await;
    assert_eq!(check(&mut world, Point::After, ("rollback", 0.0)).await, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_attempt_is_restored_and_one_that_has_flipped_is_finished() {
    let mut world = World::start().await;
    // Calls of an advance: status, ownership, take, release, take, fence, mark, open, fence, release.
    for (nth, outcome) in [(7, HandoverOutcome::Restored), (8, HandoverOutcome::Done)] {
        let number = world.peers.sides().calls.len() + nth;
        world.peers.sides().trouble = Some(Trouble::Hangs { number, point: Point::Before });
        world.ask("advance", Some(10.0)).await.unwrap();
        world.peers.until_hung().await;
        world.peers.sides().trouble = None;
        let burned = world.status().await.handover.unwrap().owner_epoch;
        world.kill_control();
        world.start_control().await;
        world.arrive(10.0).await;
        let report = world.handovers().await.into_iter().find(|r| r.owner_epoch == burned).unwrap();
        assert_eq!(report.outcome, outcome, "call {nth}");
        world.go("rollback", 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_restoring_is_restored_also_where_it_had_begun() {
    let mut world = World::start().await;
    // Calls of an advance whose mark is not reached: as above, and from the eighth on release and fence.
    for (nth, point) in [(8, Point::Before), (8, Point::After), (9, Point::Before), (9, Point::After)] {
        let number = world.peers.sides().calls.len() + nth;
        world.peers.sides().marks_stuck = true;
        world.peers.sides().trouble = Some(Trouble::Hangs { number, point });
        world.ask("advance", Some(10.0)).await.unwrap();
        world.peers.until_hung().await;
        world.peers.sides().trouble = None;
        world.peers.sides().marks_stuck = false;
        let burned = world.status().await.handover.unwrap().owner_epoch;
        world.kill_control();
        world.start_control().await;
        world.arrive(10.0).await;
        let report = world.handovers().await.into_iter().find(|r| r.owner_epoch == burned).unwrap();
        assert_eq!(report.outcome, HandoverOutcome::Restored, "call {nth} {point:?}");
        world.go("rollback", 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_and_pauses_survive_a_restart() {
    let mut world = World::start().await;
    world.ask("pause", None).await.unwrap();
    world.ask("advance", Some(10.0)).await.unwrap();
    assert_eq!(world.stop_control().await, None);
    world.start_control().await;
    let status = world.status().await;
    assert_eq!((status.wanted_percent, status.paused, status.percent), (10.0, true, 0.0));
    assert!(status.waiting_for.iter().any(|w| w.contains("migration resume")), "{:?}", status.waiting_for);
    world.ask("resume", None).await.unwrap();
    world.arrive(10.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_taken_for_a_lease_after_a_start() {
    let mut world = World::start().await;
    world.go("advance", 1.0).await;
    world.kill_control();
    let before = world.peers.sides().calls.len();
    let start = banyan_runtime::clock::instant();
    world.start_control().await;
    world.ask("advance", Some(10.0)).await.unwrap();
    world.arrive(10.0).await;
    assert!(start.elapsed() >= std::time::Duration::from_millis(350), "{:?}", start.elapsed());
    // Gates that a probe of before the start may have left are released at once.
    assert_eq!(world.peers.sides().calls[before], "/v1/gates/release");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_whose_journal_was_opened_by_another_stops_its_process() {
    let mut world = World::start().await;
    let journal = rusqlite::Connection::open(world.journal()).unwrap();
    journal.execute("UPDATE control SET term = term + 1", []).unwrap();
    // Nobody answers: the process is on its way down.
    let refused = world.ask("advance", Some(1.0)).await;
    assert!(refused.is_err(), "{refused:?}");
    let failure = world.stop_control().await.unwrap();
    assert!(failure.contains("a later control has opened the journal"), "{failure}");
}
