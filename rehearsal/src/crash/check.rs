//! What must hold at the end of a round.

use anyhow::Context as _;
use banyan_core::protocol::import::DeadLetter;
use banyan_core::protocol::target::TargetOwnership;
use banyan_core::{Bucket, BucketSet};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use std::collections::{BTreeMap, BTreeSet};

use crate::audit::{self, Evidence, mails, read};
use crate::control::{CAPABILITY, Operator};
use crate::load::Load;
use crate::load::record::{Failure, Phase};
use crate::rest;
use crate::system::System;

/// Handovers that are looked at.
const HANDOVERS_MAX: u64 = 10_000;
/// Faults of a kind that are told.
const TOLD_MAX: usize = 5;

/// The auditor of the rounds.
pub struct Check {
    /// The first notification of the run.
    first_id: u64,
    /// Acknowledged writes so far.
    pub acknowledged: u64,
}

impl Check {
    /// An auditor of notifications from this id on.
    pub fn new(first_id: u64) -> Self {
        Self { first_id, acknowledged: 0 }
    }

    /// Looks at everything after a round; what does not hold.
    ///
    /// # Errors
    /// Something cannot be read.
    pub async fn round(&mut self, system: &mut System, load: &Load) -> anyhow::Result<Vec<String>> {
        let operator = system.banyan().context("Banyan was not started")?.operator().clone();
        let mut faults = answers(&load.record().take_failures());
        let mut database = read::connect(&system.root_url()).await?;
        rest::wait_after_crash(&operator, &mut database).await?;
        let verified = operator.verify().await.context("comparing all rows")?;
        faults.extend(verified.samples.into_iter().take(TOLD_MAX));
        let letters: Vec<DeadLetter> = operator.service.get("/v1/letters").await?;
        faults.extend(letters.iter().take(TOLD_MAX).map(|letter| format!("a dead letter: {letter:?}")));
        faults.extend(owners(&operator, &mut database).await?);
        faults.extend(epochs(&operator).await?);

        let charges = system.provider().charges().await?;
        let file = system.banyan().context("Banyan was not started")?.service_file()?;
        let evidence = Evidence {
            shop: read::shop(&mut database, charges).await?,
            monolith: read::monolith(&mut database).await?,
            service: read::service(&file)?,
        };
        let report = audit::audit(&load.record().writes(), &evidence);
        self.acknowledged = report.acknowledged;
        faults.extend(audit::shortened(&report.faults, TOLD_MAX));
        // Whoever is killed between sending a mail and noting it leaves it unexplained; none may be doubled, and
        // none noted that was not sent.
        let mailed = mails::audit(&system.mails()?, &evidence.monolith, self.first_id);
        if mailed.doubled + mailed.missing > 0 {
            faults.push(format!("{} mails doubled, {} missing", mailed.doubled, mailed.missing));
            faults.extend(audit::shortened(&mailed.faults, TOLD_MAX));
        }
        database.disconnect().await?;
        Ok(faults)
    }
}

/// Failures that nothing excuses: after the recovery any, before it those that contradict what was
/// acknowledged, and requests that were never answered.
fn answers(failures: &[Failure]) -> Vec<String> {
    let unanswered = |reason: &str| reason.starts_with("no answer within");
    let counts = |failure: &&Failure| {
        failure.phase == Phase::After || failure.reason.starts_with("stale:") || unanswered(&failure.reason)
    };
    let told = failures.iter().filter(counts).take(TOLD_MAX);
    told.map(|failure| format!("{} ({:?}): {}", failure.step, failure.phase, failure.reason)).collect()
}

/// Control, the monolith's fence and the service must agree on who owns what, in which owner epoch.
async fn owners(operator: &Operator, database: &mut Conn) -> anyhow::Result<Vec<String>> {
    let told = operator.status().await?.service_buckets;
    let open: TargetOwnership = operator.service.get("/v1/ownership").await?;
    let sql = "SELECT bucket, owner, owner_epoch FROM banyan_fence WHERE capability = ?";
    let rows: Vec<(u16, String, u64)> = database.exec(sql, (CAPABILITY,)).await?;
    let mut fenced = BucketSet::empty();
    let mut epochs: BTreeMap<u16, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for (number, owner, epoch) in rows {
        match owner.as_str() {
            "service" => {
                fenced.insert(Bucket::try_from(number).map_err(anyhow::Error::msg)?);
                epochs.insert(number, epoch);
            }
            "monolith" => {}
            other => faults.push(format!("bucket {number} is fenced as {other}")),
        }
    }
    let mut opened = BucketSet::empty();
    for (epoch, buckets) in &open.open {
        for bucket in buckets.iter() {
            opened.insert(bucket);
            if epochs.get(&bucket.number()) != Some(&epoch.0) {
                faults.push(format!("bucket {bucket} is open at the service in owner epoch {epoch}"));
            }
        }
    }
    if told != fenced || told != opened {
        let (told, fenced, opened) = (told.len(), fenced.len(), opened.len());
        faults.push(format!(
            "control gives the service {told} buckets, the fence {fenced}, the service itself {opened}"
        ));
    }
    faults.truncate(TOLD_MAX);
    Ok(faults)
}

/// No owner epoch may be used twice.
async fn epochs(operator: &Operator) -> anyhow::Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let reports = operator.handovers(HANDOVERS_MAX).await?;
    let twice = reports.iter().filter(|report| !seen.insert(report.owner_epoch));
    Ok(twice.map(|report| format!("owner epoch {} was used twice", report.owner_epoch)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crash_excuses_a_failure_and_never_a_stale_answer() {
        let failure = |phase, reason: &str| Failure { phase, step: "GET /x", reason: reason.into() };
        let seen = answers(&[
            failure(Phase::Rounds, "503 instead of 200"),
            failure(Phase::Rounds, "stale: notification 1 is listed"),
            failure(Phase::Rounds, "no answer within 20 s"),
            failure(Phase::After, "503 instead of 200"),
        ]);
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}
