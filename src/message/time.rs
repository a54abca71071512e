//! Signed times, as a message holds them.

use crate::clock::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Millis,
    /// A date with a time of day and an offset (RFC 3339), such as `2023-11-14T22:13:20Z`.
    Rfc3339,
}

/// The digits of [`Timestamp::MAX`] in milliseconds: no number of this many digits overflows.
pub(crate) const MAX_DIGITS: usize = 15;

impl TimeUnit {
    /// Says how a time is written, in the words of an error.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Seconds => "a time in seconds since 1970, in plain digits",
            Self::Millis => "a time in milliseconds since 1970, in plain digits",
            Self::Rfc3339 => "a date and time such as `2023-11-14T22:13:20Z`",
        }
    }
}

/// Reads plain digits without a leading zero, or a date: nothing that two libraries could read
/// differently.
pub(crate) fn read_time(text: &[u8], unit: TimeUnit) -> Option<Timestamp> {
    match unit {
        TimeUnit::Seconds => Timestamp::from_secs(plain_digits(text)?),
        TimeUnit::Millis => Timestamp::from_millis(plain_digits(text)?),
        TimeUnit::Rfc3339 => read_date(text),
    }
}

/// Writes a time as [`read_time`] reads it. A date has no part of a second, and is in UTC.
pub(crate) fn write_time(time: Timestamp, unit: TimeUnit) -> String {
    match unit {
        TimeUnit::Seconds => time.as_secs().to_string(),
        TimeUnit::Millis => time.as_millis().to_string(),
        TimeUnit::Rfc3339 => write_date(time),
    }
}

fn plain_digits(text: &[u8]) -> Option<u64> {
    if text.len() > 1 && text.starts_with(b"0") {
        return None;
    }
    digits(text)
}

fn digits(text: &[u8]) -> Option<u64> {
    if !(1..=MAX_DIGITS).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u64::from(digit))
    })
}

const DAY: u64 = 24 * 60 * 60;

/// The days from 0000-03-01 to 1970-01-01, and those of 400 years. Years begin in March here, so
/// that the day that is added in a leap year is the last one.
const DAYS_TO_EPOCH: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;

/// Reads a date, from 1970 on, in the one form that has nothing to choose but the parts of a second
/// and the offset. No such text is the beginning of another one, or its end.
fn read_date(text: &[u8]) -> Option<Timestamp> {
    let (moment, rest) = text.split_first_chunk::<19>()?;
    let separators = [4, 7, 10, 13, 16].map(|at| moment.get(at).copied());
    if separators != [b'-', b'-', b'T', b':', b':'].map(Some) {
        return None;
    }
    let number = |from: usize, to: usize| digits(moment.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && day >= 1;
    if !is_date || day > days_of_month(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (millis, offset) = fraction(rest)?;
    let local = days_since_epoch(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let utc = match offset {
        b"Z" => local,
        [sign, h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = hours * 3600 + minutes * 60;
            match sign {
                b'+' => local.checked_sub(ahead)?,
                b'-' => local + ahead,
                _ => return None,
            }
        }
        _ => return None,
    };
    Timestamp::from_millis(utc * 1000 + millis)
}

/// The milliseconds of a fraction of 1 to 9 digits, or of none, and the text behind it.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = rest.split_at_checked(len)?;
    if !(1..=9).contains(&len) {
        return None;
    }
    let first = fraction.iter().chain(b"00").take(3);
    let millis = first.fold(0, |millis, byte| {
        millis * 10 + u64::from(byte.saturating_sub(b'0'))
    });
    Some((millis, rest))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year) = (year / 400, year % 400);
    let days = year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    era * DAYS_OF_ERA + days - DAYS_TO_EPOCH
}

fn write_date(time: Timestamp) -> String {
    let (days, second) = (time.as_secs() / DAY + DAYS_TO_EPOCH, time.as_secs() % DAY);
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<u64> {
        read_time(text.as_bytes(), TimeUnit::Rfc3339).map(Timestamp::as_millis)
    }

    #[test]
    fn a_date_is_read_with_its_offset() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T14:13:20-08:00", 1_700_000_000_000),
            ("2023-11-15T04:43:20+06:30", 1_700_000_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
            ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2000-02-29T23:59:59+00:00", 951_868_799_000),
            ("9999-12-31T23:59:59.999Z", Timestamp::MAX.as_millis()),
        ] {
            assert_eq!(read(text), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "Z",
            "1700000000",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13Z",
            "2023-11-14t22:13:20Z",
            "2023-11-14T22:13:20z",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20Z ",
            " 2023-11-14T22:13:20Z",
            "2023-11-14T22:13:20ZZ",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.1234567890Z",
            "2023-11-14T22:13:20,5Z",
            "2023-11-14T22:13:20+0800",
            "2023-11-14T22:13:20+08",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+08:60",
            "2023-11-14T22:13:20*08:00",
            "2023-11-14T22:13:20-08:00Z",
            "2023-11-14T22:13:60Z",
            "2023-11-14T22:60:20Z",
            "2023-11-14T24:00:00Z",
            "2023-11-31T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "1900-02-29T22:13:20Z",
            "2023-00-14T22:13:20Z",
            "2023-13-14T22:13:20Z",
            "2023-11-00T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+023-11-14T22:13:20Z",
            "02023-11-14T22:13:20Z",
            "2023-1-14T22:13:20Z",
            "２023-11-14T22:13:20Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_is_written_and_read_again() {
        let mut last = String::new();
        // All of a cycle of 400 years, and some of each year after it.
        let (all, last_day) = (150_000, Timestamp::MAX.as_secs() / DAY);
        for day in (0..all).chain((all..last_day).step_by(61)) {
            let time = Timestamp::from_secs(day * DAY + day % DAY).unwrap();
            let text = write_time(time, TimeUnit::Rfc3339);
            assert_eq!(read(&text), Some(time.as_millis()), "{text}");
            assert!(last < text, "{last} {text}");
            last = text;
        }
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
        ] {
            let time = Timestamp::from_secs(secs).unwrap();
            assert_eq!(write_time(time, TimeUnit::Rfc3339), text);
        }
    }
}
