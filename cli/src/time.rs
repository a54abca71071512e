//! Times as people write and read them.

use countersign::{Clock, Timestamp};

/// A clock that always shows the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed(pub(crate) Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// When a recorded request arrived: an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived(pub(crate) Timestamp);

/// Reads `1700000000`, `1700000000123` (milliseconds, from 12 digits on) or
/// `2026-11-29T10:00:00Z`.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let refused = || {
        "it is not a time from 1970 on; write seconds since then, such as 1700000000, or \
         2023-11-14T22:13:20Z"
            .to_owned()
    };
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let number: u64 = text.parse().map_err(|_| refused())?;
        let time = if text.len() >= 12 {
            Timestamp::from_millis(number)
        } else {
            Timestamp::from_secs(number)
        };
        return time.ok_or_else(refused);
    }
    date(text)
        .and_then(Timestamp::from_secs)
        .ok_or_else(refused)
}

/// Reads `2026-11-29T10:00:00Z` or `2026-11-29T11:00:00+01:00`.
fn date(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => rest.split_at_checked(at)?,
        None => return None,
    };
    let offset = match offset {
        "Z" | "z" => 0,
        _ => {
            let (sign, offset) = offset.split_at_checked(1)?;
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
            if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
                return None;
            }
            (hours * 60 + minutes) * 60 * if sign == "-" { -1 } else { 1 }
        }
    };
    let mut clock = clock.splitn(3, ':');
    let (hour, minute): (i64, i64) = (clock.next()?.parse().ok()?, clock.next()?.parse().ok()?);
    let second = clock.next()?.split('.').next()?.parse::<i64>().ok()?;
    let is_valid = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !is_valid {
        return None;
    }
    let seconds = (days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()
}

/// The days from 1970-01-01 to this day of the Gregorian calendar. A year begins in March here, so
/// that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time as RFC 3339 writes it.
pub(crate) fn show(time: Timestamp) -> String {
    let seconds = time.as_secs();
    let (mut year, mut left) = (1970, i64::try_from(seconds / 86_400).unwrap_or_default());
    let length = |year: i64| days(year + 1, 1, 1) - days(year, 1, 1);
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let month = (1..=12)
        .rev()
        .find(|m| days(year, *m, 1) - days(year, 1, 1) <= left);
    let month = month.unwrap_or(1);
    let day = left - (days(year, month, 1) - days(year, 1, 1)) + 1;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let millis = time.as_millis() % 1000;
    let part = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}")
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{part}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (text, shown) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000123", "2023-11-14T22:13:20.123Z"),
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
            ("2024-03-01T01:30:00+02:00", "2024-02-29T23:30:00Z"),
            ("1999-12-31 23:00:00-01:00", "2000-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(show).as_deref(), Ok(shown), "{text}");
        }
        for text in [
            "",
            "-1",
            "now",
            "2024-13-01T00:00:00Z",
            "2024-01-01",
            "9999999999999999",
            "2024-01-01T00:00:00+9223372036854775807:00",
            "9223372036854775807-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
