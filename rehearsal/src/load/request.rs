//! From a step to the request that a browser or an API client would send.

use base64::Engine as _;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use rand::RngExt as _;
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicU64, Ordering};

use super::client::Outgoing;
use super::journey::Step;
use super::session::Session;
use super::writes::{Preferences, Wish};

/// The password of every seeded user.
pub const PASSWORD: &str = "secret";
const SALUTATIONS: [&str; 4] = ["Frau Müller", "Señor Núñez", "Dear Zoë", "Herr Groß"];
const DIGESTS: [&str; 3] = ["none", "daily", "weekly"];

/// What all customers share.
pub struct Town {
    /// Distinguishes the tokens of this run.
    pub run: String,
    /// How many merchants there are; their ids begin with 1.
    pub merchants: u64,
    key: Vec<u8>,
    next_token: AtomicU64,
}

impl Town {
    /// A town whose shop has this Laravel `APP_KEY`.
    pub fn new(run: String, merchants: u64, app_key: &str) -> anyhow::Result<Self> {
        let key = match app_key.strip_prefix("base64:") {
            Some(text) => base64::engine::general_purpose::STANDARD.decode(text)?,
            None => app_key.as_bytes().to_vec(),
        };
        Ok(Self { run, merchants, key, next_token: AtomicU64::new(1) })
    }

    fn token(&self) -> String {
        format!("{}-{}", self.run, self.next_token.fetch_add(1, Ordering::Relaxed))
    }

    /// The token of the unsubscribe link in the monolith's mails.
    fn unsubscribe_token(&self, email: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(email.to_lowercase().as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A request, and the write that it is.
pub struct Attempt {
    /// The step.
    pub step: Step,
    /// What is sent.
    pub outgoing: Outgoing,
    /// Token and wish, where the step writes.
    pub write: Option<(String, Wish)>,
    /// Whether a payment is one that the provider declines.
    pub declined: bool,
}

/// Builds the request of a step. A step that needs a notification to act upon becomes a list where none
/// has been seen.
pub fn prepare(session: &mut Session, step: Step, town: &Town) -> Attempt {
    match step {
        Step::Read | Step::ReadForm | Step::Delete | Step::DeleteForm => one(session, step, town),
        Step::ReadAll | Step::ReadAllForm => {
            let wish = Wish::ReadAll(session.standing());
            let path =
                if step == Step::ReadAll { "/api/notifications/read-all" } else { "/notifications/read-all" };
            write(session, step, (town.token(), wish), (Method::POST, path.into(), vec![]))
        }
        Step::SetPreferences | Step::SetPreferencesForm => preferences(session, step, town),
        Step::Remind | Step::RemindForm => remind(session, step, town),
        Step::Pay | Step::PayForm => pay(session, step, town),
        Step::Unsubscribe => unsubscribe(session, town),
        Step::Login | Step::Logout | Step::Register => account(session, step, town),
        Step::UnsubscribePage => {
            let fields =
                [("email", session.email.clone()), ("token", town.unsubscribe_token(&session.email))];
            read(session, step, format!("/unsubscribe?{}", encode(&fields)))
        }
        _ => {
            let path = step.name().trim_start_matches("GET ").to_owned();
            read(session, step, path)
        }
    }
}

type Fields = Vec<(&'static str, Value)>;

fn is_api(step: Step) -> bool {
    step.name().contains(" /api/")
}

fn read(session: &mut Session, step: Step, path: String) -> Attempt {
    let headers = headers(session, is_api(step));
    let outgoing = Outgoing { method: Method::GET, path, headers, body: Bytes::new() };
    Attempt { step, outgoing, write: None, declined: false }
}

/// A write with its token: as JSON with headers for API steps, as a form with hidden fields for pages.
fn write(
    session: &mut Session,
    step: Step,
    (token, wish): (String, Wish),
    (method, path, mut fields): (Method, String, Fields),
) -> Attempt {
    let mut headers = headers(session, is_api(step));
    let body = if is_api(step) {
        put(&mut headers, "x-client-ref", &token);
        add_csrf_header(session, &mut headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let object: serde_json::Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Bytes::from(Value::Object(object).to_string())
    } else {
        fields.push(("client_ref", token.clone().into()));
        fields.push(("_token", session.csrf.clone().into()));
        form(&mut headers, fields)
    };
    let outgoing = Outgoing { method, path, headers, body };
    Attempt { step, outgoing, write: Some((token, wish)), declined: false }
}

fn one(session: &mut Session, step: Step, town: &Town) -> Attempt {
    let Some(id) = session.offered.pop_front() else {
        return prepare(session, Step::List, town);
    };
    let (method, path, wish) = match step {
        Step::Read => (Method::POST, format!("/api/notifications/{id}/read"), Wish::Read(id)),
        Step::ReadForm => (Method::POST, format!("/notifications/{id}/read"), Wish::Read(id)),
        Step::Delete => (Method::DELETE, format!("/api/notifications/{id}"), Wish::Delete(id)),
        _ => (Method::POST, format!("/notifications/{id}/delete"), Wish::Delete(id)),
    };
    write(session, step, (town.token(), wish), (method, path, vec![]))
}

fn preferences(session: &mut Session, step: Step, town: &Town) -> Attempt {
    let chance = &mut session.chance;
    let mut wanted = Preferences {
        email_enabled: Some(chance.random_bool(0.8)),
        sms_enabled: Some(chance.random_bool(0.3)),
        digest: Some(DIGESTS[chance.random_range(0..DIGESTS.len())]),
        salutation: Some(SALUTATIONS[chance.random_range(0..SALUTATIONS.len())]),
        max_per_day: Some(chance.random_range(0..=1000)),
    };
    let (method, path) = if step == Step::SetPreferences {
        // An API client names only what it changes.
        if chance.random_bool(0.5) {
            wanted.salutation = None;
            wanted.max_per_day = None;
        }
        (Method::PUT, "/api/notification-preferences")
    } else {
        (Method::POST, "/notifications/preferences")
    };
    let flag = |on: bool| if is_api(step) { json!(on) } else { json!(u8::from(on)) };
    let fields: Fields = [
        ("email_enabled", wanted.email_enabled.map(flag)),
        ("sms_enabled", wanted.sms_enabled.map(flag)),
        ("digest", wanted.digest.map(Value::from)),
        ("salutation", wanted.salutation.map(Value::from)),
        ("max_per_day", wanted.max_per_day.map(Value::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    write(session, step, (town.token(), Wish::Preferences(wanted)), (method, path.into(), fields))
}

fn remind(session: &mut Session, step: Step, town: &Town) -> Attempt {
    let token = town.token();
    let path = if step == Step::Remind { "/api/notifications" } else { "/notifications/reminders" };
    let mut fields: Fields = vec![("title", reminder_title(&token).into())];
    if session.chance.random_bool(0.5) {
        fields.push(("body", "Überweisung an die Vermieterin nicht vergessen ✓".into()));
    }
    write(session, step, (token, Wish::Reminder(None)), (Method::POST, path.into(), fields))
}

/// The title of a reminder: names its token, so that the audit finds the row.
pub fn reminder_title(token: &str) -> String {
    format!("Reminder {token}")
}

fn pay(session: &mut Session, step: Step, town: &Town) -> Attempt {
    let chance = &mut session.chance;
    let declined = step == Step::Pay && chance.random_bool(0.05);
    let cents = if declined { 13 } else { [0, 50, 99, 25][chance.random_range(0..4)] };
    let amount = format!("{}.{cents:02}", chance.random_range(1..=200));
    let merchant = chance.random_range(1..=town.merchants);
    let token = town.token();
    let fields: Fields = vec![
        ("merchant_id", merchant.into()),
        ("amount", amount.into()),
        ("currency", "EUR".into()),
        ("reference", token.clone().into()),
    ];
    let path = if step == Step::Pay { "/api/payments" } else { "/payments" };
    let attempt = write(session, step, (token, Wish::Payment), (Method::POST, path.into(), fields));
    Attempt { declined, ..attempt }
}

/// The link in a mail, opened in a mail program: no cookie goes along.
fn unsubscribe(session: &mut Session, town: &Town) -> Attempt {
    let token = town.token();
    let mut headers = HeaderMap::new();
    put(&mut headers, "accept", "text/html");
    let fields: Fields = vec![
        ("email", session.email.clone().into()),
        ("token", town.unsubscribe_token(&session.email).into()),
        ("client_ref", token.clone().into()),
    ];
    let body = form(&mut headers, fields);
    let outgoing = Outgoing { method: Method::POST, path: "/unsubscribe".into(), headers, body };
    Attempt { step: Step::Unsubscribe, outgoing, write: Some((token, Wish::Unsubscribe)), declined: false }
}

fn account(session: &mut Session, step: Step, town: &Town) -> Attempt {
    let csrf = ("_token", Value::from(session.csrf.clone()));
    let (fields, write): (Fields, _) = match step {
        Step::Login => {
            (vec![csrf, ("email", session.email.clone().into()), ("password", PASSWORD.into())], None)
        }
        Step::Register => {
            let email = format!("{}@new.example.com", town.token());
            let fields = vec![
                csrf,
                ("name", "Zoë Neu".into()),
                ("email", email.clone().into()),
                ("password", PASSWORD.into()),
                ("password_confirmation", PASSWORD.into()),
            ];
            (fields, Some((email, Wish::Registration)))
        }
        _ => (vec![csrf], None),
    };
    let mut headers = headers(session, false);
    let body = form(&mut headers, fields);
    let path = step.name().trim_start_matches("POST ").to_owned();
    let outgoing = Outgoing { method: Method::POST, path, headers, body };
    Attempt { step, outgoing, write, declined: false }
}

fn headers(session: &Session, api: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, "accept", if api { "application/json" } else { "text/html,application/xhtml+xml" });
    if api {
        put(&mut headers, "x-requested-with", "XMLHttpRequest");
    }
    if let Some(cookies) = session.cookie_header() {
        put(&mut headers, "cookie", &cookies);
    }
    headers
}

/// API clients carry the CSRF token either way that Laravel knows.
fn add_csrf_header(session: &mut Session, headers: &mut HeaderMap) {
    let by_cookie = session.csrf.is_none() || session.chance.random_bool(0.3);
    match (by_cookie.then(|| session.xsrf()).flatten(), &session.csrf) {
        (Some(token), _) => put(headers, "x-xsrf-token", &token),
        (None, Some(token)) => put(headers, "x-csrf-token", token),
        (None, None) => {}
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("cookies, tokens and constants are visible ASCII");
    headers.insert(HeaderName::from_static(name), value);
}

fn form(headers: &mut HeaderMap, fields: Fields) -> Bytes {
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(header::CONTENT_TYPE, kind);
    let texts: Vec<(&str, String)> = fields
        .into_iter()
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    encode(&texts).into()
}

fn encode(fields: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn town() -> Town {
        Town::new("t".into(), 10, "0123456789abcdef").unwrap()
    }

    #[test]
    fn every_write_carries_its_own_token() {
        let (town, mut session) = (town(), Session::new(1, 1));
        session.csrf = Some("csrf".into());
        session.see_list(&(1..=20).collect::<Vec<_>>());
        let mut tokens = std::collections::BTreeSet::new();
        let steps = [
            Step::Read,
            Step::ReadForm,
            Step::ReadAll,
            Step::ReadAllForm,
            Step::Delete,
            Step::DeleteForm,
            Step::SetPreferences,
            Step::SetPreferencesForm,
            Step::Remind,
            Step::RemindForm,
            Step::Unsubscribe,
            Step::Pay,
            Step::PayForm,
            Step::Register,
        ];
        for step in steps {
            let attempt = prepare(&mut session, step, &town);
            let (token, _) = attempt.write.unwrap();
            let body = String::from_utf8_lossy(&attempt.outgoing.body).into_owned();
            let by_header = attempt.outgoing.headers.get("x-client-ref").is_some_and(|v| v == &token);
            let decoded = percent_encoding::percent_decode_str(&body).decode_utf8_lossy().into_owned();
            assert!(by_header || decoded.contains(&token), "{step:?}: {body}");
            assert!(tokens.insert(token), "{step:?}");
        }
    }

    #[test]
    fn the_unsubscribe_token_is_the_monoliths() {
        // php -r 'echo hash_hmac("sha256", "user1@example.com", "0123456789abcdef");'
        let wanted = "ca829bbcbc0b712b832e2b69a2a5724b05019abc47f4a3d4f3ad18ed21092554";
        assert_eq!(town().unsubscribe_token("User1@example.com"), wanted);
    }

    #[test]
    fn nothing_to_act_upon_becomes_a_list() {
        let attempt = prepare(&mut Session::new(1, 1), Step::Read, &town());
        assert_eq!((attempt.step, attempt.write.is_none()), (Step::List, true));
    }
}
