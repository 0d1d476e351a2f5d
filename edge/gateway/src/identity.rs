//! Who a request is, asked from auth.
//!
//! An answer for reads is kept for at most as long as auth allows and never longer than a second, on a
//! boot-time clock from before the question was sent; equal questions at the same time are one. Writes are
//! always asked afresh, with what the request carries against forgery. Where auth does not answer, nobody is
//! taken for a guest: the request is refused.

use banyan_core::protocol::identity::{
    CsrfCarriers, Identity, IdentityRequest, LookupAnswer, LookupRequest, User,
};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock::Boot;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest that an answer is kept, whatever auth says.
const KEEP_MAX: Duration = Duration::from_secs(1);

/// Auth does not say who a request is.
#[derive(Clone, Debug, thiserror::Error)]
#[error("auth does not say who the request is: {0}")]
pub struct Unavailable(Arc<CallError>);

/// One worker's view of auth.
pub struct Identities {
    auth: RoleClient,
    session_cookie: String,
    kept_max: usize,
    known: Mutex<HashMap<Question, Known>>,
}

/// Audience and cookies.
type Question = (String, String);
type Asked = Shared<BoxFuture<'static, Result<Kept, Unavailable>>>;

enum Known {
    /// Since when.
    Asking(Asked, Boot),
    Kept(Kept),
}

#[derive(Clone)]
struct Kept {
    user: Option<Arc<User>>,
    until: Boot,
}

impl Identities {
    /// Asks this auth; keeps at most so many answers.
    pub fn new(auth: RoleClient, session_cookie: String, kept_max: usize) -> Self {
        Self { auth, session_cookie, kept_max, known: Mutex::default() }
    }

    /// Whether there is a session cookie at all; without one a request is a guest's, and nobody is asked.
    pub fn has_session(&self, cookies: &str) -> bool {
        cookies.split(';').any(|pair| {
            let pair = pair.trim_ascii_start();
            same_name(pair.split_once('=').map_or(pair, |(name, _)| name), &self.session_cookie)
        })
    }

    /// The user of a read.
    ///
    /// # Errors
    /// Auth does not answer.
    pub async fn of_read(&self, cookies: &str, audience: &str) -> Result<Option<Arc<User>>, Unavailable> {
        let question = (audience.to_owned(), cookies.to_owned());
        let asked = match self.look_up(&question) {
            Known::Kept(kept) => return Ok(kept.user),
            Known::Asking(asked, _) => asked,
        };
        let outcome = asked.await;
        let fresh = outcome.as_ref().ok().filter(|kept| Boot::now() < kept.until);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Some(kept) if kept.user.is_some() => known.insert(question, Known::Kept(kept.clone())),
            _ => known.remove(&question),
        };
        outcome.map(|kept| kept.user)
    }

    /// The user of a write, and whether what it carries against forgery is right.
    ///
    /// # Errors
    /// Auth does not answer.
    pub async fn of_write(
        &self,
        cookies: &str,
        audience: &str,
        csrf: Option<CsrfCarriers>,
    ) -> Result<Identity, Unavailable> {
        let request = IdentityRequest { cookies: cookies.into(), csrf, audience: audience.into() };
        ask(&self.auth, "/v1/identity", &request).await
    }

    /// The subject of a value, such as an e-mail address.
    ///
    /// # Errors
    /// Auth does not answer.
    pub async fn lookup(&self, lookup: &str, value: &str) -> Result<Option<String>, Unavailable> {
        let request = LookupRequest { lookup: lookup.into(), value: value.into() };
        let answer: LookupAnswer = ask(&self.auth, "/v1/lookup", &request).await?;
        Ok(answer.subject)
    }

    fn look_up(&self, question: &Question) -> Known {
        let now = Boot::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(question) {
            Some(Known::Kept(kept)) if now < kept.until => return Known::Kept(kept.clone()),
            Some(Known::Asking(asked, since)) if now.since(*since) < KEEP_MAX => {
                return Known::Asking(asked.clone(), *since);
            }
            _ => {}
        }
        if known.len() >= self.kept_max {
            known.retain(|_, known| match known {
                Known::Kept(kept) => now < kept.until,
                Known::Asking(_, since) => now.since(*since) < KEEP_MAX,
            });
        }
        let (audience, cookies) = question.clone();
        let asked =
            keep(self.auth.clone(), IdentityRequest { cookies, csrf: None, audience }).boxed().shared();
        if known.len() < self.kept_max {
            known.insert(question.clone(), Known::Asking(asked.clone(), now));
        }
        Known::Asking(asked, now)
    }
}

async fn keep(auth: RoleClient, request: IdentityRequest) -> Result<Kept, Unavailable> {
    let sent = Boot::now();
    let identity: Identity = ask(&auth, "/v1/identity", &request).await?;
    let keep = identity.user.as_ref().map_or(Duration::ZERO, |u| Duration::from_millis(u.cache_ms));
    Ok(Kept { user: identity.user.map(Arc::new), until: sent.plus(keep.min(KEEP_MAX)) })
}

/// Asks auth, a second time where the connection broke: a question changes nothing.
async fn ask<Q: Serialize, A: DeserializeOwned>(
    auth: &RoleClient,
    path: &str,
    question: &Q,
) -> Result<A, Unavailable> {
    let answer = match auth.post(path, question).await {
        Err(CallError::Unsent(_) | CallError::Unknown(_)) => auth.post(path, question).await,
        answer => answer,
    };
    answer.map_err(|error| Unavailable(Arc::new(error)))
}

/// PHP takes `.` and ` ` in a cookie's name for `_`, except where the wanted name begins with `__`.
fn same_name(found: &str, wanted: &str) -> bool {
    let like =
        |(f, w): (u8, u8)| f == w || (w == b'_' && matches!(f, b'.' | b' ') && !wanted.starts_with("__"));
    found.len() == wanted.len() && found.bytes().zip(wanted.bytes()).all(like)
}
