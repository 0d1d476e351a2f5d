//! What a column holds, and the one mapping of its raw values to JSON (`banyan_core::row`).
//!
//! A raw value is what the binlog holds: labels as numbers, text in the column's character set, TIMESTAMP
//! as seconds since 1970. Copy and verification select exactly that ([`Kind::select`]), so that one function
//! ([`Kind::decode`]) serves stream and copy. No value is guessed: what does not fit its type is an error.

use super::charset::Charset;
use super::time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mysql_async::Value;
use serde_json::{Number, Value as Json};

/// What precedes bytes in JSON.
pub const BASE64: &str = "base64:";

/// A column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `TINYINT` to `BIGINT`.
    Integer {
        /// Its width in bits: 8, 16, 24, 32 or 64.
        bits: u32,
        /// Whether it is `UNSIGNED`.
        unsigned: bool,
    },
    /// `YEAR`.
    Year,
    /// `DECIMAL`.
    Decimal,
    /// `FLOAT`.
    Float,
    /// `DOUBLE`.
    Double,
    /// `CHAR`, `VARCHAR`, `TEXT`; MariaDB's `JSON` as well.
    Text(Charset),
    /// MySQL's `JSON`.
    Json,
    /// `ENUM` with its labels.
    Enum(Vec<String>),
    /// `SET` with its labels.
    Set(Vec<String>),
    /// `DATE`.
    Date,
    /// `TIME` with so many fraction digits.
    Time(u8),
    /// `DATETIME` with so many fraction digits.
    Datetime(u8),
    /// `TIMESTAMP` with so many fraction digits.
    Timestamp(u8),
    /// `BIT`.
    Bit,
    /// `BINARY` of so many bytes.
    Binary(usize),
    /// `VARBINARY` and the `BLOB`s.
    Bytes,
    /// Anything else, in words.
    Unsupported(String),
}

/// How `information_schema.columns` describes a type.
#[derive(Clone, Copy, Debug)]
pub struct TypeText<'t> {
    /// `data_type`, such as `varchar`.
    pub data_type: &'t str,
    /// `column_type`, such as `varchar(80)`.
    pub column_type: &'t str,
    /// `character_set_name`, empty where there is none.
    pub charset: &'t str,
    /// Fraction digits or length in bytes.
    pub size: u64,
}

impl Kind {
    /// Reads a type.
    pub fn parse(text: &TypeText<'_>) -> Self {
        let unsigned = text.column_type.contains("unsigned");
        let integer = |bits| Self::Integer { bits, unsigned };
        let digits = u8::try_from(text.size).unwrap_or(6);
        if text.column_type.contains("COMPRESSED") {
            return Self::Unsupported(format!("type `{}`", text.column_type));
        }
        match text.data_type.to_ascii_lowercase().as_str() {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" => integer(32),
            "bigint" => integer(64),
            "year" => Self::Year,
            "decimal" => Self::Decimal,
            "float" => Self::Float,
            "double" => Self::Double,
            "json" => Self::Json,
            "enum" => Self::Enum(labels(text.column_type)),
            "set" => Self::Set(labels(text.column_type)),
            "date" => Self::Date,
            "time" => Self::Time(digits),
            "datetime" => Self::Datetime(digits),
            "timestamp" => Self::Timestamp(digits),
            "bit" => Self::Bit,
            "binary" => Self::Binary(usize::try_from(text.size).unwrap_or(0)),
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                match Charset::parse(text.charset) {
                    Some(charset) => Self::Text(charset),
                    None => Self::Unsupported(format!("character set `{}`", text.charset)),
                }
            }
            _ => Self::Unsupported(format!("type `{}`", text.column_type)),
        }
    }

    /// What cannot be carried, in words.
    pub fn unsupported(&self) -> Option<&str> {
        match self {
            Self::Unsupported(what) => Some(what),
            _ => None,
        }
    }

    /// The expression that selects a column's raw value.
    pub fn select(&self, column: &str) -> String {
        match self {
            Self::Enum(_) | Self::Set(_) | Self::Year | Self::Bit => format!("CAST(`{column}` AS UNSIGNED)"),
            Self::Text(_) | Self::Json => format!("CAST(`{column}` AS BINARY)"),
            Self::Timestamp(_) => format!("UNIX_TIMESTAMP(`{column}`)"),
            _ => format!("`{column}`"),
        }
    }

    /// What the server's own JSON of a value is in this mapping: it prints a FLOAT as the DOUBLE that it is.
    ///
    /// # Errors
    /// The value is not of this type.
    pub fn normalise(&self, json: Json) -> Result<Json, String> {
        match (self, json.as_f64()) {
            (Self::Float, Some(number)) => shortest(number as f32),
            _ => Ok(json),
        }
    }

    /// A raw value as JSON.
    ///
    /// # Errors
    /// The value is not of this type.
    pub fn decode(&self, raw: &Value) -> Result<Json, String> {
        match (self, raw) {
            (_, Value::NULL) => Ok(Json::Null),
            (Self::Integer { bits, unsigned }, _) => integer(raw, *bits, *unsigned),
            (Self::Year, Value::Bytes(text)) if text == b"1900" => Ok(0.into()),
            (Self::Year, Value::Bytes(text)) => {
                ascii(text)?.parse::<u64>().map(Json::from).map_err(|e| e.to_string())
            }
            (Self::Year, Value::Int(_) | Value::UInt(_)) => unsigned(raw).map(Json::from),
            (Self::Decimal, Value::Bytes(text)) => Ok(ascii(text)?.into()),
            (Self::Float, Value::Float(number)) => shortest(*number),
            (Self::Double, Value::Double(number)) => float(*number),
            (Self::Text(charset), Value::Bytes(text)) => charset.decode(text).map(Json::from),
            (Self::Json, Value::Bytes(text)) => {
                let json: Json = serde_json::from_slice(text).map_err(|e| e.to_string())?;
                Ok(json.to_string().into())
            }
            (Self::Enum(labels), Value::Int(_) | Value::UInt(_)) => label(labels, unsigned(raw)?),
            (Self::Set(labels), _) => members(labels, little_endian(raw)?),
            (Self::Date, Value::Date(..)) => time::date(raw),
            (Self::Time(digits), Value::Time(..)) => time::time(raw, *digits),
            (Self::Datetime(digits), Value::Date(..)) => time::datetime(raw, *digits),
            (Self::Timestamp(digits), Value::Bytes(text)) => time::timestamp(ascii(text)?, *digits),
            (Self::Timestamp(digits), Value::Int(_) | Value::UInt(_)) => {
                time::timestamp(&unsigned(raw)?.to_string(), *digits)
            }
            (Self::Bit, _) => big_endian(raw).map(Json::from),
            (Self::Binary(length), Value::Bytes(bytes)) => {
                let mut bytes = bytes.clone();
                bytes.resize(bytes.len().max(*length), 0);
                Ok(encode(&bytes))
            }
            (Self::Bytes, Value::Bytes(bytes)) => Ok(encode(bytes)),
            _ => Err(format!("a raw value of another type than {self:?}")),
        }
    }
}

fn encode(bytes: &[u8]) -> Json {
    format!("{BASE64}{}", STANDARD.encode(bytes)).into()
}

fn ascii(text: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(text).map_err(|e| e.to_string())
}

fn unsigned(raw: &Value) -> Result<u64, String> {
    match raw {
        Value::UInt(number) => Ok(*number),
        Value::Int(number) => u64::try_from(*number).map_err(|_| format!("{number} is negative")),
        _ => Err("not a number".into()),
    }
}

/// The binlog tells the sign of a column only under `binlog_row_metadata=FULL`; the schema always does.
fn integer(raw: &Value, bits: u32, is_unsigned: bool) -> Result<Json, String> {
    let number = match raw {
        Value::Int(number) => i128::from(*number),
        Value::UInt(number) => i128::from(*number),
        _ => return Err("not a number".into()),
    };
    let width = 1_i128 << bits;
    let wrapped = number.rem_euclid(width);
    if is_unsigned {
        return u64::try_from(wrapped).map(Json::from).map_err(|e| e.to_string());
    }
    let signed = if wrapped >= width / 2 { wrapped - width } else { wrapped };
    i64::try_from(signed).map(Json::from).map_err(|e| e.to_string())
}

fn float(number: f64) -> Result<Json, String> {
    Number::from_f64(number).map(Json::Number).ok_or_else(|| format!("{number} is no finite number"))
}

/// The shortest decimal that reads back as the same FLOAT.
fn shortest(number: f32) -> Result<Json, String> {
    float(number.to_string().parse().map_err(|_| format!("{number} is no number"))?)
}

/// A label by its number; 0 is MySQL's mark of an invalid value, an empty text.
fn label(labels: &[String], number: u64) -> Result<Json, String> {
    let Some(place) = number.checked_sub(1) else { return Ok("".into()) };
    let label = usize::try_from(place).ok().and_then(|place| labels.get(place));
    label.map(|label| label.as_str().into()).ok_or_else(|| format!("no label has the number {number}"))
}

fn members(labels: &[String], mask: u64) -> Result<Json, String> {
    if labels.len() < 64 && mask >> labels.len() != 0 {
        return Err(format!("the bits {mask:b} name more than {} labels", labels.len()));
    }
    let members = labels.iter().enumerate().filter(|(place, _)| mask >> place & 1 == 1);
    Ok(members.map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(",").into())
}

/// A bitmask of the binlog, lowest byte first, or a number of a query.
fn little_endian(raw: &Value) -> Result<u64, String> {
    match raw {
        Value::Bytes(bytes) if bytes.len() <= 8 => {
            Ok(bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        }
        _ => unsigned(raw),
    }
}

/// A bit field of the binlog, highest byte first, or a number of a query.
fn big_endian(raw: &Value) -> Result<u64, String> {
    match raw {
        Value::Bytes(bytes) if bytes.len() <= 8 => {
            Ok(bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        }
        _ => unsigned(raw),
    }
}

/// The labels of `enum('a','b''c')`.
fn labels(column_type: &str) -> Vec<String> {
    let inside = column_type.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
    let mut labels = Vec::new();
    let mut rest = inside.chars().peekable();
    while rest.any(|c| c == '\'') {
        let mut label = String::new();
        while let Some(c) = rest.next() {
            if c == '\'' && rest.next_if_eq(&'\'').is_none() {
                break;
            }
            label.push(c);
        }
        labels.push(label);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(data_type: &str, column_type: &str, size: u64) -> Kind {
        Kind::parse(&TypeText { data_type, column_type, charset: "utf8mb4", size })
    }

    #[test]
    fn labels_are_read_with_their_quotes() {
        assert_eq!(labels("enum('a','b''c','d,e',')')"), ["a", "b'c", "d,e", ")"]);
        assert_eq!(labels("set('')"), [""]);
    }

    #[test]
    fn a_sign_that_the_binlog_does_not_tell_is_taken_from_the_schema() {
        let table = [
            ("tinyint(1) unsigned", -1, Json::from(255)),
            ("tinyint", -1, Json::from(-1)),
            ("tinyint", 255, Json::from(-1)),
            ("bigint unsigned", -1, Json::from(u64::MAX)),
            ("bigint", i64::MIN, Json::from(i64::MIN)),
            ("mediumint unsigned", -2, Json::from(16_777_214)),
        ];
        for (column_type, raw, wanted) in table {
            let data_type = column_type.split(['(', ' ']).next().unwrap();
            assert_eq!(kind(data_type, column_type, 0).decode(&Value::Int(raw)), Ok(wanted), "{column_type}");
        }
    }

    #[test]
    fn what_does_not_fit_its_type_is_an_error() {
        let table = [
            (kind("enum", "enum('a')", 0), Value::Int(2)),
            (kind("set", "set('a')", 0), Value::Bytes(vec![2])),
            (kind("decimal", "decimal(9,2)", 0), Value::Int(2)),
            (kind("varchar", "varchar(9)", 9), Value::Bytes(vec![0xff])),
            (kind("int", "int", 0), Value::Bytes(b"7".to_vec())),
            (kind("geometry", "geometry", 0), Value::Bytes(vec![])),
        ];
        for (kind, raw) in table {
            assert!(kind.decode(&raw).is_err(), "{kind:?} {raw:?}");
        }
    }

    #[test]
    fn trimmed_zero_bytes_come_back_and_bits_are_numbers() {
        let three = kind("binary", "binary(3)", 3).decode(&Value::Bytes(vec![1]));
        assert_eq!(three, Ok("base64:AQAA".into()));
        assert_eq!(kind("bit", "bit(9)", 0).decode(&Value::Bytes(vec![1, 0x55])), Ok(0x155.into()));
        assert_eq!(kind("set", "set('a','b','c')", 0).decode(&Value::Bytes(vec![5])), Ok("a,c".into()));
        assert_eq!(kind("float", "float", 0).decode(&Value::Float(1.1)), Ok(1.1.into()));
    }
}
