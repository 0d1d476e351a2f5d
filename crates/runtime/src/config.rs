//! One TOML file, overridden by environment variables.
//!
//! `BANYAN__SECTION__KEY=value` overrides `key` of `[section]`; the value is read as TOML, or else as text.

use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use thiserror::Error;
use toml::{Table, Value};

/// The prefix of overriding environment variables.
pub const ENVIRONMENT_PREFIX: &str = "BANYAN__";

/// Why a configuration cannot be used. Nothing has been started.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {0}; `banyan init` writes one")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file or an override does not say what it should.
    #[error("{0}")]
    Invalid(String),
}

/// Reads the file, applies the overrides, and converts.
///
/// # Errors
/// Names the file or the variable, the key, and what is allowed.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable(path.into(), e))?;
    let invalid = |error: toml::de::Error| ConfigError::Invalid(place(path, &text, &error));
    let mut table: Table = toml::from_str(&text).map_err(invalid)?;
    let mut overridden = false;
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
            set(&mut table, key, &value)
                .map_err(|e| ConfigError::Invalid(format!("variable {name}: {e}")))?;
            overridden = true;
        }
    }
    if overridden {
        Value::Table(table).try_into().map_err(invalid)
    } else {
        // From the text, so that errors point at the line.
        toml::from_str(&text).map_err(invalid)
    }
}

/// Where and what, without the value: it may be a secret, and the error ends in a log.
fn place(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let file = path.display();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return format!("{file}: {}", error.to_string().trim());
    };
    let line = before.matches('\n').count();
    let key = text.lines().nth(line).and_then(|text| text.split_once('=')).map_or("", |(key, _)| key.trim());
    format!("{file}, line {} ({key}): {}", line + 1, error.message())
}

fn set(table: &mut Table, key: &str, value: &str) -> Result<(), String> {
    let path: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
    let (last, sections) = path.split_last().ok_or("names no key")?;
    let mut at = table;
    for section in sections {
        at = at
            .entry(section.clone())
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{section}` is not a section"))?;
    }
    let parsed = toml::from_str::<Table>(&format!("v = {value}")).ok().and_then(|mut t| t.remove("v"));
    at.insert(last.clone(), parsed.unwrap_or_else(|| Value::String(value.into())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        gateway: Gateway,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Gateway {
        listen: String,
        workers: u32,
    }

    fn check(text: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("banyan.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        load(&path, environment).map_err(|e| e.to_string())
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let text = "[gateway]\nlisten = 'a:1'\nworkers = 2\n";
        let gateway =
            |listen: &str, workers| Settings { gateway: Gateway { listen: listen.into(), workers } };
        assert_eq!(check(text, &[]), Ok(gateway("a:1", 2)));
        let environment =
            [("BANYAN__GATEWAY__WORKERS", "4"), ("BANYAN__GATEWAY__LISTEN", "b:2"), ("HOME", "/")];
        assert_eq!(check(text, &environment), Ok(gateway("b:2", 4)));
    }

    #[test]
    fn an_error_names_the_key() {
        let error = check("[gateway]\nlisten = 'a:1'\nworkers = 2\nworker = 3\n", &[]).unwrap_err();
        assert!(error.contains("worker") && error.contains("line 4"), "{error}");
        let error =
            check("[gateway]\nlisten = 'a:1'\nworkers = 2\n", &[("BANYAN__GATEWAY__WORKERS", "many")]);
        assert!(error.as_ref().unwrap_err().contains("workers"), "{error:?}");
        for text in
            ["[gateway]\nlisten = 'secret\nworkers = 2\n", "[gateway]\nlisten = ['secret']\nworkers = 2\n"]
        {
            let error = check(text, &[]).unwrap_err();
            assert!(error.contains("line 2 (listen)") && !error.contains("secret"), "{error}");
        }
    }
}
