//! A core of accounts that may not go below zero, and that changes things before it finds out.

use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen};
use banyan_core::row::RowWrite;
use banyan_core::{Bucket, OwnerEpoch, Row, Turn};
use banyan_runtime::clock::Boot;
use banyan_runtime::tasks::Tasks;
use banyan_store::answers::Key;
use banyan_store::database::Database;
use banyan_store::migrations::Migration;
use banyan_store::outbox::NewEvent;
use banyan_store::working::{Table, Working};
use banyan_store::{Claim, Context, Core, Fault, Lease, Limits, Refusal, Shell};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

const MIGRATION: Migration = Migration {
    name: "0001_create_accounts",
    sql: "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance < 1000))",
};

pub enum Command {
    /// Adds to an account, then to another, and rejects where either is below zero afterwards.
    Transfer {
        from: i64,
        to: i64,
        amount: i64,
        claim: Claim,
        key: Option<Key>,
    },
    /// Says that it has begun and keeps the writer: what is sent meanwhile becomes one batch.
    Hold {
        begun: Mutex<Option<oneshot::Sender<()>>>,
        release: mpsc::Receiver<()>,
    },
    /// Puts more into an account than its table takes, which only the database finds out.
    Seed(i64),
    Open(OwnershipOpen),
    Close(OwnershipClose),
}

#[derive(Default)]
pub struct Accounts {
    /// The sizes of the batches that were loaded.
    pub batches: Arc<Mutex<Vec<usize>>>,
}

pub struct Balances(Table<i64, i64>);

impl Working for Balances {
    fn keep(&mut self) {
        self.0.keep();
    }

    fn undo(&mut self) {
        self.0.undo();
    }
}

impl Core for Accounts {
    type Command = Command;
    /// The sum of both accounts and the event's position.
    type Answer = (i64, u64);
    type Rejection = String;
    type Working = Balances;

    fn claim(&self, command: &Command) -> Claim {
        match command {
            Command::Transfer { claim, .. } => *claim,
            _ => Claim::Free,
        }
    }

    fn key<'c>(&self, command: &'c Command) -> Option<&'c Key> {
        match command {
            Command::Transfer { key, .. } => key.as_ref(),
            _ => None,
        }
    }

    fn load(&self, db: &Connection, commands: &[&Command], _now_ms: u64) -> Result<Balances, Fault> {
        self.batches.lock().unwrap().push(commands.len());
        let mut table = Table::default();
        for command in commands {
            let Command::Transfer { from, to, .. } = command else { continue };
            for id in [from, to] {
                let mut select = db.prepare_cached("SELECT balance FROM accounts WHERE id = ?")?;
                table.load(*id, select.query_row([id], |row| row.get(0)).optional()?);
            }
        }
        Ok(Balances(table))
    }

    fn decide(
        &self,
        Balances(table): &mut Balances,
        command: &Command,
        context: &mut Context<'_>,
    ) -> Result<(i64, u64), String> {
        match command {
            Command::Transfer { from, to, amount, .. } => {
                for (id, change) in [(to, *amount), (from, -*amount)] {
                    let balance = table.get(id).copied().unwrap_or(100) + change;
                    table.put(*id, balance);
                    let row: Row = [("balance".to_owned(), balance.into())].into();
                    let rows = vec![RowWrite::Upsert { table: "accounts".into(), row }];
                    let subject = id.to_string();
                    context.publish(NewEvent { kind: "account.changed", subject, rows, traceparent: None });
                }
                let sum = [from, to].map(|id| table.get(id).copied().unwrap_or_default());
                match sum.iter().any(|balance| *balance < 0) {
                    true => Err(format!("{from} cannot pay {amount}")),
                    false => Ok((sum.iter().sum(), context.position())),
                }
            }
            Command::Hold { begun, release } => {
                drop(begun.lock().unwrap().take());
                release.recv_timeout(Duration::from_secs(10)).map_err(|error| error.to_string())?;
                Ok((0, context.position()))
            }
            Command::Seed(id) => {
                table.put(*id, 5000);
                Ok((5000, context.position()))
            }
            Command::Open(request) => {
                if context.open(request) {
                    Ok((0, context.position()))
                } else {
                    Err("late".into())
                }
            }
            Command::Close(request) => {
                if context.close(request) {
                    Ok((0, context.position()))
                } else {
                    Err("late".into())
                }
            }
        }
    }

    fn save(&self, db: &Connection, working: &Balances, _now_ms: u64) -> Result<(), Fault> {
        let mut put = db.prepare_cached("INSERT OR REPLACE INTO accounts VALUES (?, ?)")?;
        for (id, balance) in working.0.changed() {
            put.execute(params![id, balance])?;
        }
        Ok(())
    }
}

pub type Outcome = Result<(i64, u64), Refusal<String>>;

/// A shell of accounts on a file.
pub struct Bank {
    pub shell: Shell<Accounts>,
    pub database: Database,
    pub lease: Lease,
    pub batches: Arc<Mutex<Vec<usize>>>,
    pub tasks: Tasks,
}

impl Bank {
    pub fn open(folder: &Path) -> Self {
        let database = Database::open(&folder.join("bank.db"), &[MIGRATION]).unwrap();
        let (core, tasks, lease) = (Accounts::default(), Tasks::new(), Lease::new());
        lease.extend(Boot::now().plus(Duration::from_secs(3600)));
        let batches = Arc::clone(&core.batches);
        let limits = Limits { queue_max: 1000, batch_max: 100 };
        let shell = Shell::start(core, &database, (lease.clone(), limits), &tasks).unwrap();
        Self { shell, database, lease, batches, tasks }
    }

    /// Sends all commands so that they become one batch; their outcomes.
    pub async fn together(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let (release, held) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let command = Command::Hold { begun: Mutex::new(Some(begun)), release: held };
        let (hold, outcomes) = tokio::join!(self.shell.execute(command), async {
            // The sender is dropped once the writer is held.
            assert!(has_begun.await.is_err());
            let sent = commands.into_iter().map(|command| self.shell.execute(command));
            let mut all = Box::pin(futures_util::future::join_all(sent));
            // Polling once, in order, sends them all.
            assert!(futures_util::future::poll_immediate(&mut all).await.is_none());
            release.send(()).unwrap();
            all.await
        });
        hold.unwrap();
        outcomes
    }

    /// Sends each command after the outcome of the one before.
    pub async fn one_by_one(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(self.shell.execute(command).await);
        }
        outcomes
    }

    pub fn balances(&self) -> BTreeMap<i64, i64> {
        let db = self.database.writer().unwrap();
        let mut select = db.prepare("SELECT id, balance FROM accounts").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Subject and rows of every event, in order.
    pub fn events(&self) -> Vec<(u64, String, String)> {
        let db = self.database.writer().unwrap();
        let mut select =
            db.prepare("SELECT position, subject, changes FROM outbox ORDER BY position").unwrap();
        let rows = select.query_map([], |r| Ok((r.get::<_, i64>(0)? as u64, r.get(1)?, r.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}

pub fn transfer(from: i64, to: i64, amount: i64) -> Command {
    Command::Transfer { from, to, amount, claim: Claim::Free, key: None }
}

pub fn seed(id: i64) -> Command {
    Command::Seed(id)
}

pub fn keyed(from: i64, to: i64, amount: i64, key: &str) -> Command {
    let key = Some(Key { text: key.into(), fingerprint: format!("{from} {to} {amount}") });
    Command::Transfer { from, to, amount, claim: Claim::Free, key }
}

pub fn claimed(claim: Claim) -> Command {
    Command::Transfer { from: 1, to: 2, amount: 1, claim, key: None }
}

pub fn bucket() -> Bucket {
    Bucket::of("1")
}

pub fn open(step: u32, owner_epoch: u64) -> Command {
    let turn = Turn { term: 1, attempt: owner_epoch, step };
    let buckets = [bucket()].into_iter().collect();
    Command::Open(OwnershipOpen { turn, buckets, owner_epoch: OwnerEpoch(owner_epoch) })
}

pub fn close(step: u32, owner_epoch: u64) -> Command {
    let turn = Turn { term: 1, attempt: owner_epoch, step };
    let buckets = [bucket()].into_iter().collect();
    Command::Close(OwnershipClose { turn, buckets, owner_epoch: OwnerEpoch(owner_epoch) })
}
