//! The JSON of the capability, as the monolith writes it: the same fields in the same order, Unicode and
//! slashes unescaped, stored documents in the order in which they are stored.

use crate::domain::{Notification, Preferences};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::fmt;

/// A notification for users.
#[derive(Debug, Serialize)]
pub struct NotificationJson<'n> {
    id: u64,
    r#type: &'static str,
    title: &'n str,
    body: Option<&'n str>,
    data: Option<Document>,
    priority: i64,
    is_read: bool,
    read_at: Option<&'n str>,
    mail_state: &'static str,
    created_at: &'n str,
}

impl<'n> From<&'n Notification> for NotificationJson<'n> {
    fn from(row: &'n Notification) -> Self {
        Self {
            id: row.id,
            r#type: row.kind.as_str(),
            title: &row.title,
            body: row.body.as_deref(),
            data: Document::of(row.data.as_deref()),
            priority: row.priority,
            is_read: row.is_read.is_set(),
            read_at: row.read_at.as_deref(),
            mail_state: row.mail_state.as_str(),
            created_at: &row.created_at,
        }
    }
}

/// Preferences for users.
#[derive(Debug, Serialize)]
pub struct PreferencesJson<'p> {
    email_enabled: bool,
    sms_enabled: bool,
    digest: &'static str,
    salutation: Option<&'p str>,
    max_per_day: u64,
    quiet_hours: Option<Document>,
}

impl<'p> From<&'p Preferences> for PreferencesJson<'p> {
    fn from(row: &'p Preferences) -> Self {
        Self {
            email_enabled: row.email_enabled.is_set(),
            sms_enabled: row.sms_enabled.is_set(),
            digest: row.digest.as_str(),
            salutation: row.salutation.as_deref(),
            max_per_day: row.max_per_day,
            quiet_hours: Document::of(row.quiet_hours.as_deref()),
        }
    }
}

/// A page of notifications.
#[derive(Debug, Serialize)]
pub struct ListJson<'n> {
    /// Newest first.
    pub data: Vec<NotificationJson<'n>>,
    /// From 1 on.
    pub page: u64,
    /// How many a page has.
    pub per_page: u64,
    /// How many there are on all pages.
    pub total: u64,
    /// How many are unread.
    pub unread: u64,
}

/// Writes JSON as PHP does with `JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES`: line and paragraph
/// separators stay escaped.
pub fn write(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
    if text.contains(['\u{2028}', '\u{2029}']) {
        text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
    } else {
        text
    }
}

/// A stored JSON document whose members keep their order.
#[derive(Debug, PartialEq)]
pub enum Document {
    /// `null`, a boolean, a number or a text.
    Scalar(serde_json::Value),
    /// An array.
    Array(Vec<Self>),
    /// An object; of members with the same name the last counts, at the place of the first.
    Object(Vec<(String, Self)>),
}

impl Document {
    /// Reads a stored text; what is no JSON reads as none.
    pub fn of(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok().filter(|document| *document != Self::Scalar(serde_json::Value::Null))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(value) => value.serialize(serializer),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Scalar(serde_json::Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        // PHP writes 12.0 as 12.0 only where it is asked to.
        let whole = value.fract() == 0.0 && value.abs() < 1e15;
        Ok(Document::Scalar(if whole { (value as i64).into() } else { value.into() }))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Document::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members: Vec<(String, Document)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Document>()? {
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => members.push((name, value)),
            }
        }
        Ok(Document::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_documents_keep_their_order_and_their_text() {
        // php -r 'echo json_encode(json_decode($argv[1]), JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);'
        let table = [
            (r#"{"payment_id": 7, "reference": "a/b ü"}"#, r#"{"payment_id":7,"reference":"a/b ü"}"#),
            (r#"{"b":1,"a":{"z":[],"y":{}},"b":2}"#, r#"{"b":2,"a":{"z":[],"y":{}}}"#),
            (r#"[1.5, 12.0, -3, true, null]"#, "[1.5,12,-3,true,null]"),
            ("\"a\u{2028}b\u{7f}\"", "\"a\\u2028b\u{7f}\""),
            ("null", "null"),
            ("{broken", "null"),
        ];
        for (stored, wanted) in table {
            assert_eq!(write(&Document::of(Some(stored))), wanted, "{stored}");
        }
    }
}
