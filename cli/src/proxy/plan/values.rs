//! Single values, and what is said of them.

use std::{ops::Range, time::Duration};

use toml::Spanned;

use crate::{exit::Failure, toml_file::Fault};

/// A number within a range.
pub(super) fn number<T: TryFrom<u64>>(
    written: Option<&Spanned<u64>>,
    range: Range<u64>,
    unit: &str,
) -> Result<Option<T>, Fault> {
    let Some(written) = written else {
        return Ok(None);
    };
    let wrong = || {
        let (first, last) = (range.start, range.end - 1);
        Fault::at(
            written.span(),
            format!("it is between {first} and {last} {unit}"),
        )
        .advising("choose a number within the range")
    };
    match range.contains(written.get_ref()) {
        true => T::try_from(*written.get_ref())
            .map(Some)
            .map_err(|_| wrong()),
        false => Err(wrong()),
    }
}

pub(super) fn seconds(
    written: Option<&Spanned<u64>>,
    range: Range<u64>,
) -> Result<Option<Duration>, Fault> {
    let seconds = number(written, range, "seconds")?;
    Ok(seconds.map(Duration::from_secs))
}

pub(super) fn is_set(written: Option<&Spanned<bool>>) -> bool {
    written.is_some_and(|set| *set.get_ref())
}

/// What another reader says of a value in the file.
pub(super) fn fault_of(at: Range<usize>, failure: Failure) -> Fault {
    let Failure {
        what, why, advice, ..
    } = failure;
    let what = match why.is_empty() {
        true => what,
        false => format!("{what}: {why}"),
    };
    Fault::at(at, what).advising(advice)
}
