//! Blocks of ids that the service leases from the monolith's own AUTO_INCREMENT counters.
//!
//! 1. The lease is committed. From here on the insert trigger refuses its ids to everybody else.
//! 2. A row with the block's top id is inserted and deleted, which moves the counter past the block.
//! 3. A locking read proves that no row of the block was there before; rows that are found, or come to be
//!    committed while it waits for them, shrink the block from below.
//!
//! The block begins some ids above the counter, so that statements which have taken their ids and not
//! inserted their rows yet lie below it.
//!
//! The trigger reads `banyan_block` with a shared lock that its transaction keeps, and that covers the gap
//! up to the next row. A lease must not wait for those transactions, which may be open for a long time. So
//! an empty *post* (`first_id` above `last_id`) always stands some distance above the counter: inserts lock
//! the gap below the post, the next lease goes above it, where nobody has looked yet, and sets the next
//! post. Only where the monolith has outrun the post does a lease wait.
//!
//! The two row events of step 2 stand in a transaction with a tag row of their own lane, and so never reach
//! the service.

use crate::capture::Capture;
use crate::config::Config;
use crate::database::{Database, DatabaseFault};
use crate::error::Fault;
use crate::literal::quote;
use crate::own::{BLOCK, TAG};
use crate::reverse::LANE_BLOCKS;
use crate::schema::kind::Kind;
use crate::schema::{Column, TableSchema};
use banyan_core::capability::Table;
use banyan_core::protocol::monolith::{BlockRequest, IdBlock};
use banyan_runtime::{clock, failpoints};
use mysql_async::Conn;
use std::time::Duration;

/// The most ids of one block.
const SIZE_MAX: u64 = 100_000;
/// Ids above the counter that a block leaves to statements under way.
const MARGIN: u64 = 100;

/// What the connection sets: the row of step 2 refers to nothing, waits are bounded, and MySQL 8 tells the
/// counter as it is (MariaDB does, and skips comments of MySQL 5.7 to 9).
pub fn settings(config: &Config) -> Vec<String> {
    vec![
        "SET SESSION foreign_key_checks = 0 /*M! , check_constraint_checks = 0 */\
         /*!80000 , information_schema_stats_expiry = 0 */"
            .into(),
        format!("SET SESSION innodb_lock_wait_timeout = {}", config.block_wait_ms_max.div_ceil(1000)),
    ]
}

/// Where a table's counter and its blocks stand.
struct Standing<'s> {
    capability: &'s str,
    table: &'s TableSchema,
    /// The next id that the monolith gets.
    counter: u64,
    /// The end of the highest block or post.
    post: u64,
}

/// Leases a block.
///
/// # Errors
/// See [`Fault`]; a block that was leased and not handed out is never used.
pub async fn lease(capture: &Capture, request: &BlockRequest) -> Result<IdBlock, Fault> {
    let declared = capture.capability.table(&request.table).filter(|table| table.leases_ids);
    let declared = declared.ok_or_else(|| Fault::NoBlocks(request.table.clone()))?;
    if !(1..=SIZE_MAX).contains(&request.size) {
        return Err(Fault::Malformed(format!("`size` {} must be 1 to {SIZE_MAX}", request.size)));
    }
    let catalog = capture.catalog().await?;
    let table = catalog.table(&declared.name).ok_or_else(|| Fault::NoBlocks(request.table.clone()))?;
    let begun = clock::instant();
    let patience = Duration::from_millis(capture.config.block_wait_ms_max);
    let mut slot = capture.blocks.lease().await?;
    loop {
        match attempt(capture, &mut slot.connection, (table, request.size)).await {
            Ok(Some(block)) => {
                slot.keep();
                return Ok(block);
            }
            Ok(None) => {}
            Err(Fault::Database(fault)) if fault.is_locked() => {
                capture.database.run(&mut slot.connection, "ROLLBACK").await?;
            }
            Err(fault) => return Err(fault),
        }
        if begun.elapsed() >= patience {
            let cause = "open transactions of the monolith hold the ids that would follow".into();
            return Err(Fault::NoBlock { table: request.table.clone(), cause });
        }
    }
}

/// Sets the first post of a table, before its trigger begins to look.
///
/// # Errors
/// The database fails, or the table's ids cannot be leased.
pub async fn prepare(capture: &Capture, connection: &mut Conn, declared: &Table) -> Result<(), Fault> {
    let catalog = capture.catalog().await?;
    let Some(table) = catalog.table(&declared.name) else { return Ok(()) };
    let database = &capture.database;
    let standing = standing(database, connection, (&capture.capability.name, table)).await?;
    if standing.post <= standing.counter {
        let post = standing.counter.saturating_add(capture.config.block_distance);
        database.run(connection, &standing.insert(&[(post + 1, post)])).await?;
    }
    Ok(())
}

async fn standing<'s>(
    database: &Database,
    connection: &mut Conn,
    (capability, table): (&'s str, &'s TableSchema),
) -> Result<Standing<'s>, Fault> {
    if !table.columns[table.key].auto_increment {
        return Err(Fault::NoBlocks(table.name.clone()));
    }
    let sql = format!(
        "SELECT COALESCE(auto_increment, 1) FROM information_schema.tables
          WHERE table_schema = DATABASE() AND table_name = '{}'",
        table.name
    );
    let counter: Vec<u64> = database.rows(connection, &sql).await?;
    let sql = format!(
        "SELECT COALESCE(MAX(last_id), 0) FROM {} WHERE capability = '{capability}' AND table_name = '{}'",
        BLOCK.name, table.name
    );
    let post: Vec<u64> = database.rows(connection, &sql).await?;
    Ok(Standing { capability, table, counter: counter.into_iter().sum(), post: post.into_iter().sum() })
}

impl Standing<'_> {
    fn insert(&self, rows: &[(u64, u64)]) -> String {
        let rows = rows
            .iter()
            .map(|(first, last)| format!("('{}', '{}', {first}, {last})", self.capability, self.table.name));
        format!(
            "INSERT INTO {} (capability, table_name, first_id, last_id) VALUES {}",
            BLOCK.name,
            rows.collect::<Vec<_>>().join(", ")
        )
    }

    /// Whether the block still ends at an id that the column can hold.
    fn fits(&self, last: u64) -> bool {
        match self.table.columns[self.table.key].kind {
            Kind::Integer { bits: 64, unsigned: true } => last < u64::MAX - 1,
            Kind::Integer { bits, unsigned } => last < (1 << (bits - u32::from(!unsigned))) - 1,
            _ => false,
        }
    }
}

/// One block; `None` where it has to be tried again.
async fn attempt(
    capture: &Capture,
    connection: &mut Conn,
    (table, size): (&TableSchema, u64),
) -> Result<Option<IdBlock>, Fault> {
    let (database, capability) = (&capture.database, capture.capability.name.as_str());
    let standing = standing(database, connection, (capability, table)).await?;
    let first = standing.post.max(standing.counter.saturating_add(MARGIN)).saturating_add(1);
    let last = first.saturating_add(size - 1);
    let post = last.saturating_add(capture.config.block_distance);
    if !standing.fits(last) {
        let cause = format!("the ids of the table end before {last}");
        return Err(Fault::NoBlock { table: table.name.clone(), cause });
    }
    database.run(connection, &standing.insert(&[(first, last), (post.saturating_add(1), post)])).await?;
    failpoints::before("sync", "block");
    move_counter(capture, connection, (table, last)).await?;
    failpoints::after("sync", "block");
    let highest = prove(database, connection, (table, first, last)).await?;
    let Some(highest) = highest else { return Ok(Some(IdBlock { first, last })) };
    let shrunk = highest.saturating_add(1);
    let sql = format!(
        "UPDATE {} SET first_id = {shrunk} WHERE capability = '{capability}' AND table_name = '{}' AND last_id = {last}",
        BLOCK.name, table.name
    );
    database.run(connection, &sql).await?;
    Ok((shrunk <= last).then_some(IdBlock { first: shrunk, last }))
}

/// Step 2.
async fn move_counter(
    capture: &Capture,
    connection: &mut Conn,
    (table, last): (&TableSchema, u64),
) -> Result<(), DatabaseFault> {
    let (database, key) = (&capture.database, table.key_name());
    let filled = table.columns.iter().filter(|c| !c.optional && c.name != key);
    let (mut names, mut values) = (vec![format!("`{key}`")], vec![last.to_string()]);
    for column in filled {
        names.push(format!("`{}`", column.name));
        values.push(filler(column));
    }
    let tag = format!(
        "INSERT INTO {} (capability, lane, incarnation, position, term) VALUES ('{}', {LANE_BLOCKS}, '{}', 0, 0)
         ON DUPLICATE KEY UPDATE incarnation = VALUES(incarnation)",
        TAG.name,
        capture.capability.name,
        uuid::Uuid::now_v7()
    );
    let insert =
        format!("INSERT INTO `{}` ({}) VALUES ({})", table.name, names.join(", "), values.join(", "));
    let delete = format!("DELETE FROM `{}` WHERE `{key}` = {last}", table.name);
    for sql in ["START TRANSACTION", &tag, &insert, &delete, "COMMIT"] {
        database.run(connection, sql).await?;
    }
    Ok(())
}

/// Step 3: the highest id of the block that a row has. Waits for rows that are not committed yet.
async fn prove(
    database: &Database,
    connection: &mut Conn,
    (table, first, last): (&TableSchema, u64, u64),
) -> Result<Option<u64>, DatabaseFault> {
    let key = table.key_name();
    let sql = format!(
        "SELECT `{key}` FROM `{}` WHERE `{key}` BETWEEN {first} AND {last} ORDER BY `{key}` LOCK IN SHARE MODE",
        table.name
    );
    let there: Vec<u64> = database.rows(connection, &sql).await?;
    Ok(there.last().copied())
}

/// A valid value for a column that must have one.
fn filler(column: &Column) -> String {
    match &column.kind {
        Kind::Enum(labels) => quote(labels.first().map_or("", String::as_str)),
        Kind::Date => "'2000-01-01'".into(),
        Kind::Datetime(_) | Kind::Timestamp(_) => "'2000-01-01 00:00:00'".into(),
        Kind::Time(_) => "'00:00:00'".into(),
        Kind::Year => "2000".into(),
        Kind::Json => "'{}'".into(),
        Kind::Text(_) | Kind::Binary(_) | Kind::Bytes | Kind::Set(_) | Kind::Unsupported(_) => "''".into(),
        Kind::Integer { .. } | Kind::Decimal | Kind::Float | Kind::Double | Kind::Bit => "0".into(),
    }
}
