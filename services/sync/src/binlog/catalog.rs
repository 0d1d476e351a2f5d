//! Which tables a capability captures, and how a table map of the binlog is recognised as one of them.

use crate::database::Database;
use crate::own::{self, OwnTable};
use crate::schema::kind::Kind;
use crate::schema::{LoadFault, TableSchema};
use banyan_core::Capability;
use mysql_async::Conn;
use mysql_async::binlog::events::TableMapEvent;
use mysql_async::consts::ColumnType;
use std::sync::Arc;

/// The captured tables of one capability.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The monolith's database.
    pub schema: Arc<str>,
    /// The capability's name.
    pub capability: Arc<str>,
    /// Its tables, as declared.
    pub tables: Vec<Arc<TableSchema>>,
}

/// What a table map stands for.
#[derive(Clone, Debug)]
pub enum Mapped {
    /// A captured table.
    Captured(Arc<TableSchema>),
    /// A table of Banyan.
    Own(OwnTable),
    /// Anything else.
    Other,
}

impl Catalog {
    /// Reads the shapes of all tables of a capability.
    ///
    /// # Errors
    /// The database fails, or a table cannot be captured.
    pub async fn load(
        database: &Database,
        connection: &mut Conn,
        capability: &Capability,
    ) -> Result<Self, LoadFault> {
        let mut tables = Vec::new();
        for declared in &capability.tables {
            tables.push(Arc::new(TableSchema::load(database, connection, declared).await?));
        }
        Ok(Self { schema: database.schema().into(), capability: capability.name.as_str().into(), tables })
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Arc<TableSchema>> {
        self.tables.iter().find(|t| t.name == name)
    }

    /// The names of all tables.
    pub fn names(&self) -> Vec<&str> {
        self.tables.iter().map(|t| t.name.as_str()).collect()
    }

    /// Recognises a table map.
    ///
    /// # Errors
    /// It is a captured table of another shape than the one read from `information_schema`.
    pub fn recognise(&self, map: &TableMapEvent<'_>) -> Result<Mapped, String> {
        if map.database_name() != *self.schema {
            return Ok(Mapped::Other);
        }
        let name = map.table_name();
        if let Some(table) = self.table(&name) {
            check_shape(table, map)?;
            return Ok(Mapped::Captured(Arc::clone(table)));
        }
        let read = [own::FENCE, own::TAG, own::INTENT, own::HEARTBEAT];
        Ok(read.into_iter().find(|own| own.name == name).map_or(Mapped::Other, Mapped::Own))
    }
}

fn check_shape(table: &TableSchema, map: &TableMapEvent<'_>) -> Result<(), String> {
    let name = &table.name;
    let (logged, known) = (map.columns_count(), table.columns.len() as u64);
    if logged != known {
        return Err(format!("table `{name}` was logged with {logged} columns, and has {known}"));
    }
    for (place, column) in table.columns.iter().enumerate() {
        let logged = map.get_column_type(place).ok().flatten();
        if !logged.is_some_and(|logged| fits(&column.kind, logged)) {
            let column = &column.name;
            return Err(format!(
                "column `{name}`.`{column}` was logged as {logged:?}, and is of another type"
            ));
        }
    }
    Ok(())
}

fn fits(kind: &Kind, logged: ColumnType) -> bool {
    use ColumnType::{
        MYSQL_TYPE_BIT, MYSQL_TYPE_BLOB, MYSQL_TYPE_DATE, MYSQL_TYPE_DATETIME, MYSQL_TYPE_DATETIME2,
        MYSQL_TYPE_DOUBLE, MYSQL_TYPE_ENUM, MYSQL_TYPE_FLOAT, MYSQL_TYPE_INT24, MYSQL_TYPE_JSON,
        MYSQL_TYPE_LONG, MYSQL_TYPE_LONG_BLOB, MYSQL_TYPE_LONGLONG, MYSQL_TYPE_MEDIUM_BLOB,
        MYSQL_TYPE_NEWDATE, MYSQL_TYPE_NEWDECIMAL, MYSQL_TYPE_SET, MYSQL_TYPE_SHORT, MYSQL_TYPE_STRING,
        MYSQL_TYPE_TIME, MYSQL_TYPE_TIME2, MYSQL_TYPE_TIMESTAMP, MYSQL_TYPE_TIMESTAMP2, MYSQL_TYPE_TINY,
        MYSQL_TYPE_TINY_BLOB, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_VARCHAR, MYSQL_TYPE_YEAR,
    };
    let blob = matches!(
        logged,
        MYSQL_TYPE_BLOB | MYSQL_TYPE_TINY_BLOB | MYSQL_TYPE_MEDIUM_BLOB | MYSQL_TYPE_LONG_BLOB
    );
    let string = matches!(logged, MYSQL_TYPE_STRING | MYSQL_TYPE_VARCHAR | MYSQL_TYPE_VAR_STRING);
    match kind {
        Kind::Integer { bits, .. } => match bits {
            8 => logged == MYSQL_TYPE_TINY,
            16 => logged == MYSQL_TYPE_SHORT,
            24 => logged == MYSQL_TYPE_INT24,
            32 => logged == MYSQL_TYPE_LONG,
            _ => logged == MYSQL_TYPE_LONGLONG,
        },
        Kind::Year => logged == MYSQL_TYPE_YEAR,
        Kind::Decimal => logged == MYSQL_TYPE_NEWDECIMAL,
        Kind::Float => logged == MYSQL_TYPE_FLOAT,
        Kind::Double => logged == MYSQL_TYPE_DOUBLE,
        Kind::Text(_) | Kind::Bytes => blob || string,
        Kind::Json => logged == MYSQL_TYPE_JSON,
        Kind::Enum(_) => logged == MYSQL_TYPE_ENUM,
        Kind::Set(_) => logged == MYSQL_TYPE_SET,
        Kind::Date => matches!(logged, MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE),
        Kind::Time(_) => matches!(logged, MYSQL_TYPE_TIME | MYSQL_TYPE_TIME2),
        Kind::Datetime(_) => matches!(logged, MYSQL_TYPE_DATETIME | MYSQL_TYPE_DATETIME2),
        Kind::Timestamp(_) => matches!(logged, MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_TIMESTAMP2),
        Kind::Bit => logged == MYSQL_TYPE_BIT,
        Kind::Binary(_) => string,
        // Only a column that the capability does not take.
        Kind::Unsupported(_) => true,
    }
}
