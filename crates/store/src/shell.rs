//! The batched shell: the one way to write.
//!
//! Receive; drain whatever is ready (no timer); begin; load what the batch touches; decide in order over one
//! working set; write what has changed, the events and the stored outcomes; commit; only then reply.
//!
//! A rejection undoes its own command only. A transaction that fails on data is repeated command by command,
//! so that one poison command harms only itself. A commit that fails leaves its callers with
//! [`Fault::Unknown`]. Ownership is checked within the transaction of the write.

use crate::answers::{Answers, Key};
use crate::core::{Claim, Context, Core, Refusal};
use crate::database::Database;
use crate::fault::Fault;
use crate::lease::Lease;
use crate::outbox::{self, Pending};
use crate::ownership::Ownership;
use crate::working::Working;
use banyan_runtime::clock::{self, Boot};
use banyan_runtime::failpoints;
use banyan_runtime::tasks::{OnError, Tasks};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

type Outcome<C> = Result<<C as Core>::Answer, Refusal<<C as Core>::Rejection>>;

struct Job<C: Core> {
    command: C::Command,
    reply: oneshot::Sender<Outcome<C>>,
}

/// Where commands are sent. Clones share the writer.
pub struct Shell<C: Core> {
    queue: mpsc::Sender<Job<C>>,
    head: watch::Receiver<u64>,
}

impl<C: Core> Clone for Shell<C> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), head: self.head.clone() }
    }
}

/// The limits of a shell.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most commands that wait; one more is refused as [`Fault::Busy`].
    pub queue_max: usize,
    /// The most commands of one transaction.
    pub batch_max: usize,
}

impl<C: Core> Shell<C> {
    /// Starts the writer thread. It ends when the last clone of the shell is dropped, so that what is in
    /// flight at shutdown is finished; its panic stops the process.
    ///
    /// # Errors
    /// The database fails.
    pub fn start(
        core: C,
        database: &Database,
        (lease, limits): (Lease, Limits),
        tasks: &Tasks,
    ) -> Result<Self, Fault> {
        let connection = database.writer()?;
        let ownership = Ownership::load(&connection)?;
        let (head, seen) = watch::channel(outbox::head(&connection)?);
        outbox::show(*seen.borrow());
        let (queue, jobs) = mpsc::channel(limits.queue_max.max(1));
        let (alive, ended) = oneshot::channel::<()>();
        let writer = Writer { core, database: database.clone(), connection, ownership, lease, head };
        let run = move || {
            let _alive = alive;
            writer.run(jobs, limits.batch_max.max(1));
        };
        let thread = std::thread::Builder::new().name("sqlite writer".into());
        let thread = thread.spawn(run).map_err(|error| Fault::Broken(error.to_string()))?;
        let shutdown = tasks.shutdown();
        tasks.spawn("sqlite writer", OnError::StopProcess, async move {
            tokio::select! {
                () = shutdown.requested() => Ok(()),
                _ = ended => match thread.join() {
                    Ok(()) => Ok(()),
                    Err(_) => Err("the writer thread panicked"),
                },
            }
        });
        Ok(Self { queue, head: seen })
    }

    /// Executes a command; the answer follows the commit.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn execute(&self, command: C::Command) -> Outcome<C> {
        let (reply, outcome) = oneshot::channel();
        self.queue.try_send(Job { command, reply }).map_err(|error| {
            Refusal::Fault(match error {
                mpsc::error::TrySendError::Full(_) => Fault::Busy,
                mpsc::error::TrySendError::Closed(_) => Fault::Stopped,
            })
        })?;
        let ended = || Refusal::Fault(Fault::Unknown("the writer ended before it replied".into()));
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    /// The highest committed position of the outbox.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }
}

struct Writer<C: Core> {
    core: C,
    database: Database,
    connection: Connection,
    ownership: Ownership,
    lease: Lease,
    head: watch::Sender<u64>,
}

/// Why a batch was not committed.
enum Failed {
    /// Certainly not: everything was rolled back.
    RolledBack(Fault),
    /// Perhaps: the commit itself failed.
    Commit(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::RolledBack(fault)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::RolledBack(error.into())
    }
}

impl<C: Core> Writer<C> {
    fn run(mut self, mut queue: mpsc::Receiver<Job<C>>, batch_max: usize) {
        let mut batch = Vec::with_capacity(batch_max);
        while let Some(first) = queue.blocking_recv() {
            batch.push(first);
            while batch.len() < batch_max
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            self.process(std::mem::take(&mut batch));
        }
    }

    fn process(&mut self, batch: Vec<Job<C>>) {
        let commands: Vec<&C::Command> = batch.iter().map(|job| &job.command).collect();
        let fault = match self.transact(&commands) {
            Ok(outcomes) => {
                // A caller that has gone does not need its reply.
                batch.into_iter().zip(outcomes).for_each(|(job, outcome)| drop(job.reply.send(outcome)));
                return;
            }
            Err(Failed::RolledBack(Fault::Data(_))) if batch.len() > 1 => {
                self.recover(false);
                return batch.into_iter().for_each(|job| self.process(vec![job]));
            }
            Err(Failed::RolledBack(fault)) => {
                self.recover(false);
                fault
            }
            Err(Failed::Commit(fault)) => {
                self.recover(true);
                Fault::Unknown(fault.to_string())
            }
        };
        tracing::warn!(error = %fault, commands = batch.len(), "commands were not executed");
        for job in batch {
            drop(job.reply.send(Err(Refusal::Fault(fault.clone()))));
        }
    }

    /// Goes on from what the database holds after a transaction that failed.
    fn recover(&mut self, reopen: bool) {
        let recovered = (|| {
            if reopen {
                self.connection = self.database.writer()?;
                self.head.send_replace(outbox::head(&self.connection)?);
            }
            Ownership::load(&self.connection)
        })();
        match recovered {
            Ok(ownership) => self.ownership = ownership,
            // Nothing may be decided on a table that is not the database's.
            Err(fault) => panic!("the database cannot be read after a failed transaction: {fault}"),
        }
    }

    fn transact(&mut self, commands: &[&C::Command]) -> Result<Vec<Outcome<C>>, Failed> {
        let (now_ms, leased) = (clock::unix_ms(), self.lease.is_valid(Boot::now()));
        let (core, ownership) = (&self.core, &mut self.ownership);
        let db = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut answers = Answers::load(&db, commands.iter().filter_map(|command| core.key(command)))?;
        let mut outbox = Pending::new(*self.head.borrow());
        let mut working = core.load(&db, commands, now_ms)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            let mut context = Context::new((now_ms, leased), &mut outbox, ownership);
            let outcome = match replay::<C>(&answers, core.key(command)) {
                Some(outcome) => outcome,
                None => {
                    let outcome = decide(core, &mut working, command, &mut context);
                    record::<C>(&mut answers, core.key(command), &outcome)?;
                    outcome
                }
            };
            if outcome.is_ok() {
                working.keep();
                outbox.keep();
                ownership.keep();
            } else {
                working.undo();
                outbox.undo();
                ownership.undo();
            }
            outcomes.push(outcome);
        }
        core.save(&db, &working, now_ms)?;
        ownership.save(&db)?;
        outbox.save(&db, now_ms)?;
        answers.save(&db, now_ms)?;
        failpoints::before("notify", "batch");
        db.commit().map_err(|error| Failed::Commit(error.into()))?;
        failpoints::after("notify", "batch");
        self.head.send_replace(outbox.head());
        outbox::show(outbox.head());
        core.committed(&working);
        Ok(outcomes)
    }
}

fn decide<C: Core>(
    core: &C,
    working: &mut C::Working,
    command: &C::Command,
    context: &mut Context<'_>,
) -> Outcome<C> {
    let (bucket, wanted) = match core.claim(command) {
        Claim::Free => return core.decide(working, command, context).map_err(Refusal::Rejected),
        Claim::Routed(bucket, owner_epoch) => (bucket, Some(owner_epoch)),
        Claim::Open(bucket) => (bucket, None),
    };
    if !context.leased {
        return Err(Refusal::NoLease);
    }
    match context.open_in(bucket) {
        Some(owner_epoch) if wanted.is_none_or(|wanted| wanted == owner_epoch) => {
            core.decide(working, command, context).map_err(Refusal::Rejected)
        }
        _ => Err(Refusal::NotOwner(bucket)),
    }
}

/// The outcome of an earlier command with this key.
fn replay<C: Core>(answers: &Answers, key: Option<&Key>) -> Option<Outcome<C>> {
    let key = key?;
    let stored = answers.find(key)?;
    if stored.fingerprint != key.fingerprint {
        return Some(Err(Refusal::KeyReused));
    }
    let outcome: Result<Result<C::Answer, C::Rejection>, _> = serde_json::from_str(&stored.outcome);
    Some(match outcome {
        Ok(outcome) => outcome.map_err(Refusal::Rejected),
        Err(error) => Err(Refusal::Fault(error.into())),
    })
}

/// Keeps what `decide` said; refusals of the shell itself may be tried again.
fn record<C: Core>(answers: &mut Answers, key: Option<&Key>, outcome: &Outcome<C>) -> Result<(), Fault> {
    let Some(key) = key else { return Ok(()) };
    let decided: Result<&C::Answer, &C::Rejection> = match outcome {
        Ok(answer) => Ok(answer),
        Err(Refusal::Rejected(rejection)) => Err(rejection),
        Err(_) => return Ok(()),
    };
    answers.record(key, serde_json::to_string(&decided)?);
    Ok(())
}
