//! A request of a capability: whose it is, who owns that, and what the owner answers.
//!
//! The owner decides everything but ownership and forgery: a guest's request goes to the monolith, which
//! answers it as ever. A write for the service that carries no valid CSRF token is answered 419 here, as
//! Laravel would. Where auth or the lease is missing, requests are refused, never guessed.

use banyan_core::capability::{RouteKind, SubjectSource};
use banyan_core::protocol::identity::{CsrfCarriers, User};
use banyan_core::protocol::{IDENTITY, OWNER_EPOCH, ROLE_TOKEN, SUBJECT};
use banyan_core::{Bucket, Side};
use banyan_runtime::http::Problem;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use std::sync::Arc;

use crate::body::{AnswerBody, RequestBody};
use crate::error::{Answer, unavailable};
use crate::expired;
use crate::fields::Fields;
use crate::group::Group;
use crate::headers;
use crate::identity::Unavailable;
use crate::metrics::Answerer;
use crate::ownership::Admitted;
use crate::proxy::Proxy;
use crate::resolve::METHOD_OVERRIDE;
use crate::route::Match;
use crate::state::{Access, Ask, Refusal};

/// What a held request occupies beside its body, in bytes.
const HELD_HEAD_BYTES: usize = 1 << 10;
/// The largest refusal of a service that is read, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// The service's code for "another side owns this bucket, or in another owner epoch".
const NOT_OWNER: &str = "not_owner";

/// A request of a capability.
pub struct Call<'r> {
    /// Its route.
    pub found: Match<'r>,
    /// Its normal path.
    pub path: &'r str,
    /// The method that counts.
    pub method: Method,
    /// The fields of its body.
    pub fields: Fields,
    /// Its head, as it goes to the monolith.
    pub head: Parts,
    /// Its body.
    pub body: RequestBody,
    /// Its group at the monolith.
    pub group: Arc<Group>,
}

/// Whose request it is.
struct Who {
    subject: String,
    token: Option<String>,
    csrf_valid: bool,
}

impl Call<'_> {
    fn access(&self) -> Access {
        if self.found.route.kind == RouteKind::Write { Access::Write } else { Access::Read }
    }

    fn checks_csrf(&self) -> bool {
        self.access() == Access::Write && self.found.route.csrf
    }

    /// The value that names the subject, where it is not the session's user.
    fn named(&self) -> Option<String> {
        let query = || Fields::of_query(self.head.uri.query());
        let value = match &self.found.route.subject {
            SubjectSource::Session => None,
            SubjectSource::Path { name } => {
                let values = self.found.route.path.matches(self.path)?;
                values.iter().find(|(n, _)| n == name).map(|(_, value)| (*value).to_owned())
            }
            SubjectSource::Query { name } => query().get(name).map(str::to_owned),
            SubjectSource::Header { name } => {
                self.head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
            }
            SubjectSource::Field { name } => self.fields.get(name).map(str::to_owned),
            SubjectSource::Lookup { field, .. } => {
                self.fields.get(field).map(str::to_owned).or_else(|| query().get(field).map(str::to_owned))
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// What Laravel looks at; `input()` sees the query behind the body.
    fn carriers(&self) -> CsrfCarriers {
        let header = |name: &str| Some(self.head.headers.get(name)?.to_str().ok()?.to_owned());
        let query = Fields::of_query(self.head.uri.query());
        CsrfCarriers {
            field: self.fields.get("_token").or_else(|| query.get("_token")).map(str::to_owned),
            header: header("x-csrf-token"),
            xsrf: header("x-xsrf-token"),
        }
    }
}

impl Proxy {
    /// Answers a request of a capability.
    ///
    /// # Errors
    /// It is refused, or its owner does not answer.
    pub async fn capability(&self, mut call: Call<'_>) -> Result<(Answer, Answerer), Problem> {
        if call.found.route.kind == RouteKind::Page {
            return self.monolith(call.head, call.body, (&call.group, None)).await;
        }
        if !self.shared.ownership.is_leased() {
            return Err(Refusal::NoLease.into());
        }
        let who = self.who(&call).await.map_err(|error| {
            tracing::warn!(%error, "a request was refused");
            unavailable("identity_unavailable", error.to_string())
        })?;
        let Some(who) = who else {
            return self.monolith(call.head, call.body, (&call.group, None)).await;
        };
        let mut above = 0;
        loop {
            let admitted = self.admit(&call, &who, above).await?;
            if admitted.side == Side::Monolith {
                return self.monolith(call.head, call.body, (&call.group, admitted.write)).await;
            }
            if call.checks_csrf() && !who.csrf_valid {
                return Ok((expired::answer(&call.head.headers), Answerer::Gateway));
            }
            let version = admitted.version;
            // An answer without a body has been received before it is acknowledged: the write is in flight for as
            // long as it may still be.
            let write = admitted.write.clone();
            let again = call.body.whole_bytes().filter(|_| above == 0).cloned();
            let answer = self.service(&mut call, &who, admitted).await?;
            let answer = match not_owner(answer).await {
                Ok(answer) => {
                    let answer = self.acknowledge(&call, (&who.subject, answer)).await;
                    drop(write);
                    return answer.map(|answer| (answer, Answerer::Service));
                }
                Err(refused) => refused,
            };
            // The service has refused for certain. Control will tell who owns the bucket.
            match again {
                Some(bytes) if call.access() == Access::Write => call.body = RequestBody::whole(bytes),
                _ => return Err(answer),
            }
            above = version;
        }
    }

    async fn admit(&self, call: &Call<'_>, who: &Who, above: u64) -> Result<Admitted, Problem> {
        let ask = Ask {
            capability: call.found.index,
            bucket: Bucket::of(&who.subject),
            access: call.access(),
            bytes: call.body.whole_bytes().map_or(0, |b| b.len()) + HELD_HEAD_BYTES,
            above,
        };
        Ok(self.shared.ownership.admit(ask).await?)
    }

    /// Whose request it is; `None` for nobody's, which the monolith answers.
    async fn who(&self, call: &Call<'_>) -> Result<Option<Who>, Unavailable> {
        let named = call.named();
        let of_session = call.found.route.subject == SubjectSource::Session;
        if named.is_none() && !of_session {
            return Ok(None);
        }
        let by_lookup = if let SubjectSource::Lookup { lookup, .. } = &call.found.route.subject {
            self.identities.lookup(lookup, named.as_deref().unwrap_or_default()).await?
        } else {
            named.as_deref().and_then(decimal)
        };
        let is_lookup = matches!(call.found.route.subject, SubjectSource::Lookup { .. });
        let (user, csrf_valid) =
            if is_lookup && !call.checks_csrf() { (None, true) } else { self.user(call).await? };
        let of_user = || user.as_ref().map(|u| u.subject.clone());
        let subject = if of_session { of_user() } else { by_lookup };
        let token = user.as_ref().filter(|_| !is_lookup).map(|u| u.token.clone());
        Ok(subject.map(|subject| Who { subject, token, csrf_valid }))
    }

    /// The session's user, and whether the request is protected against forgery where it must be.
    async fn user(&self, call: &Call<'_>) -> Result<(Option<Arc<User>>, bool), Unavailable> {
        let cookies = headers::cookies(&call.head.headers).filter(|c| self.identities.has_session(c));
        let Some(cookies) = cookies else { return Ok((None, !call.checks_csrf())) };
        let audience = &call.found.capability.name;
        if call.access() == Access::Read {
            return Ok((self.identities.of_read(&cookies, audience).await?, true));
        }
        let carriers = call.checks_csrf().then(|| call.carriers());
        let identity = self.identities.of_write(&cookies, audience, carriers).await?;
        Ok((identity.user.map(Arc::new), identity.csrf_valid))
    }

    /// Sends the call to its service; takes its body.
    async fn service(&self, call: &mut Call<'_>, who: &Who, admitted: Admitted) -> Result<Answer, Problem> {
        let mut head = call.head.clone();
        head.method = call.method.clone();
        head.headers.remove(METHOD_OVERRIDE);
        let mut set = |name: &'static str, value: &str| {
            HeaderValue::from_str(value)
                .map(|value| head.headers.insert(HeaderName::from_static(name), value))
        };
        let epoch = admitted.owner_epoch.to_string();
        let is_set = set(ROLE_TOKEN, self.shared.token.expose())
            .and_then(|_| set(SUBJECT, &who.subject))
            .and_then(|_| if call.access() == Access::Write { set(OWNER_EPOCH, &epoch) } else { Ok(None) })
            .and_then(|_| who.token.as_deref().map_or(Ok(None), |token| set(IDENTITY, token)));
        if is_set.is_err() {
            return Err(unavailable("identity_unavailable", "auth's answer cannot be sent in a header"));
        }
        let body = std::mem::replace(&mut call.body, RequestBody::empty());
        self.send_to_service(call.found.index, Request::from_parts(head, body), admitted.write).await
    }
}

/// A subject as its id in decimal text without leading zeros; `None` for what is no id.
fn decimal(value: &str) -> Option<String> {
    let digits = value.trim_start_matches('0');
    let plain = value.bytes().all(|b| b.is_ascii_digit());
    (plain && !digits.is_empty() && digits.len() <= 20).then(|| digits.to_owned())
}

/// The problem where a service refuses because it does not own the bucket; else the answer, untouched.
async fn not_owner(answer: Answer) -> Result<Answer, Problem> {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
    if answer.status() != StatusCode::CONFLICT || !is_problem {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = body.collect(REFUSAL_BYTES_MAX).await;
    let body =
        body.map_err(|fault| Problem::new(StatusCode::BAD_GATEWAY, "upstream_lost", fault.to_string()))?;
    let code: Option<String> = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()));
    if code.as_deref() == Some(NOT_OWNER) {
        return Err(unavailable(NOT_OWNER, "the subject's data is being handed over"));
    }
    Ok(Answer::from_parts(head, AnswerBody::whole(body)))
}
