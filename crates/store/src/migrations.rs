//! Migrations: embedded, forward only, checked. All that are missing are applied in one transaction.
//!
//! The text of every applied migration is kept. A database that a newer version has migrated, or whose
//! migrations have another text, is refused: nothing is changed then.

use crate::fault::Fault;
use rusqlite::{Connection, TransactionBehavior, params};

/// One migration, `NNNN_verb_noun`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its name; the numbers of a set ascend.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Embeds the file `migrations/NAME.sql` of the calling crate.
#[macro_export]
macro_rules! migration {
    ($name:literal) => {
        $crate::migrations::Migration {
            name: $name,
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/", $name, ".sql")),
        }
    };
}

/// The tables of this crate.
const STORE: &[Migration] = &[
    migration!("0001_create_ownership"),
    migration!("0002_create_outbox"),
    migration!("0003_create_import"),
];

/// Applies what is missing: this crate's tables, then the service's.
///
/// # Errors
/// The database is newer or different, or a statement fails; nothing has been changed.
pub fn migrate(connection: &mut Connection, service: &[Migration], now_ms: u64) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
             owner TEXT NOT NULL, name TEXT NOT NULL, sql TEXT NOT NULL, applied_ms INTEGER NOT NULL,
             PRIMARY KEY (owner, name))",
    )?;
    for (owner, known) in [("store", STORE), ("service", service)] {
        let applied = applied(&transaction, owner)?;
        if let Some((name, _)) = applied.get(known.len()) {
            return Err(Fault::Data(format!("migration {name} was applied by a newer version of Banyan")));
        }
        for (index, migration) in known.iter().enumerate() {
            match applied.get(index) {
                Some((name, sql)) if name == migration.name && sql == migration.sql => {}
                Some((name, _)) => {
                    let text = format!("migration {name} differs from {} as built in", migration.name);
                    return Err(Fault::Data(text));
                }
                None => {
                    transaction.execute_batch(migration.sql)?;
                    transaction.execute(
                        "INSERT INTO migrations VALUES (?, ?, ?, ?)",
                        params![owner, migration.name, migration.sql, now_ms.cast_signed()],
                    )?;
                }
            }
        }
    }
    Ok(transaction.commit()?)
}

fn applied(connection: &Connection, owner: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM migrations WHERE owner = ? ORDER BY name")?;
    let rows = statement.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration { name: "0001_create_a", sql: "CREATE TABLE a (x)" };
    const SECOND: Migration = Migration { name: "0002_create_b", sql: "CREATE TABLE b (x)" };

    fn check(connection: &mut Connection, service: &[Migration]) -> Result<(), String> {
        migrate(connection, service, 1).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_is_missing_is_applied_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(check(&mut connection, &[FIRST]), Ok(()));
        assert_eq!(check(&mut connection, &[FIRST, SECOND]), Ok(()));
        assert_eq!(check(&mut connection, &[FIRST, SECOND]), Ok(()));
        connection.execute_batch("SELECT * FROM a, b, ownership, outbox, import_position").unwrap();
    }

    #[test]
    fn a_database_that_does_not_match_is_refused_and_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        check(&mut connection, &[FIRST, SECOND]).unwrap();
        let newer = check(&mut connection, &[FIRST]).unwrap_err();
        assert!(newer.contains("0002_create_b") && newer.contains("newer"), "{newer}");
        let other = Migration { sql: "CREATE TABLE a (y)", ..FIRST };
        let differs = check(&mut connection, &[other, SECOND]).unwrap_err();
        assert!(differs.contains("0001_create_a differs"), "{differs}");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = Migration { name: "0002_break", sql: "CREATE TABLE c (x); CREATE NONSENSE" };
        assert!(check(&mut connection, &[FIRST, broken]).is_err());
        assert!(connection.execute_batch("SELECT * FROM a").is_err());
        assert_eq!(check(&mut connection, &[FIRST]), Ok(()));
    }
}
