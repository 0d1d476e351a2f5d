//! Lookups: from a value, such as an e-mail address, to the id of its subject.
//!
//! Only declared lookups are answered; their identifiers were validated at the start, and the value is
//! always a parameter. Values compare as the monolith's database compares them, by the column's collation.

use crate::config::LookupConfig;
use crate::database::{Database, Statement, decimal};
use crate::error::Fault;
use crate::metrics::LOOKUPS;
use banyan_core::protocol::identity::{LookupAnswer, LookupRequest};
use std::collections::BTreeMap;

/// The longest value that is looked for, in bytes; a longer one is not found.
const VALUE_BYTES_MAX: usize = 1024;

/// The declared lookups.
#[derive(Clone, Debug)]
pub struct Lookups {
    database: Database,
    statements: BTreeMap<String, Statement>,
}

impl Lookups {
    /// The lookups of the configuration.
    pub fn new(database: Database, declared: &BTreeMap<String, LookupConfig>) -> Self {
        let statements = declared
            .iter()
            .map(|(name, lookup)| (name.clone(), Statement::new("lookup", select(lookup))))
            .collect();
        Self { database, statements }
    }

    /// The subject of the value.
    ///
    /// # Errors
    /// The lookup is not declared, or the database fails.
    pub async fn find(&self, request: &LookupRequest) -> Result<LookupAnswer, Fault> {
        let Some(statement) = self.statements.get(&request.lookup) else {
            return Err(Fault::UnknownLookup(request.lookup.clone()));
        };
        let row = if request.value.len() > VALUE_BYTES_MAX {
            None
        } else {
            let found = self.database.first(statement, vec![request.value.as_str().into()]).await;
            found.inspect_err(|_| LOOKUPS.with_label_values(&["unavailable"]).inc())?
        };
        let id = row.and_then(|row| row.unwrap().into_iter().next());
        let subject = id.as_ref().and_then(decimal);
        let outcome = if subject.is_some() { "found" } else { "unknown" };
        LOOKUPS.with_label_values(&[outcome]).inc();
        Ok(LookupAnswer { subject })
    }
}

fn select(lookup: &LookupConfig) -> String {
    let LookupConfig { table, column, id, condition } = lookup;
    let condition = condition.as_ref().map(|c| format!(" AND ({c})")).unwrap_or_default();
    format!("SELECT `{id}` FROM `{table}` WHERE `{column}` = ?{condition} LIMIT 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_statement_is_that_of_the_declaration() {
        let email = &Config::default().lookups["users.email"];
        assert_eq!(
            select(email),
            "SELECT `id` FROM `users` WHERE `email` = ? AND (deleted_at IS NULL) LIMIT 1"
        );
        let bare = LookupConfig { condition: None, ..email.clone() };
        assert_eq!(select(&bare), "SELECT `id` FROM `users` WHERE `email` = ? LIMIT 1");
    }
}
