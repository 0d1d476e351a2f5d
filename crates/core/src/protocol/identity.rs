//! Gateway to auth: who a request is, and which subject a value belongs to.

use serde::{Deserialize, Serialize};

/// `POST /v1/identity`: reads the monolith's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRequest {
    /// The request's `Cookie` headers, joined by `; `.
    pub cookies: String,
    /// The carriers of the CSRF token, where the route checks it.
    pub csrf: Option<CsrfCarriers>,
    /// The capability whose service the token is for (`aud`).
    pub audience: String,
}

/// What Laravel looks at, in this order; the first that is present decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsrfCarriers {
    /// The field `_token` of the form or JSON body.
    pub field: Option<String>,
    /// The header `X-CSRF-TOKEN`.
    pub header: Option<String>,
    /// The header `X-XSRF-TOKEN`, still encrypted.
    pub xsrf: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user of a valid, logged-in session.
    pub user: Option<User>,
    /// Whether the CSRF token matches the session's; `true` where none was asked for.
    pub csrf_valid: bool,
}

/// A known user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id as decimal text.
    pub subject: String,
    /// The internal JWT for the audience.
    pub token: String,
    /// How long the answer may be cached, in milliseconds; at most 1000.
    pub cache_ms: u64,
}

/// Claims of the internal JWT (EdDSA; `kid` in the header; keys at `GET /v1/jwks`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Always `banyan-auth`.
    pub iss: String,
    /// The capability.
    pub aud: String,
    /// The user's id as decimal text.
    pub sub: String,
    /// A keyed hash of the session id.
    pub sid: String,
    /// How the user was authenticated: `["session"]`.
    pub amr: Vec<String>,
    /// Issued at, in seconds since 1970.
    pub iat: u64,
    /// Expires at, in seconds since 1970; 60 to 300 s after `iat`.
    pub exp: u64,
}

/// The issuer of internal tokens.
pub const ISSUER: &str = "banyan-auth";

/// `POST /v1/lookup`: turns a value into a subject, such as an e-mail address into a user id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupRequest {
    /// `table.column` of the monolith, one that the configuration declares.
    pub lookup: String,
    /// The value to look for.
    pub value: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupAnswer {
    /// The subject's id as decimal text, where one was found.
    pub subject: Option<String>,
}
