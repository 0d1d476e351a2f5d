//! What a forced rollback may lose: writes that were acknowledged and that the monolith does not have.

use crate::{Bucket, BucketSet, OwnerEpoch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most writes that a gateway lists one by one; those beyond are counted by bucket.
pub const ANSWERS_LISTED_MAX: usize = 2000;

/// A write that a gateway has acknowledged for a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredWrite {
    /// The bucket of its subject.
    pub bucket: Bucket,
    /// Method and path pattern, such as `POST /api/notifications`.
    pub route: String,
    /// When it was answered, in milliseconds since 1970.
    pub at_ms: u64,
    /// What names it to its sender, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Which outbox numbered it.
    pub incarnation: String,
    /// The position of the outbox behind it.
    pub position: u64,
}

impl AnsweredWrite {
    /// Whether the monolith has it, as far as its tag says.
    pub fn is_in(&self, reversed: &Reversed) -> bool {
        self.incarnation == reversed.incarnation && self.position <= reversed.position
    }
}

/// Writes that one gateway has acknowledged and that the monolith may not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// At most [`ANSWERS_LISTED_MAX`], oldest first.
    pub listed: Vec<AnsweredWrite>,
    /// How many more there are, by bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<(Bucket, u64)>,
}

/// How far the monolith holds a service's outbox (`GET /v1/reverse?capability=NAME&past=POSITION&wait_ms=M`,
/// answered once the position is another one than `past`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversed {
    /// The outbox's incarnation; empty before the first event.
    pub incarnation: String,
    /// The position of its last event that the monolith has committed.
    pub position: u64,
}

/// `POST /v1/reverse/cut`: from now on no event of a bucket that moves in this owner epoch is written to the
/// monolith. Answered by [`CutOff`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReverseCut {
    /// The capability.
    pub capability: String,
    /// The attempt's owner epoch, which the fence of its buckets carries.
    pub owner_epoch: OwnerEpoch,
    /// The buckets.
    pub buckets: BucketSet,
}

/// What is known once reverse has been fenced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// How far the monolith holds the service's outbox.
    pub reversed: Reversed,
    /// The events of these buckets above that, by bucket; `None` where the outbox cannot be read.
    pub outbox: Option<Vec<(Bucket, u64)>>,
    /// Intents of these buckets that the service may not have decided.
    pub intents: Vec<(Bucket, u64)>,
}

/// From where the number of exposed writes is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExposureSource {
    /// The service's outbox: exact, events of its workers included.
    #[default]
    Outbox,
    /// The gateways' records of what they acknowledged: an upper bound.
    Gateways,
}

/// What is exposed of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketExposure {
    /// Acknowledged writes that the monolith does not have.
    pub writes: u64,
    /// Stray updates of the monolith that the service may not have decided.
    pub intents: u64,
}

/// What the monolith does not have of the service when it takes over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// From where the numbers are.
    pub source: ExposureSource,
    /// How far the monolith held the service's outbox.
    pub reversed: Reversed,
    /// By bucket; those without are left out.
    pub by_bucket: BTreeMap<Bucket, BucketExposure>,
    /// The writes as gateways noted them, as far as they are listed.
    pub writes: Vec<AnsweredWrite>,
    /// Records of gateways that could not be heard; what they acknowledged is not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<String>,
}

impl Exposure {
    /// All buckets together.
    pub fn total(&self) -> BucketExposure {
        self.by_bucket.values().fold(BucketExposure::default(), |sum, of| BucketExposure {
            writes: sum.writes + of.writes,
            intents: sum.intents + of.intents,
        })
    }

    /// Adds the exposure of a later attempt of the same rollback; its buckets are others.
    pub fn add(&mut self, later: &Self) {
        if later.source == ExposureSource::Gateways {
            self.source = ExposureSource::Gateways;
        }
        self.reversed = later.reversed.clone();
        self.by_bucket.extend(&later.by_bucket);
        self.writes.extend(later.writes.iter().cloned());
        for unheard in
            later.unheard.iter().filter(|name| !self.unheard.contains(name)).cloned().collect::<Vec<_>>()
        {
            self.unheard.push(unheard);
        }
    }
}
