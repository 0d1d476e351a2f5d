//! Bugs that are planted into the model of everything around the coordinator, or between it and the journal:
//! each must be found, or the model would not find the real one either.

use super::{choices, run};

/// Runs that are tried until a bug must have been found.
const SEEDS_MAX: u64 = 400;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Gates and fence are had while writes are in flight: the watermark stands before them.
    WatermarkBeforeDrain,
    /// The fence stays open between the mark and the journal.
    FenceOpenAfterMark,
    /// The owner epoch of an aborted attempt is forgotten by the next control.
    EpochUsedAgain,
    /// The journal takes what a control writes that has a successor.
    SleeperJournals,
    /// Guards let every turn pass.
    SleeperCommands,
    /// The service writes for every owner epoch while it is open.
    EpochNotChecked,
    /// A row is applied, and its position is not.
    PositionApart,
    /// The forward stream applies what the reverse stream wrote.
    TagsIgnored,
    /// A held write goes where it would have gone on arrival.
    HeldToOldOwner,
    /// Writes are released before every gateway reads at the new owner.
    ReleasedTooEarly,
    /// A gateway goes on without a lease.
    LeaseIgnored,
    /// The new owner opens before the flip is in the journal.
    FlipBeforeJournal,
    /// A mark is reached though a row before it is a dead letter.
    LetterLetsMarkPass,
}

/// Each bug, and what the finding says of it.
const PLANTS: [(Plant, &[&str]); 13] = [
    (
        Plant::WatermarkBeforeDrain,
        &["comes after the service has opened", "two owners", "both sides may write"],
    ),
    (
        Plant::FenceOpenAfterMark,
        &["comes after the service has opened", "two owners", "both sides may write"],
    ),
    (Plant::EpochUsedAgain, &["is used again"]),
    (Plant::SleeperJournals, &["two owners", "both sides may write", "was refused", "is used again"]),
    (Plant::SleeperCommands, &["two owners", "both sides may write", "was refused", "comes after"]),
    (Plant::EpochNotChecked, &["was applied in owner epoch"]),
    (Plant::PositionApart, &["is there (Some(1), Some(2)) times"]),
    (Plant::TagsIgnored, &["is there (Some(1), Some(2)) times"]),
    (Plant::HeldToOldOwner, &["was refused", "go to one side"]),
    (Plant::ReleasedTooEarly, &["go to one side"]),
    (Plant::LeaseIgnored, &["was refused", "go to one side"]),
    (Plant::FlipBeforeJournal, &["two owners", "both sides may write"]),
    (Plant::LetterLetsMarkPass, &["was opened before"]),
];

#[test]
fn every_planted_bug_is_found() {
    for (plant, words) in PLANTS {
        let found = (0..SEEDS_MAX).find_map(|seed| {
            let (violations, _) = run(2, choices(seed).take(1500), Some(plant));
            violations.into_iter().next().map(|first| (seed, first))
        });
        let Some((seed, said)) = found else { panic!("{plant:?} is not found in {SEEDS_MAX} runs") };
        assert!(words.iter().any(|word| said.contains(word)), "{plant:?}, seed {seed}: {said}");
    }
}
