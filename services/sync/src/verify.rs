//! Verification: every row of both sides, page by page, while both are in use.
//!
//! A difference found on the way may be a change that is under way. It counts once it stands unchanged in
//! two looks in a row, each after both streams have caught up; a row that never stands still counts after
//! `verify_rechecks` looks.

mod compare;

use crate::binlog::Catalog;
use crate::capture::Capture;
use crate::error::Fault;
use crate::pages;
use crate::schema::TableSchema;
use banyan_core::Row;
use banyan_core::protocol::monolith::VerifyReport;
use banyan_core::protocol::target::{OutboxPage, RowsPage};
use compare::{Pair, difference, merge};
use mysql_async::Conn;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;

/// The most differences that are described.
const SAMPLES_MAX: usize = 10;
/// The most differences that are looked at again; further ones count as they are.
const SUSPECTS_MAX: usize = 10_000;
/// How long a stream may take to catch up before a look.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Rows that differ, by table and key, as they were last seen.
type Suspects = BTreeMap<(usize, u64), Option<Pair>>;

/// Compares all tables of a capability.
///
/// # Errors
/// A side does not answer.
pub async fn verify(capture: &Capture) -> Result<VerifyReport, Fault> {
    let catalog = capture.catalog().await?;
    let connection = capture.database.connect().await?;
    let mut pass = Pass { capture, catalog: &catalog, connection, report: VerifyReport::default() };
    let mut suspects = Suspects::new();
    for (place, table) in catalog.tables.iter().enumerate() {
        pass.compare(place, table, &mut suspects).await?;
    }
    pass.recheck(&mut suspects).await?;
    let report = pass.report;
    *capture.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
    Ok(report)
}

struct Pass<'p> {
    capture: &'p Capture,
    catalog: &'p Catalog,
    connection: Conn,
    report: VerifyReport,
}

impl Pass<'_> {
    /// Compares one table from the lowest key to the highest.
    async fn compare(
        &mut self,
        place: usize,
        table: &TableSchema,
        suspects: &mut Suspects,
    ) -> Result<(), Fault> {
        let limit = self.capture.config.verify_rows;
        let mut after = 0;
        loop {
            let service = self.service_page(table, after, limit).await?;
            let monolith = self.monolith_page(table, after, limit).await?;
            let merged = merge(table, (monolith, limit), service)?;
            for (key, pair) in merged.pairs {
                self.report.rows_compared += 1;
                if difference(table, &pair).is_none() {
                    continue;
                }
                if suspects.len() < SUSPECTS_MAX {
                    suspects.insert((place, key), None);
                } else {
                    self.count(table, key, &pair);
                }
            }
            match merged.through {
                Some(through) => after = through,
                None => return Ok(()),
            }
        }
    }

    async fn service_page(&self, table: &TableSchema, after: u64, limit: u64) -> Result<RowsPage, Fault> {
        let path = format!("/v1/rows?table={}&after={after}&limit={limit}", table.name);
        Ok(self.capture.service.get(&path).await?)
    }

    async fn monolith_page(
        &mut self,
        table: &TableSchema,
        after: u64,
        limit: u64,
    ) -> Result<Vec<Row>, Fault> {
        let (list, name, key) = (table.select_list(), &table.name, table.key_name());
        let sql =
            format!("SELECT {list} FROM `{name}` WHERE `{key}` > {after} ORDER BY `{key}` LIMIT {limit}");
        pages::select(&self.capture.database, &mut self.connection, table, &sql).await
    }

    /// Looks at what differed until it is equal or stands still.
    async fn recheck(&mut self, suspects: &mut Suspects) -> Result<(), Fault> {
        let catalog = self.catalog;
        for look in 0..self.capture.config.verify_rechecks {
            if suspects.is_empty() {
                return Ok(());
            }
            self.settle().await?;
            let last = look + 1 == self.capture.config.verify_rechecks;
            for (place, key) in suspects.keys().copied().collect::<Vec<_>>() {
                let table = &catalog.tables[place];
                let now = self.look(table, key).await?;
                let before = suspects.insert((place, key), Some(now.clone())).flatten();
                let differs = difference(table, &now).is_some();
                if differs && (last || before.as_ref() == Some(&now)) {
                    self.count(table, key, &now);
                }
                if !differs || last || before.as_ref() == Some(&now) {
                    suspects.remove(&(place, key));
                }
            }
        }
        Ok(())
    }

    async fn look(&mut self, table: &TableSchema, key: u64) -> Result<Pair, Fault> {
        let before = key.saturating_sub(1);
        let service = self.service_page(table, before, 1).await?.rows;
        let monolith = self.monolith_page(table, before, 1).await?;
        let of = |rows: Vec<Row>| rows.into_iter().find(|row| table.key_of(row) == Some(key));
        Ok(Pair { monolith: of(monolith), service: of(service) })
    }

    fn count(&mut self, table: &TableSchema, key: u64, pair: &Pair) {
        self.report.mismatches += 1;
        if let Some(words) = difference(table, pair).filter(|_| self.report.samples.len() < SAMPLES_MAX) {
            self.report.samples.push(format!("`{}` {} {key}: {words}", table.name, table.key_name()));
        }
    }

    /// Waits until both streams have carried what was written until now, or for a while.
    async fn settle(&self) -> Result<(), Fault> {
        let capture = self.capture;
        let beat = capture.beats.next();
        reach(capture.beats.applied.subscribe(), |reached| *reached >= beat).await;
        let position = capture.reverse.position.borrow().position;
        let path = format!("/v1/outbox?after={position}&limit=1&wait_ms=0");
        let page: OutboxPage = capture.service.get(&path).await?;
        reach(capture.reverse.position.subscribe(), |reached| reached.position >= page.head).await;
        Ok(())
    }
}

async fn reach<T>(mut counter: watch::Receiver<T>, is_there: impl FnMut(&T) -> bool) {
    // A stream that does not get there is a fault of its own in the status.
    let _ = tokio::time::timeout(SETTLE_MAX, counter.wait_for(is_there)).await;
}
