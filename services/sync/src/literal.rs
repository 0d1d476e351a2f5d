//! From the JSON of a row back to SQL literals, for what reverse writes.
//!
//! Literals stand in the text of a statement, since a batch has another number of rows each time; every
//! value is quoted by its column's type. The session must not set `NO_BACKSLASH_ESCAPES`.

use crate::schema::Column;
use crate::schema::kind::{BASE64, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::fmt::Write as _;

/// A value as a literal of its column.
///
/// # Errors
/// The value is not of the column's type.
pub fn literal(column: &Column, value: &Json) -> Result<String, String> {
    match (&column.kind, value) {
        (_, Json::Null) => Ok("NULL".into()),
        (Kind::Integer { .. } | Kind::Year | Kind::Bit, Json::Number(number)) if !number.is_f64() => {
            Ok(number.to_string())
        }
        (Kind::Float | Kind::Double, Json::Number(number)) => Ok(number.to_string()),
        (Kind::Decimal, Json::String(text)) if is_decimal(text) => Ok(text.clone()),
        (Kind::Binary(_) | Kind::Bytes, Json::String(text)) => hex(text),
        (
            Kind::Text(_)
            | Kind::Json
            | Kind::Enum(_)
            | Kind::Set(_)
            | Kind::Date
            | Kind::Time(_)
            | Kind::Datetime(_)
            | Kind::Timestamp(_),
            Json::String(text),
        ) => Ok(quote(text)),
        _ => Err(format!("column `{}` cannot hold the JSON value {value}", column.name)),
    }
}

/// A text between quotes.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\0' => quoted.push_str("\\0"),
            _ => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.matches('.').count() <= 1
}

fn hex(text: &str) -> Result<String, String> {
    let encoded = text.strip_prefix(BASE64).ok_or_else(|| format!("bytes must begin with {BASE64}"))?;
    let bytes = STANDARD.decode(encoded).map_err(|e| e.to_string())?;
    let mut literal = String::with_capacity(bytes.len() * 2 + 3);
    literal.push_str("X'");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('\'');
    Ok(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::charset::Charset;
    use serde_json::json;

    fn check(kind: Kind, value: &Json) -> Result<String, String> {
        let column = Column {
            name: "c".into(),
            kind,
            generated: false,
            optional: true,
            auto_increment: false,
            on_update: false,
        };
        literal(&column, value)
    }

    #[test]
    fn values_are_quoted_by_their_type() {
        let table = [
            (Kind::Integer { bits: 64, unsigned: true }, json!(u64::MAX), "18446744073709551615"),
            (Kind::Decimal, json!("-12.50"), "-12.50"),
            (Kind::Double, json!(1.5e300), "1.5e+300"),
            (Kind::Text(Charset::Utf8), json!("it's \\ \0"), "'it\\'s \\\\ \\0'"),
            (Kind::Bytes, json!("base64:AP8="), "X'00ff'"),
            (Kind::Datetime(0), json!("0000-00-00 00:00:00"), "'0000-00-00 00:00:00'"),
            (Kind::Date, Json::Null, "NULL"),
        ];
        for (kind, value, wanted) in table {
            assert_eq!(check(kind, &value).as_deref(), Ok(wanted));
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let integer = Kind::Integer { bits: 8, unsigned: false };
        for (kind, value) in [
            (integer.clone(), json!("1; DROP TABLE users")),
            (integer, json!(1.5)),
            (Kind::Decimal, json!("1.2.3")),
            (Kind::Decimal, json!("-")),
            (Kind::Bytes, json!("AP8=")),
            (Kind::Text(Charset::Utf8), json!({"a": 1})),
        ] {
            assert!(check(kind.clone(), &value).is_err(), "{kind:?} {value}");
        }
    }
}
