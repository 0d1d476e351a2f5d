//! Two pages of the same table beside each other, and what differs in words.

use crate::error::Fault;
use crate::schema::TableSchema;
use crate::schema::kind::Kind;
use banyan_core::Row;
use banyan_core::protocol::target::RowsPage;
use serde_json::Value;
use std::collections::BTreeMap;

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 40;

/// A row on both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// At the monolith.
    pub monolith: Option<Row>,
    /// At the service.
    pub service: Option<Row>,
}

/// Pages merged as far as both reach.
#[derive(Debug)]
pub struct Merged {
    /// Rows by key.
    pub pairs: BTreeMap<u64, Pair>,
    /// The key up to which both pages reach; `None` where both are complete.
    pub through: Option<u64>,
}

/// Merges a page of the monolith, complete where it has fewer rows than its limit, with one of the service.
///
/// # Errors
/// The service's rows have no key, or are not in order.
pub fn merge(
    table: &TableSchema,
    (monolith, limit): (Vec<Row>, u64),
    service: RowsPage,
) -> Result<Merged, Fault> {
    let keyed = |rows: Vec<Row>| -> Option<Vec<(u64, Row)>> {
        rows.into_iter().map(|row| Some((table.key_of(&row)?, row))).collect()
    };
    let odd =
        || Fault::Schema(format!("the service tells rows of `{}` without a key or not in order", table.name));
    let more = monolith.len() as u64 >= limit;
    let (monolith, service_rows) = (keyed(monolith).ok_or_else(odd)?, keyed(service.rows).ok_or_else(odd)?);
    if !service_rows.is_sorted_by(|a, b| a.0 < b.0) || (service.more && service_rows.is_empty()) {
        return Err(odd());
    }
    let end = |rows: &[(u64, Row)], more: bool| rows.last().filter(|_| more).map(|(key, _)| *key);
    let ends = [end(&monolith, more), end(&service_rows, service.more)];
    let through = ends.into_iter().flatten().min();
    let reached = |key: u64| through.is_none_or(|through| key <= through);
    let mut pairs: BTreeMap<u64, Pair> = BTreeMap::new();
    for (key, row) in monolith.into_iter().filter(|(key, _)| reached(*key)) {
        pairs.entry(key).or_default().monolith = Some(row);
    }
    for (key, row) in service_rows.into_iter().filter(|(key, _)| reached(*key)) {
        pairs.entry(key).or_default().service = Some(row);
    }
    Ok(Merged { pairs, through })
}

/// How the two rows differ; `None` where they mean the same.
pub fn difference(table: &TableSchema, pair: &Pair) -> Option<String> {
    match (&pair.monolith, &pair.service) {
        (None, None) => None,
        (Some(_), None) => Some("only at the monolith".into()),
        (None, Some(_)) => Some("only at the service".into()),
        (Some(monolith), Some(service)) => {
            let differing = table.compared().filter_map(|column| {
                let (ours, theirs) = (monolith.get(&column.name), service.get(&column.name));
                (!same(&column.kind, ours, theirs)).then(|| {
                    let (ours, theirs) = (shown(ours), shown(theirs));
                    format!("{} is {ours} at the monolith, {theirs} at the service", column.name)
                })
            });
            let words: Vec<String> = differing.collect();
            (!words.is_empty()).then(|| words.join("; "))
        }
    }
}

fn same(kind: &Kind, ours: Option<&Value>, theirs: Option<&Value>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
    match kind {
        _ if ours == theirs => true,
        Kind::Float | Kind::Double => ours.as_f64().is_some() && ours.as_f64() == theirs.as_f64(),
        Kind::Json => parsed(ours).is_some() && parsed(ours) == parsed(theirs),
        _ => false,
    }
}

fn parsed(value: &Value) -> Option<Value> {
    serde_json::from_str(value.as_str()?).ok()
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "missing".into() };
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Column;
    use banyan_core::capability::TableRole;
    use serde_json::json;

    fn table() -> TableSchema {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
            generated: false,
            optional: false,
            auto_increment: false,
            on_update: false,
        };
        let id = column("id", Kind::Integer { bits: 64, unsigned: true });
        let columns = vec![id, column("n", Kind::Double), column("j", Kind::Json)];
        TableSchema {
            name: "t".into(),
            role: TableRole::Owned,
            columns,
            taken: vec![0, 1, 2],
            key: 0,
            subject: 0,
            trace: None,
            unique_besides_key: false,
        }
    }

    fn row(id: u64, n: Value, j: &str) -> Row {
        [("id", json!(id)), ("n", n), ("j", json!(j))].map(|(k, v)| (k.to_owned(), v)).into()
    }

    fn rows(ids: &[u64]) -> Vec<Row> {
        ids.iter().map(|id| row(*id, json!(1), "{}")).collect()
    }

    #[test]
    fn pages_are_compared_as_far_as_both_reach() {
        let page = |ids: &[u64], more| RowsPage { rows: rows(ids), more };
        let merged = merge(&table(), (rows(&[1, 2, 5]), 3), page(&[1, 3, 9], false)).unwrap();
        assert_eq!((merged.through, merged.pairs.len()), (Some(5), 4));
        let merged = merge(&table(), (rows(&[1, 2]), 3), page(&[1, 3, 9], true)).unwrap();
        assert_eq!((merged.through, merged.pairs.len()), (Some(9), 4));
        let merged = merge(&table(), (rows(&[1]), 3), page(&[], false)).unwrap();
        assert_eq!((merged.through, merged.pairs.len()), (None, 1));
        assert!(merge(&table(), (vec![], 3), page(&[2, 1], false)).is_err());
        assert!(merge(&table(), (vec![], 3), page(&[], true)).is_err(), "it would never end");
    }

    #[test]
    fn rows_that_mean_the_same_do_not_differ() {
        let pair = |a: Row, b: Row| difference(&table(), &Pair { monolith: Some(a), service: Some(b) });
        assert_eq!(pair(row(1, json!(1), "{\"a\": 1}"), row(1, json!(1.0), "{\"a\":1}")), None);
        let words = pair(row(1, json!(1), "{}"), row(1, json!(2), "{}")).unwrap();
        assert_eq!(words, "n is 1 at the monolith, 2 at the service");
        assert!(pair(row(1, json!(1), "{}"), Row::new()).unwrap().contains("missing at the service"));
    }
}
