//! Headers that a signature covers because the sender lists them.

use http::{HeaderMap, HeaderName};

use crate::{
    error::{Fault, malformed},
    message::{self, Message, TimeUnit, single},
};

/// More than any sender lists.
const MAX_HEADERS: usize = 32;

/// Reads the list of the headers that are signed: their names in lower case, sorted, each once,
/// among them these.
pub(super) fn read_list<'h>(
    header: &HeaderName,
    text: &'h str,
    required: &[&HeaderName],
) -> Result<&'h str, Fault> {
    let names = || text.split(',');
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let is_list = names().take(MAX_HEADERS + 1).count() <= MAX_HEADERS
        && names().all(is_name)
        && names().zip(names().skip(1)).all(|(one, next)| one < next);
    if !is_list {
        return Err(malformed(format!(
            "header `{header}` is not a sorted list of up to {MAX_HEADERS} names, each once"
        )));
    }
    for name in required {
        if !names().any(|listed| listed == name.as_str()) {
            return Err(malformed(format!(
                "header `{header}` does not list `{name}`"
            )));
        }
    }
    Ok(text)
}

/// Appends the listed headers.
///
/// A value with a `;` in front of a `:` could be a second header, and is refused: so each text is of
/// one list of headers alone.
pub(super) fn push_headers(
    to: &mut Message,
    list: &str,
    headers: &HeaderMap,
    time: Option<(&HeaderName, TimeUnit)>,
) -> Result<(), Fault> {
    for (place, name) in list.split(',').enumerate() {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| malformed(format!("`{}` is not a header", name.escape_debug())))?;
        let value = single(headers, &name)?
            .ok_or_else(|| malformed(format!("header `{name}` is signed, and missing")))?
            .as_bytes()
            .trim_ascii();
        let mut segments = value.split(|b| *b == b';').skip(1);
        if segments.any(|segment| segment.contains(&b':')) {
            return Err(malformed(format!(
                "header `{name}` has a `;` in front of a `:`, and could be two headers"
            )));
        }
        if place > 0 {
            to.text(";");
        }
        to.text(name.as_str());
        to.text(":");
        match time {
            Some((of_time, unit)) if *of_time == name => {
                to.part(message::Part::Time(unit), value);
                to.also(message::Part::Header(name));
            }
            _ => to.part(message::Part::Header(name), value),
        }
    }
    Ok(())
}
