//! The triggers on owned tables, as text that a database administrator can read.
//!
//! Each write of anybody but Banyan's own user takes its bucket's gate and fence row shared, until its
//! transaction ends, and obeys the fence. SQLSTATEs: 45B01 the service owns the row's bucket, 45B02 the
//! bucket is being handed over or has no fence, 45B03 the id belongs to a block that the service leased,
//! 45B04 the row would change its subject. Local variables have names that no column has: in MySQL a
//! variable hides a column.

use crate::literal::quote;
use crate::own::{BLOCK, FENCE, GATE, INTENT};
use crate::schema::kind::{BASE64, Kind};
use crate::schema::{Column, TableSchema};
use banyan_core::BUCKETS;
use banyan_core::capability::{StrayPolicy, Table};

/// MySQL's bound on names of triggers.
const NAME_MAX: usize = 64;

/// One trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// `AFTER INSERT`, `BEFORE UPDATE` or `BEFORE DELETE`.
    pub event: &'static str,
    /// The table.
    pub table: String,
    /// What it does.
    pub body: String,
}

impl Trigger {
    /// The three triggers of an owned table; `user` passes them.
    pub fn of(capability: &str, declared: &Table, schema: &TableSchema, user: &str) -> [Self; 3] {
        let of = |event, operation, body| Self {
            name: name(&schema.name, operation),
            event,
            table: schema.name.clone(),
            body,
        };
        let parts = Parts { capability, declared, schema, user };
        [
            of("AFTER INSERT", "insert", parts.insert()),
            of("BEFORE UPDATE", "update", parts.update()),
            of("BEFORE DELETE", "delete", parts.delete()),
        ]
    }

    /// The statement that makes it.
    pub fn create(&self, or_replace: bool) -> String {
        let or_replace = if or_replace { "OR REPLACE " } else { "" };
        let Self { name, event, table, body } = self;
        format!("CREATE {or_replace}TRIGGER `{name}` {event} ON `{table}` FOR EACH ROW\n{body}")
    }
}

/// `banyan_<table>_<operation>`; a long table name is cut and told apart by its checksum.
pub fn name(table: &str, operation: &str) -> String {
    let whole = format!("banyan_{table}_{operation}");
    if whole.len() <= NAME_MAX {
        return whole;
    }
    let sum = table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let kept = NAME_MAX - "banyan__".len() - operation.len() - 9;
    format!("banyan_{}_{:08x}_{operation}", &table[..kept], sum as u32)
}

struct Parts<'p> {
    capability: &'p str,
    declared: &'p Table,
    schema: &'p TableSchema,
    user: &'p str,
}

impl Parts<'_> {
    fn insert(&self) -> String {
        let service = match self.declared.stray_insert {
            StrayPolicy::Reject => reject_service(),
            StrayPolicy::Import => {
                String::from("    -- The service takes over what is inserted into its buckets.\n")
            }
        };
        let block = if self.declared.leases_ids { self.block() } else { String::new() };
        let declared = if self.declared.leases_ids { "  DECLARE leased_from BIGINT UNSIGNED;\n" } else { "" };
        self.frame(declared, &(self.look("NEW") + &service + &block))
    }

    fn update(&self) -> String {
        let subject = &self.declared.subject;
        let unmoved = format!(
            "    IF NOT (NEW.`{subject}` <=> OLD.`{subject}`) THEN
      SIGNAL SQLSTATE '45B04' SET MESSAGE_TEXT = 'banyan: a row may not change its subject';
    END IF;
"
        );
        let (declared, service) = match self.declared.stray_update {
            StrayPolicy::Reject => ("", reject_service()),
            StrayPolicy::Import => (
                "  DECLARE before_row, wanted_row LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n",
                self.intent(),
            ),
        };
        self.frame(declared, &(unmoved + &self.look("OLD") + &service))
    }

    fn delete(&self) -> String {
        self.frame("", &(self.look("OLD") + &reject_service()))
    }

    fn frame(&self, declarations: &str, inside: &str) -> String {
        format!(
            "BEGIN
  -- Banyan: only the owner of a bucket writes its rows. Installed and removed by `banyan fence`.
  DECLARE bucket_of_row, gate_of_row SMALLINT UNSIGNED;
  DECLARE owner_of_row VARCHAR(8) CHARACTER SET ascii;
{declarations}  IF SUBSTRING_INDEX(USER(), '@', 1) <> {user} THEN
{inside}  END IF;
END",
            user = quote(self.user)
        )
    }

    /// Takes gate and fence row, and refuses a bucket that is being handed over.
    fn look(&self, image: &str) -> String {
        let (capability, subject) = (quote(self.capability), &self.declared.subject);
        let row =
            format!("WHERE x.capability = {capability} AND x.bucket = bucket_of_row LOCK IN SHARE MODE");
        format!(
            "    SET bucket_of_row = CRC32({image}.`{subject}`) & {mask};
    -- Shared until this transaction ends: the coordinator gets a gate when no writer is left.
    SET gate_of_row = (SELECT x.bucket FROM {gate} AS x
      {row});
    SET owner_of_row = (SELECT x.owner FROM {fence} AS x
      {row});
    IF gate_of_row IS NULL OR owner_of_row IS NULL OR owner_of_row = 'moving' THEN
      SIGNAL SQLSTATE '45B02' SET MESSAGE_TEXT = 'banyan: the bucket of this row is being handed over';
    END IF;
",
            mask = BUCKETS - 1,
            gate = GATE.name,
            fence = FENCE.name
        )
    }

    fn block(&self) -> String {
        format!(
            "    -- The smallest block that ends at or behind the new id: it must not reach down to it.
    SET leased_from = (SELECT x.first_id FROM {block} AS x
      WHERE x.capability = {capability} AND x.table_name = {table} AND x.last_id >= NEW.`{key}`
      ORDER BY x.last_id LIMIT 1 LOCK IN SHARE MODE);
    IF leased_from <= NEW.`{key}` THEN
      SIGNAL SQLSTATE '45B03' SET MESSAGE_TEXT = 'banyan: this id belongs to a block of the service';
    END IF;
",
            block = BLOCK.name,
            capability = quote(self.capability),
            table = quote(&self.schema.name),
            key = self.declared.key
        )
    }

    /// Keeps the row as it is and records what was wanted.
    fn intent(&self) -> String {
        // A column that the server sets by itself has a new value here even where nothing else has.
        let changed = self.schema.columns.iter().filter(|c| !c.generated && !c.on_update);
        let changed = changed.map(|c| format!("NOT (BINARY NEW.`{0}` <=> BINARY OLD.`{0}`)", c.name));
        let restored = self.schema.columns.iter().filter(|c| !c.generated);
        let restored = restored.map(|c| format!("NEW.`{0}` = OLD.`{0}`", c.name)).collect::<Vec<_>>();
        format!(
            "    IF owner_of_row = 'service' THEN
      -- The row stays as it is; the service decides what becomes of the wanted one.
      IF {changed} THEN
        SET before_row = {before};
        SET wanted_row = {wanted};
        INSERT INTO {intent} (capability, table_name, bucket, before_row, wanted_row, created_at)
        VALUES ({capability}, {table}, bucket_of_row, before_row, wanted_row, UTC_TIMESTAMP(3));
      END IF;
      SET {restored};
    END IF;
",
            changed = changed.collect::<Vec<_>>().join("\n        OR "),
            before = self.json("OLD"),
            wanted = self.json("NEW"),
            intent = INTENT.name,
            capability = quote(self.capability),
            table = quote(&self.schema.name),
            restored = restored.join(",\n          ")
        )
    }

    fn json(&self, image: &str) -> String {
        let pair = |column: &Column| format!("{}, {}", quote(&column.name), expression(column, image));
        format!(
            "JSON_OBJECT(\n        {})",
            self.schema.taken().map(pair).collect::<Vec<_>>().join(",\n        ")
        )
    }
}

fn reject_service() -> String {
    "    IF owner_of_row = 'service' THEN
      SIGNAL SQLSTATE '45B01' SET MESSAGE_TEXT = 'banyan: the bucket of this row belongs to the service';
    END IF;
"
    .into()
}

/// A column in the mapping of `banyan_core::row`, computed by the server.
fn expression(column: &Column, image: &str) -> String {
    let value = format!("{image}.`{}`", column.name);
    match &column.kind {
        Kind::Integer { .. } | Kind::Double => value,
        Kind::Year | Kind::Bit => format!("CAST({value} AS UNSIGNED)"),
        Kind::Float => format!("CAST({value} AS DOUBLE)"),
        // Concatenated, since MariaDB would put a JSON column in as a document.
        Kind::Text(_) => format!("CONCAT(CONVERT({value} USING utf8mb4), '')"),
        Kind::Binary(_) | Kind::Bytes => {
            format!("CONCAT('{BASE64}', REPLACE(TO_BASE64({value}), CHAR(10), ''))")
        }
        Kind::Timestamp(digits) => {
            let length = if *digits == 0 { 19 } else { 20 + digits };
            format!(
                "IF({value} = 0, LEFT('0000-00-00 00:00:00.000000', {length}), \
                 LEFT(TIMESTAMP '1970-01-01 00:00:00.000000' + INTERVAL UNIX_TIMESTAMP({value}) SECOND, {length}))"
            )
        }
        _ => format!("CAST({value} AS CHAR)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_stay_apart() {
        assert_eq!(name("notifications", "insert"), "banyan_notifications_insert");
        let (a, b) = ("a".repeat(63) + "b", "a".repeat(63) + "c");
        for operation in ["insert", "update", "delete"] {
            let (a, b) = (name(&a, operation), name(&b, operation));
            assert!(a.len() <= NAME_MAX && b.len() <= NAME_MAX && a != b, "{a} {b}");
            assert!(a.ends_with(operation), "{a}");
        }
    }
}
