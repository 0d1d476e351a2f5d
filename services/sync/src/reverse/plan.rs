//! From outbox events to statements for the monolith.
//!
//! All events of a page are one transaction, so only the last write of each key counts; the rows of a table
//! then go in few statements. A table with a further unique index keeps its events' order and goes row by
//! row: `ON DUPLICATE KEY UPDATE` would change another row where a value moved between two.

use crate::binlog::Catalog;
use crate::literal::literal;
use crate::schema::TableSchema;
use banyan_core::Row;
use banyan_core::capability::TableRole;
use banyan_core::protocol::target::OutboxEvent;
use banyan_core::row::RowWrite;
use std::collections::BTreeMap;

/// The most rows of one statement.
const ROWS_MAX: usize = 500;
/// The most bytes of one statement, unless a single row has more.
const BYTES_MAX: usize = 512 << 10;
/// Keys that a message names.
const NAMED_MAX: usize = 5;

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its text.
    pub sql: String,
    /// What to run where the first matched no row.
    pub or_insert: Option<String>,
    /// Table and keys, for messages.
    pub what: String,
}

/// The statements of a page.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order.
    pub writes: Vec<Write>,
    /// Rows that are written.
    pub upserts: u64,
    /// Rows that are deleted.
    pub deletes: u64,
}

type Last<'e> = BTreeMap<u64, Option<&'e Row>>;

impl Plan {
    /// Plans the statements.
    ///
    /// # Errors
    /// An event names a table or column that the capability does not own, or a value of the wrong type.
    pub fn of(catalog: &Catalog, events: &[OutboxEvent]) -> Result<Self, String> {
        let mut plan = Self::default();
        let mut tables: BTreeMap<&str, (&TableSchema, Last<'_>)> = BTreeMap::new();
        for write in events.iter().flat_map(|event| &event.rows) {
            let (name, row) = match write {
                RowWrite::Upsert { table, row } => (table, row),
                RowWrite::Delete { table, key } => (table, key),
            };
            let table = catalog.table(name).filter(|table| table.role == TableRole::Owned);
            let table = table.ok_or_else(|| format!("`{name}` is not a table that the capability owns"))?;
            let key = table
                .key_of(row)
                .ok_or_else(|| format!("a row of `{name}` has no `{}`", table.key_name()))?;
            let row = matches!(write, RowWrite::Upsert { .. }).then_some(row);
            if table.unique_besides_key {
                plan.one_by_one(table, key, row)?;
            } else {
                tables.entry(name).or_insert_with(|| (table, Last::new())).1.insert(key, row);
            }
        }
        for (table, last) in tables.into_values() {
            plan.delete(table, last.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| *key).collect());
            let rows = last.into_iter().filter_map(|(key, row)| Some((key, row?)));
            plan.upsert(table, rows.collect())?;
        }
        Ok(plan)
    }

    fn one_by_one(&mut self, table: &TableSchema, key: u64, row: Option<&Row>) -> Result<(), String> {
        let Some(row) = row else {
            self.delete(table, vec![key]);
            return Ok(());
        };
        let (names, values) = (columns(table, row)?, values(table, row)?);
        let set = names.iter().zip(&values).map(|(name, value)| format!("`{name}` = {value}"));
        let (name, key_name) = (&table.name, table.key_name());
        self.upserts += 1;
        self.writes.push(Write {
            sql: format!(
                "UPDATE `{name}` SET {} WHERE `{key_name}` = {key}",
                set.collect::<Vec<_>>().join(", ")
            ),
            or_insert: Some(format!(
                "INSERT INTO `{name}` ({}) VALUES ({})",
                listed(&names),
                values.join(", ")
            )),
            what: named(table, &[key]),
        });
        Ok(())
    }

    fn delete(&mut self, table: &TableSchema, keys: Vec<u64>) {
        self.deletes += keys.len() as u64;
        for keys in keys.chunks(ROWS_MAX) {
            let list = keys.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            let sql = format!("DELETE FROM `{}` WHERE `{}` IN ({list})", table.name, table.key_name());
            self.writes.push(Write { sql, or_insert: None, what: named(table, keys) });
        }
    }

    fn upsert(&mut self, table: &TableSchema, rows: Vec<(u64, &Row)>) -> Result<(), String> {
        self.upserts += rows.len() as u64;
        let mut open: Option<Insert> = None;
        for (key, row) in rows {
            let (names, values) = (columns(table, row)?, format!("({})", values(table, row)?.join(", ")));
            if let Some(full) = open.take_if(|insert| !insert.takes(&names, &values)) {
                self.writes.push(full.finish(table));
            }
            let insert =
                open.get_or_insert_with(|| Insert { names, rows: Vec::new(), keys: Vec::new(), bytes: 0 });
            insert.bytes += values.len();
            insert.rows.push(values);
            insert.keys.push(key);
        }
        self.writes.extend(open.map(|insert| insert.finish(table)));
        Ok(())
    }
}

/// A statement of several rows under construction.
struct Insert {
    names: Vec<String>,
    rows: Vec<String>,
    keys: Vec<u64>,
    bytes: usize,
}

impl Insert {
    fn takes(&self, names: &[String], values: &str) -> bool {
        self.names == names && self.rows.len() < ROWS_MAX && self.bytes + values.len() <= BYTES_MAX
    }

    fn finish(self, table: &TableSchema) -> Write {
        let update = self.names.iter().map(|name| format!("`{name}` = VALUES(`{name}`)"));
        let sql = format!(
            "INSERT INTO `{}` ({}) VALUES {} ON DUPLICATE KEY UPDATE {}",
            table.name,
            listed(&self.names),
            self.rows.join(", "),
            update.collect::<Vec<_>>().join(", ")
        );
        Write { sql, or_insert: None, what: named(table, &self.keys) }
    }
}

/// The columns of a row that can be written, in the row's order.
fn columns(table: &TableSchema, row: &Row) -> Result<Vec<String>, String> {
    let mut names = Vec::with_capacity(row.len());
    for name in row.keys() {
        let column = table.column(name).ok_or_else(|| format!("`{}` has no column `{name}`", table.name))?;
        if !column.generated {
            names.push(name.clone());
        }
    }
    Ok(names)
}

fn values(table: &TableSchema, row: &Row) -> Result<Vec<String>, String> {
    let column = |name: &str| table.column(name).filter(|column| !column.generated);
    let values = row.iter().filter_map(|(name, value)| Some(literal(column(name)?, value)));
    values.collect::<Result<_, _>>().map_err(|cause| format!("`{}`: {cause}", table.name))
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn named(table: &TableSchema, keys: &[u64]) -> String {
    let first = keys.iter().take(NAMED_MAX).map(u64::to_string).collect::<Vec<_>>().join(", ");
    let more = if keys.len() > NAMED_MAX { ", …" } else { "" };
    format!("`{}` {} {first}{more}", table.name, table.key_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Column;
    use crate::schema::charset::Charset;
    use crate::schema::kind::Kind;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn catalog(unique_besides_key: bool) -> Catalog {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
            generated: name == "g",
            optional: false,
            auto_increment: false,
            on_update: false,
        };
        let integer = Kind::Integer { bits: 64, unsigned: true };
        let table = TableSchema {
            name: "t".into(),
            role: TableRole::Owned,
            columns: vec![
                column("id", integer.clone()),
                column("g", integer),
                column("s", Kind::Text(Charset::Utf8)),
            ],
            taken: vec![0, 1, 2],
            key: 0,
            subject: 0,
            trace: None,
            unique_besides_key,
        };
        Catalog { schema: "shop".into(), capability: "c".into(), tables: vec![Arc::new(table)] }
    }

    fn plan(unique: bool, rows: &[Value]) -> Result<Vec<String>, String> {
        let event = |row: &Value| OutboxEvent {
            position: 1,
            kind: "k".into(),
            subject: String::new(),
            bucket: None,
            rows: vec![serde_json::from_value(row.clone()).unwrap()],
            mark: None,
            committed_ms: 0,
            traceparent: None,
        };
        let events: Vec<OutboxEvent> = rows.iter().map(event).collect();
        let plan = Plan::of(&catalog(unique), &events)?;
        Ok(plan
            .writes
            .into_iter()
            .map(|w| w.sql + &w.or_insert.map(|i| format!(" / {i}")).unwrap_or_default())
            .collect())
    }

    fn upsert(id: u64, s: &str) -> Value {
        json!({"op": "upsert", "table": "t", "row": {"id": id, "g": 1, "s": s}})
    }

    #[test]
    fn only_the_last_write_of_a_key_is_made() {
        let delete = json!({"op": "delete", "table": "t", "key": {"id": 2}});
        let rows = [upsert(1, "a"), upsert(2, "b"), upsert(3, "c"), upsert(1, "d'"), delete];
        let wanted = [
            "DELETE FROM `t` WHERE `id` IN (2)",
            "INSERT INTO `t` (`id`, `s`) VALUES (1, 'd\\''), (3, 'c') \
             ON DUPLICATE KEY UPDATE `id` = VALUES(`id`), `s` = VALUES(`s`)",
        ];
        assert_eq!(plan(false, &rows).unwrap(), wanted);
    }

    #[test]
    fn a_table_with_a_further_unique_index_goes_row_by_row_in_order() {
        let wanted = [
            "UPDATE `t` SET `id` = 1, `s` = 'x' WHERE `id` = 1 / INSERT INTO `t` (`id`, `s`) VALUES (1, 'x')",
            "UPDATE `t` SET `id` = 1, `s` = 'y' WHERE `id` = 1 / INSERT INTO `t` (`id`, `s`) VALUES (1, 'y')",
        ];
        assert_eq!(plan(true, &[upsert(1, "x"), upsert(1, "y")]).unwrap(), wanted);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        for (row, named) in [
            (json!({"op": "upsert", "table": "users", "row": {"id": 1}}), "`users`"),
            (json!({"op": "upsert", "table": "t", "row": {"s": "a"}}), "no `id`"),
            (json!({"op": "upsert", "table": "t", "row": {"id": 1, "x": 2}}), "no column `x`"),
            (json!({"op": "upsert", "table": "t", "row": {"id": 1, "s": 2}}), "`s`"),
        ] {
            let cause = plan(false, &[row]).unwrap_err();
            assert!(cause.contains(named), "{cause}");
        }
    }

    #[test]
    fn statements_are_bounded() {
        let rows: Vec<Value> = (1..=1200).map(|id| upsert(id, "a")).collect();
        assert_eq!(plan(false, &rows).unwrap().len(), 3);
    }
}
