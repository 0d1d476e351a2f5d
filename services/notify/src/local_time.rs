//! The monolith's local time: its DATETIME columns hold it as text, without a zone.
//!
//! In the hour that a zone repeats in autumn, two instants have the same text, as in the monolith.

use crate::domain::rows::LocalTime;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Turns instants into local time.
#[derive(Clone, Debug)]
pub struct LocalClock(TimeZone);

impl LocalClock {
    /// The clock of an IANA time zone, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// There is no such zone.
    pub fn new(zone: &str) -> Result<Self, String> {
        TimeZone::get(zone).map(Self).map_err(|error| format!("`{zone}` is no time zone: {error}"))
    }

    /// The local time of an instant, in milliseconds since 1970.
    pub fn at(&self, unix_ms: u64) -> LocalTime {
        self.datetime(unix_ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The local midnight at which the instant's day began, as Laravel's `startOfDay` writes it.
    pub fn midnight(&self, unix_ms: u64) -> LocalTime {
        self.datetime(unix_ms).strftime("%Y-%m-%d 00:00:00").to_string()
    }

    fn datetime(&self, unix_ms: u64) -> DateTime {
        let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        self.0.to_datetime(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_the_monolith_writes_them() {
        let berlin = LocalClock::new("Europe/Berlin").unwrap();
        for (unix_s, wanted, midnight) in [
            (1_774_745_999, "2026-03-29 01:59:59", "2026-03-29 00:00:00"),
            (1_774_746_000, "2026-03-29 03:00:00", "2026-03-29 00:00:00"),
            (1_792_888_200, "2026-10-25 02:30:00", "2026-10-25 00:00:00"),
            (1_792_891_800, "2026-10-25 02:30:00", "2026-10-25 00:00:00"),
            (1_795_561_200, "2026-11-25 00:00:00", "2026-11-25 00:00:00"),
        ] {
            let ms = unix_s * 1000 + 999;
            assert_eq!((berlin.at(ms).as_str(), berlin.midnight(ms).as_str()), (wanted, midnight));
        }
        assert!(LocalClock::new("Europe/Atlantis").unwrap_err().contains("Atlantis"));
    }
}
