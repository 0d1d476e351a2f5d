//! The journal: what a coordinator must not forget, in one SQLite file (WAL, `synchronous=FULL`).
//!
//! Map: `database` a connection on a thread of its own; `rows` the capability's row; `audit` the chain;
//! `history` the reports.
//!
//! Invariants: a commit is whole or not at all, and answered when it is durable; only the newest term
//! commits; the version of the table rises with every change of a holding and never falls; the table is
//! published in the order of the commits, after each. When the disk fails nothing is published, and whoever
//! commits tries again.

pub mod audit;
mod database;
mod history;
mod rows;

use crate::coordinator::durable::Durable;
use crate::coordinator::effect::{Commit, VersionChange};
use banyan_core::OwnershipTable;
use banyan_core::protocol::migration::{AuditRecord, HandoverReport};
use database::Database;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

const MIGRATIONS: [&str; 2] =
    [include_str!("../migrations/0001_create_journal.sql"), include_str!("../migrations/0002_add_cut.sql")];

/// Why the journal does not do what it is asked.
#[derive(Debug, Error)]
pub enum Fault {
    /// SQLite or the disk fails.
    #[error("the journal fails: {0}")]
    Database(#[from] rusqlite::Error),
    /// A row cannot be read.
    #[error("the journal holds {what} that cannot be read: {cause}")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Why.
        cause: String,
    },
    /// A later control has opened the journal.
    #[error("a later control has opened the journal; this one (term {0}) stops")]
    Deposed(u64),
    /// A commit would use an owner epoch again.
    #[error("the journal of `{0}` knows a higher owner epoch than the commit")]
    OwnerEpoch(String),
    /// The journal's thread has ended.
    #[error("the journal is closed")]
    Closed,
}

/// The journal. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    handovers_kept_max: u64,
    writer: Database<Writer>,
    reader: Database<Connection>,
    table: watch::Receiver<Arc<OwnershipTable>>,
    barred: watch::Receiver<Arc<BTreeSet<String>>>,
}

/// What the journal holds at a start.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// The term of this start, above all before.
    pub term: u64,
    /// The table's version.
    pub version: u64,
    /// The longest lease that may still be valid, in milliseconds.
    pub lease_ms: u64,
    /// The records of gateways that were there and have not been given back.
    pub gateways: BTreeSet<String>,
    /// The capabilities that were asked for, with their newest reports.
    pub capabilities: BTreeMap<String, (Durable, Option<HandoverReport>)>,
}

/// What is asked for at a start.
#[derive(Clone, Debug)]
pub struct Open<'o> {
    /// The file; made where it is missing.
    pub path: &'o Path,
    /// The names of the capabilities; those that are new get a row.
    pub capabilities: &'o [String],
    /// How long leases are from now on, in milliseconds.
    pub lease_ms: u64,
    /// How many reports are kept.
    pub handovers_kept_max: u64,
}

/// The writing connection and the newest table.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    term: u64,
    handovers_kept_max: u64,
    table: watch::Sender<Arc<OwnershipTable>>,
    barred: watch::Sender<Arc<BTreeSet<String>>>,
}

impl Journal {
    /// Opens the journal, raises the term, and reads what there is. Blocks.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(open: &Open<'_>) -> Result<Opened, Fault> {
        let mut connection = database::connect(open.path)?;
        migrate(&mut connection)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (term, version, earlier_ms): (u64, u64, u64) = transaction.query_row(
            "UPDATE control SET term = term + 1 RETURNING term, version, lease_ms",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        transaction.execute("UPDATE control SET lease_ms = ?1", [open.lease_ms])?;
        let mut capabilities = BTreeMap::new();
        for name in open.capabilities {
            let durable = match rows::load(&transaction, name)? {
                Some(durable) => durable,
                None => {
                    let durable = Durable::new(seed(name));
                    rows::insert(&transaction, name, &durable)?;
                    durable
                }
            };
            capabilities.insert(name.clone(), (durable, history::newest(&transaction, name)?));
        }
        let gateways = history::gateways(&transaction)?;
        transaction.commit()?;
        let tables = capabilities.iter().map(|(name, (durable, _))| (name.clone(), durable.table.clone()));
        let table = OwnershipTable { version, capabilities: tables.collect() };
        let (publish, table) = watch::channel(Arc::new(table));
        let given_up = capabilities.iter().filter(|(_, (durable, _))| durable.is_barred());
        let (bar, barred) = watch::channel(Arc::new(given_up.map(|(name, _)| name.clone()).collect()));
        let handovers_kept_max = open.handovers_kept_max;
        let writer = Writer { connection, term, handovers_kept_max, table: publish, barred: bar };
        let journal = Self {
            handovers_kept_max,
            writer: Database::start("journal", writer)?,
            reader: Database::start("journal-reader", database::connect(open.path)?)?,
            table,
            barred,
        };
        let lease_ms = earlier_ms.max(open.lease_ms);
        Ok(Opened { journal, term, version, lease_ms, gateways, capabilities })
    }

    /// The newest durable table, and news of it.
    pub fn table(&self) -> watch::Receiver<Arc<OwnershipTable>> {
        self.table.clone()
    }

    /// The capabilities whose service gets no lease, as the newest commits have it.
    pub fn barred(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.barred.borrow())
    }

    /// Commits; the version of the table with it.
    ///
    /// # Errors
    /// Nothing of it is durable, unless the journal is closed: then it is unknown.
    pub async fn commit(&self, capability: &str, commit: Arc<Commit>, at_ms: u64) -> Result<u64, Fault> {
        let name = capability.to_owned();
        self.writer
            .run(move |writer| {
                let version = writer.commit(&name, &commit, at_ms)?;
                writer.bar(&name, commit.next.is_barred());
                if commit.version == VersionChange::Next {
                    writer.publish(name, &commit.next, version);
                }
                Ok(version)
            })
            .await
    }

    /// A gateway's record is there, or has been given back.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn note_gateway(&self, record: &str, is_there: bool) -> Result<(), Fault> {
        let record = record.to_owned();
        self.writer.run(move |writer| history::note_gateway(&writer.connection, &record, is_there)).await
    }

    /// The newest reports of a capability, newest first.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn handovers(&self, capability: &str, limit: u64) -> Result<Vec<HandoverReport>, Fault> {
        let (name, limit) = (capability.to_owned(), limit.min(self.handovers_kept_max));
        self.reader.run(move |connection| history::list(connection, &name, limit)).await
    }

    /// The audit's records behind one, in order.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn audit(&self, after: u64, limit: u64) -> Result<Vec<AuditRecord>, Fault> {
        self.reader.run(move |connection| audit::page(connection, after, limit)).await
    }

    /// Whether the audit's chain is whole.
    ///
    /// # Errors
    /// The journal fails.
    pub async fn verify_audit(&self) -> Result<audit::Verdict, Fault> {
        self.reader.run(|connection| audit::verify(connection)).await
    }
}

impl Writer {
    fn commit(&mut self, name: &str, commit: &Commit, at_ms: u64) -> Result<u64, Fault> {
        let term = self.term;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let raise = u64::from(commit.version == VersionChange::Next);
        let version = transaction
            .query_row(
                "UPDATE control SET version = version + ?1 WHERE term = ?2 RETURNING version",
                [raise, term],
                |row| row.get(0),
            )
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Fault::Deposed(term),
                error => error.into(),
            })?;
        rows::update(&transaction, name, commit)?;
        if let Some(entry) = &commit.audit {
            audit::append(&transaction, entry, at_ms)?;
        }
        if let Some(report) = &commit.report {
            history::insert(&transaction, report, self.handovers_kept_max)?;
        }
        transaction.commit()?;
        Ok(version)
    }

    /// Before the coordinator hears of the commit: from then on a service that gets a lease has been seen.
    fn bar(&self, name: &str, is_barred: bool) {
        if self.barred.borrow().contains(name) != is_barred {
            let mut barred = BTreeSet::clone(&self.barred.borrow());
            if is_barred {
                barred.insert(name.to_owned());
            } else {
                barred.remove(name);
            }
            self.barred.send_replace(Arc::new(barred));
        }
    }

    fn publish(&self, name: String, durable: &Durable, version: u64) {
        let mut table = OwnershipTable::clone(&self.table.borrow());
        table.version = version;
        table.capabilities.insert(name, durable.table.clone());
        self.table.send_replace(Arc::new(table));
    }
}

/// The order of a new capability's cohort: another for each name, the same in every installation.
fn seed(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done: usize = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if done > MIGRATIONS.len() {
        let cause = format!("schema {done}; this control knows {}", MIGRATIONS.len());
        return Err(Fault::Unreadable { what: "tables of a newer version", cause });
    }
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
