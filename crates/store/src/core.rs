//! What the shell asks of a service, and what it offers to a decision.

use crate::answers::Key;
use crate::fault::Fault;
use crate::outbox::{NewEvent, Pending};
use crate::ownership::Ownership;
use crate::working::Working;
use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen};
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Turn};
use rusqlite::Connection;
use serde::{Serialize, de::DeserializeOwned};

/// What a service supplies: how its commands are loaded, decided and written.
pub trait Core: Send + 'static {
    /// A command.
    type Command: Send + 'static;
    /// What an accepted command is answered with.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// Why a command is refused.
    type Rejection: Serialize + DeserializeOwned + Send + 'static;
    /// The rows of a batch.
    type Working: Working;

    /// What the command needs to be allowed.
    fn claim(&self, command: &Self::Command) -> Claim;

    /// The key by which a replay of the command is known.
    fn key<'c>(&self, _command: &'c Self::Command) -> Option<&'c Key> {
        None
    }

    /// Reads what the commands touch.
    ///
    /// # Errors
    /// The database fails.
    fn load(&self, db: &Connection, commands: &[&Self::Command], now_ms: u64)
    -> Result<Self::Working, Fault>;

    /// Decides one command: changes the working set and publishes events, or rejects.
    ///
    /// # Errors
    /// The rejection; whatever was changed or published before is undone.
    fn decide(
        &self,
        working: &mut Self::Working,
        command: &Self::Command,
        context: &mut Context<'_>,
    ) -> Result<Self::Answer, Self::Rejection>;

    /// Writes what has changed.
    ///
    /// # Errors
    /// The database fails.
    fn save(&self, db: &Connection, working: &Self::Working, now_ms: u64) -> Result<(), Fault>;

    /// Told after the commit, before the replies.
    fn committed(&self, _working: &Self::Working) {}
}

/// What a command needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it comes from another role, or changes nothing that is owned.
    Free,
    /// A lease, and the bucket open in the owner epoch under which the gateway routed the write.
    Routed(Bucket, OwnerEpoch),
    /// A lease, and the bucket open in any owner epoch.
    Open(Bucket),
}

/// Why a command had no effect, or may have had one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<R> {
    /// The service has no valid lease.
    NoLease,
    /// The bucket is not open in the claimed owner epoch.
    NotOwner(Bucket),
    /// The key belongs to a command with another content.
    KeyReused,
    /// The service's own reason.
    Rejected(R),
    /// It could not be executed; see [`Fault::is_unknown`].
    Fault(Fault),
}

/// What a command may know and do besides its rows.
#[derive(Debug)]
pub struct Context<'b> {
    /// The time of the batch, in milliseconds since 1970.
    pub now_ms: u64,
    /// Whether the service has a valid lease.
    pub leased: bool,
    outbox: &'b mut Pending,
    ownership: &'b mut Ownership,
}

impl<'b> Context<'b> {
    /// For one command of a batch.
    pub(crate) fn new(
        (now_ms, leased): (u64, bool),
        outbox: &'b mut Pending,
        ownership: &'b mut Ownership,
    ) -> Self {
        Self { now_ms, leased, outbox, ownership }
    }

    /// Publishes an event; its position.
    pub fn publish(&mut self, event: NewEvent) -> u64 {
        self.outbox.publish(event)
    }

    /// The highest position of the outbox, this batch included.
    pub fn position(&self) -> u64 {
        self.outbox.head()
    }

    /// The owner epoch in which the bucket may be written; `None` where it is closed.
    pub fn open_in(&self, bucket: Bucket) -> Option<OwnerEpoch> {
        self.ownership.open_in(bucket)
    }

    /// Opens buckets; false where the turn is late, and nothing is changed.
    pub fn open(&mut self, request: &OwnershipOpen) -> bool {
        self.ownership.open(request)
    }

    /// Whether a guard of the buckets has seen this turn or a higher one.
    pub fn is_late(&self, turn: Turn, buckets: &BucketSet) -> bool {
        self.ownership.is_late(turn, buckets)
    }

    /// Takes buckets away that the monolith has taken without a close.
    pub fn withdraw(&mut self, buckets: &BucketSet, owner_epoch: OwnerEpoch) {
        self.ownership.withdraw(buckets, owner_epoch);
    }

    /// Closes buckets and publishes their mark; false where the turn is late, and nothing is changed.
    pub fn close(&mut self, request: &OwnershipClose) -> bool {
        let applied = self.ownership.close(request);
        if applied {
            self.outbox.mark(request.owner_epoch);
        }
        applied
    }
}
