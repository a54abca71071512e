//! The fields that describe signatures and digests, and `Signature` itself (RFC 9421, section 4.2), read
//! strictly: a label that appears twice has two readings, and is refused.

use std::{borrow::Cow, convert::Infallible};

use http::{HeaderMap, HeaderName};
use memchr::memchr;
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
    },
};
use smallvec::{SmallVec, smallvec};

use super::canonical::Why;
use crate::message::{Encoding, HashOutput, MAX_LEN};

/// Signatures of one message that are read.
const MAX_LABELS: usize = 16;

/// The greatest length of a field that describes signatures or digests, in bytes.
const MAX_FIELD: usize = 16 * 1024;

/// Returns the lines of a field, trimmed and joined (RFC 9421, section 2.1), or `None` if the field
/// is missing.
pub(crate) fn joined<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<Cow<'h, str>>, Why> {
    let mut lines = headers.get_all(name).iter().map(|line| {
        let line = line.as_bytes().trim_ascii();
        let text = str::from_utf8(line).ok().filter(|text| text.is_ascii());
        text.ok_or_else(|| {
            Why::from(format!(
                "header `{name}` has bytes that are not visible ASCII"
            ))
        })
    });
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let mut joined = Cow::Borrowed(first?);
    for line in lines {
        let joined = joined.to_mut();
        joined.push_str(", ");
        joined.push_str(line?);
    }
    Ok(Some(joined))
}

/// Reads `Signature`: labels, and the MAC of each that has one.
pub(crate) fn read_signatures(field: &str) -> Result<Labelled<'_>, Why> {
    check_length(field)?;
    match usual_bytes(field) {
        Some((label, mac)) => Ok(smallvec![(label, Some(mac))]),
        None => read_signatures_by_sfv(field),
    }
}

/// Labels, and the MAC of each that has one. Nearly always there is one.
pub(crate) type Labelled<'f> = SmallVec<[(&'f str, Option<HashOutput>); 1]>;

pub(super) fn read_signatures_by_sfv(field: &str) -> Result<Labelled<'_>, Why> {
    let mut signatures = Signatures {
        found: SmallVec::new(),
        fault: None,
    };
    Parser::new(field)
        .parse_dictionary_with_visitor(&mut signatures)
        .map_err(|error| format!("`signature` cannot be read: {error}"))?;
    match signatures.fault {
        Some(fault) => Err(fault),
        None => Ok(signatures.found),
    }
}

/// Reads a field in its usual form, one byte sequence of 32 or 64 bytes: its key, and the bytes. Every
/// other field is left to `sfv`, which alone says what is malformed.
pub(super) fn usual_bytes(field: &str) -> Option<(&str, HashOutput)> {
    let (key, value) = member(field)?;
    let text = value.strip_prefix(':')?.strip_suffix(':')?;
    let len = match text.len() {
        44 => 32,
        88 => 64,
        _ => return None,
    };
    let mut bytes = [0; MAX_LEN];
    let bytes = bytes.get_mut(..len)?;
    Encoding::Base64.decode_exact(text.as_bytes(), bytes)?;
    Some((key, HashOutput::new(bytes)))
}

/// The key of a dictionary of one member, and the rest of the text.
pub(super) fn member(field: &str) -> Option<(&str, &str)> {
    let (key, value) = field.split_at_checked(memchr(b'=', field.as_bytes())?)?;
    let is_key = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*');
    let begins = matches!(key.bytes().next()?, b'a'..=b'z' | b'*');
    (begins && key.bytes().all(is_key)).then_some((key, value.strip_prefix('=')?))
}

pub(super) fn check_length(field: &str) -> Result<(), Why> {
    if field.len() <= MAX_FIELD {
        return Ok(());
    }
    Err(format!("signatures or digests that are described by more than {MAX_FIELD} bytes").into())
}

/// Says why this label cannot be one more.
pub(super) fn new_label<'l>(
    label: &str,
    mut known: impl ExactSizeIterator<Item = &'l str>,
) -> Option<Why> {
    if known.len() == MAX_LABELS {
        Some(format!("more than {MAX_LABELS} signatures").into())
    } else if known.any(|other| other == label) {
        Some(format!("the label `{label}` appears more than once").into())
    } else {
        None
    }
}

struct Signatures<'de> {
    found: Labelled<'de>,
    fault: Option<Why>,
}

impl<'de> DictionaryVisitor<'de> for &mut Signatures<'de> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, label: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let label = label.as_str();
        if self.fault.is_none() {
            self.fault = new_label(label, self.found.iter().map(|(label, _)| *label));
        }
        if self.fault.is_some() {
            return Ok(None);
        }
        self.found.push((label, None));
        Ok(self.found.last_mut().map(|(_, mac)| BytesVisitor(mac)))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Takes a byte sequence, where the member is one.
pub(super) struct BytesVisitor<'m>(pub(super) &'m mut Option<HashOutput>);

impl<'de> EntryVisitor<'de> for BytesVisitor<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        Ok(Ignored)
    }
}

impl<'de> ItemVisitor<'de> for BytesVisitor<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        if let BareItemFromInput::ByteSequence(bytes) = item {
            *self.0 = HashOutput::exactly(&bytes);
        }
        Ok(Ignored)
    }
}
