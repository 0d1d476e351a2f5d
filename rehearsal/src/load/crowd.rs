//! A crowd: many more requests than usual for some seconds, from guests with many tabs each.
//!
//! The customers of the street are as many as the usual rate needs, and each waits for an answer before the
//! next request; a spike from them would end where they are all busy. Guests act in an open loop instead:
//! each request is a new tab of a guest who is logged in, whatever became of the other tabs. So a tab does
//! only what needs no knowledge of the others: it reads, pays and writes reminders.

use banyan_runtime::clock;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use super::World;
use super::arrivals::Arrivals;
use super::journey::Step;
use super::session::Session;

/// Requests of the crowd that are under way; more wait, and their latency counts from when they were due.
const TABS_MAX: usize = 4000;

/// What a tab does, and how often: the customers' mix, without what needs a memory.
const STEPS: &[(u32, Step)] = &[
    (24, Step::Dashboard),
    (21, Step::UnreadCount),
    (20, Step::List),
    (13, Step::NotificationsPage),
    (8, Step::HistoryPage),
    (8, Step::ListHistory),
    (6, Step::ShowPreferences),
    (6, Step::ListPayments),
    (6, Step::Remind),
    (5, Step::PaymentsPage),
    (5, Step::PaymentForm),
    (8, Step::Pay),
];

/// When the crowd comes, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Surge {
    /// Requests a second, beside the customers'.
    pub rate: f64,
    /// For how long.
    pub length: Duration,
    /// Seed of the chance.
    pub seed: u64,
}

/// Lets guests act until the surge is over and every request has its answer.
pub(super) async fn run(world: World, guests: Arc<Vec<Session>>, surge: Surge) {
    let end = clock::instant() + surge.length;
    let mut arrivals = Arrivals::new(clock::instant(), surge.rate, surge.seed);
    let mut chance = StdRng::seed_from_u64(!surge.seed);
    let mut tabs: JoinSet<()> = JoinSet::new();
    while arrivals.next() < end {
        tokio::select! {
            () = tokio::time::sleep_until(arrivals.next().into()), if tabs.len() < TABS_MAX => {}
            Some(closed) = tabs.join_next() => closed.expect("a guest never panics"),
        }
        while arrivals.next() <= clock::instant() && arrivals.next() < end && tabs.len() < TABS_MAX {
            let guest = &guests[chance.random_range(0..guests.len())];
            let tab = guest.tab(chance.random());
            tabs.spawn(act(world.clone(), tab, (draw(&mut chance), arrivals.take())));
        }
    }
    while let Some(closed) = tabs.join_next().await {
        closed.expect("a guest never panics");
    }
}

async fn act(world: World, mut tab: Session, (step, due): (Step, Instant)) {
    world.act(&mut tab, step, due).await;
}

fn draw(chance: &mut StdRng) -> Step {
    let all: u32 = STEPS.iter().map(|(weight, _)| weight).sum();
    let mut ticket = chance.random_range(0..all);
    for (weight, step) in STEPS {
        match ticket.checked_sub(*weight) {
            Some(rest) => ticket = rest,
            None => return *step,
        }
    }
    unreachable!("a ticket below the sum of the weights falls to one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_does_only_what_needs_no_memory_of_the_others() {
        let with_memory = [Step::Read, Step::ReadAll, Step::Delete, Step::SetPreferences, Step::Logout];
        assert!(STEPS.iter().all(|(_, step)| !with_memory.contains(step)));
        let mut chance = StdRng::seed_from_u64(1);
        let drawn: Vec<Step> = (0..2000).map(|_| draw(&mut chance)).collect();
        assert!(STEPS.iter().all(|(_, step)| drawn.contains(step)), "each step is drawn");
        let writes = drawn.iter().filter(|step| step.writes()).count();
        assert!((120..360).contains(&writes), "{writes} of 2000 write");
    }
}
