//! The declaration of a capability: what moves as one.

use crate::pattern::PathPattern;
use serde::{Deserialize, Serialize};

/// A capability as declared in `banyan.toml` (`[[capability]]`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// Its name, such as `notifications`.
    pub name: String,
    /// The team that owns it.
    pub owner: String,
    /// Base URL of the service it moves to, such as `http://127.0.0.1:7104`.
    pub service: String,
    /// The cohort's steps in percent, ascending.
    #[serde(default = "default_steps")]
    pub steps: Vec<u8>,
    /// When a write at the service is acknowledged.
    #[serde(default)]
    pub dual_write: DualWrite,
    /// With `dual_write = "wait"`: a write that the monolith does not commit in time is answered 503
    /// `outcome_unknown`, instead of as if it had.
    #[serde(default)]
    pub strict: bool,
    /// Fields of a write's body, or headers, that name it to its sender, as an idempotency key does; gateways
    /// note the first that is there beside the writes that they acknowledge. `Idempotency-Key` comes last.
    #[serde(default)]
    pub references: Vec<String>,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Its tables in the monolith.
    pub tables: Vec<Table>,
}

/// When a write at the service is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DualWrite {
    /// Once the service has committed it.
    #[default]
    Async,
    /// Once the monolith's database has committed it too.
    Wait,
}

fn default_steps() -> Vec<u8> {
    vec![1, 10, 50, 100]
}

/// One route of a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The method in capitals; `GET` includes `HEAD`.
    pub method: String,
    /// The path pattern.
    pub path: PathPattern,
    /// What the route does.
    pub kind: RouteKind,
    /// How the subject is found.
    #[serde(default)]
    pub subject: SubjectSource,
    /// Whether a cookie-authenticated request must carry Laravel's CSRF token; reads never do.
    #[serde(default = "yes")]
    pub csrf: bool,
}

fn yes() -> bool {
    true
}

/// What a route does to its subject's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// Reads only; goes to the owner in every phase.
    Read,
    /// Writes; held while the bucket is handed over.
    Write,
    /// A page that stays with the monolith, which holds current data in every phase.
    Page,
}

/// How the subject of a request is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from", deny_unknown_fields)]
pub enum SubjectSource {
    /// The user of the session.
    #[default]
    Session,
    /// A placeholder of the path.
    Path {
        /// The placeholder's name.
        name: String,
    },
    /// A query parameter.
    Query {
        /// The parameter's name.
        name: String,
    },
    /// A request header.
    Header {
        /// The header's name.
        name: String,
    },
    /// A form or JSON field of the body, up to the gateway's `body_inspect_bytes_max`.
    Field {
        /// The field's name.
        name: String,
    },
    /// A field or query parameter that auth turns into the subject's id, such as `users.email`.
    Lookup {
        /// The field of the body or, failing that, the query parameter that holds the value.
        field: String,
        /// The lookup's name: `table.column` of the monolith.
        lookup: String,
    },
}

/// A table of the monolith that belongs to a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table's name.
    pub name: String,
    /// The single-column integer primary key.
    pub key: String,
    /// The column that holds the subject's id.
    pub subject: String,
    /// Whether the capability owns the rows or only reads them.
    #[serde(default)]
    pub role: TableRole,
    /// Columns to take; empty means all. Only `reference` tables may leave columns out.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Whether the service makes ids of this table's AUTO_INCREMENT key, from leased blocks.
    #[serde(default)]
    pub leases_ids: bool,
    /// A column in which the monolith's code notes the `traceparent` of the request that inserts a row, so that
    /// the row's way through Banyan belongs to that trace. Not compared: the service makes no rows with it.
    #[serde(default)]
    pub trace_column: Option<String>,
    /// What a stray insert means.
    #[serde(default)]
    pub stray_insert: StrayPolicy,
    /// What a stray update means.
    #[serde(default)]
    pub stray_update: StrayPolicy,
}

/// What a capability may do with a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableRole {
    /// Rows move with their bucket and are fenced.
    #[default]
    Owned,
    /// Rows always flow from the monolith to the service, never fenced, never written back.
    Reference,
}

/// What a monolith's write to a service-owned bucket means. Deletes are always rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrayPolicy {
    /// The statement fails with SQLSTATE 45B01.
    #[default]
    Reject,
    /// The service takes it over: an insert as it stands, an update as an intent.
    Import,
}

impl Capability {
    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.name == name)
    }

    /// Checks what types alone cannot: names, steps, subjects.
    ///
    /// # Errors
    /// One message per fault, each naming the key, the value and what is allowed.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let at = |what: String| format!("capability `{}`: {what}", self.name);
        let mut faults = Vec::new();
        if self.name.is_empty()
            || !self.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-')
        {
            faults.push(at("`name` must be lower-case letters, `-` or `_`".into()));
        }
        if self.steps.is_empty()
            || !self.steps.windows(2).all(|w| w[0] < w[1])
            || self.steps.iter().any(|s| *s > 100)
        {
            faults.push(at(format!("`steps` {:?} must ascend, each at most 100", self.steps)));
        }
        if self.strict && self.dual_write == DualWrite::Async {
            faults.push(at("`strict` is true, which needs `dual_write` \"wait\"".into()));
        }
        if !self.service.starts_with("http://") {
            faults.push(at(format!("`service` `{}` must begin with http://", self.service)));
        }
        for route in &self.routes {
            if let SubjectSource::Path { name } = &route.subject
                && !route.path.has(name)
            {
                faults.push(at(format!("route `{}` has no placeholder `{name}`", route.path)));
            }
        }
        for table in &self.tables {
            if [&table.name, &table.key, &table.subject].iter().any(|n| !is_identifier(n)) {
                faults.push(at(format!("table `{}`: names must be plain SQL identifiers", table.name)));
            }
            if table.trace_column.as_ref().is_some_and(|column| !is_identifier(column)) {
                faults.push(at(format!(
                    "table `{}`: `trace_column` must be a plain SQL identifier",
                    table.name
                )));
            }
            if table.trace_column.is_some() && !table.columns.is_empty() {
                faults.push(at(format!(
                    "table `{}`: a table with `trace_column` is taken with all its columns",
                    table.name
                )));
            }
            if table.role == TableRole::Owned && !table.columns.is_empty() {
                faults.push(at(format!(
                    "table `{}`: an owned table is taken with all its columns",
                    table.name
                )));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Whether a name can stand in SQL between backticks without escaping (letters, digits, `_`; at most 64).
pub fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
