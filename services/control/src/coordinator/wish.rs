//! What operators wish, and when it is refused.

use super::durable::Durable;
use super::effect::AuditEntry;
use thiserror::Error;

/// A wish of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What is wished.
    pub action: Action,
    /// Who wishes.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What can be wished.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// A larger share at the service, in percent; the next step where none is named.
    Advance(Option<f64>),
    /// A smaller share at the service, in percent; 0 where none is named.
    Rollback(Option<f64>),
    /// Everything back to the monolith without the service, which gets no lease from now on.
    Force,
    /// Start no new handover.
    Pause,
    /// Start handovers again.
    Resume,
}

/// Why a wish is refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Rejection {
    /// The share is no percentage.
    #[error("{0} is not a share from 0 to 100 percent")]
    Percent(f64),
    /// An advance to less, or a rollback to more, than is wanted already.
    #[error("{asked} % is wished, and {wanted} % is wanted already; use `{instead}`")]
    WrongDirection {
        /// What was wished.
        asked: f64,
        /// What is wanted.
        wanted: f64,
        /// The command that goes there.
        instead: &'static str,
    },
    /// A forced rollback without a reason.
    #[error("a forced rollback needs a reason")]
    NoReason,
    /// An advance while a forced rollback has not brought every bucket back.
    #[error("a forced rollback has not brought every bucket back yet; advance when it has")]
    Forced,
}

/// The state with the wish in it, and its record for the audit.
///
/// # Errors
/// The wish is refused; nothing changes.
pub fn decide(
    durable: &Durable,
    wish: &Wish,
    (steps, at_ms): (&[u8], u64),
) -> Result<(Durable, AuditEntry), Rejection> {
    let mut next = durable.clone();
    let wanted = durable.wanted_percent;
    let (action, detail) = match wish.action {
        Action::Advance(asked) => {
            let step = || steps.iter().map(|s| f64::from(*s)).find(|s| *s > wanted).unwrap_or(wanted);
            let asked = share(asked.unwrap_or_else(step))?;
            if asked < wanted {
                return Err(Rejection::WrongDirection { asked, wanted, instead: "rollback" });
            }
            next.readmit()?;
            next.wanted_percent = asked;
            ("migration.advance", format!("from {wanted} % to {asked} %"))
        }
        Action::Rollback(asked) => {
            let asked = share(asked.unwrap_or(0.0))?;
            if asked > wanted {
                return Err(Rejection::WrongDirection { asked, wanted, instead: "advance" });
            }
            next.wanted_percent = asked;
            ("migration.rollback", format!("from {wanted} % to {asked} %"))
        }
        Action::Force => {
            if wish.reason.trim().is_empty() {
                return Err(Rejection::NoReason);
            }
            next.force((wish.by.as_str(), wish.reason.as_str()), at_ms);
            ("migration.force", format!("from {wanted} % to 0 % without the service"))
        }
        Action::Pause => {
            next.paused = true;
            ("migration.pause", format!("at {wanted} % wanted"))
        }
        Action::Resume => {
            next.paused = false;
            ("migration.resume", format!("at {wanted} % wanted"))
        }
    };
    let audit = AuditEntry { by: wish.by.clone(), action, detail, reason: wish.reason.clone() };
    Ok((next, audit))
}

fn share(percent: f64) -> Result<f64, Rejection> {
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err(Rejection::Percent(percent)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: f64, action: Action) -> Result<f64, Rejection> {
        let durable = Durable { wanted_percent: wanted, ..Durable::new(1) };
        let wish = Wish { action, by: "ann".into(), reason: String::new() };
        decide(&durable, &wish, (&[1, 10, 50, 100], 0)).map(|(next, _)| next.wanted_percent)
    }

    #[test]
    fn a_share_is_named_or_follows_from_the_steps() {
        let table = [
            (0.0, Action::Advance(None), 1.0),
            (1.0, Action::Advance(None), 10.0),
            (20.0, Action::Advance(None), 50.0),
            (100.0, Action::Advance(None), 100.0),
            (10.0, Action::Advance(Some(12.5)), 12.5),
            (10.0, Action::Advance(Some(10.0)), 10.0),
            (50.0, Action::Rollback(None), 0.0),
            (50.0, Action::Rollback(Some(10.0)), 10.0),
            (0.0, Action::Rollback(None), 0.0),
            (50.0, Action::Pause, 50.0),
        ];
        for (wanted, action, next) in table {
            assert_eq!(check(wanted, action), Ok(next), "{action:?}");
        }
    }

    #[test]
    fn a_command_that_goes_the_other_way_is_refused() {
        let (asked, wanted) = (10.0, 50.0);
        let refused = Rejection::WrongDirection { asked, wanted, instead: "rollback" };
        assert_eq!(check(wanted, Action::Advance(Some(asked))), Err(refused));
        let refused = Rejection::WrongDirection { asked: wanted, wanted: asked, instead: "advance" };
        assert_eq!(check(asked, Action::Rollback(Some(wanted))), Err(refused));
        assert_eq!(check(0.0, Action::Advance(Some(100.5))), Err(Rejection::Percent(100.5)));
        assert!(check(0.0, Action::Advance(Some(f64::NAN))).is_err());
    }
}
