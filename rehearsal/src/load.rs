//! The load: virtual customers who act when they are due, in an open loop.
//!
//! Arrivals come at their own rate, however slow the answers are; each is the next step of a customer who
//! is free. Where nobody is free the request waits, and its latency counts from when it was due, so that a
//! stall of the system is measured and not hidden. A customer needs a moment between two requests.

pub mod arrivals;
pub mod check;
pub mod client;
mod crowd;
pub mod journey;
pub mod meanwhile;
pub mod record;
pub mod request;
pub mod session;
mod single;
mod street;
pub mod writes;

use anyhow::{Context as _, bail};
use banyan_runtime::clock;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

use client::HttpClient;
pub use crowd::Surge;
use journey::Step;
use meanwhile::Meanwhile;
use record::{Done, Record, Verdict};
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
    meanwhile: Arc<Meanwhile>,
}

impl World {
    /// Lets a customer do one step.
    async fn perform(&self, session: &mut Session, step: Step) -> (Step, Verdict, Option<Write>) {
        let attempt = request::prepare(session, step, &self.town);
        let step = attempt.step;
        let before = self.meanwhile.now();
        let outcome = self.client.send(attempt.outgoing.clone()).await;
        let excuses = self.meanwhile.since(before);
        let (verdict, write) = check::conclude(session, attempt, outcome, excuses);
        (step, verdict, write)
    }

    /// Lets a customer do one step that was due at an instant, and records it.
    async fn act(&self, session: &mut Session, step: Step, due: Instant) {
        let phase = self.record.phase();
        let (step, verdict, write) = self.perform(session, step).await;
        self.record.note(Done { step: step.name(), due, ended: clock::instant(), phase, verdict, write });
    }
}

/// The customers.
pub struct Load {
    world: World,
    options: LoadOptions,
    ready: Vec<Session>,
    street: JoinSet<Street>,
    resting: Option<Street>,
    guests: Arc<Vec<Session>>,
    crowd: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Customers who are not logged in yet.
    pub fn new(client: HttpClient, town: Town, options: LoadOptions) -> Self {
        let world =
            World { client, town: Arc::new(town), record: Record::default(), meanwhile: Arc::default() };
        Self {
            world,
            options,
            ready: Vec::new(),
            street: JoinSet::new(),
            resting: None,
            guests: Arc::default(),
            crowd: JoinSet::new(),
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
    pub async fn log_in(&mut self, progress: impl FnMut(usize)) -> anyhow::Result<()> {
        self.ready = self.admit(1..=self.options.browsers, progress).await?;
        Ok(())
    }

    /// Logs guests in who act during a [`Self::surge`]: users by number, whom no customer of the street ever is.
    ///
    /// # Errors
    /// As [`Self::log_in`].
    pub async fn invite(&mut self, numbers: RangeInclusive<u64>) -> anyhow::Result<()> {
        self.guests = Arc::new(self.admit(numbers, |_| ()).await?);
        Ok(())
    }

    async fn admit(
        &self,
        numbers: RangeInclusive<u64>,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<Vec<Session>> {
        let seed = |number: u64| self.options.seed.wrapping_mul(1_000_003).wrapping_add(number);
        let mut outside: Vec<Session> = numbers.map(|number| Session::new(number, seed(number))).collect();
        let mut entering: JoinSet<anyhow::Result<Session>> = JoinSet::new();
        let mut inside = Vec::new();
        loop {
            while entering.len() < LOGINS_AT_ONCE
                && let Some(session) = outside.pop()
            {
                entering.spawn(log_in(self.world.clone(), session));
            }
            let Some(entered) = entering.join_next().await else { return Ok(inside) };
            inside.push(entered.context("a login broke")??);
            progress(inside.len());
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

    /// What is known to be out of order, so that requests which fail for it count apart.
    pub fn meanwhile(&self) -> &Meanwhile {
        &self.world.meanwhile
    }

    /// Lets the guests act beside the customers.
    pub fn surge(&mut self, surge: Surge) {
        self.world.meanwhile.set_crowded(true);
        self.crowd.spawn(crowd::run(self.world.clone(), Arc::clone(&self.guests), surge));
    }

    /// Waits until the surge is over and each of its requests has its answer. Nothing is lost where the
    /// caller stops waiting.
    ///
    /// # Errors
    /// The load itself broke.
    pub async fn calm(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.crowd.join_next().await {
            ended.context("the crowd broke")?;
        }
        self.world.meanwhile.set_crowded(false);
        Ok(())
    }

    /// Whether the surge is over and each of its requests has its answer.
    ///
    /// # Errors
    /// The load itself broke.
    pub fn try_calm(&mut self) -> anyhow::Result<bool> {
        while let Some(ended) = self.crowd.try_join_next() {
            ended.context("the crowd broke")?;
        }
        if self.crowd.is_empty() {
            self.world.meanwhile.set_crowded(false);
        }
        Ok(self.crowd.is_empty())
    }

    /// Lets nobody begin anything new, and waits for what is under way.
    ///
    /// # Errors
    /// The load itself broke.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.calm().await?;
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
