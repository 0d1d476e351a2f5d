//! One customer's browser: cookies, CSRF token, and what the customer has seen and done.
//!
//! A session is used by one request at a time, so what it knows is exact: what a customer was told is done
//! must show in everything that the owner of the data answers afterwards.

use hyper::header::{self, HeaderMap};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::client::Answer;
use super::journey::{self, Step};
use super::writes::Preferences;

/// What the customer knows about one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The owner of the data has listed it.
    Listed,
    /// Read, and acknowledged.
    Read,
    /// Deleted, and acknowledged.
    Deleted,
    /// A write of it had no answer: anything may be true.
    Unsure,
}

/// One customer's browser.
pub struct Session {
    /// The customer's e-mail address.
    pub email: String,
    /// The customer's number among the seeded users; none where the customer registered during the run.
    pub number: Option<u64>,
    /// Customers that have left this browser, free to use another.
    pub released: Vec<u64>,
    /// Whether another customer is to sit down.
    pub vacated: bool,
    /// Whether the customer is logged in.
    pub logged_in: bool,
    /// The CSRF token of the newest page.
    pub csrf: Option<String>,
    /// What is known of the notifications.
    pub known: BTreeMap<u64, Known>,
    /// Notifications of the newest page or list, next to act upon.
    pub offered: VecDeque<u64>,
    /// Preferences as acknowledged; `None` where a write of them had no answer.
    pub preferences: Option<Preferences>,
    /// Chance of this customer.
    pub chance: StdRng,
    cookies: BTreeMap<String, String>,
    plan: VecDeque<Step>,
}

impl Session {
    /// A browser without cookies.
    pub fn new(number: u64, seed: u64) -> Self {
        Self {
            email: email_of(number),
            number: Some(number),
            released: Vec::new(),
            vacated: false,
            logged_in: false,
            csrf: None,
            known: BTreeMap::new(),
            offered: VecDeque::new(),
            preferences: Some(Preferences::default()),
            chance: StdRng::seed_from_u64(seed),
            cookies: BTreeMap::new(),
            plan: VecDeque::new(),
        }
    }

    /// Another tab of this browser: its cookies and token, and no memory.
    pub fn tab(&self, seed: u64) -> Self {
        Self {
            logged_in: self.logged_in,
            csrf: self.csrf.clone(),
            cookies: self.cookies.clone(),
            email: self.email.clone(),
            ..Self::new(self.number.unwrap_or_default(), seed)
        }
    }

    /// Another customer sits down: everything but the browser's cookies is forgotten.
    pub fn change_customer(&mut self, email: String, number: Option<u64>) {
        self.released.extend(self.number);
        self.vacated = false;
        self.email = email;
        self.number = number;
        self.known.clear();
        self.offered.clear();
        self.preferences = Some(Preferences::default());
    }

    /// The next step: of the journey that is under way, or of a new one.
    pub fn next_step(&mut self) -> Step {
        if self.plan.is_empty() {
            let journey = if self.logged_in { journey::draw(&mut self.chance) } else { journey::LOGIN };
            self.plan.extend(journey);
        }
        self.plan.pop_front().expect("a journey has at least one step")
    }

    /// Gives up the journey that is under way; a failure may have cost the session its login.
    pub fn give_up(&mut self) {
        self.plan.clear();
    }

    /// The `Cookie` header.
    pub fn cookie_header(&self) -> Option<String> {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The decoded value of the cookie `XSRF-TOKEN`.
    pub fn xsrf(&self) -> Option<String> {
        let value = self.cookies.get("XSRF-TOKEN")?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    }

    /// Takes over cookies and CSRF token of an answer.
    pub fn take_over(&mut self, answer: &Answer) {
        self.take_cookies(&answer.headers);
        if let Some(token) = between(&answer.text(), "name=\"csrf-token\" content=\"", "\"") {
            self.csrf = Some(token.to_owned());
        }
    }

    fn take_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE).iter().filter_map(|v| v.to_str().ok()) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let ended = parts.any(|attribute| {
                let lower = attribute.to_ascii_lowercase();
                lower.strip_prefix("max-age=").is_some_and(|age| age.parse::<i64>().is_ok_and(|a| a <= 0))
            });
            if ended {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Notes what the owner of the data has listed, and offers it to be acted upon.
    pub fn see_list(&mut self, listed: &[u64]) {
        listed.iter().for_each(|id| {
            self.known.entry(*id).or_insert(Known::Listed);
        });
        self.see_page(listed);
    }

    /// Offers what a page shows. Pages stay with the monolith and may lag behind the owner for a moment:
    /// what is deleted may still be there.
    pub fn see_page(&mut self, shown: &[u64]) {
        let usable = |id: &&u64| !matches!(self.known.get(id), Some(Known::Deleted | Known::Unsure));
        self.offered = shown.iter().filter(usable).copied().collect();
    }

    /// The ids that are known and not deleted.
    pub fn standing(&self) -> BTreeSet<u64> {
        let standing = self.known.iter().filter(|(_, k)| matches!(k, Known::Listed | Known::Read));
        standing.map(|(id, _)| *id).collect()
    }

    /// Notes what became of one notification.
    pub fn set(&mut self, id: u64, known: Known) {
        // Once unsure or deleted, a notification stays so.
        let slot = self.known.entry(id).or_insert(known);
        if matches!(slot, Known::Listed | Known::Read) {
            *slot = known;
        }
    }
}

/// The e-mail address of a seeded user.
pub fn email_of(number: u64) -> String {
    format!("user{number}@example.com")
}

/// The text between two marks.
pub fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::StatusCode;
    use hyper::header::HeaderValue;

    fn answer(cookies: &[&'static str], body: &'static str) -> Answer {
        let headers = cookies.iter().map(|c| (header::SET_COOKIE, HeaderValue::from_static(c))).collect();
        Answer { status: StatusCode::OK, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn cookies_change_and_end_as_the_server_says() {
        let mut session = Session::new(1, 1);
        session.take_over(&answer(&["a=1; path=/", "XSRF-TOKEN=x%3D; path=/; samesite=lax"], ""));
        assert_eq!(session.cookie_header().as_deref(), Some("XSRF-TOKEN=x%3D; a=1"));
        assert_eq!(session.xsrf().as_deref(), Some("x="));
        session.take_over(&answer(&["a=2", "XSRF-TOKEN=gone; Max-Age=0"], ""));
        assert_eq!(session.cookie_header().as_deref(), Some("a=2"));
    }

    #[test]
    fn the_csrf_token_comes_from_the_page() {
        let mut session = Session::new(1, 1);
        session.take_over(&answer(&[], r#"<meta name="csrf-token" content="tok">"#));
        session.take_over(&answer(&[], "{}"));
        assert_eq!(session.csrf.as_deref(), Some("tok"));
    }

    #[test]
    fn what_is_deleted_or_unsure_stays_so() {
        let mut session = Session::new(1, 1);
        session.see_list(&[3, 2]);
        session.set(3, Known::Deleted);
        session.set(2, Known::Unsure);
        session.set(2, Known::Read);
        session.see_page(&[3, 2, 1]);
        assert_eq!(session.offered, [1]);
        assert_eq!((session.known[&3], session.known[&2]), (Known::Deleted, Known::Unsure));
    }
}
