//! Dates and times as MySQL prints them, with the declared fraction digits; TIMESTAMP in UTC.

use mysql_async::Value;
use serde_json::Value as Json;

/// What is said of a value that is no date or time.
const OTHER: &str = "not a date or time";

/// `DATE`.
///
/// # Errors
/// Another value.
pub fn date(raw: &Value) -> Result<Json, String> {
    match raw {
        Value::Date(year, month, day, ..) => Ok(format!("{year:04}-{month:02}-{day:02}").into()),
        _ => Err(OTHER.into()),
    }
}

/// `DATETIME`.
///
/// # Errors
/// Another value.
pub fn datetime(raw: &Value, digits: u8) -> Result<Json, String> {
    match raw {
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let seconds = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
            Ok((seconds + &fraction(*micros, digits)).into())
        }
        _ => Err(OTHER.into()),
    }
}

/// `TIME`, beyond 24 hours too.
///
/// # Errors
/// Another value.
pub fn time(raw: &Value, digits: u8) -> Result<Json, String> {
    match raw {
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = days * 24 + u32::from(*hours);
            Ok((format!("{sign}{hours:02}:{minutes:02}:{seconds:02}") + &fraction(*micros, digits)).into())
        }
        _ => Err(OTHER.into()),
    }
}

/// `TIMESTAMP` from its seconds since 1970, such as `1717236000.25`; 0 is MySQL's zero date.
///
/// # Errors
/// No such number.
pub fn timestamp(seconds: &str, digits: u8) -> Result<Json, String> {
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
    let number = |text: &str| text.parse::<u32>().map_err(|e| e.to_string());
    let whole: u64 = whole.parse().map_err(|_| format!("`{seconds}` is no number of seconds"))?;
    let micros = number(&format!("{part:0<6}")[..6])?;
    if whole == 0 && micros == 0 {
        return Ok((String::from("0000-00-00 00:00:00") + &fraction(0, digits)).into());
    }
    let (year, month, day) = civil(whole / 86_400);
    let (hour, minute, second) = (whole / 3600 % 24, whole / 60 % 60, whole % 60);
    let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    Ok((text + &fraction(micros, digits)).into())
}

fn fraction(micros: u32, digits: u8) -> String {
    match usize::from(digits.min(6)) {
        0 => String::new(),
        digits => format!(".{}", &format!("{micros:06}")[..digits]),
    }
}

/// The date of a day since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_mysql_prints_them() {
        let table = [
            (timestamp("1717236000", 0), "2024-06-01 10:00:00"),
            (timestamp("951782400.25", 3), "2000-02-29 00:00:00.250"),
            (timestamp("2147483647.999999", 6), "2038-01-19 03:14:07.999999"),
            (timestamp("0", 2), "0000-00-00 00:00:00.00"),
            (datetime(&Value::Date(2022, 11, 0, 0, 0, 0, 0), 0), "2022-11-00 00:00:00"),
            (datetime(&Value::Date(0, 0, 0, 0, 0, 0, 0), 0), "0000-00-00 00:00:00"),
            (time(&Value::Time(true, 4, 4, 0, 1, 500_000), 1), "-100:00:01.5"),
            (date(&Value::Date(1, 2, 3, 0, 0, 0, 0)), "0001-02-03"),
        ];
        for (printed, wanted) in table {
            assert_eq!(printed, Ok(wanted.into()));
        }
        assert!(timestamp("soon", 0).is_err() && date(&Value::Int(1)).is_err());
    }
}
