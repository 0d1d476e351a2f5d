use super::super::journey::Step;
use super::super::request::{Town, prepare};
use super::*;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn customer() -> (Session, Town) {
    let mut session = Session::new(1, 1);
    session.csrf = Some("csrf".into());
    session.logged_in = true;
    (session, Town::new("t".into(), 10, "key").unwrap())
}

fn list_of(rows: &[(u64, bool)]) -> String {
    let data: Vec<_> =
        rows.iter().map(|(id, read)| serde_json::json!({ "id": id, "is_read": read })).collect();
    serde_json::json!({ "data": data, "total": rows.len(), "unread": 0 }).to_string()
}

/// Lets the customer do a step and get this answer; what the load side concludes.
fn step(
    customer: &mut (Session, Town),
    step: Step,
    answer: Result<Answer, Broken>,
) -> (Verdict, Option<Write>) {
    let attempt = prepare(&mut customer.0, step, &customer.1);
    assert_eq!(attempt.step, step);
    conclude(&mut customer.0, attempt, answer, Excuses::default())
}

fn failure(verdict: &(Verdict, Option<Write>)) -> &str {
    match &verdict.0 {
        Verdict::Failed(reason) => reason,
        _ => "",
    }
}

#[test]
fn what_was_acknowledged_must_show_in_the_next_list() {
    let mut customer = customer();
    let rows = [(3, false), (2, false), (1, false)];
    let good = step(&mut customer, Step::List, Ok(answer(200, &[], &list_of(&rows))));
    assert_eq!(good.0, Verdict::Good);
    let (verdict, write) = step(&mut customer, Step::Read, Ok(answer(200, &[], r#"{"id":3}"#)));
    assert_eq!(verdict, Verdict::Good);
    assert_eq!(write.map(|w| (w.wish, w.outcome)), Some((Wish::Read(3), Outcome::Acknowledged)));
    let (verdict, _) = step(&mut customer, Step::Delete, Ok(answer(204, &[], "")));
    assert_eq!(verdict, Verdict::Good);
    for (rows, fault) in [
        (vec![(3, true), (1, false)], ""),
        (vec![(3, false), (1, false)], "marked read"),
        (vec![(3, true), (2, false), (1, false)], "was deleted"),
        (vec![(1, false)], "not listed"),
        (vec![(1, false), (3, true)], "newest first"),
    ] {
        let verdict = step(&mut customer, Step::List, Ok(answer(200, &[], &list_of(&rows))));
        assert!(failure(&verdict).contains(fault), "{rows:?}: {}", failure(&verdict));
        assert_eq!(failure(&verdict).is_empty(), fault.is_empty());
    }
}

#[test]
fn a_write_without_an_answer_is_unknown_and_claims_nothing() {
    let mut customer = customer();
    step(&mut customer, Step::List, Ok(answer(200, &[], &list_of(&[(3, false)]))));
    let (verdict, write) = step(&mut customer, Step::Read, Err(Broken::Lost("reset".into())));
    assert!(matches!(verdict, Verdict::Failed(_)));
    assert_eq!(write.unwrap().outcome, Outcome::Unknown);
    for read in [true, false] {
        let verdict = step(&mut customer, Step::List, Ok(answer(200, &[], &list_of(&[(3, read)]))));
        assert_eq!(verdict.0, Verdict::Good);
    }
}

#[test]
fn refusals_of_the_gateway_were_not_executed_and_others_may_have_been() {
    let problem = [("content-type", "application/problem+json")];
    let body = r#"{"code":"group_full"}"#;
    for (answer, wanted) in [
        (Ok(answer(503, &problem, body)), Outcome::Refused),
        (Ok(answer(503, &[], "nginx")), Outcome::Unknown),
        (Ok(answer(504, &problem, body)), Outcome::Unknown),
        (Ok(answer(500, &[], "oops")), Outcome::Unknown),
        (Ok(answer(419, &[], "{}")), Outcome::Refused),
        (Err(Broken::Unsent("refused".into())), Outcome::Refused),
        (Err(Broken::TimedOut(9)), Outcome::Unknown),
    ] {
        let mut customer = customer();
        let verdict = step(&mut customer, Step::Remind, answer.clone());
        assert!(matches!(verdict.0, Verdict::Failed(_)), "{answer:?}");
        assert_eq!(verdict.1.unwrap().outcome, wanted, "{answer:?}");
    }
}

#[test]
fn only_payments_are_excused_by_an_outage() {
    let problem = [("content-type", "application/problem+json")];
    let full = || Ok(answer(503, &problem, r#"{"code":"group_full"}"#));
    let outage = Excuses { outage: true, ..Excuses::default() };
    let mut customer = customer();
    for (step, excused) in [(Step::Pay, true), (Step::PayForm, true), (Step::Remind, false)] {
        let attempt = prepare(&mut customer.0, step, &customer.1);
        let (verdict, _) = conclude(&mut customer.0, attempt, full(), outage);
        assert_eq!(verdict == Verdict::FailedByProvider, excused, "{step:?}");
    }
    let attempt = prepare(&mut customer.0, Step::Pay, &customer.1);
    let (verdict, _) = conclude(&mut customer.0, attempt, Ok(answer(419, &[], "{}")), outage);
    assert!(matches!(verdict, Verdict::Failed(_)), "a lost session is no outage");
}

#[test]
fn a_spike_excuses_only_what_the_gateway_sheds_and_says_when_to_come_again() {
    let problem = ("content-type", "application/problem+json");
    let after = ("retry-after", "1");
    let crowded = Excuses { crowded: true, ..Excuses::default() };
    for (status, headers, code, excuses, shed) in [
        (503, &[problem, after][..], "group_full", crowded, true),
        (503, &[problem, after], "group_full", Excuses::default(), false),
        (503, &[problem], "group_full", crowded, false),
        (503, &[problem, after], "no_lease", crowded, false),
        (502, &[problem, after], "group_full", crowded, false),
    ] {
        let mut customer = customer();
        let attempt = prepare(&mut customer.0, Step::Remind, &customer.1);
        let body = format!(r#"{{"code":"{code}"}}"#);
        let (verdict, write) =
            conclude(&mut customer.0, attempt, Ok(answer(status, headers, &body)), excuses);
        assert_eq!(verdict == Verdict::Shed, shed, "{status} {headers:?} {code} {excuses:?}");
        assert_eq!(write.unwrap().outcome == Outcome::Refused, status == 503, "what is shed must be nowhere");
    }
}

#[test]
fn a_role_that_is_down_excuses_a_missing_answer_and_never_a_wrong_one() {
    let down = Excuses { down: true, ..Excuses::default() };
    let mut customer = customer();
    let mut judge = |step, outcome| {
        let attempt = prepare(&mut customer.0, step, &customer.1);
        conclude(&mut customer.0, attempt, outcome, down).0
    };
    assert_eq!(judge(Step::Dashboard, Err(Broken::Lost("reset".into()))), Verdict::FailedWhileDown);
    assert_eq!(judge(Step::List, Ok(answer(503, &[], "down"))), Verdict::FailedWhileDown);
    assert!(matches!(judge(Step::List, Ok(answer(500, &[], "broken"))), Verdict::Failed(_)));
    let unordered = list_of(&[(1, false), (2, false)]);
    assert!(matches!(judge(Step::List, Ok(answer(200, &[], &unordered))), Verdict::Failed(_)));
}

#[test]
fn a_form_that_leads_elsewhere_was_not_done() {
    let mut customer = customer();
    for (at, to, wanted) in [
        (Step::RemindForm, "http://h:1/notifications", Some(Outcome::Acknowledged)),
        (Step::RemindForm, "http://h:1/login", Some(Outcome::Refused)),
        (Step::PayForm, "/payments", Some(Outcome::Acknowledged)),
        (Step::PayForm, "/payments/new", Some(Outcome::Unknown)),
        (Step::Login, "/login", None),
    ] {
        let answer = answer(302, &[("location", to)], "");
        let (verdict, write) = step(&mut customer, at, Ok(answer));
        assert_eq!(write.map(|w| w.outcome), wanted, "{at:?} {to}");
        assert_eq!(verdict == Verdict::Good, wanted == Some(Outcome::Acknowledged), "{at:?} {to}");
    }
}

#[test]
fn acknowledged_preferences_must_show() {
    let mut customer = customer();
    let verdict = step(&mut customer, Step::Unsubscribe, Ok(answer(200, &[], "You are unsubscribed")));
    assert_eq!(verdict.0, Verdict::Good);
    let shows = |on: bool| Ok(answer(200, &[], &format!("{{\"email_enabled\":{on}}}")));
    assert_eq!(step(&mut customer, Step::ShowPreferences, shows(false)).0, Verdict::Good);
    let verdict = step(&mut customer, Step::ShowPreferences, shows(true));
    assert!(failure(&verdict).contains("stale: email_enabled"));
}

#[test]
fn a_registration_makes_another_customer() {
    let mut customer = customer();
    let home = answer(302, &[("location", "/home")], "");
    let (_, write) = step(&mut customer, Step::Register, Ok(home));
    let write = write.unwrap();
    assert_eq!((&write.email, write.wish), (&write.token, Wish::Registration));
    assert_eq!((customer.0.email == write.token, &customer.0.released[..]), (true, &[1][..]));
}

#[test]
fn ids_are_taken_from_the_forms_of_a_page() {
    let page = r#"<a href="/notifications/preferences"><form action="http://h/notifications/12/read">
        <form action="/notifications/12/delete"><form action="/notifications/7/delete"><a href="/notifications/9">"#;
    assert_eq!(ids_of_page(page), [12, 7]);
}
