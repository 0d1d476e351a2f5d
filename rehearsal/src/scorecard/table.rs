//! The scorecard as a table for people.

use super::{Latency, Scorecard, Spike};

/// Name and figures.
type Row = (String, String);

fn row(name: &str, text: String) -> Row {
    (name.to_owned(), text)
}

/// A spike in one sentence.
pub fn spike_in_words(spike: &Spike) -> String {
    let (monolith, service) = (&spike.monolith, &spike.service);
    format!(
        "×{:.0} for {:.0} s: monolith {} answered, {} shed, {} failed; notifications {} answered, {} shed, {} failed",
        spike.factor,
        spike.seconds,
        monolith.answered,
        monolith.shed,
        monolith.failed,
        service.answered,
        service.shed,
        service.failed
    )
}

impl Scorecard {
    /// The table for people, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.rows().iter().map(|(name, text)| format!("  {name:<26}{text}")).collect()
    }

    /// The same in two columns.
    pub fn rows(&self) -> Vec<Row> {
        [self.rows_of_requests(), self.rows_of_moves(), self.rows_of_figures()].concat()
    }

    fn rows_of_requests(&self) -> Vec<Row> {
        vec![
            row("requests", format!("{} in {:.0} s, seed {}", self.requests, self.seconds, self.seed)),
            row(
                "failed",
                format!("{}, and {} payments by the provider's outage", self.failed, self.failed_by_provider),
            ),
            row(
                "answered as it should be",
                format!(
                    "{:.3} %, with 95 % confidence at least {:.3} %",
                    self.success_rate.value * 100.0,
                    self.success_rate.lower_95 * 100.0
                ),
            ),
            row("writes acknowledged", self.writes_acknowledged.to_string()),
            row("writes lost", self.writes_lost.to_string()),
            row("writes doubled", self.writes_doubled.to_string()),
            row(
                "writes without answer",
                format!(
                    "{}, of which {} took effect",
                    self.audit.unacknowledged, self.audit.unacknowledged_found
                ),
            ),
            row(
                "mails",
                format!(
                    "{}, {} doubled, {} missing",
                    self.mails.arrived, self.mails.doubled, self.mails.missing
                ),
            ),
        ]
    }

    fn rows_of_moves(&self) -> Vec<Row> {
        vec![
            row(
                "handovers",
                format!(
                    "{} finished, {} undone, {} buckets moved",
                    self.handovers, self.handovers_aborted, self.buckets_moved
                ),
            ),
            row(
                "hold of a request",
                format!(
                    "p50 {:.0}   p99 {:.0}   max {:.0} ms, {} requests held",
                    self.hold_ms.p50, self.hold_ms.p99, self.hold_ms.max, self.held
                ),
            ),
            row("slowest drained write", format!("{:.0} ms", self.drained_write_ms_max)),
            row(
                "rollback, whole cohort",
                format!("p50 {:.0}   max {:.0} ms", self.rollback_ms.p50, self.rollback_ms.max),
            ),
            row("lag of the streams", format!("p50 {:.0}   p99 {:.0} ms", self.lag_ms.p50, self.lag_ms.p99)),
        ]
    }

    fn rows_of_figures(&self) -> Vec<Row> {
        let tail = |l: &Latency| format!("mean {:>7.1}   p50 {:>7.1}   p99 {:>7.1} ms", l.mean, l.p50, l.p99);
        let mut lines = vec![
            row("latency before", tail(&self.latency_ms.before)),
            row("latency through gateway", tail(&self.latency_ms.through_gateway)),
            row("latency after", tail(&self.latency_ms.after)),
            row(
                "CPU per request",
                format!(
                    "{:.1} ms before, {:.1} through gateway, {:.1} after",
                    self.cpu_ms_per_request.before,
                    self.cpu_ms_per_request.through_gateway,
                    self.cpu_ms_per_request.after
                ),
            ),
            row(
                "verify",
                format!("{} rows compared, {} differ", self.verify.rows_compared, self.verify.mismatches),
            ),
        ];
        if let Some(outage) = &self.outage {
            let followed = outage
                .followed_ms
                .map_or("never followed".into(), |ms| format!("followed {ms:.0} ms after it"));
            lines.push(row(
                "provider's outage",
                format!(
                    "{:.0} s: {} buckets moved, {} straggled ({}) and {followed}",
                    outage.seconds,
                    outage.buckets_moved,
                    outage.stragglers.len(),
                    outage.stragglers.join(", "),
                ),
            ));
        }
        lines.extend(self.spike.as_ref().map(|spike| row("spike", spike_in_words(spike))));
        let recoveries = self.recoveries.iter().map(|recovery| row("recovery", recovery.in_words()));
        lines.extend(recoveries);
        lines
    }

    /// The last line.
    pub fn verdict(&self) -> String {
        if self.passed {
            "0 failed requests, 0 writes lost, 0 written twice".into()
        } else {
            format!(
                "NOT PASSED: {} failed requests, {} writes lost, {} written twice; {} bounds broken",
                self.failed,
                self.writes_lost,
                self.writes_doubled,
                self.broken.len()
            )
        }
    }
}
