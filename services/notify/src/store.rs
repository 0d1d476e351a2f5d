//! The service's core in the batched shell: what commands touch, how they are decided, what is written.
//!
//! Map: [`touched`] from commands to keys, [`rows`] the SQL of the owned tables, [`reads`] what bypasses the
//! shell.

pub mod reads;
mod rows;
mod touched;

use crate::domain::{
    self, ACTIVITY, Action, Answer, Answered, Command, Event, MailState, NOTIFICATIONS, Record, Rejection,
    State, Write, mail,
};
use crate::legacy::{columns, forward};
use crate::local_time::LocalClock;
use banyan_core::{Bucket, Capability};
use banyan_store::migrations::Migration;
use banyan_store::outbox::NewEvent;
use banyan_store::{Claim, Context, Core, Fault, migration};
use rusqlite::Connection;
use std::sync::Arc;
use tokio::sync::Notify;

/// The tables of this service.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0001_create_notifications"),
    migration!("0002_create_mail_claims"),
    migration!("0003_create_mail_traces"),
];

/// The tables whose ids come from leased blocks.
pub const LEASED: [&str; 2] = [NOTIFICATIONS, ACTIVITY];

/// What commits wake.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// A mail may be due.
    pub mail: Arc<Notify>,
    /// Ids run short.
    pub blocks: Arc<Notify>,
}

/// The core.
pub struct NotifyCore {
    /// The monolith's local time.
    pub clock: LocalClock,
    /// The declaration.
    pub capability: Capability,
    /// What commits wake.
    pub signals: Signals,
    /// Below this many unused ids of a table, more are leased.
    pub ids_low: u64,
}

impl Core for NotifyCore {
    type Command = Command;
    type Answer = Answered;
    type Rejection = Rejection;
    type Working = State;

    fn claim(&self, command: &Command) -> Claim {
        let bucket = |user: &u64| Bucket::of(&user.to_string());
        match command {
            Command::Write(write) => Claim::Routed(bucket(&write.user), write.owner_epoch),
            Command::ClaimMail { user, .. } | Command::RecordMail { user, .. } => Claim::Open(bucket(user)),
            _ => Claim::Free,
        }
    }

    fn load(&self, db: &Connection, commands: &[&Command], now_ms: u64) -> Result<State, Fault> {
        touched::load(db, commands, &self.clock.midnight(now_ms))
    }

    fn decide(
        &self,
        state: &mut State,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<Answered, Rejection> {
        let decision = self.decision(state, command, context)?;
        let traceparent = match command {
            Command::Write(write) => write.traceparent.clone(),
            Command::ClaimMail { id, .. } | Command::RecordMail { id, .. } => {
                state.trace_of(*id).map(Into::into)
            }
            _ => None,
        };
        for event in &decision.events {
            publish(event, (context, traceparent.as_deref()));
        }
        // The mark of a close stands behind the events that the close itself brings about.
        let answer = match command {
            Command::Close(request) if matches!(decision.answer, Answer::Applied(true)) => {
                Answer::Applied(context.close(request))
            }
            _ => decision.answer,
        };
        Ok(Answered { answer, position: context.position() })
    }

    fn save(&self, db: &Connection, state: &State, now_ms: u64) -> Result<(), Fault> {
        rows::save(db, state)?;
        state.blocks.save(db)?;
        state.letters.save(db, now_ms)?;
        if let Some(stream) = &state.stream {
            stream.save(db)?;
        }
        Ok(())
    }

    fn committed(&self, state: &State) {
        let pending = |row: Option<&domain::Notification>| {
            row.is_some_and(|row| row.mail_state == MailState::Pending && row.deleted_at.is_none())
        };
        if *state.opened.get() || state.notifications.changed().any(|(_, row)| pending(row)) {
            self.signals.mail.notify_one();
        }
        if LEASED.iter().any(|table| state.blocks.left(table) < self.ids_low) {
            self.signals.blocks.notify_one();
        }
    }
}

/// What a command leads to.
struct Decision {
    events: Vec<Event>,
    answer: Answer,
}

impl Decision {
    fn of(events: Vec<Event>, answer: Answer) -> Self {
        Self { events, answer }
    }
}

impl NotifyCore {
    /// Decides, and takes the events over.
    fn decision(
        &self,
        state: &mut State,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<Decision, Rejection> {
        let time = self.context(context.now_ms);
        let (event, answer) = match command {
            Command::Write(write) => {
                let with_ids = domain::Context {
                    notification_id: match write.action {
                        Action::Remind { .. } => state.blocks.take(NOTIFICATIONS),
                        _ => None,
                    },
                    activity_id: state.blocks.take(ACTIVITY),
                    ..time
                };
                domain::write::decide(state, write, &with_ids)?
            }
            Command::ClaimMail { id, user } => mail::claim(state, (*id, *user), &time)?,
            Command::RecordMail { id, outcome, .. } => mail::record(state, (*id, *outcome), &time)?,
            _ => return self.decide_for_role(state, command, context),
        };
        state.apply(&event);
        if let Command::Write(Write { traceparent: Some(traceparent), .. }) = command {
            trace_mails(state, &event, traceparent);
        }
        Ok(Decision::of(vec![event], answer))
    }

    /// Commands of sync and control.
    fn decide_for_role(
        &self,
        state: &mut State,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<Decision, Rejection> {
        let applied = |applied| Decision::of(Vec::new(), Answer::Applied(applied));
        let taken = forward::Taken::default();
        let is_open = |bucket| context.open_in(bucket).is_some_and(|epoch| !taken.is_after(bucket, epoch));
        let (capability, leased) = (&self.capability, context.leased);
        let world = forward::World { capability, leased, is_open: &is_open, taken: &taken };
        match command {
            Command::Import(batch) => {
                let (outcome, events) = forward::import(state, batch, &world)?;
                for (buckets, owner_epoch) in taken.into_all() {
                    context.withdraw(&buckets, owner_epoch);
                }
                Ok(Decision::of(events, Answer::Imported(outcome)))
            }
            Command::RetryLetter(id) => Ok(Decision::of(forward::retry(state, *id, &world)?, Answer::Done)),
            Command::DiscardLetter(id, reason) => {
                state.letters.open(*id).ok_or(Rejection::LetterNotFound)?;
                state.letters.settle(*id, &format!("discarded: {reason}"));
                Ok(Decision::of(Vec::new(), Answer::Done))
            }
            Command::AddBlock { table, block } => {
                if !state.blocks.add(table, *block) {
                    return Err(Rejection::BlockRefused);
                }
                Ok(Decision::of(Vec::new(), Answer::Done))
            }
            Command::Open(_) if !forward::has_begun(state) => Err(Rejection::Empty),
            Command::Open(request) => {
                let opened = context.open(request);
                *state.opened.change() |= opened;
                Ok(applied(opened))
            }
            Command::Close(request) if context.is_late(request.turn, &request.buckets) => Ok(applied(false)),
            Command::Close(request) => {
                let events = mail::give_up(state, &request.buckets);
                events.iter().for_each(|event| state.apply(event));
                Ok(Decision::of(events, Answer::Applied(true)))
            }
            Command::Write(_) | Command::ClaimMail { .. } | Command::RecordMail { .. } => {
                unreachable!("decided by the caller")
            }
        }
    }

    fn context(&self, now_ms: u64) -> domain::Context {
        domain::Context {
            now: self.clock.at(now_ms),
            today: self.clock.midnight(now_ms),
            notification_id: None,
            activity_id: None,
        }
    }
}

/// The mails that an event makes due belong to its trace.
fn trace_mails(state: &mut State, event: &Event, traceparent: &str) {
    for row in &event.rows {
        if let Record::Notification(row) = row {
            state.trace(row.id, traceparent);
        }
    }
}

fn publish(event: &Event, (context, traceparent): (&mut Context<'_>, Option<&str>)) {
    context.publish(NewEvent {
        kind: event.kind.as_str(),
        subject: event.user.to_string(),
        rows: columns::writes(event),
        traceparent: traceparent.map(Into::into),
    });
}
