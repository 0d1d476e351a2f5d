//! `POST /unsubscribe`: the link in a mail, without session and CSRF. Whoever has the link may; the gateway
//! has looked the subject up.

use super::identity::{owner_epoch, routed_subject};
use super::pages::{self, Page};
use super::rules::Fields;
use super::users::body_of;
use super::{Service, with_position};
use super::{input, traceparent};
use crate::domain::{Action, Write};
use crate::error;
use crate::links::Links;
use crate::store::reads;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use banyan_runtime::http::Problem;
use std::sync::Arc;

/// The route.
pub fn routes() -> Router<Arc<Service>> {
    Router::new().route("/unsubscribe", post(unsubscribe)).route("/unsubscribe/", post(unsubscribe))
}

async fn unsubscribe(State(service): State<Arc<Service>>, request: Request) -> Response {
    let headers = request.headers().clone();
    match try_unsubscribe(&service, request).await {
        Ok((email, position)) => {
            let line = format!(
                "We will not mail any notifications to {email} any more. In your account, under preferences, you can change your mind."
            );
            let link = ("/notifications/preferences", "Preferences");
            let page = Page { title: "You are unsubscribed", lines: &[&line], link };
            with_position(pages::page(StatusCode::OK, page), (&service, position))
        }
        Err(Failed::Link) => {
            pages::refuse(&headers, StatusCode::FORBIDDEN, ("Not allowed", "This link is not valid."))
        }
        Err(Failed::ClientRef) => {
            let text = "The client ref must not be greater than 80 characters.";
            pages::refuse(&headers, StatusCode::UNPROCESSABLE_ENTITY, ("That did not work", text))
        }
        Err(Failed::Problem(problem)) => problem.into_response(),
    }
}

/// Why nobody was unsubscribed.
enum Failed {
    /// The link is not genuine, or nobody's.
    Link,
    /// The client's reference is too long.
    ClientRef,
    Problem(Problem),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Whose mails end: the address, and the position of the write.
async fn try_unsubscribe(service: &Service, request: Request) -> Result<(String, u64), Failed> {
    let (parts, body) = request.into_parts();
    let user = routed_subject(&parts.headers)?;
    let owner_epoch = owner_epoch(&parts.headers)?;
    let body = body_of(Request::from_parts(parts.clone(), body)).await?;
    let fields = input::read(&parts, &body);
    let email = of_link(&fields, &service.links).ok_or(Failed::Link)?;
    let known = service.readers.read(move |db| reads::user(db, user)).await;
    let known = known.map_err(|fault| error::fault_problem(&fault))?;
    // MySQL compares without case and without spaces at the end.
    let same = |own: &str| own.trim_end().to_lowercase() == email.trim_end().to_lowercase();
    let known = known.filter(|known| known.deleted_at.is_none() && same(&known.email)).ok_or(Failed::Link)?;
    let client_ref = match fields.get("client_ref") {
        None | Some(serde_json::Value::Null) => None,
        Some(value) => {
            let text = value.as_str().filter(|text| text.chars().count() <= 80).ok_or(Failed::ClientRef)?;
            Some(text.to_owned())
        }
    };
    let traceparent = traceparent(&parts.headers);
    let write = Write { user, owner_epoch, client_ref, traceparent, action: Action::Unsubscribe };
    let (_, position) = service.execute(write).await.map_err(error::problem)?;
    Ok((known.email, position))
}

/// The address of a genuine link.
fn of_link(fields: &Fields, links: &Links) -> Option<String> {
    let (email, token) = (fields.get("email")?.as_str()?, fields.get("token")?.as_str()?);
    links.is_genuine(email, token).then(|| email.to_owned())
}
