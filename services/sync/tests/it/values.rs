//! Every type that Banyan carries, with values of all kinds as SQL literals.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::fmt::Write as _;

/// Every type that Banyan carries, each with a value for the first row.
pub const COLUMNS: [(&str, &str, &str); 38] = [
    ("t", "tinyint NOT NULL", "-128"),
    ("tu", "tinyint unsigned NOT NULL", "255"),
    ("b1", "tinyint(1) NOT NULL", "1"),
    ("s", "smallint NOT NULL", "-32768"),
    ("su", "smallint unsigned NOT NULL", "65535"),
    ("m", "mediumint NOT NULL", "-8388608"),
    ("mu", "mediumint unsigned NOT NULL", "16777215"),
    ("i", "int NOT NULL", "-2147483648"),
    ("iu", "int unsigned NOT NULL", "4294967295"),
    ("l", "bigint NOT NULL", "-9223372036854775808"),
    ("lu", "bigint unsigned NOT NULL", "18446744073709551615"),
    ("y", "year NULL", "2155"),
    ("d", "decimal(12,2) NOT NULL", "-12.50"),
    ("dw", "decimal(65,30) NULL", "12345678901234567890123456789012345.000000000000000000000000000001"),
    ("f", "float NULL", "1.1"),
    ("db", "double NULL", "-2.2250738585072014e-308"),
    ("c", "char(10) NOT NULL", "'Größe 😀'"),
    ("v", "varchar(300) NULL", "'it''s \\\\ \"quoted\" \\n tab\\t'"),
    ("tx", "text NULL", "''"),
    ("mt", "mediumtext CHARACTER SET utf8mb3 NULL", "'drei €'"),
    ("la", "varchar(60) CHARACTER SET latin1 NULL", "'Grüße €–ÿ'"),
    ("a", "char(36) CHARACTER SET ascii NULL", "'018f-77'"),
    ("j", "json NULL", "'{\"b\": [1,  2.50, \"ü😀\"], \"a\": null}'"),
    ("e", "enum('none','it''s','größe') NOT NULL", "'größe'"),
    ("st", "set('a','b','ö') NULL", "'a,b'"),
    ("dd", "date NULL", "'2022-11-00'"),
    ("ti", "time NULL", "'-838:59:59'"),
    ("ti6", "time(6) NULL", "'-00:00:00.000001'"),
    ("dt", "datetime NOT NULL", "'0000-00-00 00:00:00'"),
    ("dt3", "datetime(3) NULL", "'9999-12-31 23:59:59.999'"),
    ("ts", "timestamp NULL", "'2026-10-25 02:30:00'"),
    ("ts6", "timestamp(6) NULL", "'2038-01-19 03:14:07.000100'"),
    ("bi", "bit(9) NULL", "b'101010101'"),
    ("b64", "bit(64) NULL", "18446744073709551615"),
    ("bin", "binary(16) NULL", "X'01020300'"),
    ("vb", "varbinary(100) NULL", "X'00ff00'"),
    ("bl", "blob NULL", "X'ffd800'"),
    (
        "up",
        "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
        "'2020-01-01 00:00:00'",
    ),
];

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!("X'{digits}'")
}

/// A random value that the column takes; now and then NULL.
pub fn literal(kind: &str, runner: &mut TestRunner) -> String {
    if !kind.contains("NOT NULL") && draw(runner, 0..6) == 0 {
        return "NULL".into();
    }
    let word = kind.split(['(', ' ']).next().unwrap();
    let bits = match word {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => 64,
    };
    match word {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
            let raw = draw(runner, any::<u64>()) << (64 - bits);
            if kind.contains("unsigned") {
                (raw >> (64 - bits)).to_string()
            } else {
                (raw.cast_signed() >> (64 - bits)).to_string()
            }
        }
        "decimal" => {
            format!("{}.{:02}", draw(runner, -9_999_999_999..9_999_999_999_i64), draw(runner, 0..100))
        }
        "float" => format!("{:e}", draw(runner, prop::num::f32::NORMAL | prop::num::f32::ZERO)),
        "double" => format!("{:e}", draw(runner, prop::num::f64::NORMAL | prop::num::f64::ZERO)),
        "enum" => draw(runner, 1..4_u8).to_string(),
        "set" => draw(runner, 0..8_u8).to_string(),
        "bit" if kind.contains("64") => draw(runner, any::<u64>()).to_string(),
        "bit" => draw(runner, 0..512_u16).to_string(),
        "binary" => hex(&draw(runner, prop::collection::vec(any::<u8>(), 0..=16))),
        "varbinary" | "blob" => hex(&draw(runner, prop::collection::vec(any::<u8>(), 0..=100))),
        "year" | "date" | "time" | "datetime" | "timestamp" => moment(word, runner),
        _ => text(kind, runner),
    }
}

fn moment(word: &str, runner: &mut TestRunner) -> String {
    let mut n = |below: u32| draw(runner, 0..below);
    match word {
        "year" => (1901 + n(255)).to_string(),
        "date" => format!("'{:04}-{:02}-{:02}'", n(10_000), n(13), n(29)),
        "time" => {
            let sign = if n(2) == 0 { "-" } else { "" };
            format!("'{sign}{}:{:02}:{:02}.{:06}'", n(838), n(60), n(60), n(1_000_000))
        }
        "datetime" => {
            let date = format!("{:04}-{:02}-{:02}", 1 + n(9998), 1 + n(12), 1 + n(28));
            format!("'{date} {:02}:59:{:02}.{:03}'", n(24), n(59), n(1000))
        }
        _ => format!("FROM_UNIXTIME({}.{:06})", 1 + n(2_147_483_000), n(1_000_000)),
    }
}

fn text(kind: &str, runner: &mut TestRunner) -> String {
    let pattern = match kind {
        _ if kind.starts_with("json") => {
            let document = json!({"k": draw(runner, ".{0,20}"), "n": draw(runner, any::<i64>())});
            return quote(&document.to_string());
        }
        _ if kind.contains("latin1") => "[ -~\u{a0}-\u{ff}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\u{81}\u{9d}]{0,40}",
        _ if kind.contains("ascii") => "[ -~]{0,30}",
        _ if kind.contains("utf8mb3") => "[ -~À-ſЀ-ӿ一-三€]{0,40}",
        _ if kind.starts_with("char") => ".{0,9}x",
        _ => "\\PC{0,60}|[\0-\u{1f}]{0,9}",
    };
    quote(&draw(runner, pattern))
}
