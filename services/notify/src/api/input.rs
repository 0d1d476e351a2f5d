//! The fields of a request as Laravel's `$request->all()` has them: body before query, trimmed, empty texts
//! turned into null (`TrimStrings`, `ConvertEmptyStringsToNull`).

use super::rules::Fields;
use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use banyan_core::multipart;
use serde_json::Value;

/// The header with the client's own reference of a write.
const CLIENT_REF: &str = "x-client-ref";

/// Reads the fields; none where the body cannot be read as what it says it is.
pub fn read(parts: &Parts, body: &Bytes) -> Fields {
    let content_type = text(&parts.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = content_type.to_ascii_lowercase();
    let mut fields = if kind.contains("/json") || kind.contains("+json") {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => fields,
            // Laravel reads what is no object as no fields.
            _ => Fields::new(),
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") && parts.method != Method::GET {
        form(body)
    } else if let Some(boundary) = multipart::boundary(&content_type).filter(|_| parts.method != Method::GET)
    {
        // PHP reads these of POSTs only; such a POST arrives here by the method that it asked for (`_method`).
        php(multipart::fields(boundary, body))
    } else {
        Fields::new()
    };
    for (name, value) in form(parts.uri.query().unwrap_or_default().as_bytes()) {
        fields.entry(name).or_insert(value);
    }
    fields.values_mut().for_each(clean);
    // PHP's `?:` takes the text "0" for nothing.
    if let Some(own) = text(&parts.headers, CLIENT_REF).filter(|own| !own.is_empty() && own != "0") {
        fields.insert("client_ref".into(), own.into());
    }
    fields
}

/// A header as text, where it is there.
pub fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Whether the client wants JSON (`Request::expectsJson`).
pub fn expects_json(headers: &HeaderMap) -> bool {
    let accept = text(headers, header::ACCEPT.as_str()).unwrap_or_default().to_ascii_lowercase();
    let first = accept.split(',').next().unwrap_or_default().trim();
    let is_ajax = text(headers, "x-requested-with").is_some_and(|by| by == "XMLHttpRequest");
    let is_pjax = headers.contains_key("x-pjax");
    let any = first.is_empty() || first.starts_with("*/*") || first.starts_with('*');
    (is_ajax && !is_pjax && any) || first.contains("/json") || first.contains("+json")
}

/// PHP's reading of `a=1&b[c]=2&d[]=3`.
fn form(text: &[u8]) -> Fields {
    php(form_urlencoded::parse(text).into_owned())
}

/// What PHP makes of names such as `b[c]` and `d[]`.
fn php(pairs: impl IntoIterator<Item = (String, String)>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        let name = name.trim_start_matches(' ');
        let (base, keys) = match name.find('[') {
            Some(at) if at > 0 => (&name[..at], keys(&name[at..])),
            _ => (name, Vec::new()),
        };
        if base.is_empty() {
            continue;
        }
        let slot = fields.entry(base.replace(['.', ' '], "_")).or_insert(Value::Null);
        *place(slot, &keys) = value.into();
    }
    fields
}

/// The keys of `[a][b]`.
fn keys(brackets: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut rest = brackets;
    while let Some(inner) = rest.strip_prefix('[')
        && let Some((key, more)) = inner.split_once(']')
    {
        keys.push(key);
        rest = more;
    }
    keys
}

fn place<'v>(slot: &'v mut Value, keys: &[&str]) -> &'v mut Value {
    let Some((key, rest)) = keys.split_first() else { return slot };
    if !slot.is_object() {
        *slot = Value::Object(Fields::new());
    }
    let len = slot.as_object().map_or(0, Fields::len);
    let key = if key.is_empty() { len.to_string() } else { (*key).to_owned() };
    place(&mut slot[key], rest)
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\0', '\u{b}']);
            *value = if trimmed.is_empty() { Value::Null } else { trimmed.into() };
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(members) => members.values_mut().for_each(clean),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use serde_json::json;

    fn check(target: &str, headers: &[(&str, &str)], body: &str) -> Value {
        let mut request = Request::builder().method("POST").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, body) = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap().into_parts();
        Value::Object(read(&parts, &body))
    }

    #[test]
    fn fields_are_those_that_laravel_sees() {
        let form = [("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
        let wanted = json!({"title": "a b", "body": null, "x": "1"});
        assert_eq!(check("/?x=1&title=query", &form, "title=%20a+b%09&body="), wanted);
        let hours =
            json!({"quiet_hours": {"from": "22:00", "to": null}, "d": {"0": "1", "1": "2"}, "a_b": "3"});
        assert_eq!(check("/", &form, "quiet_hours[from]=22:00&quiet_hours[to]=&d[]=1&d[]=2&a.b=3"), hours);
        let json_type = [("content-type", "application/json")];
        assert_eq!(
            check("/?y=2", &json_type, r#"{"t": " ü ", "n": 5, "l": [" "]}"#),
            json!({"t": "ü", "n": 5, "l": [null], "y": "2"})
        );
        for broken in ["", "[1]", "{", "5"] {
            assert_eq!(check("/", &json_type, broken), json!({}), "{broken}");
        }
        assert_eq!(check("/", &[("content-type", "text/plain")], "title=a"), json!({}));
        let part =
            |name: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n 1 \r\n");
        let multipart = [("content-type", "multipart/form-data; boundary=x")];
        assert_eq!(check("/", &multipart, &(part("a[b]") + &part("c"))), json!({"a": {"b": "1"}, "c": "1"}));
        assert_eq!(check("/", &multipart, "--x"), json!({}));
    }

    #[test]
    fn the_header_names_the_write_before_the_field() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let check = |header: &str| check("/", &[form, ("x-client-ref", header)], "client_ref=body");
        assert_eq!(check("header"), json!({"client_ref": "header"}));
        assert_eq!(check("0"), json!({"client_ref": "body"}));
        assert_eq!(check(""), json!({"client_ref": "body"}));
    }

    #[test]
    fn who_wants_json_is_told_from_the_headers() {
        let check = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            headers.iter().for_each(|(name, value)| {
                map.insert(*name, value.parse().unwrap());
            });
            expects_json(&map)
        };
        assert!(check(&[("accept", "application/json")]) && check(&[("accept", "application/problem+json")]));
        assert!(check(&[("accept", "*/*"), ("x-requested-with", "XMLHttpRequest")]));
        assert!(!check(&[("accept", "*/*")]) && !check(&[("accept", "text/html, application/json")]));
        assert!(!check(&[("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")]));
    }
}
