//! The monolith's stream, applied in order: one batch, one transaction.
//!
//! What a change means is decided by its place in the stream relative to the fence's own changes, never by
//! the owner at the time it is applied. Before the monolith's fence says `service`, a row is applied as it
//! stands. Behind that, an insert is taken over and an intent is decided. What cannot be applied becomes a
//! dead letter that parks its row; the stream goes on.

use crate::domain::{Event, EventKind, NOTIFICATIONS, Record, Rejection, State};
use crate::legacy::columns::{self, AnyRow};
use crate::legacy::intent;
use banyan_core::capability::{StrayPolicy, TableRole};
use banyan_core::protocol::import::{CopyChunk, ImportBatch, ImportOutcome};
use banyan_core::row::{Change, FenceOwner};
use banyan_core::{Bucket, BucketSet, Capability, OwnerEpoch, Row};
use banyan_store::import::Stream;
use banyan_store::letters::NewLetter;
use std::cell::RefCell;

/// What the import may know besides the state.
pub struct World<'w> {
    /// The declaration: roles of tables, and what strays mean.
    pub capability: &'w Capability,
    /// Whether the service has a valid lease.
    pub leased: bool,
    /// Whether the service may write a bucket.
    pub is_open: &'w dyn Fn(Bucket) -> bool,
    /// Where buckets are noted that the monolith has taken.
    pub taken: &'w Taken,
}

/// Buckets that the monolith's fence gives to the monolith. One that the service still believes to own was
/// taken without it: from there on in the stream it does not own it.
#[derive(Debug, Default)]
pub struct Taken(RefCell<Vec<(BucketSet, OwnerEpoch)>>);

impl Taken {
    /// Whether the bucket was taken in an owner epoch above this one.
    pub fn is_after(&self, bucket: Bucket, epoch: OwnerEpoch) -> bool {
        self.0.borrow().iter().any(|(buckets, taken)| *taken > epoch && buckets.contains(bucket))
    }

    /// All of them.
    pub fn into_all(self) -> Vec<(BucketSet, OwnerEpoch)> {
        self.0.into_inner()
    }
}

/// What became of one change.
enum Done {
    /// Applied as it stands.
    Applied,
    /// Taken over by the service; what has to be published.
    Imported(Option<Event>),
    /// Nothing to do.
    Ignored,
}

/// Applies a batch: changes the state, returns what has to be published.
///
/// # Errors
/// The service stands elsewhere, has no lease for an intent, or the batch is not of this capability.
pub fn import(
    state: &mut State,
    batch: &ImportBatch,
    world: &World<'_>,
) -> Result<(ImportOutcome, Vec<Event>), Rejection> {
    let position = stream(state).position().cloned();
    if position != batch.from {
        return Err(Rejection::PositionMismatch(position));
    }
    let has_intents = batch.changes.iter().any(|change| matches!(change, Change::Intent(_)));
    if has_intents && !world.leased {
        return Err(Rejection::NoLease);
    }
    let (mut outcome, mut events) = (ImportOutcome::default(), Vec::new());
    for change in &batch.changes {
        match apply(state, change, world)? {
            Ok(Done::Applied) => outcome.applied += 1,
            Ok(Done::Imported(event)) => {
                outcome.imported += 1;
                events.extend(event);
            }
            Ok(Done::Ignored) => {}
            Err(letter) => {
                state.letters.add(letter);
                outcome.dead_letters += 1;
            }
        }
    }
    if let Some(chunk) = &batch.chunk {
        copy(state, chunk, (world, &mut outcome))?;
    }
    stream_mut(state).advance(&batch.to);
    trace(state, batch);
    Ok((outcome, events))
}

/// Notes the traces of notifications whose mail is awaited, for whoever sends it.
fn trace(state: &mut State, batch: &ImportBatch) {
    for trace in &batch.traces {
        for change in trace.changes.iter().filter_map(|index| batch.changes.get(*index)) {
            if let Change::Insert { table, after } = change
                && table == NOTIFICATIONS
                && let Ok(id) = columns::number(table, after, columns::key_column(table))
            {
                state.trace(id, &trace.traceparent);
            }
        }
    }
}

/// Tries the change of a dead letter again.
///
/// # Errors
/// It is not the oldest letter of its row, or still cannot be applied.
pub fn retry(state: &mut State, id: u64, world: &World<'_>) -> Result<Vec<Event>, Rejection> {
    let letter = state.letters.open(id).cloned().ok_or(Rejection::LetterNotFound)?;
    if !state.letters.is_oldest(id, &letter) {
        return Err(Rejection::LetterStays(format!("an older letter of {} comes first", letter.parked)));
    }
    if !world.leased && matches!(letter.change, Change::Intent(_)) {
        return Err(Rejection::NoLease);
    }
    let touched = touch(&letter.change, world)?.map_err(|letter| Rejection::LetterStays(letter.cause))?;
    let done = take(state, (&letter.change, &touched), world).map_err(Rejection::LetterStays)?;
    state.letters.settle(id, "retried");
    Ok(match done {
        Done::Imported(event) => event.into_iter().collect(),
        Done::Applied | Done::Ignored => Vec::new(),
    })
}

/// Whether the database has taken anything of the monolith's stream. One that has not holds no rows: it is
/// new, or was lost.
pub fn has_begun(state: &State) -> bool {
    stream(state).position().is_some()
}

fn stream(state: &State) -> &Stream {
    state.stream.as_ref().expect("a command that asks for the stream has loaded it")
}

fn stream_mut(state: &mut State) -> &mut Stream {
    state.stream.as_mut().expect("a batch that imports has loaded the stream")
}

/// Which row a change is about.
struct Touched {
    parked: String,
    buckets: Vec<Bucket>,
}

/// Applies one change, or says why it becomes a letter.
fn apply(
    state: &mut State,
    change: &Change,
    world: &World<'_>,
) -> Result<Result<Done, NewLetter>, Rejection> {
    if let Change::Fence(fence) = change {
        if fence.owner == FenceOwner::Monolith {
            world.taken.0.borrow_mut().push((fence.buckets.clone(), fence.owner_epoch));
        }
        stream_mut(state).set_fence(fence);
        return Ok(Ok(Done::Ignored));
    }
    let touched = match touch(change, world)? {
        Ok(touched) => touched,
        Err(letter) => return Ok(Err(letter)),
    };
    let taken = if state.letters.is_parked(&touched.parked) {
        Err(format!("an earlier change of {} is a dead letter", touched.parked))
    } else {
        take(state, (change, &touched), world)
    };
    Ok(taken.map_err(|cause| {
        let bucket = touched.buckets.first().copied().unwrap_or_else(|| Bucket::of(""));
        NewLetter { bucket, parked: touched.parked, change: change.clone(), cause }
    }))
}

/// The row and the buckets that a change touches; a letter where they cannot be read.
fn touch(change: &Change, world: &World<'_>) -> Result<Result<Touched, NewLetter>, Rejection> {
    let (table, rows): (&str, Vec<&Row>) = match change {
        Change::Insert { table, after } => (table, vec![after]),
        Change::Update { table, before, after } => (table, vec![after, before]),
        Change::Delete { table, before } => (table, vec![before]),
        Change::Intent(intent) => (&intent.table, vec![&intent.before, &intent.wanted]),
        Change::Fence(_) => return Err(Rejection::Malformed("a fence is no row".into())),
    };
    if world.capability.table(table).is_none() {
        return Err(Rejection::Malformed(format!("table {table} is not one of the capability")));
    }
    let subject = |row: &&Row| columns::number(table, row, columns::subject_column(table));
    let subjects: Result<Vec<u64>, String> = rows.iter().map(subject).collect();
    let key = columns::number(table, rows[0], columns::key_column(table));
    Ok(match (subjects, key) {
        (Ok(subjects), Ok(key)) => Ok(Touched {
            parked: format!("{table}/{key}"),
            buckets: subjects.iter().map(|subject| Bucket::of(&subject.to_string())).collect(),
        }),
        (Err(cause), _) | (_, Err(cause)) => Err(NewLetter {
            bucket: Bucket::of(""),
            parked: format!("{table}/unreadable"),
            change: change.clone(),
            cause,
        }),
    })
}

/// Applies a change of a row that is not parked; says why it cannot be.
fn take(
    state: &mut State,
    (change, touched): (&Change, &Touched),
    world: &World<'_>,
) -> Result<Done, String> {
    let (Change::Insert { table, .. } | Change::Update { table, .. } | Change::Delete { table, .. }) = change
    else {
        return follow(state, (change, touched), world);
    };
    let declared = world.capability.table(table).ok_or("the table is not declared")?;
    if declared.role == TableRole::Reference {
        return plain(state, change);
    }
    let fence = stream(state).fence();
    if touched.buckets.iter().all(|bucket| fence.of(*bucket) != FenceOwner::Service) {
        return match touched.buckets.iter().find(|bucket| (world.is_open)(**bucket)) {
            Some(bucket) => Err(format!("the service owns bucket {bucket}, but the stream does not say so")),
            None => plain(state, change),
        };
    }
    match change {
        Change::Insert { table, after } if declared.stray_insert == StrayPolicy::Import => {
            stray(state, (table, after))
        }
        Change::Insert { .. } => Err(format!("a stray insert into {table} is to be rejected")),
        _ => Err(format!("a stray change of {table} without an origin tag")),
    }
}

/// Writes a row as the monolith has it.
fn plain(state: &mut State, change: &Change) -> Result<Done, String> {
    match change {
        Change::Insert { table, after } => put(state, columns::parse(table, after)?),
        Change::Update { table, before, after } => {
            let row = columns::parse(table, after)?;
            let key = columns::key_column(table);
            if before.get(key) != after.get(key) {
                remove(state, table, columns::number(table, before, key)?);
            }
            put(state, row);
        }
        Change::Delete { table, before } => {
            remove(state, table, columns::number(table, before, columns::key_column(table))?);
        }
        Change::Fence(_) | Change::Intent(_) => return Ok(Done::Ignored),
    }
    Ok(Done::Applied)
}

fn put(state: &mut State, row: AnyRow) {
    match row {
        AnyRow::Owned(record) => state.put(record),
        AnyRow::User(user) => state.users.put(user.id, user),
    }
}

fn remove(state: &mut State, table: &str, key: u64) {
    match table {
        crate::domain::NOTIFICATIONS => state.notifications.remove(key),
        crate::domain::PREFERENCES => state.preferences.remove(key),
        crate::domain::ACTIVITY => state.activity.remove(key),
        _ => state.users.remove(key),
    }
}

/// Takes a stray insert over. A row that is here already stays, and goes back to the monolith.
fn stray(state: &mut State, (table, after): (&str, &Row)) -> Result<Done, String> {
    let AnyRow::Owned(record) = columns::parse(table, after)? else {
        return Err(format!("{table} is no owned table"));
    };
    let own = match &record {
        Record::Notification(row) => state.notifications.get(&row.id).cloned().map(Record::Notification),
        Record::Preferences(row) => state.preferences.get(&row.user_id).cloned().map(Record::Preferences),
        Record::Activity(row) => state.activity.get(&row.id).cloned().map(Record::Activity),
    };
    match own {
        None => {
            state.put(record);
            Ok(Done::Imported(None))
        }
        Some(own) if own == record => Ok(Done::Imported(None)),
        Some(own) => {
            let event = Event { kind: EventKind::RowKept, user: own.user(), rows: vec![own] };
            Ok(Done::Imported(Some(event)))
        }
    }
}

/// Decides an intent.
fn follow(
    state: &mut State,
    (change, touched): (&Change, &Touched),
    world: &World<'_>,
) -> Result<Done, String> {
    let Change::Intent(intent) = change else { return Ok(Done::Ignored) };
    if let Some(bucket) = touched.buckets.iter().find(|bucket| !(world.is_open)(**bucket)) {
        return Err(format!("the service does not own bucket {bucket}, so that it cannot decide the intent"));
    }
    let event = intent::decide(state, intent)?;
    if let Some(event) = &event {
        state.apply(event);
    }
    Ok(Done::Imported(event))
}

/// Writes the rows of a chunk of the copy; those of buckets that have left the monolith are newer here.
fn copy(
    state: &mut State,
    chunk: &CopyChunk,
    (world, outcome): (&World<'_>, &mut ImportOutcome),
) -> Result<(), Rejection> {
    let table = chunk.table.as_str();
    for row in &chunk.rows {
        let change = Change::Insert { table: table.into(), after: row.clone() };
        let touched = match touch(&change, world)? {
            Ok(touched) => touched,
            Err(letter) => {
                state.letters.add(letter);
                outcome.dead_letters += 1;
                continue;
            }
        };
        let declared = world.capability.table(table).map(|table| table.role);
        let elsewhere = |bucket: &Bucket| {
            stream(state).fence().of(*bucket) != FenceOwner::Monolith || (world.is_open)(*bucket)
        };
        let left = declared == Some(TableRole::Owned) && touched.buckets.iter().any(elsewhere);
        if left || state.letters.is_parked(&touched.parked) {
            continue;
        }
        match plain(state, &change) {
            Ok(_) => outcome.applied += 1,
            Err(cause) => {
                let bucket = touched.buckets[0];
                state.letters.add(NewLetter { bucket, parked: touched.parked, change, cause });
                outcome.dead_letters += 1;
            }
        }
    }
    stream_mut(state).copied(table, chunk.rows.len() as u64, (chunk.through, chunk.done));
    Ok(())
}
