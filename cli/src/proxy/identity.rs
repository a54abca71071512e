//! The identity of a verified request: fields under our own names, as RFC 9651 writes values.

use std::borrow::Cow;

use countersign::{
    Timestamp, VerifiedPayload,
    store::{Nonce, NonceKind},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{Date, Integer, ItemSerializer, ListSerializer, RefBareItem, StringRef};

/// The beginning of our names.
pub(super) const PREFIX: &str = "countersign-";

const KEY_ID: HeaderName = HeaderName::from_static("countersign-key-id");
const SIGNED_AT: HeaderName = HeaderName::from_static("countersign-signed-at");
const NONCE: HeaderName = HeaderName::from_static("countersign-nonce");
const COVERED: HeaderName = HeaderName::from_static("countersign-covered");

/// Room for most values, in bytes.
const ROOM: usize = 128;

/// A value that no field can hold, such as an event id with a line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritable(pub(super) &'static str);

/// The identity of a request, as values that can be written.
pub(super) struct Identity<'p> {
    payload: &'p VerifiedPayload,
    key_id: RefBareItem<'p>,
    signed_at: Option<RefBareItem<'p>>,
    nonce: Option<RefBareItem<'p>>,
}

impl<'p> Identity<'p> {
    /// Reads what is said about a verified request.
    ///
    /// # Errors
    /// Returns an error if no field can hold one of the values.
    pub(super) fn of(payload: &'p VerifiedPayload) -> Result<Self, Unwritable> {
        let date = |at: Timestamp| -> Result<_, Unwritable> {
            let seconds = i64::try_from(at.as_secs()).ok();
            let seconds = seconds.and_then(|seconds| Integer::try_from(seconds).ok());
            let seconds = seconds.ok_or(Unwritable("the signed time"))?;
            Ok(RefBareItem::Date(Date::from_unix_seconds(seconds)))
        };
        let nonce = |nonce: &'p Nonce| match nonce.kind() {
            NonceKind::Digest => Ok(RefBareItem::ByteSequence(nonce.as_bytes())),
            _ => string(nonce.as_bytes(), "the nonce or event id"),
        };
        Ok(Self {
            payload,
            key_id: string(payload.key_id().as_str().as_bytes(), "the key id")?,
            signed_at: payload.signed_at().map(date).transpose()?,
            nonce: payload.nonce().map(nonce).transpose()?,
        })
    }

    /// Adds our fields to a head.
    pub(super) fn write(self, sent: &HeaderMap, fields: &mut HeaderMap) -> Result<(), Unwritable> {
        let said = [
            (KEY_ID, Some(self.key_id)),
            (SIGNED_AT, self.signed_at),
            (NONCE, self.nonce),
        ];
        for (name, value) in said {
            if let Some(value) = value {
                fields.insert(name, item(value)?);
            }
        }
        if let Some(covered) = list(covered(self.payload, sent))? {
            fields.insert(COVERED, covered);
        }
        Ok(())
    }
}

/// The names of our fields that a head has.
pub(super) fn fields(head: &HeaderMap) -> Vec<&HeaderName> {
    let ours = |name: &&HeaderName| name.as_str().starts_with(PREFIX);
    head.keys().filter(ours).collect()
}

/// Every set of names that [`Identity::write`] adds: the key id, and any of the others.
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

fn string<'b>(bytes: &'b [u8], what: &'static str) -> Result<RefBareItem<'b>, Unwritable> {
    let text = StringRef::from_bytes(bytes);
    text.map(RefBareItem::String).map_err(|_| Unwritable(what))
}

fn item(value: RefBareItem<'_>) -> Result<HeaderValue, Unwritable> {
    let mut text = String::with_capacity(ROOM);
    let _ = ItemSerializer::with_buffer(&mut text)
        .bare_item(value)
        .finish();
    HeaderValue::try_from(text).map_err(|_| Unwritable("a value"))
}

fn list<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<HeaderValue>, Unwritable> {
    const WHAT: &str = "the list of covered parts";
    let mut text = String::with_capacity(ROOM);
    let mut list = ListSerializer::with_buffer(&mut text);
    for name in names {
        let name = StringRef::from_str(&name).map_err(|_| Unwritable(WHAT))?;
        list.bare_item(RefBareItem::String(name));
    }
    let is_empty = list.finish().is_none();
    let value = HeaderValue::try_from(text).map_err(|_| Unwritable(WHAT))?;
    Ok((!is_empty).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_rfc_9651_does_or_not_at_all() {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        let string = |bytes: &[u8]| item(string(bytes, "it")?).map(text);
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
        assert_eq!(item(date).map(text).as_deref(), Ok("@1700000000"));
        let bytes = RefBareItem::ByteSequence(b"\r\n");
        assert_eq!(item(bytes).map(text).as_deref(), Ok(":DQo=:"));
        let names = ["@path", "x-a"].map(Cow::Borrowed).into_iter();
        assert_eq!(
            list(names).unwrap().map(text).as_deref(),
            Some("\"@path\", \"x-a\"")
        );
    }
}
