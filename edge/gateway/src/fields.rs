//! Fields of a form, a JSON object or a query string, as PHP and Laravel read them.
//!
//! The last of a name wins. Names of forms lose leading spaces, and `.` and ` ` in them become `_`
//! (`php_register_variable_ex` in main/php_variables.c); JSON keys stay. Files of multipart forms are no
//! fields. Only texts, numbers and booleans count.

use banyan_core::multipart;
use std::borrow::Cow;

/// Fields in the order of their appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'t> {
    Form,
    Json,
    Multipart(&'t str),
}

impl Fields {
    /// The last field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The parameters of a query string.
    pub fn of_query(query: Option<&str>) -> Self {
        Self::of_form(query.unwrap_or_default().as_bytes())
    }

    /// The fields of a body of this type; none where the body cannot be read as what it says it is.
    pub fn of_body(content_type: Option<&str>, body: &[u8]) -> Self {
        match content_type.and_then(kind) {
            Some(Kind::Form) => Self::of_form(body),
            Some(Kind::Json) => Self::of_json(body),
            Some(Kind::Multipart(boundary)) => Self::of_multipart(boundary, body),
            None => Self::default(),
        }
    }

    fn of_form(text: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(text).map(|(name, value)| (php_name(&name), value.into_owned())).collect(),
        )
    }

    fn of_json(body: &[u8]) -> Self {
        let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(body) else {
            return Self::default();
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            serde_json::Value::Bool(bool) => Some(if bool { "1" } else { "" }.to_owned()),
            _ => None,
        };
        Self(object.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect())
    }

    fn of_multipart(boundary: &str, body: &[u8]) -> Self {
        let fields = multipart::fields(boundary, body).into_iter();
        Self(fields.map(|(name, value)| (php_name(&name), value)).collect())
    }
}

/// Whether bodies of this type have fields.
pub fn are_in(content_type: Option<&str>) -> bool {
    content_type.and_then(kind).is_some()
}

fn kind(content_type: &str) -> Option<Kind<'_>> {
    let lower = content_type.to_ascii_lowercase();
    if lower.starts_with("application/x-www-form-urlencoded") {
        Some(Kind::Form)
    } else if let Some(boundary) = multipart::boundary(content_type) {
        Some(Kind::Multipart(boundary))
    } else if lower.contains("/json") || lower.contains("+json") {
        Some(Kind::Json)
    } else {
        None
    }
}

fn php_name(name: &str) -> String {
    let name = name.trim_start_matches(' ');
    let name = name.split_once('\0').map_or(name, |(name, _)| name);
    let end = name.find('[').unwrap_or(name.len());
    let plain: Cow<'_, str> = name[..end].replace(['.', ' '], "_").into();
    format!("{plain}{}", &name[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str) -> Option<String> {
        Fields::of_body(Some(content_type), body.as_bytes()).get("_method").map(str::to_owned)
    }

    #[test]
    fn fields_are_read_as_php_reads_them() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let json = "application/vnd.api+json";
        let multipart = "multipart/form-data; boundary=\"xX\"";
        let part = |head: &str, value: &str| {
            format!("--xX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
        };
        for (content_type, body, wanted) in [
            (form, "_method=DELETE".into(), Some("DELETE")),
            (form, "a=1&_method=PUT&_method=DELETE".into(), Some("DELETE")),
            (form, "%5fmethod=D%45LETE".into(), Some("DELETE")),
            (form, ".method=DELETE".into(), Some("DELETE")),
            (form, "++_method=DELETE".into(), Some("DELETE")),
            (form, "_method%00x=DELETE".into(), Some("DELETE")),
            (form, "_method[]=DELETE".into(), None),
            (form, "method=DELETE".into(), None),
            ("Application/JSON", r#"{"a":[1],"_method":"DELETE"}"#.into(), Some("DELETE")),
            (json, r#"{"_method":"PUT","_method":"DELETE"}"#.into(), Some("DELETE")),
            (json, r#"{"_method":["DELETE"]}"#.into(), None),
            (json, r#"{"_method":7}"#.into(), Some("7")),
            (json, r#"["_method"]"#.into(), None),
            (json, "_method=DELETE".into(), None),
            (multipart, part("name=\"_method\"", "DELETE") + "--xX--\r\n", Some("DELETE")),
            (multipart, part("name=a", "1") + &part("name=_method", "DELETE") + "--xX--\r\n", Some("DELETE")),
            (multipart, part("name=\"_method\"; filename=\"f\"", "DELETE"), None),
            ("text/plain", "_method=DELETE".into(), None),
        ] {
            assert_eq!(check(content_type, &body).as_deref(), wanted, "{content_type} {body}");
        }
        assert!(!are_in(None) && !are_in(Some("multipart/form-data")) && are_in(Some(multipart)));
        assert_eq!(Fields::of_query(Some("a=1&email=a%40b.c")).get("email"), Some("a@b.c"));
        assert_eq!(Fields::of_query(None), Fields::default());
    }
}
