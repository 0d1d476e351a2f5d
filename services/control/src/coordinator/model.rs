//! The coordinator under random schedules, in a model of everything around it.
//!
//! Held in each: never may two sides write a bucket at once; a side writes only what the journal says it
//! owns, and only after the other's last write has arrived; no write is refused whose gateway has a lease;
//! reads and writes of a bucket go to one side; each acknowledged write is on both sides once; owner epochs
//! are never used again; once faults end, everything comes to rest where it was wished.

mod fleet;
mod forced;
mod plants;
mod schedule;
mod settle;
mod stale;
mod world;

use plants::Plant;
use proptest::prelude::*;
use schedule::{Run, Seen};

/// What broke, and what the run had come across before its faults ended.
fn run(gateways: usize, choices: impl IntoIterator<Item = u32>, plant: Option<Plant>) -> (Vec<String>, Seen) {
    let mut run = Run::new(gateways, plant);
    for choice in choices {
        run.act(choice);
        if !run.violations().is_empty() {
            return (run.violations().to_vec(), run.seen);
        }
    }
    let seen = run.seen;
    run.settle();
    (run.violations().to_vec(), seen)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_breaks_the_protocol(
        gateways in 1_usize..4,
        choices in proptest::collection::vec(any::<u32>(), 0..1500),
    ) {
        let (violations, _) = run(gateways, choices, None);
        prop_assert!(violations.is_empty(), "{violations:?}");
    }
}

/// What happens in the run of a seed.
fn choices(seed: u64) -> impl Iterator<Item = u32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    })
}

/// What a run without luck would never reach proves nothing.
#[test]
fn schedules_reach_every_corner_of_the_protocol() {
    let mut all = Seen::default();
    for seed in 0..60_u64 {
        let (violations, seen) = run(2, choices(seed).take(1500), None);
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        all.to_service += seen.to_service;
        all.to_monolith += seen.to_monolith;
        all.restored += seen.restored;
        all.left += seen.left;
        all.deposed += seen.deposed;
        all.ended_by_successor += seen.ended_by_successor;
    }
    let reached = [all.to_service, all.to_monolith, all.restored, all.left, all.ended_by_successor];
    assert!(reached.iter().all(|count| *count >= 20) && all.deposed >= 5, "{all:?}");
}
