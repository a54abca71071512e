//! Bytes of strangers as text that hides nothing. It is not escaped for HTML: `maud` does that.

use crate::printer::{escaped, visible};

/// One line: control characters, invisible ones and bytes that are not UTF-8 are written out.
pub(super) fn line(bytes: &[u8]) -> String {
    escaped(&visible(bytes))
}

/// Several lines, of this many bytes at most, and whether that is all.
pub(super) fn lines(bytes: &[u8], most: usize) -> (String, bool) {
    let shown = bytes.get(..most).unwrap_or(bytes);
    let text = String::from_utf8_lossy(shown);
    // A character that is cut off in the middle is no part of the text.
    let is_whole = shown.len() == bytes.len();
    let text = match is_whole {
        true => &*text,
        false => text.trim_end_matches('\u{fffd}'),
    };
    (escaped(text), is_whole)
}
