//! A service as sync sees it: rows, position and fence in memory, an outbox that tests fill.

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use banyan_core::capability::Table;
use banyan_core::protocol::import::{BinlogPosition, CopyProgress, ImportBatch, ImportOutcome, ImportState};
use banyan_core::protocol::target::{OutboxEvent, OutboxPage, RowsPage};
use banyan_core::row::{Change, FenceOwner, Intent, RowWrite};
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Row};
use banyan_runtime::clock;
use banyan_runtime::http::Problem;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What the service holds.
pub struct Memory {
    pub tables: BTreeMap<String, BTreeMap<u64, Row>>,
    pub position: Option<BinlogPosition>,
    pub copied: BTreeMap<String, CopyProgress>,
    pub fence: HashMap<Bucket, FenceOwner>,
    pub fences: Vec<(FenceOwner, OwnerEpoch, usize)>,
    pub imported: Vec<(String, Row)>,
    pub intents: Vec<Intent>,
    pub strays: Vec<Change>,
    pub changes: Vec<Change>,
    pub chunks: usize,
    pub batches: usize,
    pub outbox: Vec<OutboxEvent>,
    pub incarnation: String,
    /// Answers of imports that are lost after their commit.
    pub lose_answers: u32,
    /// Buckets with a change that could not be applied.
    pub dead_letters: BucketSet,
    /// Imports are refused.
    pub closed: bool,
}

/// The service.
#[derive(Clone)]
pub struct Peer {
    memory: Arc<Mutex<Memory>>,
    tables: Arc<[Table]>,
    appended: Arc<Notify>,
}

impl Peer {
    pub fn new(tables: &[Table]) -> Self {
        let memory = Memory {
            tables: tables.iter().map(|t| (t.name.clone(), BTreeMap::new())).collect(),
            position: None,
            copied: BTreeMap::new(),
            fence: HashMap::new(),
            fences: Vec::new(),
            imported: Vec::new(),
            intents: Vec::new(),
            strays: Vec::new(),
            changes: Vec::new(),
            chunks: 0,
            batches: 0,
            outbox: Vec::new(),
            incarnation: "first".into(),
            lose_answers: 0,
            dead_letters: BucketSet::empty(),
            closed: false,
        };
        Self { memory: Arc::new(Mutex::new(memory)), tables: tables.into(), appended: Arc::default() }
    }

    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn rows(&self, table: &str) -> BTreeMap<u64, Row> {
        self.memory().tables[table].clone()
    }

    /// Commits an event and its rows.
    pub fn publish(&self, rows: Vec<RowWrite>) -> u64 {
        self.append(rows, None)
    }

    /// Commits a mark.
    pub fn mark(&self, owner_epoch: u64) -> u64 {
        self.append(Vec::new(), Some(OwnerEpoch(owner_epoch)))
    }

    fn append(&self, rows: Vec<RowWrite>, mark: Option<OwnerEpoch>) -> u64 {
        let mut memory = self.memory();
        let position = memory.outbox.last().map_or(1, |event| event.position + 1);
        for write in &rows {
            match write {
                RowWrite::Upsert { table, row } => {
                    let key = self.key(table, row);
                    memory.tables.get_mut(table).unwrap().insert(key, row.clone());
                }
                RowWrite::Delete { table, key } => {
                    let key = self.key(table, key);
                    memory.tables.get_mut(table).unwrap().remove(&key);
                }
            }
        }
        memory.outbox.push(OutboxEvent {
            position,
            kind: if mark.is_some() { "banyan.mark".into() } else { "test.written".into() },
            subject: String::new(),
            bucket: None,
            rows,
            mark,
            committed_ms: clock::unix_ms(),
            traceparent: None,
        });
        drop(memory);
        self.appended.notify_waiters();
        position
    }

    fn table(&self, name: &str) -> &Table {
        self.tables.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no table {name}"))
    }

    fn key(&self, table: &str, row: &Row) -> u64 {
        row[&self.table(table).key].as_u64().unwrap()
    }

    fn bucket(&self, table: &str, row: &Row) -> Bucket {
        Bucket::of(&row[&self.table(table).subject].to_string())
    }

    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/import", get(state).post(import))
            .route("/v1/outbox", get(outbox))
            .route("/v1/rows", get(rows))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(self)
    }

    fn apply(&self, memory: &mut Memory, change: Change) {
        memory.changes.push(change.clone());
        let fence = |memory: &Memory, table: &str, row: &Row| {
            memory.fence.get(&self.bucket(table, row)).copied().unwrap_or(FenceOwner::Monolith)
        };
        match change {
            Change::Fence(fence) => {
                memory.fences.push((fence.owner, fence.owner_epoch, fence.buckets.len()));
                fence.buckets.iter().for_each(|b| {
                    memory.fence.insert(b, fence.owner);
                });
            }
            Change::Intent(intent) => memory.intents.push(intent),
            Change::Insert { table, after } => {
                if fence(memory, &table, &after) == FenceOwner::Service {
                    memory.imported.push((table.clone(), after.clone()));
                }
                let key = self.key(&table, &after);
                memory.tables.get_mut(&table).unwrap().insert(key, after);
            }
            Change::Update { ref table, ref before, ref after } => {
                if fence(memory, table, after) == FenceOwner::Service {
                    memory.strays.push(change.clone());
                    return;
                }
                let (old, new) = (self.key(table, before), self.key(table, after));
                let rows = memory.tables.get_mut(table).unwrap();
                rows.remove(&old);
                rows.insert(new, after.clone());
            }
            Change::Delete { ref table, ref before } => {
                if fence(memory, table, before) == FenceOwner::Service {
                    memory.strays.push(change.clone());
                    return;
                }
                let key = self.key(table, before);
                memory.tables.get_mut(table).unwrap().remove(&key);
            }
        }
    }
}

async fn state(State(peer): State<Peer>) -> Json<ImportState> {
    let memory = peer.memory();
    Json(ImportState {
        position: memory.position.clone(),
        copied: memory.copied.values().cloned().collect(),
        dead_letter_buckets: memory.dead_letters.clone(),
    })
}

async fn import(
    State(peer): State<Peer>,
    Json(batch): Json<ImportBatch>,
) -> Result<Json<ImportOutcome>, Problem> {
    let mut memory = peer.memory();
    if memory.closed {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "closed", "the service is closed"));
    }
    if memory.position != batch.from {
        return Err(Problem::new(StatusCode::CONFLICT, "position_mismatch", "another position"));
    }
    memory.batches += 1;
    let applied = batch.changes.len() as u64;
    for change in batch.changes {
        peer.apply(&mut memory, change);
    }
    if let Some(chunk) = batch.chunk {
        memory.chunks += 1;
        let count = chunk.rows.len() as u64;
        for row in chunk.rows {
            let key = peer.key(&chunk.table, &row);
            memory.tables.get_mut(&chunk.table).unwrap().insert(key, row);
        }
        let progress =
            CopyProgress { table: chunk.table.clone(), through: chunk.through, rows: 0, done: chunk.done };
        let known = memory.copied.entry(chunk.table).or_insert(progress.clone());
        *known = CopyProgress { rows: known.rows + count, ..progress };
    }
    memory.position = Some(batch.to);
    if memory.lose_answers > 0 {
        memory.lose_answers -= 1;
        return Err(Problem::new(StatusCode::BAD_GATEWAY, "lost", "the answer was lost"));
    }
    Ok(Json(ImportOutcome { applied, imported: 0, dead_letters: 0 }))
}

#[derive(Deserialize)]
struct OutboxQuery {
    after: u64,
    limit: usize,
    wait_ms: u64,
}

async fn outbox(State(peer): State<Peer>, Query(query): Query<OutboxQuery>) -> Json<OutboxPage> {
    let page = || {
        let memory = peer.memory();
        let events =
            memory.outbox.iter().filter(|e| e.position > query.after).take(query.limit).cloned().collect();
        let head = memory.outbox.last().map_or(0, |event| event.position);
        OutboxPage { incarnation: memory.incarnation.clone(), events, head }
    };
    let appended = peer.appended.notified();
    let now = page();
    if now.events.is_empty()
        && tokio::time::timeout(Duration::from_millis(query.wait_ms), appended).await.is_ok()
    {
        return Json(page());
    }
    Json(now)
}

#[derive(Deserialize)]
struct RowsQuery {
    table: String,
    after: u64,
    limit: usize,
}

async fn rows(State(peer): State<Peer>, Query(query): Query<RowsQuery>) -> Json<RowsPage> {
    let memory = peer.memory();
    let mut rows = memory.tables[&query.table].range(query.after + 1..).map(|(_, row)| row.clone());
    let page: Vec<Row> = rows.by_ref().take(query.limit).collect();
    Json(RowsPage { rows: page, more: rows.next().is_some() })
}
