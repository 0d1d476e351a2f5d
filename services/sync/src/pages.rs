//! Rows of a captured table as a query yields them.

use crate::database::Database;
use crate::error::Fault;
use crate::schema::TableSchema;
use banyan_core::Row;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

/// Runs a query whose columns are the table's select list, and decodes its rows. The binary protocol
/// yields values as the binlog holds them.
///
/// # Errors
/// The database fails, or a value is not what its type says.
pub async fn select(
    database: &Database,
    connection: &mut Conn,
    table: &TableSchema,
    sql: &str,
) -> Result<Vec<Row>, Fault> {
    // Prepared and dropped: the texts differ with each page, and the server would keep them all.
    let read = async {
        let statement = connection.prep(sql).await?;
        let rows: Vec<mysql_async::Row> = connection.exec(&statement, ()).await?;
        connection.close(statement).await?;
        Ok(rows)
    };
    let rows = database.bounded(read).await?;
    rows.iter().map(|row| table.decode_selected(row)).collect::<Result<_, _>>().map_err(Fault::Schema)
}
