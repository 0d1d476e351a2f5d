//! Which route a request is, by the method that Laravel takes it for.
//!
//! A POST counts as another method where the header `X-HTTP-Method-Override`, the field `_method` or the query
//! parameter `_method` says so, in this order (Symfony's `Request::getMethod`). A body is read, up to
//! `body_inspect_bytes_max`, only where it may decide: for POSTs to paths of a capability, and for writes whose
//! subject or CSRF token may be a field.

use banyan_core::capability::{RouteKind, SubjectSource};
use banyan_runtime::http::Problem;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::body::RequestBody;
use crate::error::{bad_request, body_fault};
use crate::fields::{self, Fields};
use crate::route::{Match, Routes};

/// The header that overrides a method.
pub const METHOD_OVERRIDE: &str = "x-http-method-override";
const METHOD_FIELD: &str = "_method";

/// What a request is.
pub struct Resolved<'r> {
    /// The route of a capability; `None` for everything else.
    pub found: Option<Match<'r>>,
    /// The method that counts.
    pub method: Method,
    /// The fields of the body, where it has been read.
    pub fields: Fields,
    /// The body, whole where it has been read.
    pub body: RequestBody,
}

/// Resolves a request with this normal path.
///
/// # Errors
/// A body that had to be read is too long or does not arrive; headers that decide are repeated.
pub async fn resolve<'r>(
    routes: &'r Routes,
    (path, head): (&'r str, &Parts),
    body: RequestBody,
    inspect_max: usize,
) -> Result<Resolved<'r>, Problem> {
    let mut inspected = Inspected { fields: None, body, inspect_max };
    let mut method = head.method.clone();
    if method == Method::POST && routes.can_override(path) {
        let overriding = match single(&head.headers, METHOD_OVERRIDE)? {
            Some(method) if !method.is_empty() => Some(method.to_owned()),
            _ => {
                let field = inspected.fields(&head.headers).await?.get(METHOD_FIELD).map(str::to_owned);
                field.or_else(|| Fields::of_query(head.uri.query()).get(METHOD_FIELD).map(str::to_owned))
            }
        };
        if let Some(overriding) = overriding {
            method = Method::from_bytes(overriding.to_ascii_uppercase().as_bytes()).unwrap_or(method);
        }
    }
    let found = routes.find(path, &method);
    if found.is_some_and(|m| is_decided_by_fields(&m)) {
        inspected.fields(&head.headers).await?;
    }
    Ok(Resolved { found, method, fields: inspected.fields.unwrap_or_default(), body: inspected.body })
}

fn is_decided_by_fields(found: &Match<'_>) -> bool {
    let by_subject =
        matches!(found.route.subject, SubjectSource::Field { .. } | SubjectSource::Lookup { .. });
    match found.route.kind {
        RouteKind::Page => false,
        RouteKind::Read => by_subject,
        RouteKind::Write => by_subject || found.route.csrf,
    }
}

struct Inspected {
    fields: Option<Fields>,
    body: RequestBody,
    inspect_max: usize,
}

impl Inspected {
    async fn fields(&mut self, headers: &HeaderMap) -> Result<&Fields, Problem> {
        if self.fields.is_none() {
            let content_type = single(headers, header::CONTENT_TYPE.as_str())?;
            let mut fields = Fields::default();
            if fields::are_in(content_type) {
                let body = std::mem::replace(&mut self.body, RequestBody::empty());
                let whole = body.collect(self.inspect_max).await;
                let whole = whole.map_err(|fault| body_fault(&fault, "body_inspect_bytes_max"))?;
                fields = Fields::of_body(content_type, &whole);
                self.body = RequestBody::whole(whole);
            }
            self.fields = Some(fields);
        }
        Ok(self.fields.get_or_insert_default())
    }
}

/// The value of a header that must not be repeated; empty where it is no text.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => {
            Err(bad_request("ambiguous_request", &format!("the header {name} is repeated")))
        }
        (value, _) => Ok(value.map(|v| v.to_str().unwrap_or_default())),
    }
}
