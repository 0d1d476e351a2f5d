//! How sync stands for one capability: what control looks at before a handover, and people at any time.
//!
//! Always answered: what cannot be found out counts as not in order, and is said in the faults.

use crate::capture::Capture;
use crate::database::{DatabaseFault, Lease};
use crate::error::Fault;
use crate::fence::inspect;
use banyan_core::BucketSet;
use banyan_core::protocol::import::ImportState;
use banyan_core::protocol::monolith::SyncStatus;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What the monolith's database says.
struct Monolith {
    fence_installed: bool,
    xa_prepared: u64,
    rows_estimated: u64,
}

/// Looks at everything.
pub async fn status(capture: &Capture) -> SyncStatus {
    let (monolith, service) = tokio::join!(monolith(capture), capture.import_state());
    let mut faults = capture.faults.all();
    let monolith = monolith.unwrap_or_else(|fault| {
        faults.push(format!("status: {fault}"));
        Monolith { fence_installed: false, xa_prepared: 0, rows_estimated: 0 }
    });
    let service = service.unwrap_or_else(|fault| {
        faults.push(format!("status: the service does not answer: {fault}"));
        ImportState { position: None, copied: Vec::new(), dead_letter_buckets: BucketSet::empty() }
    });
    let tables = &capture.capability.tables;
    let done = |name: &str| service.copied.iter().any(|p| p.table == name && p.done);
    let copied = service.position.is_some() && tables.iter().all(|table| done(&table.name));
    let copy_rows = service.copied.iter().map(|p| p.rows).sum();
    let verified = capture.verified.lock().unwrap_or_else(PoisonError::into_inner).clone();
    SyncStatus {
        capability: capture.capability.name.clone(),
        fence_installed: monolith.fence_installed,
        copied,
        copy_rows,
        // An estimate of InnoDB may be too low; what has been copied is known.
        copy_rows_estimated: if copied { copy_rows } else { monolith.rows_estimated.max(copy_rows) },
        forward_live: capture.forward_live.load(Ordering::Relaxed),
        reverse_live: capture.reverse.live.load(Ordering::Relaxed),
        forward_lag_ms: capture.beats.lag_ms(),
        reverse_lag_ms: capture.reverse.lag_ms.load(Ordering::Relaxed),
        lag_ms: capture.lag.quantiles(),
        dead_letter_buckets: service.dead_letter_buckets,
        xa_prepared: monolith.xa_prepared,
        verified,
        faults,
    }
}

async fn monolith(capture: &Capture) -> Result<Monolith, Fault> {
    // Before the lease: the catalog takes the same connection while it is read.
    capture.catalog().await?;
    let mut lease: Lease<'_> = capture.questions.lease().await?;
    let connection = &mut lease.connection;
    let fence_installed = inspect(capture, connection).await?.complete();
    let xa: Vec<mysql_async::Row> = capture.database.rows(connection, "XA RECOVER").await?;
    let names: Vec<String> = capture.capability.tables.iter().map(|t| format!("'{}'", t.name)).collect();
    let sql = format!(
        "SELECT CAST(COALESCE(SUM(table_rows), 0) AS UNSIGNED) FROM information_schema.tables
          WHERE table_schema = DATABASE() AND table_name IN ({})",
        if names.is_empty() { "''".into() } else { names.join(",") }
    );
    let estimated: Result<Vec<u64>, DatabaseFault> = capture.database.rows(connection, &sql).await;
    let rows_estimated = estimated?.into_iter().sum();
    lease.keep();
    Ok(Monolith { fence_installed, xa_prepared: xa.len() as u64, rows_estimated })
}
