//! Answers for browsers: small pages, redirects, and the JSON that the same routes give to scripts.

use super::input::{expects_json, text};
use super::rules::Errors;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use std::sync::LazyLock;

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_formatter(|out, state, value| match (state.auto_escape(), value.as_str()) {
        (AutoEscape::Html, Some(text)) => Ok(out.write_str(&escape(text))?),
        _ => minijinja::escape_formatter(out, state, value),
    });
    for (name, text) in [
        ("page.html", include_str!("../../templates/page.html")),
        ("redirect.html", include_str!("../../templates/redirect.html")),
    ] {
        templates.add_template(name, text).expect("the templates are built in and tested");
    }
    templates
});

/// What a page says.
#[derive(Clone, Copy, Debug)]
pub struct Page<'p> {
    /// Its heading.
    pub title: &'p str,
    /// Its paragraphs.
    pub lines: &'p [&'p str],
    /// Where its link leads, and the link's text.
    pub link: (&'p str, &'p str),
}

/// A page.
pub fn page(status: StatusCode, page: Page<'_>) -> Response {
    let lines: Vec<String> = page.lines.iter().map(|line| (*line).to_owned()).collect();
    let (link, link_text) = page.link;
    let values = context! {
        title => page.title.to_owned(),
        lines,
        link => link.to_owned(),
        link_text => link_text.to_owned(),
    };
    html(status, &render("page.html", values))
}

/// A page, or its message as JSON for who wants JSON.
pub fn refuse(headers: &HeaderMap, status: StatusCode, (title, message): (&str, &str)) -> Response {
    if expects_json(headers) {
        return json(status, &serde_json::json!({ "message": message }));
    }
    let link = ("/home", "To the overview");
    self::page(status, Page { title, lines: &[message], link })
}

/// What is wrong with a form.
pub fn invalid_form(headers: &HeaderMap, errors: &Errors, back: &str) -> Response {
    if expects_json(headers) {
        return invalid(errors);
    }
    let lines: Vec<&str> = errors.messages().collect();
    let page = Page { title: "That did not work", lines: &lines, link: (back, "Back") };
    self::page(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// What is wrong with a request, as Laravel's `ValidationException` tells it.
pub fn invalid(errors: &Errors) -> Response {
    #[derive(Serialize)]
    struct Body<'e> {
        message: &'static str,
        #[serde(serialize_with = "in_order")]
        errors: &'e Errors,
    }
    fn in_order<S: serde::Serializer>(errors: &&Errors, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(errors.fields().iter().map(|(field, messages)| (field, messages)))
    }
    json(StatusCode::UNPROCESSABLE_ENTITY, &Body { message: "The given data was invalid.", errors })
}

/// JSON as the monolith sends it.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [kind, no_cache()], super::json::write(value)).into_response()
}

/// An answer without a body.
pub fn nothing() -> Response {
    (StatusCode::NO_CONTENT, [no_cache()]).into_response()
}

/// A redirect to a path of the address by which the request came.
pub fn redirect(headers: &HeaderMap, path: &str) -> Response {
    let first = |name: &str| {
        let value = text(headers, name)?;
        Some(value.split(',').next().unwrap_or_default().trim().to_owned()).filter(|v| !v.is_empty())
    };
    let scheme = if first("x-forwarded-proto").as_deref() == Some("https") { "https" } else { "http" };
    let host = first("x-forwarded-host").or_else(|| first("host")).unwrap_or_else(|| "localhost".into());
    let location = format!("{scheme}://{host}{path}");
    let body = render("redirect.html", context! { location => location.clone() });
    let mut answer = html(StatusCode::FOUND, &body);
    // Symfony writes it so where nobody names the type.
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    match HeaderValue::from_str(&location) {
        Ok(location) => answer.headers_mut().insert(header::LOCATION, location),
        Err(_) => answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/")),
    };
    answer
}

fn html(status: StatusCode, body: &str) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    (status, [kind, no_cache()], body.to_owned()).into_response()
}

fn no_cache() -> (header::HeaderName, HeaderValue) {
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"))
}

/// PHP's `htmlspecialchars`: slashes stay.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, char| {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#039;"),
            char => escaped.push(char),
        }
        escaped
    })
}

fn render(name: &str, values: minijinja::Value) -> String {
    let template = TEMPLATES.get_template(name).and_then(|template| template.render(values));
    template.expect("the templates are built in, their values are complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_send_stays_text() {
        let line = "<script>alert('x')</script> & \"y\"/z";
        let values = context! {
            title => "t".to_owned(), lines => vec![line.to_owned()], link => "/a".to_owned(), link_text => "b".to_owned(),
        };
        let page = render("page.html", values);
        let wanted = "&lt;script&gt;alert(&#039;x&#039;)&lt;/script&gt; &amp; &quot;y&quot;/z";
        assert!(page.contains(wanted) && page.contains("<a href=\"/a\">b</a>"), "{page}");
    }
}
