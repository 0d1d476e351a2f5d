//! The tables of the capabilities.

use super::{Finding, PreflightError};
use crate::database::{Database, DatabaseFault};
use crate::schema::{Column, LoadFault, TableSchema};
use banyan_core::Capability;
use banyan_core::capability::{Table, TableRole};
use mysql_async::Conn;

/// Looks at every declared table.
///
/// # Errors
/// The database fails.
pub async fn look(
    database: &Database,
    connection: &mut Conn,
    capabilities: &[Capability],
) -> Result<Vec<Finding>, PreflightError> {
    let mut findings = Vec::new();
    for declared in capabilities.iter().flat_map(|capability| &capability.tables) {
        let before = findings.len();
        match TableSchema::load(database, connection, declared).await {
            Ok(schema) => findings.extend(of_table(database, connection, (declared, &schema)).await?),
            Err(LoadFault::Shape(cause)) => findings.push(Finding::mend(cause, shape_cure(declared))),
            Err(LoadFault::Database(fault)) => return Err(fault.into()),
        }
        if !findings[before..].iter().any(|finding| finding.level == super::Level::Mend) {
            findings.push(Finding::ok(format!("table `{}` can be captured", declared.name)));
        }
    }
    Ok(findings)
}

fn shape_cure(declared: &Table) -> String {
    let Table { name, key, subject, .. } = declared;
    format!(
        "-- declare the table as it is, or give `{name}` the integer primary key `{key}`, the integer column \
         `{subject}` and types that Banyan carries"
    )
}

async fn of_table(
    database: &Database,
    connection: &mut Conn,
    (declared, schema): (&Table, &TableSchema),
) -> Result<Vec<Finding>, DatabaseFault> {
    let name = &declared.name;
    let mut findings = Vec::new();
    let sql = format!(
        "SELECT COALESCE(engine, '') FROM information_schema.tables
          WHERE table_schema = DATABASE() AND table_name = '{name}'"
    );
    if let Some(engine) = database.rows::<String>(connection, &sql).await?.into_iter().find(|e| e != "InnoDB")
    {
        let cure = format!("ALTER TABLE `{name}` ENGINE = InnoDB;");
        findings.push(Finding::mend(
            format!("table `{name}` is stored by {engine}, which has no transactions"),
            cure,
        ));
    }
    if declared.leases_ids && !schema.columns[schema.key].auto_increment {
        let cure = format!("-- remove `leases_ids` from table `{name}`: its key is no AUTO_INCREMENT");
        findings.push(Finding::mend(format!("the service cannot lease ids of `{name}`"), cure));
    }
    if let Some(place) = schema.trace {
        findings.extend(trace_column(name, &schema.columns[place]));
    }
    if declared.role == TableRole::Reference {
        return Ok(findings);
    }
    findings.extend(subject_index(database, connection, declared).await?);
    findings.extend(foreign_triggers(database, connection, name).await?);
    findings.extend(cascades(database, connection, name).await?);
    Ok(findings)
}

/// Reverse's rows leave the column out.
fn trace_column(table: &str, column: &Column) -> Option<Finding> {
    let cure = format!("ALTER TABLE `{table}` MODIFY `{}` VARCHAR(55) NULL;", column.name);
    let what = format!("the service's rows have no `{table}`.`{}`: it must have a default", column.name);
    (!column.optional).then(|| Finding::mend(what, cure))
}

async fn subject_index(
    database: &Database,
    connection: &mut Conn,
    declared: &Table,
) -> Result<Option<Finding>, DatabaseFault> {
    let Table { name, subject, .. } = declared;
    let sql = format!(
        "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '{name}'
            AND column_name = '{subject}' AND seq_in_index = 1 LIMIT 1"
    );
    let indexed = !database.rows::<u8>(connection, &sql).await?.is_empty();
    let cure = format!("CREATE INDEX `{name}_{subject}` ON `{name}` (`{subject}`);");
    let warning = || {
        Finding::warn(format!("`{name}`.`{subject}` has no index: repairs by subject are slow"), Some(cure))
    };
    Ok((!indexed).then(warning))
}

async fn foreign_triggers(
    database: &Database,
    connection: &mut Conn,
    table: &str,
) -> Result<Vec<Finding>, DatabaseFault> {
    let sql = format!(
        "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE()
            AND event_object_table = '{table}' AND trigger_name NOT LIKE 'banyan\\_%'"
    );
    let names: Vec<String> = database.rows(connection, &sql).await?;
    let found = |name: String| {
        let what = format!("trigger `{name}` on `{table}` would run for reverse's writes as well");
        Finding::mend(what, format!("DROP TRIGGER `{name}`; -- and do its work in the application"))
    };
    Ok(names.into_iter().map(found).collect())
}

/// Rows that a cascade changes fire no trigger, and older servers do not log them.
async fn cascades(
    database: &Database,
    connection: &mut Conn,
    table: &str,
) -> Result<Vec<Finding>, DatabaseFault> {
    let sql = format!(
        "SELECT constraint_name, delete_rule, update_rule FROM information_schema.referential_constraints
          WHERE constraint_schema = DATABASE() AND table_name = '{table}'
            AND (delete_rule NOT IN ('RESTRICT', 'NO ACTION') OR update_rule NOT IN ('RESTRICT', 'NO ACTION'))"
    );
    let rules: Vec<(String, String, String)> = database.rows(connection, &sql).await?;
    let found = |(name, delete, update): (String, String, String)| {
        let what = format!(
            "foreign key `{name}` of `{table}` cascades (delete {delete}, update {update}): no trigger sees it"
        );
        let cure = format!(
            "ALTER TABLE `{table}` DROP FOREIGN KEY `{name}`; -- make it anew with ON DELETE RESTRICT"
        );
        Finding::mend(what, cure)
    };
    Ok(rules.into_iter().map(found).collect())
}
