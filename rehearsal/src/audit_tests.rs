use super::facts::{Activity, Notification, Payment, PreferencesRow};
use super::*;
use crate::load::writes::Preferences;

const CUSTOMER: &str = "user1@example.com";

fn write(token: &str, wish: Wish, outcome: Outcome) -> Write {
    Write { token: token.into(), email: CUSTOMER.into(), wish, outcome }
}

/// Both sides as they must be after one write of each kind, and the writes.
fn world() -> (Vec<Write>, Evidence) {
    let wanted = Preferences { digest: Some("daily"), email_enabled: Some(true), ..Preferences::default() };
    let writes = vec![
        write("a", Wish::Read(1), Outcome::Acknowledged),
        write("b", Wish::Delete(2), Outcome::Acknowledged),
        write("c", Wish::Reminder(Some(3)), Outcome::Acknowledged),
        write("d", Wish::Preferences(wanted), Outcome::Acknowledged),
        write("e", Wish::Unsubscribe, Outcome::Acknowledged),
        write("f", Wish::ReadAll([1].into()), Outcome::Acknowledged),
        write("p", Wish::Payment, Outcome::Acknowledged),
        write("q", Wish::Payment, Outcome::Declined),
        write("r", Wish::Read(4), Outcome::Refused),
        write("u", Wish::Read(4), Outcome::Unknown),
    ];
    let row = |title: &str| Notification { user_id: 7, title: title.into(), ..Notification::default() };
    let notifications = [
        (1, Notification { is_read: true, ..row("one") }),
        (2, Notification { deleted: true, ..row("two") }),
        (3, row("Reminder c")),
        (4, row("four")),
        (5, Notification { reference: Some("p".into()), ..row("Payment of 1.00 EUR to X captured") }),
    ];
    let activity = [
        ("a", "read"),
        ("b", "delete"),
        ("c", "reminder"),
        ("d", "preferences"),
        ("e", "unsubscribe"),
        ("f", "read_all"),
    ];
    let facts = Facts {
        notifications: notifications.into(),
        preferences: [(7, PreferencesRow { digest: "daily".into(), ..PreferencesRow::default() })].into(),
        activity: activity
            .iter()
            .map(|(token, action)| ((*token).into(), vec![Activity { user_id: 7, action: (*action).into() }]))
            .collect(),
    };
    let payment = |captured| vec![Payment { captured, bookings: usize::from(captured) }];
    let shop = Shop {
        users: [(CUSTOMER.into(), 7)].into(),
        payments: [("p".into(), payment(true)), ("q".into(), payment(false))].into(),
        charges: [("p".into(), 1)].into(),
    };
    (writes, Evidence { shop, monolith: facts.clone(), service: facts })
}

/// Lost, doubled and contradictions after a change of the world.
fn check(change: impl FnOnce(&mut Vec<Write>, &mut Evidence)) -> (u64, u64, u64) {
    let (mut writes, mut evidence) = world();
    change(&mut writes, &mut evidence);
    let report = audit(&writes, &evidence);
    let found = (report.lost, report.doubled, report.contradictions);
    assert_eq!(report.faults.is_empty(), found == (0, 0, 0), "{:?}", report.faults);
    found
}

#[test]
fn a_world_where_all_is_well_has_no_fault() {
    assert_eq!(check(|_, _| {}), (0, 0, 0));
    let (writes, evidence) = world();
    let report = audit(&writes, &evidence);
    assert_eq!((report.acknowledged, report.unacknowledged, report.unacknowledged_found), (7, 1, 0));
}

#[test]
fn an_acknowledged_write_that_is_missing_on_one_side_is_lost() {
    assert_eq!(
        check(|_, e| {
            let _ = e.service.activity.remove("a");
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.monolith.activity.remove("b");
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.service.notifications.remove(&3);
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.service.notifications.remove(&5);
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.shop.charges.remove("p");
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.shop.payments.remove("q");
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.monolith.preferences.remove(&7);
        }),
        (1, 0, 0)
    );
}

#[test]
fn an_acknowledged_write_without_its_effect_is_lost() {
    let at = |e: &mut Evidence, id: u64| e.monolith.notifications.remove(&id).unwrap_or_default();
    assert_eq!(
        check(|_, e| {
            let row = at(e, 2);
            e.monolith.notifications.insert(2, Notification { deleted: false, ..row });
        }),
        (1, 0, 0)
    );
    assert_eq!(
        check(|_, e| {
            let row = at(e, 1);
            e.monolith.notifications.insert(1, Notification { is_read: false, ..row });
        }),
        (2, 0, 0)
    );
    let on = |p: &mut PreferencesRow| p.email_enabled = true;
    assert_eq!(check(|_, e| e.service.preferences.get_mut(&7).into_iter().for_each(on)), (1, 0, 0));
    let other = |a: &mut Vec<Activity>| a[0].user_id = 8;
    assert_eq!(check(|_, e| e.service.activity.get_mut("a").into_iter().for_each(other)), (1, 0, 0));
}

#[test]
fn a_write_that_is_there_twice_is_doubled() {
    let again = |rows: &mut Vec<Activity>| rows.push(rows[0].clone());
    assert_eq!(check(|_, e| e.monolith.activity.get_mut("a").into_iter().for_each(again)), (0, 1, 0));
    assert_eq!(
        check(|_, e| {
            let row = e.service.notifications[&3].clone();
            e.service.notifications.insert(33, row);
        }),
        (0, 1, 0)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.shop.charges.insert("p".into(), 2);
        }),
        (0, 1, 0)
    );
    let unknown_twice = |_: &mut Vec<Write>, e: &mut Evidence| {
        let rows = vec![Activity { user_id: 7, action: "read".into() }; 2];
        e.monolith.activity.insert("u".into(), rows.clone());
        e.service.activity.insert("u".into(), rows);
    };
    assert_eq!(check(unknown_twice), (0, 1, 0));
}

#[test]
fn a_refused_write_is_nowhere_and_an_unknown_one_is_whole() {
    let row = || vec![Activity { user_id: 7, action: "read".into() }];
    assert_eq!(
        check(|_, e| {
            let _ = e.monolith.activity.insert("r".into(), row());
        }),
        (0, 0, 1)
    );
    assert_eq!(
        check(|_, e| {
            let _ = e.monolith.activity.insert("u".into(), row());
        }),
        (0, 0, 1)
    );
    let both = |_: &mut Vec<Write>, e: &mut Evidence| {
        e.monolith.activity.insert("u".into(), row());
        e.service.activity.insert("u".into(), row());
    };
    assert_eq!(check(both), (0, 0, 0));
}

#[test]
fn after_a_write_without_an_answer_preferences_are_not_certain() {
    let wanted = Preferences { email_enabled: Some(true), ..Preferences::default() };
    let later = write("v", Wish::Preferences(wanted), Outcome::Unknown);
    let change = |writes: &mut Vec<Write>, e: &mut Evidence| {
        writes.push(later.clone());
        for facts in [&mut e.monolith, &mut e.service] {
            facts.preferences.values_mut().for_each(|p| p.email_enabled = true);
            facts.activity.insert("v".into(), vec![Activity { user_id: 7, action: "preferences".into() }]);
        }
    };
    assert_eq!(check(change), (0, 0, 0));
}
