//! The texts of an error and of the errors behind it.

use std::{error::Error, iter};

/// Returns the text of this error, and of each error behind it.
pub(crate) fn chain<'e>(
    error: Option<&'e (dyn Error + 'static)>,
) -> impl Iterator<Item = String> + 'e {
    iter::successors(error, |error: &&'e (dyn Error + 'static)| (*error).source())
        .map(|error| error.to_string())
}

/// Returns the texts of an error and of those behind it as one line of the log.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    chain(Some(error)).collect::<Vec<_>>().join(": ")
}
