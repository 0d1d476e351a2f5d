//! Whether an answer means what it should, and what the customer now knows.
//!
//! Reads of the API go to the owner of the data. Whatever a customer was told is done must show there, from
//! the very next request on and across every handover; where it does not, the read counts as failed.

use hyper::header;
use serde_json::Value;
use std::collections::BTreeMap;

use super::client::{Answer, Broken};
use super::journey::Step;
use super::meanwhile::Excuses;
use super::record::Verdict;
use super::request::Attempt;
use super::session::{Known, Session};
use super::writes::{Outcome, Preferences, Wish, Write};

/// Judges the outcome of an attempt; `excuses` says what was out of order meanwhile.
pub fn conclude(
    session: &mut Session,
    attempt: Attempt,
    outcome: Result<Answer, Broken>,
    excuses: Excuses,
) -> (Verdict, Option<Write>) {
    let email = session.email.clone();
    let told = match &outcome {
        Ok(answer) => {
            session.take_over(answer);
            told(&attempt, answer)
        }
        Err(Broken::Unsent(cause)) => Told::no(Outcome::Refused, cause.clone()),
        Err(broken) => Told::no(Outcome::Unknown, broken.to_string()),
    };
    let mut fault = told.fault;
    if fault.is_none()
        && let Ok(answer) = &outcome
    {
        fault = learn(session, attempt.step, answer).err();
    }
    let write = attempt.write.map(|(token, wish)| {
        let wish = with_id(wish, outcome.as_ref().ok(), told.outcome);
        remember(session, &wish, told.outcome);
        Write {
            email: if wish == Wish::Registration { token.clone() } else { email },
            token,
            wish,
            outcome: told.outcome,
        }
    });
    if let Some(write) = &write
        && write.wish == Wish::Registration
        && write.outcome == Outcome::Acknowledged
    {
        session.change_customer(write.email.clone(), None);
        session.logged_in = true;
    }
    let verdict = match fault {
        None => Verdict::Good,
        Some(_) if excuses.crowded && told.shed => Verdict::Shed,
        Some(_) if excuses.outage && attempt.step.pays() && told.unavailable => Verdict::FailedByProvider,
        Some(_) if excuses.down && told.unavailable => Verdict::FailedWhileDown,
        Some(reason) => Verdict::Failed(reason),
    };
    if verdict != Verdict::Good {
        session.give_up();
        session.logged_in &= !told.session_lost;
    }
    (verdict, write)
}

/// What an answer says about the request.
struct Told {
    outcome: Outcome,
    fault: Option<String>,
    /// Whether something that is out explains the fault.
    unavailable: bool,
    /// Whether the gateway refused it since a bound of the monolith's was reached.
    shed: bool,
    session_lost: bool,
}

impl Told {
    fn good(outcome: Outcome) -> Self {
        Self { outcome, fault: None, unavailable: false, shed: false, session_lost: false }
    }

    fn no(outcome: Outcome, fault: String) -> Self {
        Self { outcome, fault: Some(fault), unavailable: true, shed: false, session_lost: false }
    }
}

fn told(attempt: &Attempt, answer: &Answer) -> Told {
    let wanted = match attempt.step {
        Step::Pay if attempt.declined => 402,
        Step::Pay | Step::Remind => 201,
        Step::Delete => 204,
        Step::Login | Step::Logout | Step::Register | Step::PayForm => 302,
        Step::ReadForm | Step::ReadAllForm | Step::DeleteForm => 302,
        Step::RemindForm | Step::SetPreferencesForm => 302,
        _ => 200,
    };
    match answer.status.as_u16() {
        302 => redirected(attempt.step, answer),
        status if status == wanted && attempt.declined => Told::good(Outcome::Declined),
        status if status == wanted => Told::good(Outcome::Acknowledged),
        _ => refused(answer, wanted),
    }
}

/// Where a form post must lead to; anything else means that it was not done.
fn redirected(step: Step, answer: &Answer) -> Told {
    let to = answer.redirect().unwrap_or_default();
    let right = match step {
        Step::Login | Step::Register => !matches!(to, "/login" | "/register" | ""),
        Step::Logout => true,
        Step::ReadForm | Step::ReadAllForm | Step::DeleteForm | Step::RemindForm => to == "/notifications",
        Step::SetPreferencesForm => to == "/notifications/preferences",
        // Back to the form is how the shop says that a payment failed.
        Step::PayForm => to == "/payments" || to.strip_prefix("/payments/").is_some_and(|id| id != "new"),
        _ => false,
    };
    if right {
        return Told::good(Outcome::Acknowledged);
    }
    let outcome = if step == Step::PayForm && to != "/login" { Outcome::Unknown } else { Outcome::Refused };
    let session_lost = to == "/login";
    Told { session_lost, unavailable: !session_lost, ..Told::no(outcome, format!("302 to {to}")) }
}

fn refused(answer: &Answer, wanted: u16) -> Told {
    let status = answer.status.as_u16();
    let problem = answer.problem();
    let outcome = match (status, &problem) {
        (503, Some(_)) if problem.as_deref() == Some("outcome_unknown") => Outcome::Unknown,
        (400..=499, _) | (503, Some(_)) => Outcome::Refused,
        _ => Outcome::Unknown,
    };
    let shed = status == 503
        && problem.as_deref() == Some("group_full")
        && answer.headers.contains_key(header::RETRY_AFTER);
    let detail = problem.unwrap_or_else(|| answer.text().chars().take(160).collect());
    let told = Told::no(outcome, format!("{status} instead of {wanted}: {}", detail.replace('\n', " ")));
    let session_lost = matches!(status, 401 | 419);
    Told { session_lost, unavailable: matches!(status, 502..=504), shed, ..told }
}

/// The id that an answer tells, where it tells one.
fn with_id(wish: Wish, answer: Option<&Answer>, outcome: Outcome) -> Wish {
    match (wish, answer) {
        (Wish::Reminder(_), Some(answer)) if outcome == Outcome::Acknowledged => {
            Wish::Reminder(answer.json().and_then(|n| n.get("id")?.as_u64()))
        }
        (wish, _) => wish,
    }
}

/// What a write changes in what the customer knows.
fn remember(session: &mut Session, wish: &Wish, outcome: Outcome) {
    let acknowledged = match outcome {
        Outcome::Acknowledged => true,
        Outcome::Unknown => false,
        Outcome::Declined | Outcome::Refused => return,
    };
    let known = |then: Known| if acknowledged { then } else { Known::Unsure };
    match wish {
        Wish::Read(id) => session.set(*id, known(Known::Read)),
        Wish::Delete(id) => session.set(*id, known(Known::Deleted)),
        Wish::ReadAll(ids) => ids.iter().for_each(|id| session.set(*id, known(Known::Read))),
        Wish::Reminder(Some(id)) => session.set(*id, Known::Listed),
        Wish::Preferences(wanted) => overlay(session, wanted, acknowledged),
        Wish::Unsubscribe => {
            let off = Preferences { email_enabled: Some(false), ..Preferences::default() };
            overlay(session, &off, acknowledged);
        }
        Wish::Reminder(None) | Wish::Payment | Wish::Registration => {}
    }
}

fn overlay(session: &mut Session, wanted: &Preferences, acknowledged: bool) {
    match (&mut session.preferences, acknowledged) {
        (Some(own), true) => own.overlay(wanted),
        (own, false) => *own = None,
        (None, true) => {}
    }
}

/// Reads the body of a good answer.
fn learn(session: &mut Session, step: Step, answer: &Answer) -> Result<(), String> {
    match step {
        Step::Login => {
            session.logged_in = true;
            // The login renewed the token; the next page tells it.
            session.csrf = None;
            Ok(())
        }
        Step::Logout => {
            session.logged_in = false;
            session.vacated = true;
            Ok(())
        }
        Step::List => list(session, answer, true),
        Step::ListUnread => list(session, answer, false),
        Step::UnreadCount => {
            let count = object(answer)?.get("unread").and_then(Value::as_u64);
            count.map(|_| ()).ok_or_else(|| "no number `unread`".into())
        }
        Step::ShowPreferences | Step::SetPreferences => preferences(session, step, answer),
        Step::ListHistory | Step::ListPayments | Step::Pay | Step::Remind | Step::Read => {
            object(answer).map(|_| ())
        }
        Step::ReadAll => {
            let updated = object(answer)?.get("updated").and_then(Value::as_u64);
            updated.map(|_| ()).ok_or_else(|| "no number `updated`".into())
        }
        Step::NotificationsPage => {
            page(answer)?;
            session.see_page(&ids_of_page(&answer.text()));
            Ok(())
        }
        Step::Unsubscribe if answer.text().contains("unsubscribed") => Ok(()),
        Step::Unsubscribe => Err("the page does not say that it is done".into()),
        Step::UnsubscribePage => Ok(()),
        _ if step.name().starts_with("GET ") => page(answer),
        _ => Ok(()),
    }
}

fn object(answer: &Answer) -> Result<serde_json::Map<String, Value>, String> {
    match answer.json() {
        Some(Value::Object(object)) => Ok(object),
        _ => Err(format!("no JSON object: {}", answer.text().chars().take(80).collect::<String>())),
    }
}

fn page(answer: &Answer) -> Result<(), String> {
    let text = answer.text();
    if text.contains("name=\"csrf-token\"") && text.trim_end().ends_with("</html>") {
        return Ok(());
    }
    Err("not a whole page".into())
}

fn list(session: &mut Session, answer: &Answer, all: bool) -> Result<(), String> {
    let object = object(answer)?;
    let rows = object.get("data").and_then(Value::as_array).ok_or("no list `data`")?;
    let mut listed = BTreeMap::new();
    for row in rows {
        let (Some(id), Some(is_read)) = (row["id"].as_u64(), row["is_read"].as_bool()) else {
            return Err(format!("a row without id or is_read: {row}"));
        };
        listed.insert(id, is_read);
    }
    let newest_first = rows.windows(2).all(|w| w[0]["id"].as_u64() > w[1]["id"].as_u64());
    if !newest_first {
        return Err("the list is not ordered by id, newest first".into());
    }
    let whole = object.get("total").and_then(Value::as_u64) == Some(rows.len() as u64);
    agrees(session, &listed, all.then_some(whole))?;
    let newest_first: Vec<u64> = listed.keys().rev().copied().collect();
    session.see_list(&newest_first);
    Ok(())
}

/// What was acknowledged shows. `whole`: every row is listed, or only the newest; `None` for unread ones.
fn agrees(session: &Session, listed: &BTreeMap<u64, bool>, whole: Option<bool>) -> Result<(), String> {
    let oldest = listed.keys().next().copied();
    for (id, known) in &session.known {
        let shown = listed.get(id);
        let due = whole.is_some_and(|whole| whole || oldest.is_some_and(|oldest| *id > oldest));
        let stale = match (known, shown) {
            (Known::Deleted, Some(_)) => "was deleted and is listed",
            (Known::Read, Some(false)) => "was marked read and is listed as unread",
            (Known::Listed | Known::Read, None) if due => "is not listed any more",
            _ => continue,
        };
        return Err(format!("stale: notification {id} of {} {stale}", session.email));
    }
    Ok(())
}

fn preferences(session: &Session, step: Step, answer: &Answer) -> Result<(), String> {
    let shown = object(answer)?;
    // The answer to a write is compared once the write is remembered: by the next read.
    let (Step::ShowPreferences, Some(own)) = (step, &session.preferences) else { return Ok(()) };
    let pairs = [
        ("email_enabled", own.email_enabled.map(Value::from)),
        ("sms_enabled", own.sms_enabled.map(Value::from)),
        ("digest", own.digest.map(Value::from)),
        ("salutation", own.salutation.map(Value::from)),
        ("max_per_day", own.max_per_day.map(Value::from)),
    ];
    for (name, wanted) in pairs {
        if let Some(wanted) = wanted
            && shown.get(name) != Some(&wanted)
        {
            let shown = shown.get(name).unwrap_or(&Value::Null);
            return Err(format!("stale: {name} of {} is {shown} instead of {wanted}", session.email));
        }
    }
    Ok(())
}

/// The notifications that a page offers to be marked or deleted, in the page's order.
fn ids_of_page(text: &str) -> Vec<u64> {
    let mut ids = Vec::new();
    for part in text.split("/notifications/").skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(id) = digits.parse()
            && part[digits.len()..].starts_with('/')
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    ids
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
