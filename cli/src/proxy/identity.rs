//! What the proxy says of a verified request: fields under our own names, as RFC 9651 writes values.

use std::borrow::Cow;

use countersign::{VerifiedPayload, store::NonceKind};
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Date, Integer, ItemSerializer, ListSerializer, RefBareItem, StringRef};

/// The beginning of our names.
pub(super) const PREFIX: &str = "countersign-";

const KEY_ID: HeaderName = HeaderName::from_static("countersign-key-id");
const SIGNED_AT: HeaderName = HeaderName::from_static("countersign-signed-at");
const NONCE: HeaderName = HeaderName::from_static("countersign-nonce");
const COVERED: HeaderName = HeaderName::from_static("countersign-covered");

/// A value that no field can hold, such as an event id with a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritable(pub(super) &'static str);

/// Adds our fields to a head.
pub(super) fn write(
    payload: &VerifiedPayload,
    sent: &HeaderMap,
    fields: &mut HeaderMap,
) -> Result<(), Unwritable> {
    let key_id = string(payload.key_id().as_str().as_bytes(), "the key id")?;
    fields.insert(KEY_ID, key_id);
    if let Some(at) = payload.signed_at() {
        let unwritable = |_| Unwritable("the signed time");
        let seconds = i64::try_from(at.as_secs()).map_err(|_| Unwritable("the signed time"))?;
        let date = Date::from_unix_seconds(Integer::try_from(seconds).map_err(unwritable)?);
        fields.insert(SIGNED_AT, item(RefBareItem::Date(date), "the signed time")?);
    }
    if let Some(nonce) = payload.nonce() {
        let value = match nonce.kind() {
            NonceKind::Digest => {
                let bytes = RefBareItem::ByteSequence(nonce.as_bytes());
                item(bytes, "the digest of the message")?
            }
            _ => string(nonce.as_bytes(), "the nonce or event id")?,
        };
        fields.insert(NONCE, value);
    }
    if let Some(covered) = list(covered(payload, sent))? {
        fields.insert(COVERED, covered);
    }
    Ok(())
}

/// The names of our fields that a head has.
pub(super) fn fields(head: &HeaderMap) -> Vec<&HeaderName> {
    let ours = |name: &&HeaderName| name.as_str().starts_with(PREFIX);
    head.keys().filter(ours).collect()
}

/// Every set of names that [`write()`] adds: the key id, and any of the others.
pub(super) fn combinations() -> impl Iterator<Item = Vec<HeaderName>> {
    let others = [SIGNED_AT, NONCE, COVERED];
    (0..1_u8 << others.len()).map(move |set| {
        let chosen = others.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| set >> at & 1 == 1);
        let chosen = chosen.map(|(_, name)| name.clone());
        [KEY_ID].into_iter().chain(chosen).collect()
    })
}

/// The names of what is covered, as RFC 9421 writes them; `@body` is the whole body.
fn covered<'a>(
    payload: &'a VerifiedPayload,
    sent: &'a HeaderMap,
) -> impl Iterator<Item = Cow<'a, str>> {
    let parts = [
        ("@method", payload.method().is_some()),
        ("@authority", payload.authority().is_some()),
        ("@path", payload.path().is_some()),
        ("@query", payload.query().is_some()),
        // Only whether there is such a body is asked.
        ("@body", payload.danger_uncovered_body().is_none()),
    ];
    let parts = parts.into_iter().filter(|(_, is_covered)| *is_covered);
    let headers = sent.keys().filter(|name| payload.header(name).is_some());
    let parts = parts.map(|(name, _)| Cow::Borrowed(name));
    parts.chain(headers.map(|name| Cow::Borrowed(name.as_str())))
}

fn string(bytes: &[u8], what: &'static str) -> Result<HeaderValue, Unwritable> {
    let text = StringRef::from_bytes(bytes).map_err(|_| Unwritable(what))?;
    item(RefBareItem::String(text), what)
}

fn item<'b>(
    value: impl Into<RefBareItem<'b>>,
    what: &'static str,
) -> Result<HeaderValue, Unwritable> {
    let text = ItemSerializer::new().bare_item(value).finish();
    HeaderValue::try_from(text).map_err(|_| Unwritable(what))
}

fn list<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<HeaderValue>, Unwritable> {
    const WHAT: &str = "the list of covered parts";
    let mut list = ListSerializer::new();
    for name in names {
        let name = StringRef::from_str(&name).map_err(|_| Unwritable(WHAT))?;
        list.bare_item(RefBareItem::String(name));
    }
    let text = list.finish();
    let value = text.map(|text| HeaderValue::try_from(text).map_err(|_| Unwritable(WHAT)));
    value.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_rfc_9651_does_or_not_at_all() {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        let string = |bytes: &[u8]| string(bytes, "it").map(text);
        assert_eq!(string(b"partner-1").as_deref(), Ok("\"partner-1\""));
        assert_eq!(string(b"a\"b\\").as_deref(), Ok("\"a\\\"b\\\\\""));
        for bytes in [
            &b"evt\r\nx-admin: 1"[..],
            b"evt\n",
            b"\0",
            b"caf\xc3\xa9",
            b"\x7f",
        ] {
            assert_eq!(string(bytes), Err(Unwritable("it")), "{bytes:?}");
        }
        let date = RefBareItem::Date(Date::from_unix_seconds(1_700_000_000.into()));
        assert_eq!(item(date, "it").map(text).as_deref(), Ok("@1700000000"));
        let bytes = RefBareItem::ByteSequence(b"\r\n");
        assert_eq!(item(bytes, "it").map(text).as_deref(), Ok(":DQo=:"));
        let names = ["@path", "x-a"].map(Cow::Borrowed).into_iter();
        assert_eq!(
            list(names).unwrap().map(text).as_deref(),
            Some("\"@path\", \"x-a\"")
        );
    }
}
