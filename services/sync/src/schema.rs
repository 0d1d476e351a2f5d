//! The shape of a captured table, read from `information_schema`: what the binlog does not say.
//!
//! A type, a character set or a key that Banyan cannot carry is refused here, before anything is copied.

pub mod charset;
pub mod kind;
mod time;

use crate::database::{Database, DatabaseFault};
use banyan_core::Row;
use banyan_core::capability::{Table, TableRole, is_identifier};
use kind::{Kind, TypeText};
use mysql_async::{Conn, Value};

/// One column, in the table's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether the server computes it; such a column is read, never written.
    pub generated: bool,
    /// Whether a row can be inserted without naming it.
    pub optional: bool,
    /// Whether the server numbers it.
    pub auto_increment: bool,
    /// Whether the server sets it to the time of each update (`ON UPDATE CURRENT_TIMESTAMP`).
    pub on_update: bool,
}

/// A captured table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its name.
    pub name: String,
    /// Whether its rows move with their bucket.
    pub role: TableRole,
    /// All columns, in the table's order.
    pub columns: Vec<Column>,
    /// The places of the columns that the capability takes.
    pub taken: Vec<usize>,
    /// The place of the key.
    pub key: usize,
    /// The place of the subject's id.
    pub subject: usize,
    /// The place of the column that notes traces.
    pub trace: Option<usize>,
    /// Whether a unique index besides the key exists.
    pub unique_besides_key: bool,
}

impl TableSchema {
    /// Reads the shape of a declared table.
    ///
    /// # Errors
    /// The database fails, or the table cannot be captured; the message says why.
    pub async fn load(
        database: &Database,
        connection: &mut Conn,
        declared: &Table,
    ) -> Result<Self, LoadFault> {
        let columns = load_columns(database, connection, &declared.name).await?;
        let name = &declared.name;
        if columns.is_empty() {
            return Err(LoadFault::Shape(format!("table `{name}` does not exist")));
        }
        let place = |wanted: &str| columns.iter().position(|c| c.name == wanted);
        let column = |wanted: &str| {
            place(wanted).ok_or_else(|| LoadFault::Shape(format!("table `{name}` has no column `{wanted}`")))
        };
        let (key, subject) = (column(&declared.key)?, column(&declared.subject)?);
        let trace = declared.trace_column.as_deref().map(column).transpose()?;
        let taken = if declared.columns.is_empty() {
            (0..columns.len()).collect()
        } else {
            let mut taken: Vec<usize> =
                declared.columns.iter().map(|c| column(c)).collect::<Result<_, _>>()?;
            taken.extend([key, subject]);
            taken.sort_unstable();
            taken.dedup();
            taken
        };
        if !matches!(columns[key].kind, Kind::Integer { .. }) {
            return Err(LoadFault::Shape(format!("the key `{name}`.`{}` is not an integer", declared.key)));
        }
        if !matches!(columns[subject].kind, Kind::Integer { .. }) {
            let subject = &declared.subject;
            return Err(LoadFault::Shape(format!("the subject `{name}`.`{subject}` is not an integer")));
        }
        if let Some(odd) = taken.iter().map(|i| &columns[*i]).find(|c| !is_identifier(&c.name)) {
            return Err(LoadFault::Shape(format!("column `{name}`.`{}` is no plain identifier", odd.name)));
        }
        if let Some((column, cause)) = taken
            .iter()
            .find_map(|i| columns[*i].kind.unsupported().zip(Some(*i)))
            .map(|(cause, i)| (&columns[i].name, cause))
        {
            return Err(LoadFault::Shape(format!("column `{name}`.`{column}`: {cause} is not carried")));
        }
        let unique_besides_key = load_keys(database, connection, declared).await?;
        Ok(Self {
            name: name.clone(),
            role: declared.role,
            columns,
            taken,
            key,
            subject,
            trace,
            unique_besides_key,
        })
    }

    /// The columns that the capability takes.
    pub fn taken(&self) -> impl Iterator<Item = &Column> {
        self.taken.iter().map(|i| &self.columns[*i])
    }

    /// The columns in which both sides must agree: what notes a trace is the monolith's alone.
    pub fn compared(&self) -> impl Iterator<Item = &Column> {
        self.taken.iter().filter(|i| Some(**i) != self.trace).map(|i| &self.columns[*i])
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The key's name.
    pub fn key_name(&self) -> &str {
        &self.columns[self.key].name
    }

    /// A row from raw values, one for each column of the table.
    ///
    /// # Errors
    /// Names the column whose value is not what its type says.
    pub fn decode<'v>(&self, value: impl Fn(usize) -> Option<&'v Value>) -> Result<Row, String> {
        let decode = |place: &usize| {
            let column = &self.columns[*place];
            let raw = value(*place).ok_or_else(|| format!("`{}`.`{}` is missing", self.name, column.name))?;
            let json = column.kind.decode(raw);
            json.map(|json| (column.name.clone(), json))
                .map_err(|cause| format!("`{}`.`{}`: {cause}", self.name, column.name))
        };
        self.taken.iter().map(decode).collect()
    }

    /// The select list that yields raw values as the binlog holds them, for the taken columns in order.
    pub fn select_list(&self) -> String {
        self.taken().map(|c| c.kind.select(&c.name)).collect::<Vec<_>>().join(", ")
    }

    /// A row from a result of [`Self::select_list`].
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_selected(&self, row: &mysql_async::Row) -> Result<Row, String> {
        self.decode(|place| row.as_ref(self.taken.iter().position(|i| *i == place)?))
    }

    /// A row that the server printed as JSON, in the mapping of decoded rows.
    ///
    /// # Errors
    /// A value is not what its type says.
    pub fn normalise(&self, row: Row) -> Result<Row, String> {
        let normal = |(name, value): (String, serde_json::Value)| {
            let value = match self.column(&name) {
                Some(column) => column.kind.normalise(value)?,
                None => value,
            };
            Ok((name, value))
        };
        row.into_iter().map(normal).collect()
    }

    /// The key of a decoded row.
    pub fn key_of(&self, row: &Row) -> Option<u64> {
        row.get(self.key_name())?.as_u64()
    }

    /// Whether a row of this shape means the same: the columns that are taken are unchanged.
    pub fn takes_the_same_as(&self, other: &Self) -> bool {
        self.taken().eq(other.taken()) && self.key_name() == other.key_name()
    }
}

/// Why a table's shape cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// The database fails.
    #[error(transparent)]
    Database(#[from] DatabaseFault),
    /// The table cannot be captured.
    #[error("{0}")]
    Shape(String),
}

impl From<LoadFault> for crate::error::Fault {
    fn from(fault: LoadFault) -> Self {
        match fault {
            LoadFault::Database(fault) => Self::Database(fault),
            LoadFault::Shape(cause) => Self::Schema(cause),
        }
    }
}

async fn load_columns(
    database: &Database,
    connection: &mut Conn,
    table: &str,
) -> Result<Vec<Column>, DatabaseFault> {
    let sql = format!(
        "SELECT column_name, data_type, column_type, COALESCE(character_set_name, ''),
                COALESCE(datetime_precision, character_octet_length, 0), extra,
                is_nullable = 'YES' OR column_default IS NOT NULL
           FROM information_schema.columns
          WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
    );
    type Described = (String, String, String, String, u64, String, bool);
    let described: Vec<Described> = database.rows(connection, &sql).await?;
    let column = |(name, data_type, column_type, charset, size, extra, defaulted): Described| {
        let extra = extra.to_ascii_lowercase();
        let kind = Kind::parse(&TypeText {
            data_type: &data_type,
            column_type: &column_type,
            charset: &charset,
            size,
        });
        // `DEFAULT_GENERATED` (MySQL) marks an expression as default, not a generated column.
        let generated = extra.contains("virtual") || extra.contains("stored") || extra.contains("persistent");
        let auto_increment = extra.contains("auto_increment");
        let on_update = extra.contains("on update");
        Column {
            name,
            kind,
            generated,
            optional: defaulted || generated || auto_increment,
            auto_increment,
            on_update,
        }
    };
    Ok(described.into_iter().map(column).collect())
}

/// Checks that the declared key is the primary key; whether other unique indexes exist.
async fn load_keys(database: &Database, connection: &mut Conn, declared: &Table) -> Result<bool, LoadFault> {
    let sql = format!(
        "SELECT index_name, column_name FROM information_schema.statistics
          WHERE table_schema = DATABASE() AND table_name = '{}' AND non_unique = 0",
        declared.name
    );
    let unique: Vec<(String, String)> = database.rows(connection, &sql).await?;
    let primary: Vec<&str> =
        unique.iter().filter(|(index, _)| index == "PRIMARY").map(|(_, column)| column.as_str()).collect();
    if primary != [declared.key.as_str()] {
        let (table, key) = (&declared.name, &declared.key);
        return Err(LoadFault::Shape(format!("the primary key of table `{table}` is not `{key}` alone")));
    }
    Ok(unique.len() > primary.len())
}
