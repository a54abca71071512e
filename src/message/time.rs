//! Signed times, as a message holds them.

use crate::clock::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Millis,
}

/// Those of [`Timestamp::MAX`] in milliseconds: no number of them overflows.
const MAX_DIGITS: usize = 15;

/// Reads plain digits without a leading zero: nothing that two libraries could read differently.
pub(crate) fn read_time(text: &[u8], unit: TimeUnit) -> Option<Timestamp> {
    let is_plain = text.iter().fold(true, |all, b| all & b.is_ascii_digit());
    if !is_plain
        || !(1..=MAX_DIGITS).contains(&text.len())
        || (text.len() > 1 && text.starts_with(b"0"))
    {
        return None;
    }
    let number = text
        .iter()
        .fold(0, |number, byte| number * 10 + u64::from(byte - b'0'));
    match unit {
        TimeUnit::Seconds => Timestamp::from_secs(number),
        TimeUnit::Millis => Timestamp::from_millis(number),
    }
}
