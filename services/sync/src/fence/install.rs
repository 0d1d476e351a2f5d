//! Installing, inspecting and removing the fence of a capability.

use super::trigger::Trigger;
use crate::blocks;
use crate::capture::Capture;
use crate::database::{Database, DatabaseFault, code};
use crate::error::Fault;
use crate::own::{FENCE, GATE, GUARD, INTENT, OF_FENCE, OF_STREAMS, OwnTable};
use banyan_core::BUCKETS;
use banyan_core::capability::{Table, TableRole};
use banyan_runtime::clock;
use mysql_async::Conn;
use serde::Serialize;
use std::time::Duration;

/// How long a trigger waits for transactions that use its table, at a time. The statements of others queue
/// behind it meanwhile, so it is short, and tried again.
const TABLE_WAIT_S: u64 = 1;
const RETRY: Duration = Duration::from_millis(20);
/// How often the server is told to trust the maker of triggers.
const TRUST_MAX: u32 = 20;
/// How long an installation may wait for such transactions in all.
const PATIENCE: Duration = Duration::from_secs(8);

/// How an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// As it should be.
    #[serde(rename = "in place")]
    InPlace,
    /// Not there.
    #[serde(rename = "missing")]
    Missing,
    /// There, and not as it should be.
    #[serde(rename = "differs")]
    Differs,
}

/// One object in the monolith's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// `table`, `rows` or `trigger`.
    pub kind: &'static str,
    /// How it stands.
    pub state: State,
}

/// `GET /v1/fence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// The capability.
    pub capability: String,
    /// Tables, rows and triggers.
    pub objects: Vec<Object>,
}

impl Installed {
    /// Whether everything is as it should be.
    pub fn complete(&self) -> bool {
        self.objects.iter().all(|object| object.state == State::InPlace)
    }
}

/// Makes what is missing, and triggers anew that differ; rows that are there keep what they say.
///
/// # Errors
/// See [`Fault`]; what has been made stays, and installing again goes on.
pub async fn install(capture: &Capture) -> Result<Installed, Fault> {
    let database = &capture.database;
    let catalog = capture.catalog().await?;
    let wait = format!("SET SESSION lock_wait_timeout = {TABLE_WAIT_S}");
    let mut connection = database.connect_with(&[wait]).await?;
    let connection = &mut connection;
    for table in OF_STREAMS.into_iter().chain(OF_FENCE) {
        table.create(database, connection).await?;
    }
    let capability = &capture.capability.name;
    for (table, columns, initial) in [
        (GUARD, "term, attempt, step", "0, 0, 0"),
        (FENCE, "owner, owner_epoch", "'monolith', 1"),
        (GATE, "", ""),
    ] {
        fill(database, connection, (table, capability), (columns, initial)).await?;
    }
    for declared in capture.capability.tables.iter().filter(|t| t.leases_ids) {
        blocks::prepare(capture, connection, declared).await?;
    }
    let there = triggers_of(database, connection).await?;
    let or_replace = connection.server_version().0 >= 10;
    let mut statements = Vec::new();
    for trigger in wanted(capture, &catalog).into_iter().filter(|wanted| !there.contains(wanted)) {
        if !or_replace && there.iter().any(|t| t.name == trigger.name) {
            statements.push(format!("DROP TRIGGER `{}`", trigger.name));
        }
        statements.push(trigger.create(or_replace));
    }
    change_triggers(database, connection, &statements).await?;
    inspect(capture, connection).await
}

fn wanted(capture: &Capture, catalog: &crate::binlog::Catalog) -> Vec<Trigger> {
    let owned = capture.capability.tables.iter().filter(|t| t.role == TableRole::Owned);
    let of = |declared: &Table| {
        let schema = catalog.table(&declared.name)?;
        Some(Trigger::of(&capture.capability.name, declared, schema, capture.database.user()))
    };
    owned.filter_map(of).flatten().collect()
}

/// One row for each bucket; what is there is left alone.
async fn fill(
    database: &Database,
    connection: &mut Conn,
    (table, capability): (OwnTable, &str),
    (columns, initial): (&str, &str),
) -> Result<(), DatabaseFault> {
    if rows_of(database, connection, (table, capability)).await? == u64::from(BUCKETS) {
        return Ok(());
    }
    let initial = if initial.is_empty() { String::new() } else { format!(", {initial}") };
    let columns = if columns.is_empty() { String::new() } else { format!(", {columns}") };
    let rows: Vec<String> =
        (0..BUCKETS).map(|bucket| format!("('{capability}', {bucket}{initial})")).collect();
    let sql =
        format!("INSERT IGNORE INTO {} (capability, bucket{columns}) VALUES {}", table.name, rows.join(","));
    database.run(connection, &sql).await?;
    Ok(())
}

async fn rows_of(
    database: &Database,
    connection: &mut Conn,
    (table, capability): (OwnTable, &str),
) -> Result<u64, DatabaseFault> {
    let sql = format!("SELECT COUNT(*) FROM {} WHERE capability = '{capability}'", table.name);
    Ok(database.rows::<u64>(connection, &sql).await?.into_iter().sum())
}

/// Runs statements that make or drop triggers. A server that writes binlogs lets only SUPER do so, unless it
/// is told to trust the makers of functions; with the right BINLOG ADMIN it is told so for that moment.
async fn change_triggers(
    database: &Database,
    connection: &mut Conn,
    statements: &[String],
) -> Result<(), DatabaseFault> {
    let trust = |on: u8| format!("SET GLOBAL log_bin_trust_function_creators = {on}");
    // MariaDB: not at all in the queue. A transaction that has read the table and then writes it would wait
    // behind the DDL that waits for it, and be the victim of that deadlock. MySQL's least is a second.
    let wait = |seconds: u64| format!("SET SESSION lock_wait_timeout = {seconds}");
    database.run(connection, &wait(0)).await?;
    let mut trusted = 0;
    let mut outcome = Ok(());
    for statement in statements {
        outcome = patiently(database, connection, statement).await;
        // Another installation may set it back in between.
        while trusted < TRUST_MAX && outcome.as_ref().is_err_and(|f| f.is(code::CREATORS_NOT_TRUSTED)) {
            trusted += 1;
            database.run(connection, &trust(1)).await?;
            outcome = patiently(database, connection, statement).await;
        }
        if outcome.is_err() {
            break;
        }
    }
    if trusted > 0 {
        database.run(connection, &trust(0)).await?;
    }
    database.run(connection, &wait(TABLE_WAIT_S)).await?;
    outcome
}

/// Runs DDL on a table in use.
async fn patiently(database: &Database, connection: &mut Conn, sql: &str) -> Result<(), DatabaseFault> {
    let begun = clock::instant();
    loop {
        match database.run(connection, sql).await {
            Err(fault) if fault.is_locked() && begun.elapsed() < PATIENCE => tokio::time::sleep(RETRY).await,
            outcome => return outcome.map(|_| ()),
        }
    }
}

/// Triggers of Banyan in this database.
async fn triggers_of(database: &Database, connection: &mut Conn) -> Result<Vec<Trigger>, DatabaseFault> {
    let sql = "SELECT trigger_name, action_timing, event_manipulation, event_object_table, action_statement
                 FROM information_schema.triggers
                WHERE trigger_schema = DATABASE() AND trigger_name LIKE 'banyan\\_%'";
    let rows: Vec<(String, String, String, String, String)> = database.rows(connection, sql).await?;
    let trigger = |(name, timing, event, table, body): (String, String, String, String, String)| {
        let event = match (timing.as_str(), event.as_str()) {
            ("AFTER", "INSERT") => "AFTER INSERT",
            ("BEFORE", "UPDATE") => "BEFORE UPDATE",
            ("BEFORE", "DELETE") => "BEFORE DELETE",
            _ => "another event",
        };
        Trigger { name, event, table, body }
    };
    Ok(rows.into_iter().map(trigger).collect())
}

/// Lists every object and how it stands.
///
/// # Errors
/// The database fails, or a table cannot be captured.
pub async fn inspect(capture: &Capture, connection: &mut Conn) -> Result<Installed, Fault> {
    let database = &capture.database;
    let catalog = capture.catalog().await?;
    let capability = &capture.capability.name;
    let sql = "SELECT table_name, column_name FROM information_schema.columns
                WHERE table_schema = DATABASE() AND table_name LIKE 'banyan\\_%' ORDER BY ordinal_position";
    let columns: Vec<(String, String)> = database.rows(connection, sql).await?;
    let mut objects = Vec::new();
    for table in OF_STREAMS.into_iter().chain(OF_FENCE) {
        let there = columns.iter().filter(|(name, _)| name == table.name).map(|(_, c)| c.as_str());
        let state = match there.collect::<Vec<_>>() {
            there if there.is_empty() => State::Missing,
            there if there == table.column_names() => State::InPlace,
            _ => State::Differs,
        };
        objects.push(Object { name: table.name.into(), kind: "table", state });
        if [GATE, FENCE, GUARD].contains(&table) {
            let rows = match state {
                State::InPlace => rows_of(database, connection, (table, capability)).await?,
                _ => 0,
            };
            let state = match rows {
                0 => State::Missing,
                rows if rows == u64::from(BUCKETS) => State::InPlace,
                _ => State::Differs,
            };
            objects.push(Object { name: format!("{} of {capability}", table.name), kind: "rows", state });
        }
    }
    let there = triggers_of(database, connection).await?;
    for trigger in wanted(capture, &catalog) {
        let state = match there.iter().find(|t| t.name == trigger.name) {
            None => State::Missing,
            Some(found) if *found == trigger => State::InPlace,
            Some(_) => State::Differs,
        };
        objects.push(Object { name: trigger.name, kind: "trigger", state });
    }
    Ok(Installed { capability: capability.clone(), objects })
}

/// Removes triggers, gates and fence. Guards, leased blocks and origin tags stay: a command that arrives
/// late after another installation must still change nothing, and a leased id stays leased.
///
/// # Errors
/// The service owns a bucket, or one moves: nothing has been removed.
pub async fn remove(capture: &Capture) -> Result<Installed, Fault> {
    let (database, capability) = (&capture.database, &capture.capability.name);
    // Held to the end: no command sets the fence meanwhile.
    let mut lease = capture.fence.lease().await?;
    let connection = &mut lease.connection;
    let wait = format!("SET SESSION lock_wait_timeout = {TABLE_WAIT_S}");
    database.run(connection, &wait).await?;
    let before = inspect(capture, connection).await?;
    let there = |name: &str| before.objects.iter().any(|o| o.name == name && o.state != State::Missing);
    if there(FENCE.name) {
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE capability = '{capability}' AND owner <> 'monolith'",
            FENCE.name
        );
        let buckets: u64 = database.rows::<u64>(connection, &sql).await?.into_iter().sum();
        if buckets > 0 {
            return Err(Fault::ServiceOwns { capability: capability.clone(), buckets });
        }
    }
    let triggers = before.objects.iter().filter(|o| o.kind == "trigger" && o.state != State::Missing);
    let drops: Vec<String> = triggers.map(|o| format!("DROP TRIGGER IF EXISTS `{}`", o.name)).collect();
    change_triggers(database, connection, &drops).await?;
    for table in [GATE, FENCE, INTENT].into_iter().filter(|t| there(t.name)) {
        let sql = format!("DELETE FROM {} WHERE capability = '{capability}'", table.name);
        database.run(connection, &sql).await?;
        let left = format!("SELECT COUNT(*) FROM {}", table.name);
        if database.rows::<u64>(connection, &left).await? == [0] {
            database.run(connection, &format!("DROP TABLE {}", table.name)).await?;
        }
    }
    inspect(capture, connection).await
}
