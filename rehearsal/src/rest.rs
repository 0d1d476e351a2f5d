//! Coming to rest: after the load has stopped, until every mail is sent and both streams are drained.
//!
//! Looks at the two sides themselves and does not ask sync: the service must have applied the monolith's
//! binlog as it stood after the last write, and the monolith must hold the newest position of the outbox.

use anyhow::{Context as _, bail};
use banyan_core::protocol::import::BinlogPosition;
use banyan_runtime::clock;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};
use std::time::Duration;

use crate::control::{CAPABILITY, Operator, POLL};

/// How long mails and streams may take.
const REST_MAX: Duration = Duration::from_secs(30);

/// Waits for rest.
///
/// # Errors
/// It does not come in time; the message says what is still going on.
pub async fn wait(operator: &Operator, database: &mut Conn) -> anyhow::Result<()> {
    mails(database, "'pending', 'claimed'").await?;
    streams(operator, database).await
}

/// Waits for rest after crashes: a mail whose sender was killed stays claimed at the monolith, for ever.
///
/// # Errors
/// As [`wait`].
pub async fn wait_after_crash(operator: &Operator, database: &mut Conn) -> anyhow::Result<()> {
    mails(database, "'pending'").await?;
    streams(operator, database).await
}

async fn mails(database: &mut Conn, states: &str) -> anyhow::Result<()> {
    let sql =
        format!("SELECT COUNT(*) FROM notifications WHERE mail_state IN ({states}) AND deleted_at IS NULL");
    until("mails are still to be sent", async || {
        let open: Option<u64> = database.query_first(sql.as_str()).await?;
        Ok(open == Some(0))
    })
    .await
}

async fn streams(operator: &Operator, database: &mut Conn) -> anyhow::Result<()> {
    let head = operator.outbox_head().await?;
    until("reverse has not written the whole outbox", async || {
        let sql = "SELECT COALESCE(MAX(position), 0) FROM banyan_tag WHERE capability = ?";
        let written: Option<u64> = database.exec_first(sql, (CAPABILITY,)).await?;
        Ok(written.unwrap_or_default() >= head)
    })
    .await?;
    let end = binlog_end(database).await?;
    until("the service has not applied the whole binlog", async || {
        Ok(operator.import_state().await?.position.is_some_and(|position| position >= end))
    })
    .await
}

async fn binlog_end(database: &mut Conn) -> anyhow::Result<BinlogPosition> {
    let row: Option<Row> = database.query_first("SHOW MASTER STATUS").await?;
    let mut row = row.context("the monolith's database writes no binlog")?;
    let file = row.take::<String, _>(0).context("no binlog file")?;
    let offset = row.take::<u64, _>(1).context("no binlog offset")?;
    Ok(BinlogPosition { file, offset })
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = clock::instant();
    while !condition().await? {
        if start.elapsed() > REST_MAX {
            bail!("{what} {} s after the load has ended", REST_MAX.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
