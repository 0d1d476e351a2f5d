//! The options of `[notify]`. An option that cannot work fails the start and names itself.

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The options of notify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The SMTP server, `host:port`; spoken to without TLS.
    pub smtp: String,
    /// The sender of mails, `address` or `Name <address>`.
    pub from: String,
    /// What links in mails begin with: the address by which users reach the gateway.
    pub public_url: String,
    /// The most mails that are sent at once; 1 to 64.
    pub mail_concurrency: usize,
    /// How long the sending of one mail may take, in milliseconds; 100 to 60000. A mail whose fate is not
    /// known by then counts as failed.
    pub mail_timeout_ms: u64,
    /// The longest pause before an SMTP server that does not answer is tried again, in milliseconds; 100 to
    /// 600000.
    pub mail_backoff_ms_max: u64,
    /// How often a mail that the server puts off is tried, before it counts as failed; 1 to 100.
    pub mail_tries_max: u32,
    /// How long the closing of buckets waits for their mails, in milliseconds; 0 to 10000. A mail that is
    /// still being sent then counts as failed.
    pub close_wait_ms: u64,
    /// How many ids are leased from the monolith's counter at a time; 10 to 100000. More are leased when
    /// fewer than a third are left.
    pub ids_block_size: u64,
    /// The most commands that wait for the database; 16 to 100000. More are answered 503.
    pub queue_max: usize,
    /// The most commands of one transaction; 1 to 1024.
    pub batch_max: usize,
    /// The connections that read; 1 to 64.
    pub readers: usize,
    /// The largest request of a user, in bytes; 1024 to 1048576.
    pub body_bytes_max: usize,
    /// The largest batch of the monolith's changes, in bytes; 65536 to 268435456.
    pub import_bytes_max: usize,
    /// The longest that a request for outbox events is kept open, in milliseconds; 10 to 60000.
    pub outbox_wait_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            smtp: "127.0.0.1:25".into(),
            from: "noreply@localhost".into(),
            public_url: "http://127.0.0.1:7100".into(),
            mail_concurrency: 4,
            mail_timeout_ms: 10_000,
            mail_backoff_ms_max: 30_000,
            mail_tries_max: 8,
            close_wait_ms: 1000,
            ids_block_size: 2000,
            queue_max: 4096,
            batch_max: 128,
            readers: 4,
            body_bytes_max: 256 << 10,
            import_bytes_max: 64 << 20,
            outbox_wait_ms_max: 10_000,
        }
    }
}

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let (host, port) = self.smtp.rsplit_once(':').unwrap_or((&self.smtp, ""));
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("`smtp` `{}` must be host:port", self.smtp));
        }
        if self.from.parse::<Mailbox>().is_err() {
            return Err(format!("`from` `{}` must be an address or `Name <address>`", self.from));
        }
        if !self.public_url.starts_with("http://") && !self.public_url.starts_with("https://") {
            return Err(format!("`public_url` `{}` must begin with http:// or https://", self.public_url));
        }
        within("mail_concurrency", self.mail_concurrency as u64, 1..=64)?;
        within("mail_timeout_ms", self.mail_timeout_ms, 100..=60_000)?;
        within("mail_backoff_ms_max", self.mail_backoff_ms_max, 100..=600_000)?;
        within("mail_tries_max", self.mail_tries_max.into(), 1..=100)?;
        within("close_wait_ms", self.close_wait_ms, 0..=10_000)?;
        within("ids_block_size", self.ids_block_size, 10..=100_000)?;
        within("queue_max", self.queue_max as u64, 16..=100_000)?;
        within("batch_max", self.batch_max as u64, 1..=1024)?;
        within("readers", self.readers as u64, 1..=64)?;
        within("body_bytes_max", self.body_bytes_max as u64, 1024..=1 << 20)?;
        within("import_bytes_max", self.import_bytes_max as u64, 65_536..=256 << 20)?;
        within("outbox_wait_ms_max", self.outbox_wait_ms_max, 10..=60_000)
    }
}

fn within(key: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<(), String> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` {value} must be {} to {}", allowed.start(), allowed.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|c| c.from = "FinTech Connect <noreply@example.com>".into()), Ok(()));
    }

    #[test]
    fn a_value_that_cannot_work_is_named() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 9] = [
            ("smtp", |c| c.smtp = "localhost".into()),
            ("smtp", |c| c.smtp = "localhost:smtp".into()),
            ("from", |c| c.from = "nobody".into()),
            ("public_url", |c| c.public_url = "shop.example".into()),
            ("mail_concurrency", |c| c.mail_concurrency = 0),
            ("ids_block_size", |c| c.ids_block_size = 1),
            ("batch_max", |c| c.batch_max = 5000),
            ("close_wait_ms", |c| c.close_wait_ms = 60_000),
            ("import_bytes_max", |c| c.import_bytes_max = 1),
        ];
        for (key, change) in table {
            let fault = check(change).unwrap_err();
            assert!(fault.contains(&format!("`{key}`")), "{key}: {fault}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let fault = serde_json::from_str::<Config>(r#"{"mails": 6}"#).unwrap_err().to_string();
        assert!(fault.contains("mails"), "{fault}");
    }
}
