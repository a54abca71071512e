//! The fields that describe signatures and digests, and `Signature` itself (RFC 9421, section 4.2), read
//! strictly: a label that appears twice has two readings, and is refused.

use std::{borrow::Cow, convert::Infallible};

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
    },
};

use super::canonical::Why;
use crate::message::HashOutput;

/// Signatures of one message that are read.
const MAX_LABELS: usize = 16;

/// The greatest length of a field that describes signatures or digests, in bytes.
const MAX_FIELD: usize = 16 * 1024;

/// The lines of a field, trimmed and joined (RFC 9421, section 2.1); `None` where there is none.
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
pub(crate) fn read_signatures(field: &str) -> Result<Vec<(&str, Option<HashOutput>)>, Why> {
    check_length(field)?;
    let mut signatures = Signatures {
        found: Vec::with_capacity(1),
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
    found: Vec<(&'de str, Option<HashOutput>)>,
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
