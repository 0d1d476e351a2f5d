//! Answers that come too late or twice. Which schedules meet one at the wrong moment is a matter of luck, so
//! here every answer of an attempt comes again after every later step.

use super::world::World;
use crate::config::Config;
use crate::coordinator::durable::Durable;
use crate::coordinator::effect::{Answer, Effect, EffectId, Input, Now, WishId};
use crate::coordinator::wish::{Action, Wish};
use crate::coordinator::{Coordinator, Start};
use banyan_core::Side;
use banyan_runtime::clock::Boot;

/// Time stands still.
fn now() -> Now {
    Now { boot: Boot::from_ms(0), unix_ms: 0 }
}

/// Moves a share there and back; everything that is done, in order.
fn journey(repeat: bool) -> Vec<String> {
    let start = Start {
        capability: "mail".into(),
        team: "team".into(),
        steps: vec![100],
        limits: (&Config::default()).into(),
        term: 1,
        durable: Durable::new(7),
        version: 1,
        newest: None,
        leases_until: now().boot,
    };
    let (mut coordinator, mut effects) = Coordinator::new(start, now());
    let (mut world, mut version, mut log, mut past) = (World::new(None), 1, Vec::new(), Vec::new());
    for (nth, action) in [Action::Advance(Some(1.0)), Action::Rollback(None)].into_iter().enumerate() {
        let wish = Wish { action, by: "ann".into(), reason: String::new() };
        effects.extend(coordinator.step(now(), Input::Wish(WishId(nth as u64), wish)));
        while !effects.is_empty() {
            let input = match effects.remove(0) {
                Effect::Call { id, call } => {
                    log.push(format!("{call:?}"));
                    let answer = world.execute(&call).expect("nobody holds a lock");
                    (0..2).for_each(|_| {
                        world.step_forward();
                        world.step_reverse();
                    });
                    past.push((id, answer.clone()));
                    Input::Answered { id, answer }
                }
                Effect::Commit { id, commit } => {
                    version += 1;
                    log.push(format!("{:?}", commit.next.attempt.map(|a| a.progress)));
                    Input::Committed { id, version }
                }
                Effect::Settle(..) => Input::Tick,
            };
            if repeat {
                effects.extend(again(&mut coordinator, &past, &input));
            }
            effects.extend(coordinator.step(now(), input));
            effects.extend(coordinator.step(now(), Input::Tick));
        }
        let owned = coordinator.durable.service_buckets().len();
        assert_eq!(owned, if nth == 0 { 41 } else { 0 }, "the share is reached: {log:#?}");
        assert_eq!(coordinator.pending(Side::Service).len(), 0);
    }
    assert_eq!(world.violations, Vec::<String>::new());
    log
}

/// All answers so far, but for the one that is due.
fn again(coordinator: &mut Coordinator, past: &[(EffectId, Answer)], due: &Input) -> Vec<Effect> {
    let due = match due {
        Input::Answered { id, .. } => Some(*id),
        _ => None,
    };
    let late = past.iter().filter(|(id, _)| Some(*id) != due);
    late.flat_map(|(id, answer)| {
        let (lost, answer) = (Answer::Failed("late".into()), answer.clone());
        let mut effects = coordinator.step(now(), Input::Answered { id: *id, answer });
        effects.extend(coordinator.step(now(), Input::Answered { id: *id, answer: lost }));
        effects
    })
    .collect()
}

#[test]
fn an_answer_that_comes_again_changes_nothing() {
    assert_eq!(journey(true), journey(false));
}
