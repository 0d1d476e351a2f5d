//! The load: virtual customers who act when they are due, in an open loop.
//!
//! Arrivals come at their own rate, however slow the answers are; each is the next step of a customer who
//! is free. Where nobody is free the request waits, and its latency counts from when it was due, so that a
//! stall of the system is measured and not hidden. A customer needs a moment between two requests.

pub mod arrivals;
pub mod check;
pub mod client;
pub mod journey;
pub mod record;
pub mod request;
pub mod session;
mod single;
mod street;
pub mod writes;

use anyhow::{Context as _, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::task::JoinSet;

use client::HttpClient;
use journey::Step;
use record::{Record, Verdict};
use request::Town;
use session::Session;
use street::Street;
use writes::Write;

/// Logins at once before the load begins; each is a password check.
const LOGINS_AT_ONCE: usize = 3;

/// What the load is made of.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Requests a second.
    pub rate: f64,
    /// Customers at a time.
    pub browsers: u64,
    /// Seeded users that they can be.
    pub users: u64,
    /// Seed of everything left to chance.
    pub seed: u64,
}

/// What all customers use.
#[derive(Clone)]
struct World {
    client: HttpClient,
    town: Arc<Town>,
    record: Record,
    outage: Arc<AtomicBool>,
}

impl World {
    /// Lets a customer do one step.
    async fn perform(&self, session: &mut Session, step: Step) -> (Step, Verdict, Option<Write>) {
        let attempt = request::prepare(session, step, &self.town);
        let step = attempt.step;
        let out_before = self.outage.load(Ordering::SeqCst);
        let outcome = self.client.send(attempt.outgoing.clone()).await;
        let out = out_before || self.outage.load(Ordering::SeqCst);
        let (verdict, write) = check::conclude(session, attempt, outcome, out);
        (step, verdict, write)
    }
}

/// The customers.
pub struct Load {
    world: World,
    options: LoadOptions,
    ready: Vec<Session>,
    street: JoinSet<Street>,
    resting: Option<Street>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Customers who are not logged in yet.
    pub fn new(client: HttpClient, town: Town, options: LoadOptions) -> Self {
        let world = World { client, town: Arc::new(town), record: Record::default(), outage: Arc::default() };
        Self {
            world,
            options,
            ready: Vec::new(),
            street: JoinSet::new(),
            resting: None,
            stop: watch::channel(false).0,
        }
    }

    /// What the customers saw.
    pub fn record(&self) -> &Record {
        &self.world.record
    }

    /// Logs every customer in; these requests are not counted.
    ///
    /// # Errors
    /// Somebody cannot log in: the monolith does not work.
    pub async fn log_in(&mut self, mut progress: impl FnMut(usize)) -> anyhow::Result<()> {
        let seed = |number: u64| self.options.seed.wrapping_mul(1_000_003).wrapping_add(number);
        let mut outside: Vec<Session> =
            (1..=self.options.browsers).map(|number| Session::new(number, seed(number))).collect();
        let mut entering: JoinSet<anyhow::Result<Session>> = JoinSet::new();
        loop {
            while entering.len() < LOGINS_AT_ONCE
                && let Some(session) = outside.pop()
            {
                entering.spawn(log_in(self.world.clone(), session));
            }
            let Some(entered) = entering.join_next().await else { return Ok(()) };
            self.ready.push(entered.context("a login broke")??);
            progress(self.ready.len());
        }
    }

    /// Lets the customers act; those who have been stopped go on.
    pub fn start(&mut self) {
        self.stop.send_replace(false);
        let sessions = std::mem::take(&mut self.ready);
        let mut street = match self.resting.take() {
            Some(street) => street,
            None => Street::new(self.world.clone(), self.options, sessions),
        };
        street.open(self.options);
        self.street.spawn(street.run(self.stop.subscribe()));
    }

    /// Turns all customers to another address.
    pub fn turn_to(&self, base_url: &str) {
        self.world.client.turn_to(base_url);
    }

    /// Says whether the payment provider is out, so that payments which fail for it count apart.
    pub fn set_outage(&self, out: bool) {
        self.world.outage.store(out, Ordering::SeqCst);
    }

    /// Lets nobody begin anything new, and waits for what is under way.
    ///
    /// # Errors
    /// The load itself broke.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while let Some(ended) = self.street.join_next().await {
            self.resting = Some(ended.context("the load broke")?);
        }
        Ok(())
    }
}

async fn log_in(world: World, mut session: Session) -> anyhow::Result<Session> {
    for step in journey::LOGIN {
        if let (step, Verdict::Failed(reason), _) = world.perform(&mut session, *step).await {
            bail!("{} cannot log in: {}: {reason}", session.email, step.name());
        }
    }
    Ok(session)
}
