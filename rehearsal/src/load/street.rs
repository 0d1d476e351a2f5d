//! Who acts next: due requests meet customers who are free.

use banyan_runtime::clock;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::arrivals::Arrivals;
use super::session::{Session, email_of};
use super::{LoadOptions, World};

/// The least time between two requests of a customer.
const THINK: Duration = Duration::from_millis(250);

/// All customers, and the requests that are due.
pub(super) struct Street {
    world: World,
    arrivals: Arrivals,
    waiting: VecDeque<Instant>,
    idle: Vec<Session>,
    resting: VecDeque<(Instant, Session)>,
    acting: JoinSet<Session>,
    /// Numbers of seeded users that nobody is at the moment.
    free: Vec<u64>,
    chance: StdRng,
}

impl Street {
    /// Customers who are logged in.
    pub fn new(world: World, options: LoadOptions, idle: Vec<Session>) -> Self {
        Self {
            world,
            arrivals: Arrivals::new(clock::instant(), options.rate, options.seed),
            waiting: VecDeque::new(),
            idle,
            resting: VecDeque::new(),
            acting: JoinSet::new(),
            free: (options.browsers + 1..=options.users).collect(),
            chance: StdRng::seed_from_u64(!options.seed),
        }
    }

    /// Opens: the first request is due from now on, and nothing waits.
    pub fn open(&mut self, options: LoadOptions) {
        self.waiting.clear();
        self.arrivals = Arrivals::new(clock::instant(), options.rate, self.chance.random());
    }

    /// Acts until asked to stop, then waits for the answers that are still to come.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Self {
        loop {
            let next = self.next_event();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep_until(next.into()) => {}
                Some(session) = self.acting.join_next() => self.rest(session.expect("a customer never panics")),
            }
            self.turn();
        }
        while let Some(session) = self.acting.join_next().await {
            self.rest(session.expect("a customer never panics"));
        }
        self
    }

    fn next_event(&self) -> Instant {
        let arrival = self.arrivals.next();
        match self.resting.front() {
            Some((rested, _)) if !self.waiting.is_empty() => arrival.min(*rested),
            _ => arrival,
        }
    }

    fn turn(&mut self) {
        let now = clock::instant();
        while self.arrivals.next() <= now {
            self.waiting.push_back(self.arrivals.take());
        }
        while self.resting.front().is_some_and(|(rested, _)| *rested <= now) {
            self.idle.extend(self.resting.pop_front().map(|(_, session)| session));
        }
        while !self.waiting.is_empty() && !self.idle.is_empty() {
            let customer = self.idle.swap_remove(self.chance.random_range(0..self.idle.len()));
            if let Some(due) = self.waiting.pop_front() {
                self.act(customer, due);
            }
        }
        self.world.record.set_waiting(self.waiting.len());
    }

    fn act(&mut self, mut session: Session, due: Instant) {
        let world = self.world.clone();
        self.acting.spawn(async move {
            let step = session.next_step();
            world.act(&mut session, step, due).await;
            session
        });
    }

    fn rest(&mut self, mut session: Session) {
        self.free.append(&mut session.released);
        if session.vacated && !self.free.is_empty() {
            let number = self.free.swap_remove(self.chance.random_range(0..self.free.len()));
            session.change_customer(email_of(number), Some(number));
        }
        self.resting.push_back((clock::instant() + THINK, session));
    }
}
