//! What a forced rollback may lose, for people.

use banyan_core::protocol::exposure::{Exposure, ExposureSource};

use super::output::Table;

/// Prints it: the numbers, the buckets, the writes.
pub fn print(exposure: &Exposure) {
    let total = exposure.total();
    let known = match exposure.source {
        ExposureSource::Outbox => "counted in the service's outbox",
        ExposureSource::Gateways => {
            "at most, from the gateways' records: the service's outbox cannot be read"
        }
    };
    println!(
        "exposed: {} acknowledged writes that the monolith does not have, {} undecided intents ({known})",
        total.writes, total.intents
    );
    for record in &exposure.unheard {
        println!("not heard: {record}; what it acknowledged is not counted");
    }
    if !exposure.by_bucket.is_empty() {
        let mut table = Table::new(&["bucket", "writes", "intents"]);
        for (bucket, of) in &exposure.by_bucket {
            table.row(vec![bucket.to_string(), of.writes.to_string(), of.intents.to_string()]);
        }
        table.print();
    }
    if !exposure.writes.is_empty() {
        let mut table = Table::new(&["bucket", "route", "at ms", "reference", "position"]);
        for write in &exposure.writes {
            table.row(vec![
                write.bucket.to_string(),
                write.route.clone(),
                write.at_ms.to_string(),
                write.reference.clone().unwrap_or_default(),
                write.position.to_string(),
            ]);
        }
        table.print();
    }
}
