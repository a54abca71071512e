//! Signed times, as a message holds them.

use crate::clock::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Millis,
}

/// Reads plain digits without a leading zero: nothing that two libraries could read differently.
pub(crate) fn read_time(text: &[u8], unit: TimeUnit) -> Option<Timestamp> {
    if text.is_empty() || (text.len() > 1 && text.starts_with(b"0")) {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    match unit {
        TimeUnit::Seconds => Timestamp::from_secs(number),
        TimeUnit::Millis => Timestamp::from_millis(number),
    }
}
