//! The senders: each takes up a mail, reaches the server, claims, sends, records.
//!
//! The server is reached before the mail is claimed, so that nothing is claimed while it is down. What was
//! claimed by a process that has ended is recorded as failed: it may have been sent.

use super::mail::{Mails, TakenUp};
use super::smtp::{Smtp, Unsent};
use crate::config::Config;
use crate::domain::{Answer, Command, Mail, MailOutcome, Rejection};
use crate::metrics;
use crate::store::{NotifyCore, Signals, reads};
use banyan_core::BucketSet;
use banyan_runtime::clock::Boot;
use banyan_runtime::failpoints;
use banyan_runtime::tasks::Shutdown;
use banyan_runtime::trace::{self, Kind, SpanContext, Tracer};
use banyan_store::{Fault, Readers, Refusal, Shell, ownership};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use rusqlite::Connection;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// The tracer of imports and mails.
pub const TRACER: Tracer = Tracer::of("notify");
/// Candidates that are looked at in one step.
const PAGE: usize = 256;
/// A look at the table, where nothing has woken the sender.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// How long a mail is let alone that could not be claimed.
const REFUSED: Duration = Duration::from_millis(200);
/// How long the outcome of a mail is tried to be recorded.
const RECORD_MAX: Duration = Duration::from_secs(30);

/// What the senders share.
#[derive(Clone)]
pub struct Sender {
    /// Where claims and outcomes go.
    pub shell: Shell<NotifyCore>,
    /// Where candidates are found.
    pub readers: Readers,
    /// Mails under way.
    pub mails: Mails,
    /// Woken by commits.
    pub signals: Signals,
    /// The server.
    pub smtp: Smtp,
    /// The longest pause of a server that is down.
    pub backoff_max: Duration,
    /// The most tries of a mail that the server puts off.
    pub tries_max: u32,
    /// Keeps the lease until the last mail is recorded.
    pub _serving: mpsc::Sender<Infallible>,
}

impl Sender {
    /// The pauses and tries of the configuration.
    pub fn limits(config: &Config) -> (Duration, u32) {
        (Duration::from_millis(config.mail_backoff_ms_max), config.mail_tries_max)
    }

    /// Sends until shutdown; a mail under way is finished.
    ///
    /// # Errors
    /// None; the signature is the supervisor's.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        while !shutdown.is_requested() {
            match self.take_up().await {
                Ok(Some(taken_up)) => {
                    // There may be more for the next sender.
                    self.signals.mail.notify_one();
                    self.deliver(taken_up).await;
                }
                Ok(None) => self.wait(&shutdown).await,
                Err(fault) => {
                    tracing::warn!(error = %fault, "pending mails cannot be read");
                    self.wait(&shutdown).await;
                }
            }
        }
        Ok(())
    }

    async fn wait(&self, shutdown: &Shutdown) {
        let now = Boot::now();
        let next = self.mails.next_try().map_or(LOOK_MAX, |at| at.since(now));
        // A little longer, so that it is over by then.
        let next = next.min(LOOK_MAX) + Duration::from_millis(1);
        tokio::select! {
            () = self.signals.mail.notified() => {}
            () = self.mails.ended() => {}
            () = tokio::time::sleep(next) => {}
            () = shutdown.requested() => {}
        }
    }

    /// The next pending mail in an open bucket.
    async fn take_up(&self) -> Result<Option<TakenUp>, Fault> {
        if self.mails.is_paused(Boot::now()) {
            return Ok(None);
        }
        let mut after = 0;
        loop {
            let (page, open) = self.readers.read(move |db| candidates(db, after)).await?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            after = *last;
            let is_open = |user: &u64| open.contains(banyan_core::Bucket::of(&user.to_string()));
            let own: Vec<(u64, u64)> = page.iter().filter(|(_, user)| is_open(user)).copied().collect();
            if let Some(taken_up) = self.mails.take_up(&own, Boot::now()) {
                return Ok(Some(taken_up));
            }
            if page.len() < PAGE {
                return Ok(None);
            }
        }
    }

    async fn deliver(&self, mut taken_up: TakenUp) {
        let (id, user) = (taken_up.id, taken_up.user);
        let connection = match self.smtp.connect().await {
            Ok(connection) => {
                self.mails.resume();
                connection
            }
            Err(error) => {
                let pause = self.mails.pause(Boot::now(), self.backoff_max);
                tracing::warn!(error, pause_ms = pause.as_millis(), "the SMTP server cannot be reached");
                return;
            }
        };
        failpoints::before("notify", "claim");
        let Some(mail) = self.claim(id, user).await else { return };
        failpoints::after("notify", "claim");
        match mail.traceparent.as_deref().and_then(SpanContext::parse) {
            Some(parent) => {
                let mut span = TRACER.begin("mail", Kind::Client, Some(parent));
                span.set("banyan.notification", id);
                let outcome = trace::scope(span.context(), self.post(&mut taken_up, connection, &mail)).await;
                span.set("banyan.outcome", outcome.as_str());
                if outcome == MailOutcome::Failed {
                    span.fail("the mail was not sent");
                }
            }
            None => {
                self.post(&mut taken_up, connection, &mail).await;
            }
        }
    }

    /// Sends a claimed mail and records what became of it.
    async fn post(
        &self,
        taken_up: &mut TakenUp,
        connection: AsyncSmtpConnection,
        mail: &Mail,
    ) -> MailOutcome {
        let (id, user) = (taken_up.id, taken_up.user);
        failpoints::before("notify", "send");
        let sent = tokio::select! {
            sent = self.smtp.send(connection, mail) => sent,
            Ok(()) = &mut taken_up.broken_off => Err(Unsent::Failed("its bucket leaves".into())),
        };
        failpoints::after("notify", "send");
        let outcome = match sent {
            Ok(()) => {
                tracing::debug!(notification = id, "a mail is sent");
                MailOutcome::Sent
            }
            Err(Unsent::Failed(cause)) => {
                tracing::warn!(notification = id, cause, "a mail failed");
                MailOutcome::Failed
            }
            Err(Unsent::NotTaken(cause)) => self.not_taken(id, &cause),
        };
        metrics::mail(outcome);
        failpoints::before("notify", "record");
        self.record(id, user, outcome).await;
        failpoints::after("notify", "record");
        if outcome != MailOutcome::NotTaken {
            self.mails.settled(id);
        }
        outcome
    }

    /// Another try later, unless there have been enough.
    fn not_taken(&self, id: u64, cause: &str) -> MailOutcome {
        let tries = self.mails.count_try(id);
        if tries >= self.tries_max {
            tracing::warn!(notification = id, cause, tries, "a mail failed: the server does not take it");
            return MailOutcome::Failed;
        }
        let pause = Duration::from_millis(100 << tries.min(16)).min(self.backoff_max);
        tracing::info!(notification = id, cause, tries, "the server does not take a mail yet");
        self.mails.put_off(id, Boot::now().plus(pause));
        MailOutcome::NotTaken
    }

    async fn claim(&self, id: u64, user: u64) -> Option<Mail> {
        let refusal = match self.shell.execute(Command::ClaimMail { id, user }).await {
            Ok(answered) => match answered.answer {
                Answer::Claimed(mail) => return Some(*mail),
                _ => return None,
            },
            Err(refusal) => refusal,
        };
        if let Refusal::Fault(fault) = &refusal {
            tracing::warn!(notification = id, error = %fault, "a mail cannot be claimed");
            if fault.is_unknown() {
                // It may be claimed now: then it is nobody's but this sender's, and is not sent.
                self.record(id, user, MailOutcome::Failed).await;
            }
        }
        self.mails.put_off(id, Boot::now().plus(REFUSED));
        None
    }

    /// Records what became of a mail. The mail is out, so that a database that fails is asked again.
    async fn record(&self, id: u64, user: u64, outcome: MailOutcome) {
        let start = Boot::now();
        let mut pause = Duration::from_millis(20);
        loop {
            match self.shell.execute(Command::RecordMail { id, user, outcome }).await {
                // Settled, or no longer this service's.
                Ok(_) | Err(Refusal::Rejected(Rejection::MailNotDue) | Refusal::NotOwner(_)) => return,
                Err(refusal) if start.elapsed() > RECORD_MAX => {
                    tracing::error!(notification = id, ?outcome, ?refusal, "a mail stays claimed");
                    return;
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Records what a process that has ended left claimed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn recover(self, left: Vec<(u64, u64)>, shutdown: Shutdown) -> Result<(), Infallible> {
        for (id, user) in left {
            tracing::warn!(
                notification = id,
                "a mail was claimed when the service ended; it counts as failed"
            );
            while !shutdown.is_requested() {
                let outcome = MailOutcome::Failed;
                match self.shell.execute(Command::RecordMail { id, user, outcome }).await {
                    Ok(_) | Err(Refusal::Rejected(_) | Refusal::NotOwner(_)) => break,
                    // Without a lease yet.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }
        Ok(())
    }
}

type Candidates = (Vec<(u64, u64)>, BucketSet);

fn candidates(db: &Connection, after: u64) -> Result<Candidates, Fault> {
    let page = reads::pending(db, after, PAGE)?;
    if page.is_empty() {
        return Ok((page, BucketSet::empty()));
    }
    let open = ownership::open_buckets(db)?.iter().fold(BucketSet::empty(), |all, (_, set)| all.union(set));
    Ok((page, open))
}
