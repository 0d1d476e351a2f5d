//! Sync and the service as control sees them: gates, fence, marks and ownership behind guards. Calls can
//! fail before or after they take effect, never return, and keep marks back.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_core::protocol::monolith::{
    Applied, Direction, FenceSet, GatesRelease, GatesTake, GatesTaken, MarkReached, MarkWait,
    OpenTransaction, SyncStatus,
};
use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen, TargetOwnership};
use banyan_core::row::FenceOwner;
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Turn};
use banyan_runtime::clock::Boot;
use banyan_runtime::http::{Problem, role_only};
use banyan_runtime::secrets::RoleToken;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(2);

/// Where a call breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before it takes effect.
    Before,
    /// After it has taken effect, before it is answered.
    After,
}

/// What a call does instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Calls of this path fail, so many times.
    Fails { path: &'static str, point: Point, times: u32 },
    /// The call with this number never returns, and those who watch are told.
    Hangs { number: usize, point: Point },
}

/// Both sides. Clones share them.
#[derive(Clone)]
pub struct Peers {
    state: Arc<Mutex<Sides>>,
    hung: Arc<watch::Sender<bool>>,
}

/// Their state.
#[derive(Default)]
pub struct Sides {
    fence: BTreeMap<Bucket, (FenceOwner, OwnerEpoch)>,
    fence_guard: BTreeMap<Bucket, Turn>,
    gates: Option<(Turn, BucketSet)>,
    connections: u64,
    open: BTreeMap<Bucket, OwnerEpoch>,
    service_guard: BTreeMap<Bucket, Turn>,
    forward_marks: BTreeSet<OwnerEpoch>,
    reverse_marks: BTreeSet<OwnerEpoch>,
    /// Buckets with an open transaction.
    pub busy: BTreeSet<Bucket>,
    /// Whether marks are reached.
    pub marks_stuck: bool,
    /// A change before the mark could not be applied.
    pub letter_at_mark: Option<Bucket>,
    /// What sync and the service say of themselves.
    pub unhealthy: Unhealthy,
    /// The paths that were called, in order.
    pub calls: Vec<String>,
    /// What goes wrong.
    pub trouble: Option<Trouble>,
    /// What must never be.
    pub violations: Vec<String>,
    /// Looks whether every gateway holds the buckets; asked before a fence moves.
    pub held_by_all: Option<Look>,
}

/// A look at buckets.
pub type Look = Box<dyn Fn(&BucketSet) -> bool + Send>;

/// Why a handover must not begin.
#[derive(Clone, Debug, Default)]
pub struct Unhealthy {
    pub not_installed: bool,
    pub lag_ms: u64,
    pub xa_prepared: u64,
    pub unleased: bool,
    pub dead_letters: Option<Bucket>,
    pub shows_owner_epoch: Option<u64>,
}

type Shared = State<Peers>;
type Answer<T> = Result<Json<T>, Problem>;

impl Peers {
    /// Two healthy sides; everything belongs to the monolith.
    pub fn new() -> Self {
        Self { state: Arc::default(), hung: Arc::new(watch::channel(false).0) }
    }

    /// Their state.
    pub fn sides(&self) -> MutexGuard<'_, Sides> {
        self.state.lock().unwrap()
    }

    /// Waits until a call hangs.
    pub async fn until_hung(&self) {
        self.hung.subscribe().wait_for(|hung| *hung).await.unwrap();
        self.hung.send_replace(false);
    }

    /// The routes of both.
    pub fn router(&self, token: &RoleToken) -> Router {
        let router = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/gates/take", post(take))
            .route("/v1/gates/release", post(release))
            .route("/v1/fence/set", post(set_fence))
            .route("/v1/marks/wait", post(wait_mark))
            .route("/v1/ownership", get(ownership))
            .route("/v1/ownership/open", post(open))
            .route("/v1/ownership/close", post(close))
            .with_state(self.clone());
        role_only(router, token)
    }

    /// Does a call's work between the points where it may break off.
    async fn perform<T>(&self, uri: Uri, work: impl FnOnce(&mut Sides) -> T) -> Answer<T> {
        let number = {
            let mut sides = self.sides();
            sides.calls.push(uri.path().to_owned());
            sides.calls.len()
        };
        self.break_off(&uri, number, Point::Before).await?;
        let answer = {
            let mut sides = self.sides();
            let answer = work(&mut sides);
            sides.check_one_owner();
            answer
        };
        self.break_off(&uri, number, Point::After).await?;
        Ok(Json(answer))
    }

    async fn break_off(&self, uri: &Uri, number: usize, here: Point) -> Result<(), Problem> {
        let hangs = {
            let mut sides = self.sides();
            match &mut sides.trouble {
                Some(Trouble::Fails { path, point, times })
                    if *path == uri.path() && *point == here && *times > 0 =>
                {
                    *times -= 1;
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "planned", "as planned"));
                }
                Some(Trouble::Hangs { number: at, point }) => *at == number && *point == here,
                _ => false,
            }
        };
        if hangs {
            self.hung.send_replace(true);
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Sides {
    /// What the fence says.
    pub fn fence(&self, bucket: Bucket) -> (FenceOwner, OwnerEpoch) {
        self.fence.get(&bucket).copied().unwrap_or((FenceOwner::Monolith, OwnerEpoch(1)))
    }

    /// Whether the service may write, and in which owner epoch.
    pub fn open(&self, bucket: Bucket) -> Option<OwnerEpoch> {
        self.open.get(&bucket).copied()
    }

    /// Whether gates are held.
    pub fn gates_held(&self) -> bool {
        self.gates.is_some()
    }

    /// A coordinator of a far later term has been here.
    pub fn raise_guards(&mut self, buckets: &BucketSet) {
        let turn = Turn { term: 99, attempt: 1, step: 1 };
        buckets.iter().for_each(|b| {
            self.fence_guard.insert(b, turn);
        });
    }

    fn check_one_owner(&mut self) {
        for bucket in self.open.keys().copied().collect::<Vec<_>>() {
            if self.fence(bucket).0 == FenceOwner::Monolith {
                self.violations.push(format!("both sides may write bucket {bucket}"));
            }
        }
    }
}

fn raise(guard: &mut BTreeMap<Bucket, Turn>, buckets: &BucketSet, turn: Turn) -> bool {
    let may = buckets.iter().all(|b| guard.get(&b).is_none_or(|seen| *seen < turn));
    if may {
        buckets.iter().for_each(|b| {
            guard.insert(b, turn);
        });
    }
    may
}

async fn status(State(peers): Shared, uri: Uri) -> Answer<SyncStatus> {
    let work = |sides: &mut Sides| SyncStatus {
        capability: "notifications".into(),
        fence_installed: !sides.unhealthy.not_installed,
        copied: true,
        copy_rows: 10,
        copy_rows_estimated: 10,
        forward_live: true,
        reverse_live: true,
        forward_lag_ms: sides.unhealthy.lag_ms,
        reverse_lag_ms: 0,
        lag_ms: Default::default(),
        dead_letter_buckets: sides.unhealthy.dead_letters.into_iter().collect(),
        xa_prepared: sides.unhealthy.xa_prepared,
        verified: None,
        faults: Vec::new(),
    };
    peers.perform(uri, work).await
}

async fn take(State(peers): Shared, uri: Uri, Json(take): Json<GatesTake>) -> Answer<GatesTaken> {
    // Patience: the whole set may become free meanwhile.
    let deadline = Boot::now().plus(Duration::from_millis(take.patience_ms));
    while Boot::now() < deadline && peers.sides().busy.iter().any(|b| take.buckets.contains(*b)) {
        tokio::time::sleep(POLL).await;
    }
    let work = move |sides: &mut Sides| {
        sides.gates.take_if(|(turn, _)| *turn < take.turn);
        let taken = match &sides.gates {
            Some(_) => BucketSet::empty(),
            None => take.buckets.difference(&sides.busy.iter().copied().collect()),
        };
        sides.connections += 1;
        if sides.gates.is_none() {
            sides.gates = Some((take.turn, taken.clone()));
        }
        let holder = OpenTransaction {
            connection_id: 40,
            user: "app@localhost".into(),
            age_ms: 12_000,
            statement: Some("SELECT SLEEP(30)".into()),
        };
        let holders = if taken == take.buckets { Vec::new() } else { vec![holder] };
        GatesTaken { connection_id: 1000 + sides.connections, taken, holders, xa_prepared: 0 }
    };
    peers.perform(uri, work).await
}

async fn release(State(peers): Shared, uri: Uri, Json(release): Json<GatesRelease>) -> Answer<()> {
    let work = move |sides: &mut Sides| {
        let kill = release.kill_connection_id.is_some();
        sides.gates.take_if(|(turn, _)| turn.attempt == release.attempt || kill);
    };
    peers.perform(uri, work).await
}

async fn set_fence(State(peers): Shared, uri: Uri, Json(set): Json<FenceSet>) -> Answer<Applied> {
    let work = move |sides: &mut Sides| {
        let moving = set.owner == FenceOwner::Moving;
        if moving && sides.held_by_all.as_ref().is_some_and(|held| !held(&set.buckets)) {
            sides
                .violations
                .push(format!("epoch {}: the fence moves while a write goes on", set.owner_epoch));
        }
        let applied = raise(&mut sides.fence_guard, &set.buckets, set.turn);
        if applied {
            set.buckets.iter().for_each(|b| {
                sides.fence.insert(b, (set.owner, set.owner_epoch));
            });
            if moving {
                sides.forward_marks.insert(set.owner_epoch);
            }
        }
        Applied { applied }
    };
    peers.perform(uri, work).await
}

async fn wait_mark(State(peers): Shared, uri: Uri, Json(wait): Json<MarkWait>) -> Answer<MarkReached> {
    let deadline = Boot::now().plus(Duration::from_millis(wait.wait_ms));
    while Boot::now() < deadline && peers.sides().marks_stuck {
        tokio::time::sleep(POLL).await;
    }
    let work = move |sides: &mut Sides| {
        let marks = match wait.direction {
            Direction::Forward => &sides.forward_marks,
            Direction::Reverse => &sides.reverse_marks,
        };
        let reached = !sides.marks_stuck && marks.contains(&wait.owner_epoch);
        let dead_letters: BucketSet =
            sides.letter_at_mark.into_iter().filter(|b| wait.buckets.contains(*b)).collect();
        MarkReached { reached: reached && dead_letters.is_empty(), dead_letters }
    };
    peers.perform(uri, work).await
}

async fn ownership(State(peers): Shared, uri: Uri) -> Answer<TargetOwnership> {
    let work = |sides: &mut Sides| {
        let mut open: BTreeMap<OwnerEpoch, BucketSet> = BTreeMap::new();
        for (bucket, epoch) in &sides.open {
            open.entry(*epoch).or_insert_with(BucketSet::empty).insert(*bucket);
        }
        if let Some(epoch) = sides.unhealthy.shows_owner_epoch {
            open.insert(OwnerEpoch(epoch), BucketSet::empty());
        }
        TargetOwnership { leased: !sides.unhealthy.unleased, open: open.into_iter().collect() }
    };
    peers.perform(uri, work).await
}

async fn open(State(peers): Shared, uri: Uri, Json(open): Json<OwnershipOpen>) -> Answer<Applied> {
    let work = move |sides: &mut Sides| {
        let applied = raise(&mut sides.service_guard, &open.buckets, open.turn);
        if applied {
            open.buckets.iter().for_each(|b| {
                sides.open.insert(b, open.owner_epoch);
            });
        }
        Applied { applied }
    };
    peers.perform(uri, work).await
}

async fn close(State(peers): Shared, uri: Uri, Json(close): Json<OwnershipClose>) -> Answer<Applied> {
    let work = move |sides: &mut Sides| {
        let applied = raise(&mut sides.service_guard, &close.buckets, close.turn);
        if applied {
            close.buckets.iter().for_each(|b| {
                sides.open.remove(&b);
            });
            sides.reverse_marks.insert(close.owner_epoch);
        }
        Applied { applied }
    };
    peers.perform(uri, work).await
}
