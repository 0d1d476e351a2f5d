//! A gateway as control sees it: a lease that it renews, a table, writes in flight.

use crate::peers::POLL;
use banyan_core::protocol::exposure::Answers;
use banyan_core::protocol::lease::{LeaseGrant, LeaseKind, LeaseRequest};
use banyan_core::{BucketSet, OwnershipTable};
use banyan_runtime::client::RoleClient;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A gateway. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    name: String,
    view: Arc<Mutex<View>>,
    news: Arc<Notify>,
}

struct View {
    answers: Answers,
    table: OwnershipTable,
    in_flight: BucketSet,
}

/// Ends the gateway's renewals when it is dropped, as a crash does.
pub struct Renewals(AbortHandle);

impl Drop for Renewals {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Gateway {
    /// A gateway that has not started yet.
    pub fn new(name: &str) -> Self {
        let view = View {
            answers: Answers::default(),
            table: OwnershipTable::default(),
            in_flight: BucketSet::empty(),
        };
        Self { name: name.into(), view: Arc::new(Mutex::new(view)), news: Arc::default() }
    }

    /// Renews its lease until the handle is dropped; waits for control where it is away.
    pub fn start(&self, control: RoleClient) -> Renewals {
        let gateway = self.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "a gateway outside the supervisor, so that it can crash"
        )]
        let task = tokio::spawn(async move {
            loop {
                let request = gateway.request();
                let answer = tokio::select! {
                    answer = control.post::<_, LeaseGrant>("/v1/leases", &request) => answer,
                    () = gateway.news.notified() => continue,
                };
                match answer {
                    Ok(grant) => gateway.learn(grant),
                    Err(_) => tokio::time::sleep(POLL).await,
                }
            }
        });
        Renewals(task.abort_handle())
    }

    fn request(&self) -> LeaseRequest {
        let view = self.view.lock().unwrap();
        let held = view.table.capabilities.get("notifications").map(|t| t.filter(|h| h.phase.holds_writes()));
        let undrained = held.map(|held| held.intersection(&view.in_flight));
        LeaseRequest {
            holder: self.name.clone(),
            kind: LeaseKind::Gateway,
            seen_version: view.table.version,
            undrained: undrained
                .map(|set| ("notifications".to_owned(), set))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            wait_ms: 60_000,
            answers: BTreeMap::from([("notifications".to_owned(), view.answers.clone())]),
            degraded: BTreeMap::new(),
        }
    }

    fn learn(&self, grant: LeaseGrant) {
        let mut view = self.view.lock().unwrap();
        if let Some(table) = grant.table.filter(|t| t.version > view.table.version) {
            view.table = table;
        }
    }

    /// A write of these buckets is in flight, and none of others.
    pub fn set_in_flight(&self, buckets: BucketSet) {
        self.view.lock().unwrap().in_flight = buckets;
        self.news.notify_one();
    }

    /// It has acknowledged these.
    pub fn set_answers(&self, answers: Answers) {
        self.view.lock().unwrap().answers = answers;
        self.news.notify_one();
    }

    /// The version by which it routes.
    pub fn version(&self) -> u64 {
        self.view.lock().unwrap().table.version
    }

    /// Whether it sends no write of these buckets and has none in flight.
    pub fn holds(&self, buckets: &BucketSet) -> bool {
        let view = self.view.lock().unwrap();
        let table = &view.table.capabilities["notifications"];
        let steady = table.filter(|h| !h.phase.holds_writes());
        steady.intersection(buckets).is_empty() && view.in_flight.intersection(buckets).is_empty()
    }

    /// Its table.
    pub fn table(&self) -> OwnershipTable {
        self.view.lock().unwrap().table.clone()
    }
}
