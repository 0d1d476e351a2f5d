//! Causes in words, short enough for one line.

use banyan_core::BucketSet;
use banyan_core::protocol::monolith::OpenTransaction;

/// How many buckets a line names.
const NAMED_MAX: usize = 6;
/// How many transactions are described.
const HOLDERS_MAX: usize = 5;
/// How much of a statement is shown, in characters.
const STATEMENT_MAX: usize = 80;

/// `bucket 17`, or `buckets 3, 9, 17, …  (40 in all)`.
pub(super) fn buckets(set: &BucketSet) -> String {
    let named: Vec<String> = set.iter().take(NAMED_MAX).map(|b| b.to_string()).collect();
    match set.len() {
        1 => format!("bucket {}", named.join("")),
        n if n <= NAMED_MAX => format!("buckets {}", named.join(", ")),
        n => format!("buckets {}, … ({n} in all)", named.join(", ")),
    }
}

/// `1 bucket` or `2 buckets`.
pub(super) fn count(buckets: usize) -> String {
    if buckets == 1 { "1 bucket".into() } else { format!("{buckets} buckets") }
}

/// What keeps buckets with a dead letter back.
pub(super) fn parked(set: &BucketSet) -> String {
    format!("{}: a change that could not be applied; see `banyan letters`", buckets(set))
}

/// Who keeps the gates of buckets.
pub(super) fn holders(left: &BucketSet, holders: &[OpenTransaction]) -> Vec<String> {
    let name = buckets(left);
    match holders {
        [] => vec![format!("{name}: a write at the monolith that has just ended")],
        [one] => vec![format!("{name}: {}", transaction(one))],
        many => {
            let mut lines = vec![format!("{name}: {} transactions", many.len())];
            lines.extend(many.iter().take(HOLDERS_MAX).map(transaction));
            lines
        }
    }
}

/// Writes that were sent before the freeze.
pub(super) fn in_flight(undrained: &BucketSet, waited_ms: u128) -> String {
    format!("{}: a write in flight since before the freeze {waited_ms} ms ago", buckets(undrained))
}

/// Prepared transactions, which hold locks that nobody sees.
pub(super) fn xa(prepared: u64) -> String {
    format!("{prepared} prepared XA transactions at the monolith; see XA RECOVER")
}

fn transaction(open: &OpenTransaction) -> String {
    let doing = match &open.statement {
        None => "idle".into(),
        Some(statement) => {
            let mut shown: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            if shown.chars().count() > STATEMENT_MAX {
                shown = shown.chars().take(STATEMENT_MAX).chain(['…']).collect();
            }
            format!("running `{shown}`")
        }
    };
    let (user, id) = (&open.user, open.connection_id);
    format!("transaction of {user} (connection {id}), open for {}, {doing}", age(open.age_ms))
}

fn age(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{} s", ms / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(statement: Option<&str>) -> OpenTransaction {
        let statement = statement.map(str::to_owned);
        OpenTransaction { connection_id: 5, user: "app@localhost".into(), age_ms: 12_400, statement }
    }

    #[test]
    fn causes_are_short_and_name_the_holder() {
        let (one, seven): (BucketSet, BucketSet) = ("17".parse().unwrap(), "1-7".parse().unwrap());
        assert_eq!(
            holders(&one, &[open(None)]),
            ["bucket 17: transaction of app@localhost (connection 5), open for 12 s, idle"]
        );
        assert_eq!(
            holders(&seven, &[open(Some("UPDATE\n  t SET a = 1")), open(None)])[..2],
            [
                "buckets 1, 2, 3, 4, 5, 6, … (7 in all): 2 transactions",
                "transaction of app@localhost (connection 5), open for 12 s, running `UPDATE t SET a = 1`"
            ]
        );
        let long = "x".repeat(200);
        assert!(holders(&one, &[open(Some(&long))])[0].len() < 180);
    }
}
