//! The case study's table of results beside what was measured here.
//!
//! The case study moved another system at another scale: its figures are a claim to stand beside, and only
//! ratios can be compared. Each row says what its figure means here, and what was not measured.

use serde::Serialize;

use crate::scorecard::{Latency, Scorecard, spike_in_words};

/// One row.
#[derive(Debug, Serialize)]
pub struct Row {
    what: &'static str,
    claim: &'static str,
    measured: String,
    note: String,
}

const NOT_MEASURED: &str = "not measured";

/// All rows.
pub fn rows(card: &Scorecard) -> Vec<Row> {
    vec![mean(card), tail(card), success(card), recovery(card), cost(card), spike(card)]
}

fn measured(latency: &Latency) -> bool {
    latency.mean > 0.0
}

/// Before → after, with the change in percent; `None` where a side is missing.
fn change(before: f64, after: f64, unit: &str) -> Option<String> {
    if before <= 0.0 || after <= 0.0 {
        return None;
    }
    let percent = (after / before - 1.0) * 100.0;
    let sign = if percent < 0.0 { '−' } else { '+' };
    Some(format!("{before:.1} → {after:.1} {unit} ({sign}{:.0} %)", percent.abs()))
}

fn latency_note(card: &Scorecard, of: fn(&Latency) -> f64) -> String {
    let through = &card.latency_ms.through_gateway;
    let gateway = if measured(through) {
        format!("With the gateway and everything still at the monolith: {:.1} ms. ", of(through))
    } else {
        String::new()
    };
    gateway + "All requests, of which only the notifications moved; from when a request was due"
}

fn mean(card: &Scorecard) -> Row {
    let latency = &card.latency_ms;
    Row {
        what: "Mean latency",
        claim: "450 → 85 ms (−81 %)",
        measured: change(latency.before.mean, latency.after.mean, "ms")
            .unwrap_or_else(|| NOT_MEASURED.into()),
        note: latency_note(card, |latency| latency.mean),
    }
}

fn tail(card: &Scorecard) -> Row {
    let latency = &card.latency_ms;
    Row {
        what: "p99 latency",
        claim: "2.1 s → 280 ms (−87 %)",
        measured: change(latency.before.p99, latency.after.p99, "ms").unwrap_or_else(|| NOT_MEASURED.into()),
        note: latency_note(card, |latency| latency.p99),
    }
}

fn success(card: &Scorecard) -> Row {
    let rate = card.success_rate;
    let counted = card.requests - card.failed_by_provider - card.failed_while_down - card.shed;
    let mut note = format!("{} of {counted} requests failed", card.failed);
    for (count, why) in [
        (card.failed_by_provider, "payments while the provider hung"),
        (card.failed_while_down, "requests while a role was down that a key had killed"),
        (card.shed, "requests that the gateway shed in the spike"),
    ] {
        if count > 0 {
            note += &format!("; {count} {why} are left out");
        }
    }
    if card.failed == 0 && rate.lower_95 < 0.9999 {
        note += "; a run without a failure shows 99.99 % from 30,000 requests on";
    }
    Row {
        what: "Success",
        claim: "99.99 % uptime",
        measured: format!("{:.3} %, at least {:.3} % (95 %)", rate.value * 100.0, rate.lower_95 * 100.0),
        note,
    }
}

fn recovery(card: &Scorecard) -> Row {
    let parts: Vec<String> = card
        .recoveries
        .iter()
        .map(|r| {
            let moved = r.moved_ms.map_or_else(String::new, |ms| format!(" → {}", seconds(ms)));
            format!("{}: {} → {}{moved}", r.fault, seconds(r.detected_ms), seconds(r.recovered_ms))
        })
        .collect();
    let failed: u64 = card.recoveries.iter().map(|recovery| recovery.failed).sum();
    let mut note = "fault: detected → recovered → buckets moved again".to_owned();
    if !parts.is_empty() {
        note += &format!("; {failed} requests failed meanwhile");
    }
    if let Some(followed) = card.outage.as_ref().and_then(|outage| outage.followed_ms) {
        note += &format!("; after the provider's outage the last buckets followed in {}", seconds(followed));
    }
    note += ". The supervisor is on this machine: no person had to be called";
    let measured = if parts.is_empty() { NOT_MEASURED.into() } else { parts.join("; ") };
    Row { what: "Time to recover", claim: "12 min", measured, note }
}

fn seconds(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

fn cost(card: &Scorecard) -> Row {
    let cpu = &card.cpu_ms_per_acknowledged_operation;
    let through = if cpu.through_gateway > 0.0 {
        format!("; {:.1} ms with the gateway and everything at the monolith", cpu.through_gateway)
    } else {
        String::new()
    };
    Row {
        what: "Cost",
        claim: "−47 %",
        measured: change(cpu.before, cpu.after, "ms CPU").unwrap_or_else(|| NOT_MEASURED.into()),
        note: format!(
            "CPU time of all processes, databases and both sides included, by request that was answered as it \
             should be{through}. Money was not measured"
        ),
    }
}

fn spike(card: &Scorecard) -> Row {
    let (measured, note) = match &card.spike {
        None => (NOT_MEASURED.into(), String::new()),
        Some(spike) => {
            let answered = (spike.monolith.answered + spike.service.answered) as f64;
            let per_s = answered / spike.until_answered_s.max(0.1);
            let tail = &spike.service.latency_ms;
            (
                spike_in_words(spike),
                format!(
                    "{:.0} requests a second were due, {per_s:.0} were answered; notifications p50 {}, p99 {}; at the \
                     monolith p50 {}, p99 {}. Shed is 503 with Retry-After at the bound of the monolith: nothing \
                     was done",
                    spike.wanted_per_s,
                    seconds(tail.p50),
                    seconds(tail.p99),
                    seconds(spike.monolith.latency_ms.p50),
                    seconds(spike.monolith.latency_ms.p99),
                ),
            )
        }
    };
    Row { what: "Spike", claim: "ten-fold", measured, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_says_so() {
        let rows = rows(&Scorecard::default());
        let silent: Vec<&str> =
            rows.iter().filter(|row| row.measured != NOT_MEASURED).map(|row| row.what).collect();
        assert_eq!(silent, ["Success"], "a rate of no requests is zero, and says of how many");
    }

    #[test]
    fn a_change_has_its_sign() {
        assert_eq!(change(10.0, 5.3, "ms").as_deref(), Some("10.0 → 5.3 ms (−47 %)"));
        assert_eq!(change(10.0, 12.0, "ms").as_deref(), Some("10.0 → 12.0 ms (+20 %)"));
        assert_eq!(change(0.0, 12.0, "ms"), None);
    }
}
