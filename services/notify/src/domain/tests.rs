//! Tables and properties of the domain.

use super::*;
use banyan_core::OwnerEpoch;
use banyan_store::working::Working as _;
use proptest::prelude::*;
use std::collections::BTreeMap;

const USER: u64 = 7;

fn context() -> Context {
    let (now, today) = ("2026-11-24 21:00:00".into(), "2026-11-24 00:00:00".into());
    Context { now, today, notification_id: Some(900), activity_id: Some(500) }
}

fn notification(id: u64, change: impl FnOnce(&mut Notification)) -> Notification {
    let mut row = Notification {
        id,
        user_id: USER,
        kind: Kind::Payment,
        title: format!("n{id}"),
        body: None,
        data: None,
        priority: 0,
        is_read: Flag::NO,
        read_at: None,
        mail_state: MailState::None,
        mailed_at: rows::ZERO_DATE.into(),
        created_at: "2026-11-01 08:00:00".into(),
        updated_at: "2026-11-01 08:00:00".into(),
        deleted_at: None,
    };
    change(&mut row);
    row
}

/// A state that has looked up these notifications, and nothing else of the user.
fn state(rows: Vec<Notification>) -> State {
    let mut state = State::default();
    for id in 0..20 {
        state.notifications.load(id, rows.iter().find(|row| row.id == id).cloned());
        state.claims.load(id, None);
    }
    state.preferences.load(USER, None);
    let user = User { id: USER, name: "Zoë".into(), email: "zoe@example.com".into(), deleted_at: None };
    state.users.load(USER, Some(user));
    state.sent_today.load(USER, Some(0));
    state
}

fn write(action: Action) -> Write {
    let (client_ref, traceparent) = (Some("token".into()), None);
    Write { user: USER, owner_epoch: OwnerEpoch(2), client_ref, traceparent, action }
}

fn decide(state: &State, action: Action) -> Result<(Event, Answer), Rejection> {
    super::write::decide(state, &write(action), &context())
}

fn activities(event: &Event) -> Vec<&Activity> {
    let rows = event.rows.iter();
    rows.filter_map(|row| if let Record::Activity(row) = row { Some(row) } else { None }).collect()
}

fn notifications(event: &Event) -> Vec<&Notification> {
    let rows = event.rows.iter();
    rows.filter_map(|row| if let Record::Notification(row) = row { Some(row) } else { None }).collect()
}

#[test]
fn reading_twice_keeps_when_it_was_read_and_leaves_an_activity_each_time() {
    let mut state = state(vec![notification(1, |_| {})]);
    let (event, answer) = decide(&state, Action::Read(1)).unwrap();
    let Answer::Notification(read) = answer else { panic!() };
    assert_eq!((read.is_read, read.read_at.as_deref()), (Flag::YES, Some("2026-11-24 21:00:00")));
    assert_eq!(activities(&event)[0].notification_id, Some(1));
    state.apply(&event);
    let (again, _) = decide(&state, Action::Read(1)).unwrap();
    assert_eq!((notifications(&again).len(), activities(&again).len()), (0, 1));
}

#[test]
fn what_is_foreign_or_deleted_is_not_found() {
    let state = state(vec![
        notification(1, |row| row.user_id = USER + 1),
        notification(2, |row| row.deleted_at = Some("2026-11-02 00:00:00".into())),
    ]);
    for id in [1, 2, 3] {
        assert_eq!(decide(&state, Action::Read(id)).err(), Some(Rejection::NotificationNotFound), "{id}");
        assert_eq!(decide(&state, Action::Delete(id)).err(), Some(Rejection::NotificationNotFound), "{id}");
    }
    let (event, answer) = decide(&state, Action::ReadAll).unwrap();
    assert_eq!((answer, notifications(&event).len()), (Answer::Updated(0), 0));
}

#[test]
fn a_reminder_is_mailed_unless_mails_are_unwanted() {
    let mut state = state(vec![]);
    let remind = || Action::Remind { title: "t".into(), body: None };
    let state_of = |event: &Event| notifications(event)[0].mail_state;
    assert_eq!(state_of(&decide(&state, remind()).unwrap().0), MailState::Pending);
    let (event, _) = decide(&state, Action::Unsubscribe).unwrap();
    assert_eq!((event.kind, activities(&event)[0].action.as_str()), (EventKind::Unsubscribed, "unsubscribe"));
    state.apply(&event);
    assert_eq!(state_of(&decide(&state, remind()).unwrap().0), MailState::None);
}

#[test]
fn without_ids_nothing_is_written() {
    let state = state(vec![notification(1, |_| {})]);
    let without = Context { notification_id: None, activity_id: None, ..context() };
    let refused = |action| super::write::decide(&state, &write(action), &without).err();
    assert_eq!(refused(Action::Read(1)), Some(Rejection::NoIds(ACTIVITY.into())));
    let remind = Action::Remind { title: "t".into(), body: None };
    assert_eq!(refused(remind), Some(Rejection::NoIds(NOTIFICATIONS.into())));
    assert_eq!(refused(Action::Read(9)), Some(Rejection::NotificationNotFound));
}

#[test]
fn preferences_that_do_not_change_keep_their_row() {
    let mut state = state(vec![]);
    let change = PreferencesChange { max_per_day: Some(3), ..PreferencesChange::default() };
    let (first, answer) = decide(&state, Action::SetPreferences(change.clone())).unwrap();
    let Answer::Preferences(own) = answer else { panic!() };
    assert_eq!((own.max_per_day, own.email_enabled, own.digest), (3, Flag::YES, Digest::None));
    assert_eq!(first.rows.len(), 2);
    state.apply(&first);
    let (second, _) = decide(&state, Action::SetPreferences(change)).unwrap();
    assert_eq!((second.rows.len(), activities(&second).len()), (1, 1));
}

fn claim(state: &State) -> Result<Answer, Rejection> {
    mail::claim(state, (1, USER), &context()).map(|(_, answer)| answer)
}

#[test]
fn a_mail_is_claimed_once_and_its_outcome_stands() {
    for (outcome, wanted) in [
        (MailOutcome::Sent, (MailState::Sent, "2026-11-24 21:00:00", 1)),
        (MailOutcome::Failed, (MailState::Failed, rows::ZERO_DATE, 0)),
        (MailOutcome::NotTaken, (MailState::Pending, rows::ZERO_DATE, 0)),
    ] {
        let mut state = state(vec![notification(1, |row| row.mail_state = MailState::Pending)]);
        let (event, answer) = mail::claim(&state, (1, USER), &context()).unwrap();
        let Answer::Claimed(mail) = answer else { panic!() };
        assert_eq!((mail.salutation.as_str(), mail.to.as_str()), ("Hello Zoë", "zoe@example.com"));
        state.apply(&event);
        assert_eq!(claim(&state), Err(Rejection::MailNotDue));
        let (event, _) = mail::record(&state, (1, outcome), &context()).unwrap();
        state.apply(&event);
        let row = state.notifications.get(&1).unwrap();
        let sent = state.sent_today.get(&USER).copied().unwrap();
        assert_eq!((row.mail_state, row.mailed_at.as_str(), sent), wanted);
        assert_eq!(row.updated_at, "2026-11-01 08:00:00", "mails are not the user's changes");
        assert_eq!(mail::record(&state, (1, outcome), &context()).err(), Some(Rejection::MailNotDue));
    }
}

#[test]
fn whether_a_mail_is_wanted_is_asked_when_its_turn_comes() {
    let pending = || vec![notification(1, |row| row.mail_state = MailState::Pending)];
    let mut most = state(pending());
    most.sent_today.put(USER, 20);
    assert_eq!(claim(&most), Ok(Answer::Skipped));
    most.sent_today.put(USER, 19);
    assert!(matches!(claim(&most), Ok(Answer::Claimed(_))));
    let mut none = state(pending());
    none.preferences.put(USER, Preferences { max_per_day: 0, ..Preferences::defaults(USER, "") });
    assert_eq!(claim(&none), Ok(Answer::Skipped));
    let mut gone = state(pending());
    gone.users.remove(USER);
    assert_eq!(claim(&gone), Ok(Answer::Skipped));
    let mut busy = state(pending());
    busy.claims.put(9, USER);
    assert_eq!(claim(&busy), Err(Rejection::MailInFlight));
    let deleted = state(vec![notification(1, |row| {
        (row.mail_state, row.deleted_at) = (MailState::Pending, Some("2026-11-02 00:00:00".into()));
    })]);
    assert_eq!(claim(&deleted), Err(Rejection::MailNotDue));
}

#[test]
fn a_mail_that_the_monolith_claimed_is_not_ours_to_record() {
    let state = state(vec![notification(1, |row| row.mail_state = MailState::Claimed)]);
    assert_eq!(claim(&state), Err(Rejection::MailNotDue));
    let recorded = mail::record(&state, (1, MailOutcome::Failed), &context());
    assert_eq!(recorded.err(), Some(Rejection::MailNotDue));
    assert!(mail::give_up(&state, &banyan_core::BucketSet::all()).is_empty());
}

#[test]
fn what_is_claimed_here_is_given_up_in_the_buckets_that_leave() {
    let mut state = state(vec![notification(1, |row| row.mail_state = MailState::Pending)]);
    let (event, _) = mail::claim(&state, (1, USER), &context()).unwrap();
    state.apply(&event);
    let own = [banyan_core::Bucket::of("7")].into_iter().collect();
    assert!(mail::give_up(&state, &banyan_core::BucketSet::all().difference(&own)).is_empty());
    let given_up = mail::give_up(&state, &own);
    assert_eq!(notifications(&given_up[0])[0].mail_state, MailState::Failed);
    state.apply(&given_up[0]);
    assert!(mail::give_up(&state, &own).is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Read(u64),
    ReadAll,
    Delete(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(0..6u64).prop_map(Step::Read), Just(Step::ReadAll), (0..6u64).prop_map(Step::Delete)]
}

proptest! {
    /// Whoever keeps the rows of the events has what the service has: this is what reverse does.
    #[test]
    fn events_reproduce_every_changed_row(
        unread in proptest::collection::btree_set(0..6u64, 0..6),
        steps in proptest::collection::vec((step(), any::<bool>()), 0..20),
    ) {
        let rows: Vec<Notification> = unread.iter().map(|id| notification(*id, |_| {})).collect();
        let mut copy: BTreeMap<u64, Notification> = rows.iter().map(|row| (row.id, row.clone())).collect();
        let mut state = state(rows);
        for (step, accepted) in steps {
            let action = match step {
                Step::Read(id) => Action::Read(id),
                Step::ReadAll => Action::ReadAll,
                Step::Delete(id) => Action::Delete(id),
            };
            if let Ok((event, _)) = decide(&state, action) {
                state.apply(&event);
                if accepted {
                    state.keep();
                    prop_assert_eq!(activities(&event).len(), 1);
                    copy.extend(notifications(&event).into_iter().map(|row| (row.id, row.clone())));
                } else {
                    state.undo();
                }
            }
            for id in 0..6 {
                prop_assert_eq!(state.notifications.get(&id), copy.get(&id));
            }
        }
    }
}
