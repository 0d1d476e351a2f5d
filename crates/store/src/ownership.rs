//! Which buckets this database may write, in which owner epoch, and the guard against late commands.
//!
//! The table is checked and changed only within the writer's transactions. Every command of a coordinator
//! carries a turn; one that is not above the turn of *every* bucket it names changes nothing. A close keeps
//! the bucket's owner epoch: only an open changes it.

use crate::fault::Fault;
use crate::working::Working;
use banyan_core::bucket::BUCKETS;
use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen};
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Turn};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// How one bucket stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    open: bool,
    owner_epoch: OwnerEpoch,
    turn: Turn,
}

/// All buckets.
#[derive(Debug)]
pub struct Ownership {
    standings: Vec<Standing>,
    /// What has to be written: how these buckets stand now.
    changes: Vec<(BucketSet, Standing)>,
    kept: usize,
    journal: Vec<(Bucket, Standing)>,
}

impl Ownership {
    /// Reads the table.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(db: &Connection) -> Result<Self, Fault> {
        let mut standings = vec![Standing::default(); usize::from(BUCKETS)];
        let mut select =
            db.prepare_cached("SELECT bucket, open, owner_epoch, term, attempt, step FROM ownership")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            let bucket = Bucket::try_from(row.get::<_, u16>(0)?).map_err(Fault::Data)?;
            standings[usize::from(bucket.number())] = Standing {
                open: row.get(1)?,
                owner_epoch: OwnerEpoch(number(2)?),
                turn: Turn { term: number(3)?, attempt: number(4)?, step: row.get(5)? },
            };
        }
        Ok(Self { standings, changes: Vec::new(), kept: 0, journal: Vec::new() })
    }

    /// The owner epoch in which the bucket may be written; `None` where it is closed.
    pub fn open_in(&self, bucket: Bucket) -> Option<OwnerEpoch> {
        let standing = self.standings[usize::from(bucket.number())];
        standing.open.then_some(standing.owner_epoch)
    }

    /// Whether a guard of these buckets has seen this turn or a higher one.
    pub fn is_late(&self, turn: Turn, buckets: &BucketSet) -> bool {
        buckets.iter().any(|bucket| self.standings[usize::from(bucket.number())].turn >= turn)
    }

    /// Opens the buckets; false, and no change, where a guard has seen this turn or a higher one, or a bucket
    /// is known to have been taken away in a later owner epoch.
    pub fn open(&mut self, request: &OwnershipOpen) -> bool {
        let OwnershipOpen { turn, buckets, owner_epoch } = request;
        if buckets.iter().any(|b| self.standings[usize::from(b.number())].owner_epoch > *owner_epoch) {
            return false;
        }
        self.change(buckets, *turn, |_| (true, *owner_epoch))
    }

    /// Closes the buckets; false, and no change, where a guard has seen this turn or a higher one.
    pub fn close(&mut self, request: &OwnershipClose) -> bool {
        self.change(&request.buckets, request.turn, |before| (false, before.owner_epoch))
    }

    /// The monolith has the buckets in this owner epoch: those that are open in an earlier one were taken
    /// without a close and are closed, and no late command opens any in one.
    pub fn withdraw(&mut self, buckets: &BucketSet, owner_epoch: OwnerEpoch) {
        let earlier =
            |bucket: &Bucket| self.standings[usize::from(bucket.number())].owner_epoch < owner_epoch;
        let earlier: Vec<Bucket> = buckets.iter().filter(earlier).collect();
        self.set(earlier.into_iter(), |before| Standing { open: false, owner_epoch, ..*before });
    }

    fn change(
        &mut self,
        buckets: &BucketSet,
        turn: Turn,
        to: impl Fn(&Standing) -> (bool, OwnerEpoch),
    ) -> bool {
        if self.is_late(turn, buckets) {
            return false;
        }
        self.set(buckets.iter(), |before| {
            let (open, owner_epoch) = to(before);
            Standing { open, owner_epoch, turn }
        });
        true
    }

    fn set(&mut self, buckets: impl Iterator<Item = Bucket>, to: impl Fn(&Standing) -> Standing) {
        let mut by_standing: Vec<(BucketSet, Standing)> = Vec::new();
        for bucket in buckets {
            let standing = &mut self.standings[usize::from(bucket.number())];
            self.journal.push((bucket, *standing));
            *standing = to(standing);
            match by_standing.iter_mut().find(|(_, s)| s == standing) {
                Some((set, _)) => {
                    set.insert(bucket);
                }
                None => by_standing.push(([bucket].into_iter().collect(), *standing)),
            }
        }
        self.changes.extend(by_standing);
    }

    /// Writes what has changed: one statement per run of neighbouring buckets.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&mut self, db: &Connection) -> Result<(), Fault> {
        let mut update = db.prepare_cached(
            "UPDATE ownership SET open = ?, owner_epoch = ?, term = ?, attempt = ?, step = ?
             WHERE bucket BETWEEN ? AND ?",
        )?;
        for (buckets, standing) in self.changes.drain(..) {
            for (first, last) in runs(&buckets) {
                update.execute(params![
                    standing.open,
                    standing.owner_epoch.0.cast_signed(),
                    standing.turn.term.cast_signed(),
                    standing.turn.attempt.cast_signed(),
                    standing.turn.step,
                    first,
                    last,
                ])?;
            }
        }
        self.kept = 0;
        Ok(())
    }
}

impl Working for Ownership {
    fn keep(&mut self) {
        self.journal.clear();
        self.kept = self.changes.len();
    }

    fn undo(&mut self) {
        while let Some((bucket, before)) = self.journal.pop() {
            self.standings[usize::from(bucket.number())] = before;
        }
        self.changes.truncate(self.kept);
    }
}

/// The set as runs of neighbours, both ends included.
fn runs(buckets: &BucketSet) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for number in buckets.iter().map(Bucket::number) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// The open buckets by owner epoch.
///
/// # Errors
/// The database fails.
pub fn open_buckets(db: &Connection) -> Result<Vec<(OwnerEpoch, BucketSet)>, Fault> {
    let ownership = Ownership::load(db)?;
    let mut open: BTreeMap<OwnerEpoch, BucketSet> = BTreeMap::new();
    for bucket in BucketSet::all().iter() {
        if let Some(owner_epoch) = ownership.open_in(bucket) {
            open.entry(owner_epoch).or_insert_with(BucketSet::empty).insert(bucket);
        }
    }
    Ok(open.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::migrate;
    use proptest::prelude::*;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[], 1).unwrap();
        connection
    }

    fn turn(step: u32) -> Turn {
        Turn { term: 1, attempt: 1, step }
    }

    #[derive(Clone, Debug)]
    struct Command {
        open: bool,
        first: u16,
        last: u16,
        step: u32,
        epoch: u64,
        keep: bool,
    }

    fn command() -> impl Strategy<Value = Command> {
        (any::<bool>(), 0..12u16, 0..12u16, 0..30u32, 1..9u64, any::<bool>()).prop_map(
            |(open, a, b, step, epoch, keep)| Command {
                open,
                first: a.min(b),
                last: a.max(b),
                step,
                epoch,
                keep,
            },
        )
    }

    proptest! {
        #[test]
        fn a_late_turn_changes_nothing_and_the_table_is_what_was_kept(
            commands in proptest::collection::vec(command(), 0..25)
        ) {
            let db = database();
            let mut ownership = Ownership::load(&db).unwrap();
            let mut model = [(false, 0u64, 0u32); 12];
            for c in commands {
                let buckets: BucketSet = format!("{}-{}", c.first, c.last).parse().unwrap();
                let range = usize::from(c.first)..=usize::from(c.last);
                let wanted = model[range.clone()].iter().all(|(_, _, seen)| *seen < c.step) && c.step > 0;
                let wanted = wanted && (!c.open || model[range.clone()].iter().all(|(_, epoch, _)| *epoch <= c.epoch));
                let turn = if c.step == 0 { Turn::default() } else { turn(c.step) };
                let applied = if c.open {
                    ownership.open(&OwnershipOpen { turn, buckets, owner_epoch: OwnerEpoch(c.epoch) })
                } else {
                    ownership.close(&OwnershipClose { turn, buckets, owner_epoch: OwnerEpoch(c.epoch) })
                };
                prop_assert_eq!(applied, wanted);
                if c.keep {
                    ownership.keep();
                } else {
                    ownership.undo();
                }
                if applied && c.keep {
                    model[range].iter_mut().for_each(|slot| {
                        *slot = (c.open, if c.open { c.epoch } else { slot.1 }, c.step);
                    });
                }
            }
            ownership.save(&db).unwrap();
            let stored = Ownership::load(&db).unwrap();
            prop_assert_eq!(&stored.standings, &ownership.standings);
            for (number, (open, epoch, _)) in model.iter().enumerate() {
                let bucket = Bucket::try_from(number as u16).unwrap();
                prop_assert_eq!(stored.open_in(bucket), open.then_some(OwnerEpoch(*epoch)));
            }
        }
    }

    #[test]
    fn a_bucket_that_was_taken_away_is_opened_only_in_a_later_epoch() {
        let db = database();
        let mut ownership = Ownership::load(&db).unwrap();
        let open = |step, epoch| OwnershipOpen {
            turn: turn(step),
            buckets: "3-4".parse().unwrap(),
            owner_epoch: OwnerEpoch(epoch),
        };
        assert!(ownership.open(&open(1, 7)));
        ownership.withdraw(&"3".parse().unwrap(), OwnerEpoch(7));
        assert_eq!(ownership.open_in(Bucket::try_from(3).unwrap()), Some(OwnerEpoch(7)));
        ownership.withdraw(&"3".parse().unwrap(), OwnerEpoch(8));
        assert!(!ownership.open(&open(2, 7)));
        ownership.save(&db).unwrap();
        let stored = Ownership::load(&db).unwrap();
        let of = |number| stored.open_in(Bucket::try_from(number).unwrap());
        assert_eq!((of(3), of(4)), (None, Some(OwnerEpoch(7))));
        assert!(ownership.open(&open(3, 9)));
    }

    #[test]
    fn open_buckets_are_told_by_owner_epoch() {
        let db = database();
        let mut ownership = Ownership::load(&db).unwrap();
        for (step, buckets, epoch) in [(1, "0-4095", 7), (2, "5,9-11", 9)] {
            let buckets = buckets.parse().unwrap();
            assert!(ownership.open(&OwnershipOpen {
                turn: turn(step),
                buckets,
                owner_epoch: OwnerEpoch(epoch)
            }));
        }
        let close =
            OwnershipClose { turn: turn(3), buckets: "10-4095".parse().unwrap(), owner_epoch: OwnerEpoch(0) };
        assert!(ownership.close(&close));
        ownership.save(&db).unwrap();
        let open: Vec<_> =
            open_buckets(&db).unwrap().into_iter().map(|(epoch, set)| (epoch.0, set.to_string())).collect();
        assert_eq!(open, [(7, "0-4,6-8".to_owned()), (9, "5,9".to_owned())]);
    }
}
