//! The journal on real files.

use super::*;
use crate::coordinator::durable::{Attempt, Progress};
use crate::coordinator::effect::AuditEntry;
use audit::Verdict;
use banyan_core::protocol::migration::HandoverOutcome;
use banyan_core::{BucketSet, OwnerEpoch, Side};
use rusqlite::params;

const NAME: &str = "mail";

fn open(folder: &Path) -> Opened {
    let (path, names) = (folder.join("control.db"), [NAME.to_owned()]);
    Journal::open(&Open { path: &path, capabilities: &names, lease_ms: 3000, handovers_kept_max: 3 }).unwrap()
}

fn attempt(owner_epoch: u64) -> Attempt {
    Attempt {
        owner_epoch: OwnerEpoch(owner_epoch),
        to: Side::Service,
        buckets: "1-3".parse().unwrap(),
        left: BucketSet::empty(),
        causes: vec!["why".into()],
        progress: Progress::Frozen,
        connection_id: Some(7),
        started_ms: 5,
        frozen_ms: 6,
        forced: false,
        exposure: None,
    }
}

fn report(owner_epoch: u64) -> HandoverReport {
    HandoverReport {
        owner_epoch: OwnerEpoch(owner_epoch),
        capability: NAME.into(),
        to: Side::Service,
        buckets: BucketSet::empty(),
        left: BucketSet::empty(),
        causes: Vec::new(),
        outcome: HandoverOutcome::Done,
        started_ms: 0,
        hold_ms: 0,
        steps: Vec::new(),
        exposure: None,
    }
}

fn commit(next: &Durable, version: VersionChange) -> Arc<Commit> {
    let audit = AuditEntry {
        by: "ann".into(),
        action: "migration.advance",
        detail: "from 0 % to 1 %".into(),
        reason: "a \"test\"".into(),
    };
    Arc::new(Commit { step: "test", next: next.clone(), version, audit: Some(audit), report: None })
}

#[tokio::test]
async fn a_commit_is_what_the_next_start_reads() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let (mut durable, newest) = first.capabilities[NAME].clone();
    assert_eq!((first.term, first.version, newest), (1, 1, None));
    durable.wanted_percent = 12.5;
    durable.paused = true;
    let same = first.journal.commit(NAME, commit(&durable, VersionChange::Same), 1).await.unwrap();
    durable.freeze(attempt(2));
    let next = first.journal.commit(NAME, commit(&durable, VersionChange::Next), 1).await.unwrap();
    assert_eq!((same, next, first.journal.table().borrow().version), (1, 2, 2));
    let second = open(folder.path());
    assert_eq!((second.term, second.version), (2, 2));
    assert_eq!(second.capabilities[NAME].0, durable);
    assert_eq!(second.journal.table().borrow().capabilities[NAME], durable.table);
}

#[tokio::test]
async fn only_the_newest_term_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (open(folder.path()), open(folder.path()));
    let durable = first.capabilities[NAME].0.clone();
    let late = first.journal.commit(NAME, commit(&durable, VersionChange::Next), 1).await;
    assert!(matches!(late, Err(Fault::Deposed(1))), "{late:?}");
    assert_eq!(first.journal.table().borrow().version, 1);
    second.journal.commit(NAME, commit(&durable, VersionChange::Next), 1).await.unwrap();
}

#[tokio::test]
async fn a_burned_owner_epoch_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    let old = opened.capabilities[NAME].0.clone();
    let mut durable = old.clone();
    durable.freeze(attempt(2));
    opened.journal.commit(NAME, commit(&durable, VersionChange::Next), 1).await.unwrap();
    let late = opened.journal.commit(NAME, commit(&old, VersionChange::Next), 1).await;
    assert!(matches!(late, Err(Fault::OwnerEpoch(_))), "{late:?}");
}

#[tokio::test]
async fn leases_of_a_longer_past_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    let (path, names) = (folder.path().join("control.db"), [NAME.to_owned()]);
    let shorter = Open { path: &path, capabilities: &names, lease_ms: 1000, handovers_kept_max: 3 };
    assert_eq!(Journal::open(&shorter).unwrap().lease_ms, 3000);
    assert_eq!(Journal::open(&shorter).unwrap().lease_ms, 1000);
}

#[tokio::test]
async fn reports_are_bounded_and_come_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    let durable = opened.capabilities[NAME].0.clone();
    for epoch in 2..=6 {
        let report = Some(report(epoch));
        let commit =
            Commit { step: "test", next: durable.clone(), version: VersionChange::Same, audit: None, report };
        opened.journal.commit(NAME, Arc::new(commit), 1).await.unwrap();
    }
    let epochs = |reports: Vec<HandoverReport>| reports.iter().map(|r| r.owner_epoch.0).collect::<Vec<_>>();
    assert_eq!(epochs(opened.journal.handovers(NAME, 100).await.unwrap()), [6, 5, 4]);
    assert_eq!(epochs(opened.journal.handovers(NAME, 2).await.unwrap()), [6, 5]);
    assert_eq!(opened.journal.handovers("other", 2).await.unwrap().len(), 0);
    assert_eq!(open(folder.path()).capabilities[NAME].1.as_ref().map(|r| r.owner_epoch.0), Some(6));
}

#[tokio::test]
async fn a_changed_or_missing_record_breaks_the_chain() {
    let changes = [
        ("UPDATE audit SET reason = 'none' WHERE id = ?1", 2, 2),
        ("DELETE FROM audit WHERE id = ?1", 2, 2),
        ("DELETE FROM audit WHERE id = ?1", 3, 3),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE id = ?1", 1, 1),
    ];
    for (change, id, broken) in changes {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(folder.path());
        let durable = opened.capabilities[NAME].0.clone();
        for at_ms in 1..=3 {
            opened.journal.commit(NAME, commit(&durable, VersionChange::Same), at_ms).await.unwrap();
        }
        assert_eq!(opened.journal.verify_audit().await.unwrap(), Verdict::Whole(3));
        let ids: Vec<u64> = opened.journal.audit(1, 500).await.unwrap().iter().map(|r| r.id).collect();
        assert_eq!(ids, [2, 3]);
        let direct = Connection::open(folder.path().join("control.db")).unwrap();
        assert!(direct.execute(change, params![id]).is_err(), "the audit is append only");
        direct
            .execute_batch("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted;")
            .unwrap();
        direct.execute(change, params![id]).unwrap();
        assert_eq!(opened.journal.verify_audit().await.unwrap(), Verdict::Broken(broken), "{change}");
    }
}
