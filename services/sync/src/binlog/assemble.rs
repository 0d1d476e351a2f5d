//! From events to whole transactions, with what the copy needs to know beside them.
//!
//! Rows of a tagged transaction are Banyan's own writes: those of owned tables are dropped, but still evict
//! rows of a copy chunk. Fence rows become changes in their place among the rows.

use super::catalog::{Catalog, Mapped};
use super::event::{Seen, see};
use super::statement::{Statement, classify};
use crate::copy::{Desk, Window};
use crate::own::{self, OwnRow, OwnTable};
use crate::schema::TableSchema;
use banyan_core::Row;
use banyan_core::capability::TableRole;
use banyan_core::protocol::import::{BinlogPosition, CopyChunk};
use banyan_core::row::{Change, FenceChange};
use mysql_async::binlog::events::{Event, EventData, RowsEventData, TableMapEvent};
use mysql_async::binlog::row::BinlogRow;
use mysql_async::{BinlogStream, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::oneshot;

/// One transaction of the monolith, as far as the capability cares.
#[derive(Debug)]
pub struct Group {
    /// The position behind its commit.
    pub position: BinlogPosition,
    /// What it changed, in order.
    pub changes: Vec<Change>,
    /// The heartbeat of this process that it wrote.
    pub beat: Option<u64>,
    /// The chunk of the copy whose upper bound it is.
    pub chunk: Option<LoadedChunk>,
    /// About how many bytes its changes are as JSON.
    pub bytes: usize,
}

/// A chunk of the copy, and who waits for its commit at the service.
#[derive(Debug)]
pub struct LoadedChunk {
    /// The rows that the stream has not overtaken.
    pub chunk: CopyChunk,
    /// Told once the service has committed the chunk; dropped where it has to be read again.
    pub committed: oneshot::Sender<()>,
}

/// What an event completed.
#[derive(Debug)]
pub enum Item {
    /// A transaction.
    Group(Group),
    /// A statement that may have changed the shape of this table.
    Reshaped(String),
}

/// What the assembly is made for.
#[derive(Clone)]
pub struct Purpose {
    /// The captured tables.
    pub catalog: Arc<Catalog>,
    /// Where the copy leaves its chunks.
    pub desk: Arc<Desk>,
    /// The id of this process in `banyan_heartbeat`.
    pub writer: Arc<str>,
    /// Places that a person has dealt with.
    pub acknowledged: Arc<HashSet<String>>,
    /// The most bytes of one transaction.
    pub transaction_bytes_max: usize,
}

/// The transaction that is being read.
#[derive(Debug, Default)]
struct Open {
    changes: Vec<(Change, Option<TableRole>)>,
    touched: Vec<(String, u64)>,
    tagged: bool,
    beat: Option<u64>,
    bound: Option<u64>,
    savepoints: Vec<(String, usize)>,
    bytes: usize,
}

/// Assembles transactions.
pub struct Assembly {
    /// What for.
    pub purpose: Purpose,
    position: BinlogPosition,
    maps: HashMap<u64, Mapped>,
    format_known: bool,
    in_transaction: bool,
    open: Open,
    window: Option<Window>,
}

impl Assembly {
    /// Begins at a position behind a commit.
    pub fn new(purpose: Purpose, position: BinlogPosition) -> Self {
        Self {
            purpose,
            position,
            maps: HashMap::new(),
            format_known: false,
            in_transaction: false,
            open: Open::default(),
            window: None,
        }
    }

    /// The place of the newest event, as `acknowledged` names it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.position.file, self.position.offset)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// Why the stream cannot go on, unless its place is acknowledged.
    pub fn feed(&mut self, event: &Event, stream: &BinlogStream) -> Result<Option<Item>, String> {
        let end = u64::from(event.header().log_pos());
        // Events that the server makes up while it connects have no position of their own.
        if end != 0 {
            if end < self.position.offset && event.header().event_type_raw() != 27 {
                return Err(format!(
                    "positions of {} run backwards: a file beyond 4 GiB",
                    self.position.file
                ));
            }
            self.position.offset = end;
        }
        match self.take(event, stream) {
            Err(cause) if self.purpose.acknowledged.contains(&self.place()) => {
                tracing::warn!(place = self.place(), cause, "an acknowledged event is passed over");
                Ok(None)
            }
            outcome => outcome,
        }
    }

    fn take(&mut self, event: &Event, stream: &BinlogStream) -> Result<Option<Item>, String> {
        match see(event)? {
            Seen::Nothing => Ok(None),
            Seen::Format => {
                self.format_known = true;
                Ok(None)
            }
            // The server's first event names the file that was asked for. Its checksum, of which the reader
            // does not know yet, would be taken for a part of the name.
            Seen::Rotate(..) if !self.format_known => Ok(None),
            Seen::Rotate(file, offset) => {
                self.position = BinlogPosition { file, offset };
                self.maps.clear();
                Ok(None)
            }
            Seen::Begin => self.begin().map(|()| None),
            Seen::Standalone => {
                self.begin()?;
                self.in_transaction = false;
                Ok(None)
            }
            Seen::TableMap => {
                let map: TableMapEvent<'_> = event.read_event().map_err(|e| format!("a table map: {e}"))?;
                self.maps.insert(map.table_id(), Mapped::Other);
                self.maps.insert(map.table_id(), self.purpose.catalog.recognise(&map)?);
                Ok(None)
            }
            Seen::Rows => self.rows(event, stream).map(|()| None),
            Seen::Statement(schema, text) => self.statement(&schema, &text),
            Seen::Commit => Ok(Some(Item::Group(self.commit()))),
            Seen::XaPrepare if !self.open.changes.is_empty() => {
                Err("an XA transaction wrote captured tables; such writes cannot be followed".into())
            }
            Seen::XaPrepare => Ok(Some(Item::Group(self.commit()))),
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        if !self.open.changes.is_empty() {
            return Err("a transaction begins inside another".into());
        }
        self.open = Open::default();
        self.in_transaction = true;
        Ok(())
    }

    fn statement(&mut self, schema: &str, text: &str) -> Result<Option<Item>, String> {
        let names = self.purpose.catalog.names();
        match classify(text, schema, (&self.purpose.catalog.schema, &names)) {
            Statement::Begin => return self.begin().map(|()| None),
            Statement::Commit => return Ok(Some(Item::Group(self.commit()))),
            Statement::Rollback => {
                self.open = Open::default();
                return Ok(Some(Item::Group(self.commit())));
            }
            Statement::Savepoint(name) => {
                let at = self.open.changes.len();
                self.open.savepoints.push((name, at));
                return Ok(None);
            }
            Statement::RollbackTo(name) => {
                let known = self.open.savepoints.iter().rev().find(|(n, _)| *n == name);
                let at = known.ok_or_else(|| format!("a rollback to the unknown savepoint `{name}`"))?.1;
                self.open.changes.truncate(at);
                return Ok(None);
            }
            Statement::Harmless if self.in_transaction => return Ok(None),
            Statement::Harmless => {}
            Statement::Empties(table) => {
                return Err(format!("rows of `{table}` went without row events, by `{}`", shortened(text)));
            }
            Statement::Replaces(table) => {
                return Err(format!("`{table}` was made anew, renamed or dropped, by `{}`", shortened(text)));
            }
            Statement::Writes(table) => {
                return Err(format!(
                    "`{table}` may have been written by the statement `{}`; \
                     set binlog_format=ROW everywhere",
                    shortened(text)
                ));
            }
            Statement::Reshapes(table) => return Ok(Some(Item::Reshaped(table))),
        }
        // A statement by itself: DDL of something else.
        Ok(Some(Item::Group(self.commit())))
    }

    fn rows(&mut self, event: &Event, stream: &BinlogStream) -> Result<(), String> {
        let malformed = |error: std::io::Error| format!("a row event: {error}");
        let Some(EventData::RowsEvent(rows)) = event.read_data().map_err(malformed)? else {
            return Err("a row event that is none".into());
        };
        let id = rows.table_id();
        let (Some(mapped), Some(map)) = (self.maps.get(&id).cloned(), stream.get_tme(id)) else {
            // The dummy that ends a statement has no table.
            return if id == 0x00ff_ffff { Ok(()) } else { Err(format!("rows of the unmapped table {id}")) };
        };
        if matches!(mapped, Mapped::Other) {
            return Ok(());
        }
        for images in rows.rows(map) {
            let (before, after) = images.map_err(malformed)?;
            match &mapped {
                Mapped::Captured(table) => self.captured(table, before, after)?,
                Mapped::Own(own) => self.own(*own, &rows, after)?,
                Mapped::Other => {}
            }
        }
        Ok(())
    }

    fn captured(
        &mut self,
        table: &TableSchema,
        before: Option<BinlogRow>,
        after: Option<BinlogRow>,
    ) -> Result<(), String> {
        let decode = |image: Option<BinlogRow>| image.map(|row| decode(table, row)).transpose();
        let (before, after) = (decode(before)?, decode(after)?);
        for row in before.iter().chain(&after) {
            self.open.touched.extend(table.key_of(row).map(|key| (table.name.clone(), key)));
            self.open.bytes += weight(row);
        }
        if self.open.bytes > self.purpose.transaction_bytes_max {
            return Err(format!(
                "a transaction of more than {} bytes; raise `transaction_bytes_max`",
                self.purpose.transaction_bytes_max
            ));
        }
        let name = table.name.clone();
        let change = match (before, after) {
            (None, Some(after)) => Change::Insert { table: name, after },
            // Columns that the capability leaves out have changed.
            (Some(before), Some(after)) if before == after => return Ok(()),
            (Some(before), Some(after)) => Change::Update { table: name, before, after },
            (Some(before), None) => Change::Delete { table: name, before },
            (None, None) => return Err("a row event without rows".into()),
        };
        self.open.changes.push((change, Some(table.role)));
        Ok(())
    }

    fn own(
        &mut self,
        own: OwnTable,
        rows: &RowsEventData<'_>,
        after: Option<BinlogRow>,
    ) -> Result<(), String> {
        let Some(after) = after else { return Ok(()) };
        let inserted = rows.columns_before_image().is_none();
        let capability = Arc::clone(&self.purpose.catalog.capability);
        match own::read(own, &capability, &raw(after)?)? {
            Some(OwnRow::Fence(bucket, owner, owner_epoch)) => match self.open.changes.last_mut() {
                Some((Change::Fence(last), _)) if last.owner == owner && last.owner_epoch == owner_epoch => {
                    last.buckets.insert(bucket);
                }
                _ => {
                    let buckets = [bucket].into_iter().collect();
                    self.open
                        .changes
                        .push((Change::Fence(FenceChange { buckets, owner, owner_epoch }), None));
                }
            },
            Some(OwnRow::Tag) => self.open.tagged = true,
            Some(OwnRow::Intent(mut intent)) if inserted => {
                if let Some(table) = self.purpose.catalog.table(&intent.table) {
                    intent.before = table.normalise(intent.before)?;
                    intent.wanted = table.normalise(intent.wanted)?;
                }
                self.open.bytes += weight(&intent.before) + weight(&intent.wanted);
                self.open.changes.push((Change::Intent(intent), None));
            }
            Some(OwnRow::Beat(name, writer, beat)) if *writer == *self.purpose.writer => {
                if name == *capability {
                    self.open.beat = Some(beat);
                } else if name == own::bounds_name(&capability) {
                    self.open.bound = Some(beat);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Completes the open transaction.
    fn commit(&mut self) -> Group {
        let open = std::mem::take(&mut self.open);
        self.in_transaction = false;
        let fenced = open.changes.iter().any(|(change, _)| matches!(change, Change::Fence(_)));
        if let Some(window) = &mut self.window {
            window.see(&open.touched, fenced);
        }
        let chunk = open.bound.and_then(|bound| self.bound(bound));
        let dropped = |role: Option<TableRole>| open.tagged && role == Some(TableRole::Owned);
        let changes: Vec<Change> =
            open.changes.into_iter().filter(|(_, role)| !dropped(*role)).map(|(change, _)| change).collect();
        let bytes = if changes.is_empty() { 0 } else { open.bytes };
        Group { position: self.position.clone(), changes, beat: open.beat, chunk, bytes }
    }

    /// A bound of a copy chunk: low ones (even) open the window, high ones (odd) close it.
    fn bound(&mut self, bound: u64) -> Option<LoadedChunk> {
        if bound.is_multiple_of(2) {
            self.window = self.purpose.desk.window(bound / 2);
            return None;
        }
        let window = self.window.take()?;
        self.purpose.desk.collect(bound / 2, window)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

fn decode(table: &TableSchema, row: BinlogRow) -> Result<Row, String> {
    let columns = row.columns();
    if columns.len() != table.columns.len() {
        return Err(format!(
            "a row of `{}` was logged without all its columns; set binlog_row_image=FULL",
            table.name
        ));
    }
    for (logged, known) in columns.iter().zip(&table.columns) {
        let logged = logged.name_str();
        // Without binlog_row_metadata=FULL columns are called @0, @1, …
        if !logged.starts_with('@') && logged != known.name {
            return Err(format!("column `{}`.`{}` was logged as `{logged}`", table.name, known.name));
        }
    }
    let values = raw(row)?;
    table.decode(|place| values.get(place))
}

fn raw(row: BinlogRow) -> Result<Vec<Value>, String> {
    row.unwrap().into_iter().map(|value| Value::try_from(value).map_err(|e| e.to_string())).collect()
}

/// About how many bytes a row is as JSON.
fn weight(row: &Row) -> usize {
    row.iter().map(|(name, value)| name.len() + 16 + value.as_str().map_or(0, str::len)).sum()
}
