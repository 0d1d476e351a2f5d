//! A role is killed on purpose, noticed by who supervises it, started again, and waited for.
//!
//! The rehearsal plays the supervisor, as systemd or Kubernetes would; "detected" is when it sees that the
//! process has ended, "recovered" when every role answers, both streams run and no handover is left open.

use anyhow::bail;
use banyan_runtime::clock;
use std::time::Duration;

use crate::control::{POLL, at_rest};
use crate::load::record::Record;
use crate::scorecard::{Recovery, tenths};
use crate::system::System;
use crate::timeline::Kind;

/// How long a recovery may take before the rehearsal gives up on it.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// Kills a role's process with SIGKILL and waits for the recovery.
///
/// # Errors
/// The roles share one process, or the role does not come back; the message says what is missing.
pub async fn kill(system: &mut System, role: &str, record: &Record) -> anyhow::Result<Recovery> {
    let fault = format!("kill -9 {role}");
    let failed = || {
        let live = record.live();
        live.failed + live.failed_while_down
    };
    let failed_before = failed();
    record.timeline(|timeline| timeline.mark(Kind::Fault, &fault));
    let injected = clock::instant();
    system.banyan_mut()?.kill(role)?;
    let took_ms = || tenths(injected.elapsed().as_secs_f64() * 1000.0);
    while system.tend()? == 0 {
        tokio::time::sleep(POLL).await;
    }
    let detected_ms = took_ms();
    while let Err(missing) = well(system).await {
        if injected.elapsed() > RECOVERY_MAX {
            bail!("not recovered within {} s from {fault}: {missing:#}", RECOVERY_MAX.as_secs());
        }
        system.tend()?;
        tokio::time::sleep(POLL).await;
    }
    let recovered_ms = took_ms();
    record.timeline(|timeline| timeline.mark(Kind::Recovered, &format!("{role} has recovered")));
    Ok(Recovery { fault, detected_ms, recovered_ms, moved_ms: None, failed: failed() - failed_before })
}

/// Whether everything works.
async fn well(system: &mut System) -> anyhow::Result<()> {
    let banyan = system.banyan_mut()?;
    banyan.readiness().await?;
    let sync = banyan.operator().sync_status().await?;
    if !sync.forward_live || !sync.reverse_live {
        bail!("a stream does not run");
    }
    if !at_rest(&banyan.operator().status().await?) {
        bail!("a handover is open");
    }
    Ok(())
}
