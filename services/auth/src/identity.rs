//! Who a request is: from its cookies to a user, a token for the service, and the CSRF verdict.
//!
//! A cookie that Laravel would not accept leads to no user and to no valid CSRF token, never to an error.
//! Only a database that fails, or a session beyond the limits, is a fault: then nobody is let in.

use crate::cookie;
use crate::csrf;
use crate::envelope::{AppKey, Refusal};
use crate::error::Fault;
use crate::metrics::{CSRF_CHECKS, IDENTITIES};
use crate::session::{Found, Login, Session, SessionId, Sessions};
use crate::token::{Grant, Signer};
use crate::touch::Toucher;
use banyan_core::protocol::identity::{Identity, IdentityRequest, User};

/// What it takes to know who a request is.
pub struct Identities {
    /// The monolith's sessions.
    pub sessions: Sessions,
    /// Keeps sessions in use alive.
    pub toucher: Toucher,
    /// The monolith's application key.
    pub app_key: AppKey,
    /// The signer of internal tokens.
    pub signer: Signer,
    /// The name of the session cookie.
    pub session_cookie: String,
    /// The capabilities that tokens may be for.
    pub audiences: Vec<String>,
    /// How long an answer may be reused, in milliseconds.
    pub cache_ms: u64,
}

impl Identities {
    /// Resolves a request at `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// The audience is unknown, the database fails, or the session exceeds a limit.
    pub async fn resolve(&self, request: &IdentityRequest, now_s: u64) -> Result<Identity, Fault> {
        if !self.audiences.contains(&request.audience) {
            return Err(Fault::UnknownAudience(request.audience.clone()));
        }
        let outcome = self.session(request, now_s).await;
        let label = match &outcome {
            Ok(Ok((_, session))) => login_label(&session.login),
            Ok(Err(label)) => label,
            Err(Fault::Database(_)) => "unavailable",
            Err(_) => "too_large",
        };
        IDENTITIES.with_label_values(&[label]).inc();
        let session = outcome?.ok();
        let csrf_valid = self.check_csrf(request, session.as_ref().map(|(_, session)| session));
        let user = session.and_then(|(id, session)| match session.login {
            Login::User(subject) => {
                let grant = Grant { audience: &request.audience, subject: &subject, session: &id };
                let token = self.signer.sign(&grant, now_s);
                Some(User { subject, token, cache_ms: self.cache_ms })
            }
            Login::Guest | Login::Gone => None,
        });
        Ok(Identity { user, csrf_valid })
    }

    /// The live session of the request, reported for a touch where that is due, or why there is none.
    async fn session(
        &self,
        request: &IdentityRequest,
        now_s: u64,
    ) -> Result<Result<(SessionId, Session), &'static str>, Fault> {
        let id = match self.session_id(&request.cookies) {
            Ok(id) => id,
            Err(label) => return Ok(Err(label)),
        };
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        match self.sessions.read(&id, now_s).await? {
            Found::Live(session) => {
                if self.sessions.is_touch_due(&session, now_s) {
                    self.toucher.report(id.clone(), now_s);
                }
                Ok(Ok((id, session)))
            }
            Found::Absent => Ok(Err("no_session")),
            Found::Expired => Ok(Err("expired")),
        }
    }

    fn session_id(&self, cookies: &str) -> Result<SessionId, &'static str> {
        let envelope = cookie::find(cookies, &self.session_cookie).ok_or("no_cookie")?;
        let text = self.app_key.open_cookie(&self.session_cookie, &envelope).map_err(|refusal| {
            if refusal == Refusal::Aead {
                tracing::debug!("a session cookie is an AEAD envelope; Banyan reads AES-256-CBC");
            }
            match refusal {
                Refusal::Shape => "cookie_shape",
                Refusal::Aead => "cookie_aead",
                Refusal::Mac => "cookie_mac",
                Refusal::Content => "cookie_content",
            }
        })?;
        SessionId::parse(&text).ok_or("cookie_content")
    }

    fn check_csrf(&self, request: &IdentityRequest, session: Option<&Session>) -> bool {
        let Some(carriers) = &request.csrf else { return true };
        let token = session.and_then(|session| session.csrf_token.as_deref());
        let valid = csrf::matches(carriers, token, &self.app_key);
        CSRF_CHECKS.with_label_values(&[if valid { "valid" } else { "invalid" }]).inc();
        valid
    }
}

fn login_label(login: &Login) -> &'static str {
    match login {
        Login::Guest => "guest",
        Login::Gone => "user_gone",
        Login::User(_) => "user",
    }
}
