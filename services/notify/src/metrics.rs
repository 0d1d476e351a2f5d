//! The metrics of notify, in the default registry.

use crate::domain::MailOutcome;
use prometheus::{IntCounterVec, register_int_counter_vec};
use std::sync::LazyLock;

/// Tries to send a mail, by outcome.
static MAILS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_notify_mails_total", "Tries to send a mail, by outcome", &["outcome"])
        .expect("a metric of a unique name is registered once")
});

/// Shows the counters before there is a mail.
pub fn begin() {
    for outcome in [MailOutcome::Sent, MailOutcome::Failed, MailOutcome::NotTaken] {
        MAILS.with_label_values(&[outcome.as_str()]);
    }
}

/// Counts a try.
pub fn mail(outcome: MailOutcome) {
    MAILS.with_label_values(&[outcome.as_str()]).inc();
}
