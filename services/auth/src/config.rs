//! The options of `[auth]`. An option that cannot work fails the start and names itself.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The options of auth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The table of Laravel's `database` session driver (`session.table`).
    pub sessions_table: String,
    /// The guard whose login counts (`auth.defaults.guard`).
    pub guard: String,
    /// How Laravel's user provider finds the user of a session: one column, the id, and one `?`. A user
    /// that it does not find is a guest. It must not use the name `banyan_session`.
    pub user_query: String,
    /// A session is touched when its last activity is at least this many seconds old; 1 to 3600.
    pub touch_after_s: u32,
    /// How long the gateway may reuse an answer, in milliseconds; 0 to 1000.
    pub cache_ms: u64,
    /// How long an internal token is valid, in seconds; 60 to 300.
    pub token_lifetime_s: u64,
    /// The most connections to the monolith's database; 1 to 256.
    pub database_connections_max: usize,
    /// The most time that a statement may take, waiting for a connection included, in milliseconds; 50 to
    /// 60000.
    pub database_timeout_ms: u64,
    /// Lookups by name (`table.column`), for routes that know a value instead of an id. Setting any
    /// replaces the default, `users.email`.
    pub lookups: BTreeMap<String, LookupConfig>,
}

/// How one lookup is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// The table.
    pub table: String,
    /// The column that holds the value; compared as the database compares, by its collation.
    pub column: String,
    /// The column of the subject's id.
    pub id: String,
    /// A further condition, in SQL, such as `deleted_at IS NULL`.
    #[serde(default, rename = "where")]
    pub condition: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let email = LookupConfig {
            table: "users".into(),
            column: "email".into(),
            id: "id".into(),
            condition: Some("deleted_at IS NULL".into()),
        };
        Self {
            sessions_table: "sessions".into(),
            guard: "web".into(),
            user_query: "SELECT id FROM users WHERE id = ? AND deleted_at IS NULL".into(),
            touch_after_s: 30,
            cache_ms: 1000,
            token_lifetime_s: 120,
            database_connections_max: 8,
            database_timeout_ms: 2000,
            lookups: BTreeMap::from([("users.email".into(), email)]),
        }
    }
}

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        identifier("sessions_table", &self.sessions_table)?;
        let guard = self.guard.as_bytes();
        if guard.is_empty() || !guard.iter().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(b)) {
            return Err(format!("`guard` `{}` must be letters, digits, `-` or `_`", self.guard));
        }
        let query = self.user_query.trim();
        if !query.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("select "))
            || query.matches('?').count() != 1
            || query.contains(';')
        {
            return Err(format!("`user_query` `{query}` must be one SELECT with one `?` and no `;`"));
        }
        within("touch_after_s", self.touch_after_s.into(), 1..=3600)?;
        within("cache_ms", self.cache_ms, 0..=1000)?;
        within("token_lifetime_s", self.token_lifetime_s, 60..=300)?;
        within("database_connections_max", self.database_connections_max as u64, 1..=256)?;
        within("database_timeout_ms", self.database_timeout_ms, 50..=60_000)?;
        for (name, lookup) in &self.lookups {
            let at = |key: &str| format!("lookups.\"{name}\".{key}");
            identifier(&at("table"), &lookup.table)?;
            identifier(&at("column"), &lookup.column)?;
            identifier(&at("id"), &lookup.id)?;
            if lookup.condition.as_deref().is_some_and(|c| c.contains([';', '?'])) {
                return Err(format!("`{}` must be one condition without `?` and `;`", at("where")));
            }
        }
        Ok(())
    }
}

fn identifier(key: &str, name: &str) -> Result<(), String> {
    // MySQL's bound on identifiers is 64 characters (manual, section "Identifier Length Limits").
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$');
    if plain && !name.is_empty() && name.len() <= 64 {
        Ok(())
    } else {
        Err(format!("`{key}` `{name}` must be a plain identifier of letters, digits, `_` or `$`"))
    }
}

fn within(key: &str, value: u64, allowed: std::ops::RangeInclusive<u64>) -> Result<(), String> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` {value} must be {} to {}", allowed.start(), allowed.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    fn email(config: &mut Config) -> &mut LookupConfig {
        config.lookups.get_mut("users.email").unwrap()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(check(|_| {}), Ok(()));
    }

    #[test]
    fn a_value_that_cannot_work_is_named() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 10] = [
            ("sessions_table", |c| c.sessions_table = "sessions; DROP TABLE users".into()),
            ("guard", |c| c.guard = String::new()),
            ("user_query", |c| c.user_query = "SELECT id FROM users".into()),
            ("user_query", |c| c.user_query = "DELETE FROM users WHERE id = ?".into()),
            ("touch_after_s", |c| c.touch_after_s = 0),
            ("cache_ms", |c| c.cache_ms = 1001),
            ("token_lifetime_s", |c| c.token_lifetime_s = 301),
            ("database_connections_max", |c| c.database_connections_max = 0),
            ("lookups.\"users.email\".column", |c| email(c).column = "e`mail".into()),
            ("lookups.\"users.email\".where", |c| email(c).condition = Some("1=1; SELECT 1".into())),
        ];
        for (key, change) in table {
            let fault = check(change).unwrap_err();
            assert!(fault.contains(&format!("`{key}`")), "{key}: {fault}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"touch_after_s": 60}"#).is_ok());
        let fault = serde_json::from_str::<Config>(r#"{"touch_after": 60}"#).unwrap_err().to_string();
        assert!(fault.contains("touch_after"), "{fault}");
    }
}
