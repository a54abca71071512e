//! Single values, and what is said about them.

use std::{ops::Range, path::Path, time::Duration};

use toml::Spanned;

use super::super::buffered::Rooms;
use crate::{
    exit::Failure,
    scheme::{self, Chosen},
    toml_file::Fault,
};

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
            format!("it must be between {first} and {last} {unit}"),
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

/// The longest body that a route takes, of the room for all bodies in bytes.
pub(super) fn max_body(
    written: Option<&Spanned<u64>>,
    room: usize,
) -> Result<Option<usize>, Fault> {
    let max = number(written, 0..1_073_741_825, "bytes")?;
    let longest = Rooms::longest(room);
    match (max, written) {
        (Some(max), Some(written)) if max > longest => Err(Fault::at(
            written.span(),
            format!("it must be at most a quarter of `body-bytes` in [limits]: {longest} bytes"),
        )
        .advising("take less, or set `body-bytes` to four times the longest body")),
        _ => Ok(max),
    }
}

/// The name of a route.
pub(super) fn name(written: &Spanned<String>) -> Result<String, Fault> {
    let name = written.get_ref();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(is_name) {
        true => Ok(name.clone()),
        false => Err(Fault::at(
            written.span(),
            "a name has 1 to 64 letters, digits, `-`, `_` and `.`",
        )),
    }
}

/// A scheme, by its name or by the file that describes it.
pub(super) fn scheme(written: &Spanned<String>, folder: &Path) -> Result<Chosen, Fault> {
    let named = match written.get_ref().ends_with(".toml") {
        true => folder.join(written.get_ref()).display().to_string(),
        false => written.get_ref().clone(),
    };
    scheme::resolve(&named)
        .and_then(|chosen| chosen.supplying_nothing("proxy"))
        .map_err(|failure| fault_of(written.span(), failure))
}

pub(super) fn is_set(written: Option<&Spanned<bool>>) -> bool {
    written.is_some_and(|set| *set.get_ref())
}

/// Returns what another reader says about a value in the file.
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
