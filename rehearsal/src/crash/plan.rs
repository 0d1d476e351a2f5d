//! What happens in a round, drawn from its seed: which shares are asked for, and what is killed when.

use banyan_runtime::failpoints;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// The passes of a failpoint that a round waits for, at most.
const PASS_MAX: u64 = 2;
/// Steps that a round passes once, if at all.
const RARE: [&str; 6] = ["restoring", "restored", "chunk", "block", "send", "record"];
/// Steps of the beginning: for them servers are begun anew.
const FIRST: [&str; 2] = ["chunk", "block"];
/// Steps that only a predecessor's death leads to: it dies here first.
const UNDO: [&str; 2] = ["restoring", "restored"];
const BEFORE_UNDO: &str = "control.gates.after@1";
/// The latest moment of a kill.
const KILL_MS_MAX: u64 = 900;
/// What is killed at a moment, not at a step.
const VICTIMS: [&str; 7] = ["control", "auth", "notify", "sync", "gateway", "mariadb", "php-fpm"];
/// Shares of the cohort, in percent.
const SHARES: [f64; 4] = [0.0, 10.0, 50.0, 100.0];

/// What is killed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A role kills itself at a step: its name, and the failpoint with the pass.
    AtStep {
        /// The role.
        role: String,
        /// Such as `control.flip.after@2`.
        failpoint: String,
        /// Where it dies before, if it must.
        first: Option<&'static str>,
    },
    /// Something is killed so long after the first share was asked for.
    AtMoment {
        /// A role, `mariadb` or `php-fpm`.
        victim: &'static str,
        /// How long after.
        after: Duration,
    },
}

impl Fault {
    /// The fault in words, without its pass or moment: what figures are kept by.
    pub fn name(&self) -> &str {
        match self {
            Self::AtStep { failpoint, .. } => failpoint.split('@').next().unwrap_or_default(),
            Self::AtMoment { victim, .. } => victim,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtStep { failpoint, first: Some(first), .. } => {
                write!(f, "kill at {first}, then at {failpoint}")
            }
            Self::AtStep { failpoint, .. } => write!(f, "kill at {failpoint}"),
            Self::AtMoment { victim, after } => write!(f, "kill of {victim} after {} ms", after.as_millis()),
        }
    }
}

impl Fault {
    /// Whether the step is passed at the beginning only.
    pub fn is_of_the_beginning(&self) -> bool {
        let step = self.name().split('.').nth(1);
        step.is_some_and(|step| FIRST.contains(&step))
    }
}

/// A round.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its number.
    pub round: u64,
    /// What is killed.
    pub fault: Fault,
    /// The shares that are asked for, one after the other.
    pub shares: Vec<f64>,
}

impl Plan {
    /// The plan of a round, the same for the same seed. Failpoints take turns, so that a soak passes them all;
    /// every fourth round kills at a moment.
    pub fn of(seed: u64, round: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round);
        let names: Vec<String> = failpoints::names().collect();
        let fault = if round % 4 == 3 {
            let victim = VICTIMS[(round / 4) as usize % VICTIMS.len()];
            Fault::AtMoment { victim, after: Duration::from_millis(chance.random_range(0..KILL_MS_MAX)) }
        } else {
            // Begun elsewhere for each seed, so that short soaks with other seeds see other steps.
            let turn = seed.wrapping_add(round - round / 4) as usize % names.len();
            let mut parts = names[turn].split('.');
            let (role, step) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let pass = if RARE.contains(&step) { 1 } else { chance.random_range(1..=PASS_MAX) };
            Fault::AtStep {
                role: role.to_owned(),
                failpoint: format!("{}@{pass}", names[turn]),
                first: UNDO.contains(&step).then_some(BEFORE_UNDO),
            }
        };
        let mut shares: Vec<f64> = Vec::new();
        while shares.len() < 3 {
            let share = SHARES[chance.random_range(0..SHARES.len())];
            if shares.last() != Some(&share) {
                shares.push(share);
            }
        }
        Self { round, fault, shares }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_soak_passes_every_failpoint_and_kills_everything() {
        let plans: Vec<Plan> = (0..100).map(|round| Plan::of(7, round)).collect();
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.fault.name()).collect();
        assert_eq!(names.len(), failpoints::names().count() + VICTIMS.len());
        assert_eq!(Plan::of(7, 5), plans[5], "a seed says what happens");
        assert_ne!(Plan::of(8, 5), plans[5]);
        assert!(plans.iter().all(|plan| plan.shares.windows(2).all(|pair| pair[0] != pair[1])));
    }
}
