//! The decisions one by one, and under random schedules against a model that only remembers what was
//! granted and what was answered.

use super::*;
use banyan_core::Phase;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CAPABILITY: CapabilityIndex = CapabilityIndex(0);

fn limits() -> Limits {
    Limits { hold_max: Duration::from_millis(50), requests_max: 4, bytes_max: 100 }
}

fn at(ms: u64) -> Boot {
    Boot::from_ms(ms)
}

fn bucket(number: u16) -> Bucket {
    Bucket::try_from(number).unwrap()
}

fn holding(owner: Side, phase: Phase, epoch: u64) -> Holding {
    Holding { owner, phase, owner_epoch: OwnerEpoch(epoch) }
}

fn grant(until: u64, version: u64, holdings: &[(u16, Holding)]) -> Input {
    let mut table = BucketTable::default();
    holdings.iter().for_each(|(number, holding)| table.set(bucket(*number), *holding));
    Input::Granted(Grant { until: at(until), version, tables: Some(vec![Some(table)]) })
}

fn ask(number: u16, access: Access) -> Ask {
    Ask { capability: CAPABILITY, bucket: bucket(number), access, bytes: 10, above: 0 }
}

fn admitted(effects: &[Effect]) -> Admission {
    match effects {
        [Effect::Admitted(admission)] => *admission,
        other => panic!("not admitted: {other:?}"),
    }
}

fn held(effects: &[Effect]) -> HeldId {
    match effects {
        [Effect::Held(held, _)] => *held,
        other => panic!("not held: {other:?}"),
    }
}

#[test]
fn without_a_lease_nothing_is_admitted() {
    let mut state = State::new(limits());
    let refused = [Effect::Refused(Refusal::NoLease)];
    assert_eq!(state.step(at(0), Input::Admit(ask(1, Access::Read))), refused);
    state.step(at(0), grant(100, 1, &[]));
    assert!(state.is_leased(at(99)) && !state.is_leased(at(100)));
    assert_eq!(admitted(&state.step(at(99), Input::Admit(ask(1, Access::Read)))).side, Side::Monolith);
    assert_eq!(state.step(at(100), Input::Admit(ask(1, Access::Read))), refused);
    assert_eq!(state.step(at(100), Input::Admit(ask(1, Access::Write))), refused);
    let elsewhere = Ask { capability: CapabilityIndex(1), ..ask(1, Access::Read) };
    assert_eq!(state.step(at(10), Input::Admit(elsewhere)), refused);
}

#[test]
fn a_late_answer_sets_neither_lease_nor_version_back() {
    let mut state = State::new(limits());
    state.step(at(0), grant(200, 5, &[(1, holding(Side::Service, Phase::Steady, 9))]));
    state.step(at(1), grant(100, 4, &[]));
    assert!(state.is_leased(at(150)));
    assert_eq!(state.report().seen_version, 5);
    assert_eq!(admitted(&state.step(at(2), Input::Admit(ask(1, Access::Read)))).side, Side::Service);
}

#[test]
fn a_write_of_a_moving_bucket_waits_and_goes_to_the_new_owner() {
    let mut state = State::new(limits());
    state.step(at(0), grant(1000, 1, &[]));
    let early = admitted(&state.step(at(1), Input::Admit(ask(1, Access::Write))));
    assert_eq!((early.side, early.owner_epoch, early.version), (Side::Monolith, OwnerEpoch(1), 1));
    state.step(at(2), grant(1000, 2, &[(1, holding(Side::Monolith, Phase::Moving, 1))]));
    let waits = held(&state.step(at(3), Input::Admit(ask(1, Access::Write))));
    // Reads go on at the old owner, other buckets are not concerned.
    assert_eq!(admitted(&state.step(at(3), Input::Admit(ask(1, Access::Read)))).side, Side::Monolith);
    admitted(&state.step(at(3), Input::Admit(ask(2, Access::Write))));
    let report = state.report();
    assert_eq!((report.seen_version, report.undrained[&CAPABILITY].to_string()), (2, "1".into()));
    let drained = state.step(at(21), Input::Finished(early.write.unwrap()));
    assert_eq!(drained, [Effect::Drained(Duration::from_millis(20))]);
    assert!(state.report().undrained.is_empty());
    assert_eq!(state.step(at(30), grant(1000, 3, &[(1, holding(Side::Service, Phase::Opening, 7))])), []);
    assert_eq!(admitted(&state.step(at(31), Input::Admit(ask(1, Access::Read)))).side, Side::Service);
    let released = state.step(at(33), grant(1000, 4, &[(1, holding(Side::Service, Phase::Steady, 7))]));
    let [Effect::Released(id, admission, took)] = released[..] else { panic!("{released:?}") };
    assert_eq!((id, took), (waits, Duration::from_millis(30)));
    assert_eq!((admission.side, admission.owner_epoch), (Side::Service, OwnerEpoch(7)));
    assert!(admission.write.is_some());
}

#[test]
fn a_write_that_ended_before_the_freeze_is_not_one_that_it_waited_for() {
    let mut state = State::new(limits());
    state.step(at(0), grant(1000, 1, &[]));
    let write = admitted(&state.step(at(1), Input::Admit(ask(1, Access::Write)))).write.unwrap();
    assert_eq!(state.step(at(2), Input::Finished(write)), []);
    assert_eq!(state.step(at(3), Input::Finished(write)), []);
}

#[test]
fn a_refused_write_waits_for_a_newer_table() {
    let mut state = State::new(limits());
    let steady = holding(Side::Service, Phase::Steady, 3);
    state.step(at(0), grant(1000, 7, &[(1, steady)]));
    let waits = held(&state.step(at(1), Input::Admit(Ask { above: 7, ..ask(1, Access::Write) })));
    assert_eq!(state.step(at(2), grant(1000, 7, &[(1, steady)])), []);
    let released = state.step(at(3), grant(1000, 8, &[(1, holding(Side::Monolith, Phase::Steady, 4))]));
    assert!(matches!(released[..], [Effect::Released(id, ..)] if id == waits), "{released:?}");
}

#[test]
fn holds_are_bounded_in_number_bytes_and_time() {
    let mut state = State::new(limits());
    state.step(at(0), grant(1000, 1, &[(1, holding(Side::Monolith, Phase::Moving, 1))]));
    let full = [Effect::Refused(Refusal::HoldLimit)];
    let heavy = Ask { bytes: 91, ..ask(1, Access::Write) };
    let first = held(&state.step(at(0), Input::Admit(ask(1, Access::Write))));
    assert_eq!(state.step(at(0), Input::Admit(heavy)), full);
    state.step(at(1), Input::Left(first));
    let heavy = held(&state.step(at(2), Input::Admit(heavy)));
    assert_eq!(state.step(at(51), Input::Tick), []);
    assert_eq!(state.step(at(52), Input::Tick), [Effect::Expired(heavy)]);
    (0..4).for_each(|_| {
        held(&state.step(at(60), Input::Admit(ask(1, Access::Write))));
    });
    assert_eq!(state.step(at(60), Input::Admit(ask(1, Access::Write))), full);
    assert_eq!(state.held_count(), 4);
}

/// One step of a schedule: milliseconds that pass, then what happens.
#[derive(Clone, Debug)]
enum Event {
    Ask(u16, bool, usize),
    Finish(usize),
    Leave(usize),
    /// Grants a lease of that many milliseconds; with a table where the phases say so.
    Grant(u64, Option<Vec<(bool, u8)>>),
    Tick,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let phases = proptest::collection::vec((any::<bool>(), 0..4u8), 4);
    let event = prop_oneof![
        6 => (0..4u16, any::<bool>(), 0..60usize).prop_map(|(b, w, n)| Event::Ask(b, w, n)),
        4 => any::<prop::sample::Index>().prop_map(|i| Event::Finish(i.index(1 << 16))),
        1 => any::<prop::sample::Index>().prop_map(|i| Event::Leave(i.index(1 << 16))),
        3 => (0..80u64, proptest::option::of(phases)).prop_map(|(ms, t)| Event::Grant(ms, t)),
        1 => Just(Event::Tick),
    ];
    (0..20u64, event)
}

/// What an outside observer knows.
#[derive(Default)]
struct Model {
    now: u64,
    lease_until: u64,
    version: u64,
    holdings: Vec<Holding>,
    writes: BTreeMap<WriteId, (u16, u64)>,
    holds: BTreeMap<HeldId, (u16, u64, usize)>,
    ended: BTreeSet<HeldId>,
}

impl Model {
    fn holding(&self, number: u16) -> Holding {
        self.holdings.get(usize::from(number)).copied().unwrap_or(Holding::INITIAL)
    }

    fn goes_on(&mut self, number: u16, is_write: bool, admission: &Admission) -> Result<(), TestCaseError> {
        let holding = self.holding(number);
        prop_assert!(self.now < self.lease_until, "admitted without a lease");
        prop_assert_eq!((admission.side, admission.owner_epoch), (holding.owner, holding.owner_epoch));
        prop_assert_eq!(admission.version, self.version);
        prop_assert_eq!(admission.write.is_some(), is_write);
        if let Some(write) = admission.write {
            prop_assert!(holding.phase == Phase::Steady, "a write was admitted to a frozen bucket");
            prop_assert!(self.writes.insert(write, (number, self.version)).is_none());
        }
        Ok(())
    }

    fn observe(
        &mut self,
        asked: Option<(u16, bool, usize)>,
        effects: &[Effect],
    ) -> Result<(), TestCaseError> {
        for effect in effects {
            match (effect, asked) {
                (Effect::Admitted(admission), Some((number, is_write, _))) => {
                    self.goes_on(number, is_write, admission)?;
                }
                (Effect::Held(id, _), Some((number, true, bytes))) => {
                    prop_assert!(self.holds.insert(*id, (number, self.now, bytes)).is_none());
                }
                (Effect::Refused(_), Some(_)) => {}
                (Effect::Released(id, admission, _), None) => {
                    let (number, ..) = self.end(*id)?;
                    self.goes_on(number, true, admission)?;
                }
                (Effect::Expired(id), None) => {
                    let (_, since, _) = self.end(*id)?;
                    prop_assert!(self.now >= since + 50);
                }
                (Effect::Drained(_), None) => {}
                (effect, asked) => prop_assert!(false, "{effect:?} after {asked:?}"),
            }
        }
        Ok(())
    }

    fn end(&mut self, id: HeldId) -> Result<(u16, u64, usize), TestCaseError> {
        prop_assert!(self.ended.insert(id), "a hold ended twice");
        self.holds.remove(&id).ok_or_else(|| TestCaseError::fail("a hold ended that was not there"))
    }

    fn check(&self, state: &State) -> Result<(), TestCaseError> {
        let report = state.report();
        prop_assert_eq!(report.seen_version, self.version);
        let earlier = self.writes.values().filter(|(number, version)| {
            self.holding(*number).phase.holds_writes() && *version < self.version
        });
        let wanted: BucketSet = earlier.map(|(number, _)| bucket(*number)).collect();
        let reported = report.undrained.get(&CAPABILITY).cloned().unwrap_or_else(BucketSet::empty);
        prop_assert_eq!(reported, wanted, "what is undrained");
        prop_assert_eq!(state.held_count(), self.holds.len());
        prop_assert!(self.holds.len() <= 4);
        prop_assert!(self.holds.values().map(|(_, _, bytes)| bytes).sum::<usize>() <= 100);
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_schedule_breaks_the_invariants(events in proptest::collection::vec(event(), 1..120)) {
        let (mut state, mut model) = (State::new(limits()), Model::default());
        for (passed, event) in events {
            model.now += passed;
            let now = at(model.now);
            match event {
                Event::Ask(number, is_write, bytes) => {
                    let access = if is_write { Access::Write } else { Access::Read };
                    let effects = state.step(now, Input::Admit(Ask { bytes, ..ask(number, access) }));
                    prop_assert_eq!(effects.len(), 1);
                    model.observe(Some((number, is_write, bytes)), &effects)?;
                }
                Event::Finish(index) if !model.writes.is_empty() => {
                    let id = *model.writes.keys().nth(index % model.writes.len()).unwrap();
                    model.writes.remove(&id);
                    model.observe(None, &state.step(now, Input::Finished(id)))?;
                }
                Event::Leave(index) if !model.holds.is_empty() => {
                    let id = *model.holds.keys().nth(index % model.holds.len()).unwrap();
                    model.end(id)?;
                    model.observe(None, &state.step(now, Input::Left(id)))?;
                }
                Event::Grant(ms, phases) => {
                    let until = model.now + ms;
                    model.lease_until = model.lease_until.max(until);
                    let input = match phases {
                        Some(phases) => {
                            model.version += 1;
                            model.holdings = phases.iter().map(|(service, phase)| {
                                let owner = if *service { Side::Service } else { Side::Monolith };
                                let phase = [Phase::Steady, Phase::Moving, Phase::Restoring, Phase::Opening][usize::from(*phase)];
                                holding(owner, phase, model.version)
                            }).collect();
                            let numbered: Vec<(u16, Holding)> = (0..).zip(model.holdings.iter().copied()).collect();
                            grant(until, model.version, &numbered)
                        }
                        None => Input::Granted(Grant { until: at(until), version: model.version, tables: None }),
                    };
                    model.observe(None, &state.step(now, input))?;
                    if model.now < model.lease_until && model.version > 0 {
                        let waits = model.holds.values().all(|(number, ..)| model.holding(*number).phase.holds_writes());
                        prop_assert!(waits, "a held write was not released");
                    }
                }
                Event::Tick => {
                    model.observe(None, &state.step(now, Input::Tick))?;
                    prop_assert!(model.holds.values().all(|(_, since, _)| model.now < since + 50), "a hold outlived its bound");
                }
                Event::Finish(_) | Event::Leave(_) => {}
            }
            model.check(&state)?;
        }
    }
}
