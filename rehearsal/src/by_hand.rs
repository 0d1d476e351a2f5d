//! A person at the keyboard acts: the schedule is over, or there never was one; the load goes on until `q`.
//!
//! A refusal by control is shown and changes nothing. What cannot be undone any more is a problem of the
//! scorecard, as in a scheduled run.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::{Duration, Instant};

use anyhow::bail;
use banyan_core::protocol::migration::MigrationStatus;
use banyan_runtime::clock;

use crate::control::{Operator, POLL, arrived, standing};
use crate::installation::{Layout, ROLES};
use crate::keys::Key;
use crate::load::record::Phase;
use crate::options::SPIKE;
use crate::phases::{Course, MOVE_MAX, SETTLE};
use crate::provider::Mode;
use crate::recovery;
use crate::scorecard::tenths;
use crate::timeline::Kind;

/// What a key has begun and what is not over yet.
pub struct ByHand<'c, 'r> {
    course: &'c mut Course<'r>,
    operator: Operator,
    chance: StdRng,
    moving: Option<(Instant, f64)>,
    outage: Outage,
    spike: Option<Instant>,
}

/// How the payment provider is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outage {
    Over,
    Hanging,
    /// It answers again since this instant; payments that it lets go may still fail.
    Ending(Instant),
}

impl<'c, 'r> ByHand<'c, 'r> {
    /// Takes the course over; Banyan runs.
    pub fn new(course: &'c mut Course<'r>, operator: Operator) -> Self {
        let chance = StdRng::seed_from_u64(course.card.seed);
        Self { course, operator, chance, moving: None, outage: Outage::Over, spike: None }
    }

    /// Acts key by key until `q`, beginning with the one that ended the schedule.
    ///
    /// # Errors
    /// A role does not come back, or something does not come to rest after `q`.
    pub async fn run(mut self, first: Option<Key>) -> anyhow::Result<()> {
        self.course.enter(Phase::ByHand);
        let mut pressed = first;
        loop {
            match pressed.take() {
                Some(Key::Finish) => return self.finish().await,
                Some(key) => self.act(key).await?,
                None => {}
            }
            pressed = tokio::select! {
                key = self.course.keys.next() => Some(key),
                () = tokio::time::sleep(POLL) => None,
            };
            self.look().await?;
        }
    }

    async fn act(&mut self, key: Key) -> anyhow::Result<()> {
        match key {
            Key::RollBack => self.asked("r", self.operator.ask(0.0, false).await),
            Key::Advance => self.asked("a", self.operator.ask_next().await),
            Key::Outage => self.toggle_outage().await?,
            Key::Kill => self.kill().await?,
            Key::Spike => self.crowd(),
            Key::Finish => {}
        }
        Ok(())
    }

    fn asked(&mut self, key: &str, answer: anyhow::Result<MigrationStatus>) {
        match answer {
            Ok(status) => {
                self.moving = Some((clock::instant(), status.wanted_percent));
                self.course.progress.say(&format!("  {key}: asked for {} %", status.wanted_percent));
            }
            Err(refusal) => self.course.progress.say(&format!("  {key}: {refusal:#}")),
        }
    }

    async fn toggle_outage(&mut self) -> anyhow::Result<()> {
        if self.outage == Outage::Hanging {
            self.course.system.provider().set(Mode::Normal).await?;
            self.outage = Outage::Ending(clock::instant());
            self.mark(Kind::Recovered, "p: the payment provider answers again");
        } else {
            self.course.load.meanwhile().set_outage(true);
            self.course.system.provider().set(Mode::Hang).await?;
            self.outage = Outage::Hanging;
            self.mark(Kind::Fault, "p: the payment provider hangs; p again ends it");
        }
        Ok(())
    }

    fn mark(&self, kind: Kind, text: &str) {
        self.course.progress.say(&format!("  {text}"));
        let words = text.split_once(": ").map_or(text, |(_, words)| words);
        let words = words.split(';').next().unwrap_or(words);
        self.course.load.record().timeline(|timeline| timeline.mark(kind, words));
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        if self.course.shape.layout == Layout::Together {
            self.course.progress.say("  k: the roles share one process; leave --together out to kill one");
            return Ok(());
        }
        let role = ROLES[self.chance.random_range(0..ROLES.len())];
        self.course.progress.say(&format!("  k: kill -9 {role}"));
        self.course.load.meanwhile().set_down(true);
        let recovery = recovery::kill(self.course.system, role, self.course.load.record()).await?;
        // Answers that the kill cut off are still on their way to the customers.
        tokio::time::sleep(SETTLE).await;
        self.course.load.meanwhile().set_down(false);
        self.course.progress.say(&format!("  {}", recovery.in_words()));
        self.course.card.recoveries.push(recovery);
        Ok(())
    }

    fn crowd(&mut self) {
        if self.spike.is_some() {
            return self.course.progress.say("  s: the spike is not over yet");
        }
        self.spike = Some(self.course.begin_spike(SPIKE));
        self.course.progress.say("  s: spike");
    }

    /// Notices what has ended.
    async fn look(&mut self) -> anyhow::Result<()> {
        if let Some((asked, percent)) = self.moving
            && let Ok(status) = self.operator.status().await
            && arrived(&status, percent)
        {
            let ms = tenths(asked.elapsed().as_secs_f64() * 1000.0);
            self.moving = None;
            if percent == 0.0 {
                self.course.card.rollbacks_ms.push(ms);
            }
            self.course.progress.say(&format!("  {percent} % reached after {ms:.0} ms"));
        }
        if let Some(began) = self.spike
            && self.course.load.try_calm()?
        {
            self.spike = None;
            self.course.end_spike(began);
            self.course.enter(Phase::ByHand);
            self.course.progress.say("  the spike is over");
        }
        if let Outage::Ending(since) = self.outage
            && since.elapsed() > SETTLE
            && self.course.system.provider().control().await?.hanging == 0
        {
            self.outage = Outage::Over;
            self.course.load.meanwhile().set_outage(false);
        }
        Ok(())
    }

    /// Lets everything that was begun come to its end.
    async fn finish(mut self) -> anyhow::Result<()> {
        self.course.progress.say("  q: finishing");
        if self.outage == Outage::Hanging {
            self.toggle_outage().await?;
        }
        let start = clock::instant();
        loop {
            self.look().await?;
            let status = self.operator.status().await?;
            let at_rest = arrived(&status, status.wanted_percent);
            if at_rest && self.spike.is_none() && self.outage == Outage::Over {
                return Ok(());
            }
            if start.elapsed() > MOVE_MAX * 2 {
                bail!("not at rest {} s after q: {}", start.elapsed().as_secs(), standing(&status));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
