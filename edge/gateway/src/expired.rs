//! Laravel's answer to a request without a valid CSRF token: 419, as JSON or as a page.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::body::AnswerBody;
use crate::error::Answer;

const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Page Expired</title></head>\n\
<body style=\"font-family: sans-serif; text-align: center; padding-top: 20vh; color: #444\">\n\
<p>419 | Page Expired</p>\n</body>\n</html>\n";

/// The answer.
pub fn answer(headers: &HeaderMap) -> Answer {
    let (kind, body) = if expects_json(headers) {
        ("application/json", "{\"message\":\"CSRF token mismatch.\"}")
    } else {
        ("text/html; charset=UTF-8", PAGE)
    };
    let mut answer = Response::new(AnswerBody::whole(body));
    *answer.status_mut() = StatusCode::from_u16(419).unwrap_or(StatusCode::FORBIDDEN);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Laravel's `Request::expectsJson`: the first acceptable type is JSON, or a script asks that takes anything.
fn expects_json(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let accept = text("accept");
    let first = accept.split(',').next().unwrap_or_default().trim();
    let any = accept.is_empty() || first == "*/*" || first == "*";
    let script = text("x-requested-with") == "XMLHttpRequest" && headers.get("x-pjax").is_none();
    first.contains("/json") || first.contains("+json") || (script && any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_answer_is_the_one_that_laravel_chooses() {
        for (accept, with, json) in [
            ("application/json", "", true),
            ("application/vnd.api+json, text/html", "", true),
            ("text/html,application/json", "", false),
            ("*/*", "XMLHttpRequest", true),
            ("", "XMLHttpRequest", true),
            ("text/html, */*", "XMLHttpRequest", false),
            ("*/*", "", false),
        ] {
            let lines =
                [(header::ACCEPT, accept), (header::HeaderName::from_static("x-requested-with"), with)];
            let headers: HeaderMap = lines
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect();
            let answer = answer(&headers);
            let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
            assert_eq!(
                (answer.status().as_u16(), kind == "application/json"),
                (419, json),
                "{accept} {with}"
            );
        }
    }
}
