//! The capability's routes for logged-in users: JSON and forms. Translates, never decides.

use super::identity::owner_epoch;
use super::json::{ListJson, NotificationJson, PreferencesJson};
use super::requests::{self, Wanted};
use super::rules::{Errors, Fields};
use super::{Service, pages, with_position};
use super::{input, traceparent};
use crate::domain::{Action, Answer, Preferences, Rejection, Write};
use crate::error;
use crate::store::reads;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use banyan_runtime::http::Problem;
use banyan_store::{Fault, Refusal};
use rusqlite::Connection;
use serde_json::json;
use std::sync::Arc;

/// How a route answers.
#[derive(Clone, Copy)]
enum Surface {
    /// JSON.
    Api,
    /// A redirect to this path.
    Form(&'static str),
}

/// What a route does.
#[derive(Clone, Copy)]
enum Wish {
    Read,
    ReadAll,
    Delete,
    Remind,
    SetPreferences,
}

/// The routes.
pub fn routes() -> Router<Arc<Service>> {
    use Surface::{Api, Form};
    let (list_page, own_page) = (Form("/notifications"), Form("/notifications/preferences"));
    let writes = |surface, wish| move |state, params, request| write(state, params, request, (surface, wish));
    let table: [(&str, MethodRouter<Arc<Service>>); 11] = [
        ("/api/notifications", get(list).post(writes(Api, Wish::Remind))),
        ("/api/notifications/unread-count", get(unread_count)),
        ("/api/notifications/read-all", post(writes(Api, Wish::ReadAll))),
        ("/api/notifications/{id}/read", post(writes(Api, Wish::Read))),
        ("/api/notifications/{id}", delete(writes(Api, Wish::Delete))),
        ("/api/notification-preferences", put(writes(Api, Wish::SetPreferences)).get(show_preferences)),
        ("/notifications/{id}/read", post(writes(list_page, Wish::Read))),
        ("/notifications/{id}/delete", post(writes(list_page, Wish::Delete))),
        ("/notifications/read-all", post(writes(list_page, Wish::ReadAll))),
        ("/notifications/reminders", post(writes(list_page, Wish::Remind))),
        ("/notifications/preferences", post(writes(own_page, Wish::SetPreferences))),
    ];
    let mut router = Router::new();
    for (path, methods) in table {
        // Laravel ignores a slash at the end.
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router
}

async fn list(State(service): State<Arc<Service>>, request: Request) -> Result<Response, Problem> {
    let (parts, user) = reader(&service, request).await?;
    let query: Fields = input::read(&parts, &Bytes::new());
    let asked = |name: &str| query.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    // Laravel's `boolean()`.
    let unread = matches!(asked("unread").to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes");
    let digits = Some(asked("page")).filter(|page| page.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|page| page.parse::<u64>().ok()).unwrap_or(1).clamp(1, reads::PAGE_MAX);
    let page = read(&service, move |db| reads::list(db, (user, unread), number)).await?;
    let body = ListJson {
        data: page.rows.iter().map(NotificationJson::from).collect(),
        page: number,
        per_page: reads::PER_PAGE,
        total: page.total,
        unread: page.unread,
    };
    Ok(pages::json(StatusCode::OK, &body))
}

async fn unread_count(State(service): State<Arc<Service>>, request: Request) -> Result<Response, Problem> {
    let (_, user) = reader(&service, request).await?;
    let unread = read(&service, move |db| reads::unread(db, user)).await?;
    Ok(pages::json(StatusCode::OK, &json!({ "unread": unread })))
}

async fn show_preferences(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Problem> {
    let (_, user) = reader(&service, request).await?;
    let own = read(&service, move |db| reads::preferences(db, user)).await?;
    let own = own.unwrap_or_else(|| Preferences::defaults(user, ""));
    Ok(pages::json(StatusCode::OK, &PreferencesJson::from(&own)))
}

async fn reader(service: &Service, request: Request) -> Result<(axum::http::request::Parts, u64), Problem> {
    let (parts, _) = request.into_parts();
    let user = service.verifier.user(&parts.headers).await?;
    Ok((parts, user))
}

/// Reads what is complete: before the copy is done, nothing can be told.
async fn read<T: Send + 'static>(
    service: &Service,
    read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Problem> {
    let copied = |db: &Connection| {
        if reads::is_copied(db)? { read(db).map(Some) } else { Ok(None) }
    };
    let found = service.readers.read(copied).await.map_err(|fault| error::fault_problem(&fault))?;
    found.ok_or_else(|| {
        let detail = "the monolith's tables have not been copied yet";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_copied", detail).retry_after(1)
    })
}

async fn write(
    State(service): State<Arc<Service>>,
    params: RawPathParams,
    request: Request,
    (surface, wish): (Surface, Wish),
) -> Response {
    let headers = request.headers().clone();
    let id = params.iter().next().map(|(_, id)| id.to_owned());
    match try_write(&service, request, (id.as_deref(), wish)).await {
        Ok((answer, position)) => {
            with_position(done(&headers, surface, (wish, answer)), (&service, position))
        }
        Err(Failed::Invalid(errors)) => match surface {
            Surface::Api => pages::invalid(&errors),
            Surface::Form(back) => pages::invalid_form(&headers, &errors, back),
        },
        Err(Failed::NotFound) => not_found(&headers, surface),
        Err(Failed::Problem(problem)) => problem.into_response(),
    }
}

/// Why a write has no good answer.
enum Failed {
    Invalid(Errors),
    NotFound,
    Problem(Problem),
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn try_write(
    service: &Service,
    request: Request,
    (id, wish): (Option<&str>, Wish),
) -> Result<(Answer, u64), Failed> {
    let (parts, body) = request.into_parts();
    let user = service.verifier.user(&parts.headers).await?;
    let owner_epoch = owner_epoch(&parts.headers)?;
    let traceparent = traceparent(&parts.headers);
    let body = body_of(Request::from_parts(parts.clone(), body)).await?;
    let fields = input::read(&parts, &body);
    let (action, client_ref) = wanted(&fields, (id, wish))?;
    let write = Write { user, owner_epoch, client_ref, traceparent, action };
    service.execute(write).await.map_err(|refusal| match refusal {
        Refusal::Rejected(Rejection::NotificationNotFound) => Failed::NotFound,
        refusal => Failed::Problem(error::problem(refusal)),
    })
}

fn wanted(fields: &Fields, (id, wish): (Option<&str>, Wish)) -> Result<Wanted, Failed> {
    let notification = || {
        let id = id.unwrap_or_default();
        let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        // An id that is no number of MySQL's belongs to nobody.
        if digits { Ok(id.parse().unwrap_or(u64::MAX)) } else { Err(Failed::NotFound) }
    };
    match wish {
        Wish::Read => requests::plain(fields, Action::Read(notification()?)),
        Wish::Delete => requests::plain(fields, Action::Delete(notification()?)),
        Wish::ReadAll => requests::plain(fields, Action::ReadAll),
        Wish::Remind => requests::reminder(fields),
        Wish::SetPreferences => requests::preferences(fields),
    }
    .map_err(Failed::Invalid)
}

fn done(headers: &HeaderMap, surface: Surface, (wish, answer): (Wish, Answer)) -> Response {
    if let Surface::Form(to) = surface {
        return pages::redirect(headers, to);
    }
    let status = if matches!(wish, Wish::Remind) { StatusCode::CREATED } else { StatusCode::OK };
    match answer {
        Answer::Notification(row) => pages::json(status, &NotificationJson::from(&*row)),
        Answer::Updated(updated) => pages::json(status, &json!({ "updated": updated })),
        Answer::Preferences(own) => pages::json(status, &PreferencesJson::from(&own)),
        _ => pages::nothing(),
    }
}

fn not_found(headers: &HeaderMap, surface: Surface) -> Response {
    let message = "Notification not found.";
    match surface {
        Surface::Api => pages::json(StatusCode::NOT_FOUND, &json!({ "message": message })),
        Surface::Form(_) => pages::refuse(headers, StatusCode::NOT_FOUND, ("Not found", message)),
    }
}

/// Reads a body up to the router's limit.
///
/// # Errors
/// It is larger, or ends early.
pub async fn body_of(request: Request) -> Result<Bytes, Problem> {
    Bytes::from_request(request, &())
        .await
        .map_err(|rejection| Problem::new(rejection.status(), "unreadable_body", rejection.body_text()))
}
