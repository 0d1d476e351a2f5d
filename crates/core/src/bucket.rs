//! Buckets: the fixed hash slots by which subjects move.
//!
//! The hash is `crc32(subject id as decimal text) mod 4096`, computable as well in MySQL
//! (`CRC32(id) & 4095`), PHP (`crc32((string) $id) & 4095`) and SQL. It never changes under a rollout.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// The number of buckets of every capability.
pub const BUCKETS: u16 = 4096;

/// One hash slot, `0..BUCKETS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Bucket(u16);

impl Bucket {
    /// The bucket of a subject, given its id as decimal text (`"42"`, no sign, no leading zero).
    pub fn of(subject: &str) -> Self {
        Self((crc32fast::hash(subject.as_bytes()) % u32::from(BUCKETS)) as u16)
    }

    /// The number of this bucket.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Bucket {
    type Error = String;
    fn try_from(number: u16) -> Result<Self, String> {
        if number < BUCKETS {
            Ok(Self(number))
        } else {
            Err(format!("bucket {number} is not below {BUCKETS}"))
        }
    }
}

impl From<Bucket> for u16 {
    fn from(bucket: Bucket) -> u16 {
        bucket.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

const WORDS: usize = BUCKETS as usize / 64;

/// A set of buckets: a bitmap in memory, ranges such as `"0-40,99"` in text and JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BucketSet {
    words: Box<[u64; WORDS]>,
}

impl BucketSet {
    /// No bucket.
    pub fn empty() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }

    /// Every bucket.
    pub fn all() -> Self {
        Self { words: Box::new([u64::MAX; WORDS]) }
    }

    /// Adds a bucket; false where it was there already.
    pub fn insert(&mut self, bucket: Bucket) -> bool {
        let (word, bit) = place(bucket);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Takes a bucket out; false where it was not there.
    pub fn remove(&mut self, bucket: Bucket) -> bool {
        let (word, bit) = place(bucket);
        let was = self.words[word] & bit != 0;
        self.words[word] &= !bit;
        was
    }

    /// Whether the bucket is in the set.
    pub fn contains(&self, bucket: Bucket) -> bool {
        let (word, bit) = place(bucket);
        self.words[word] & bit != 0
    }

    /// How many buckets the set has.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether the set has no bucket.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }

    /// The buckets in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        (0..BUCKETS).map(Bucket).filter(|b| self.contains(*b))
    }

    /// Buckets in this set or the other.
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Buckets in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Buckets in this set and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self { words: Box::new(std::array::from_fn(|i| with(self.words[i], other.words[i]))) }
    }
}

fn place(bucket: Bucket) -> (usize, u64) {
    (usize::from(bucket.0) / 64, 1 << (bucket.0 % 64))
}

impl FromIterator<Bucket> for BucketSet {
    fn from_iter<I: IntoIterator<Item = Bucket>>(buckets: I) -> Self {
        let mut set = Self::empty();
        buckets.into_iter().for_each(|b| {
            set.insert(b);
        });
        set
    }
}

impl fmt::Display for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut next = 0;
        while let Some(from) = (next..BUCKETS).find(|n| self.contains(Bucket(*n))) {
            let through = (from..BUCKETS).take_while(|n| self.contains(Bucket(*n))).last().unwrap_or(from);
            let comma = if first { "" } else { "," };
            if from == through {
                write!(f, "{comma}{from}")?
            } else {
                write!(f, "{comma}{from}-{through}")?
            }
            first = false;
            next = through + 1;
        }
        Ok(())
    }
}

impl fmt::Debug for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketSet({self})")
    }
}

impl FromStr for BucketSet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| -> Result<u16, String> {
            let n = t.trim().parse::<u16>().map_err(|_| format!("`{t}` is not a bucket number"))?;
            Bucket::try_from(n).map(Bucket::number)
        };
        let mut set = Self::empty();
        for part in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (from, through) = match part.split_once('-') {
                Some((from, through)) => (number(from)?, number(through)?),
                None => (number(part)?, number(part)?),
            };
            if from > through {
                return Err(format!("`{part}` runs backwards"));
            }
            (from..=through).for_each(|n| {
                set.insert(Bucket(n));
            });
        }
        Ok(set)
    }
}

impl Serialize for BucketSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BucketSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The fixed order in which a capability's cohort grows.
///
/// The order depends on `seed` only, which is stored with the rollout: growing never moves an assigned
/// bucket, and shrinking takes the last ones first.
pub fn permutation(seed: u64) -> Vec<Bucket> {
    let mut order: Vec<(u64, Bucket)> =
        (0..BUCKETS).map(|n| (split_mix(seed ^ (u64::from(n) << 32)), Bucket(n))).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, bucket)| bucket).collect()
}

/// The cohort of the given size in percent, `0.0..=100.0`; any size above zero has at least one bucket.
pub fn cohort(seed: u64, percent: f64) -> BucketSet {
    let count = (f64::from(BUCKETS) * percent.clamp(0.0, 100.0) / 100.0).ceil() as usize;
    permutation(seed).into_iter().take(count).collect()
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
fn split_mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_the_one_that_mysql_and_php_compute() {
        // SELECT CRC32('1') & 4095, CRC32('42') & 4095, CRC32('123456789') & 4095
        assert_eq!(Bucket::of("1").number(), (2_212_294_583_u32 % 4096) as u16);
        assert_eq!(Bucket::of("42").number(), (841_265_288_u32 % 4096) as u16);
        assert_eq!(Bucket::of("123456789").number(), (0xcbf4_3926_u32 % 4096) as u16);
    }

    #[test]
    fn growing_a_cohort_keeps_who_is_in_it() {
        let (small, large) = (cohort(7, 1.0), cohort(7, 10.0));
        assert_eq!(
            (small.len(), large.len(), cohort(7, 100.0).len(), cohort(7, 0.0).len()),
            (41, 410, 4096, 0)
        );
        assert!(small.difference(&large).is_empty());
        assert_ne!(cohort(8, 1.0), small);
    }

    proptest! {
        #[test]
        fn a_set_survives_its_text(numbers in proptest::collection::vec(0..BUCKETS, 0..200)) {
            let set: BucketSet = numbers.iter().map(|n| Bucket(*n)).collect();
            prop_assert_eq!(set.to_string().parse::<BucketSet>().unwrap(), set.clone());
            prop_assert_eq!(set.iter().count(), set.len());
        }
    }

    #[test]
    fn a_set_refuses_what_it_cannot_read() {
        for text in ["4096", "1-", "9-3", "x", "1,,70000"] {
            assert!(text.parse::<BucketSet>().is_err(), "{text}");
        }
    }
}
