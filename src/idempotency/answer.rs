//! `StoredAnswer`: what is kept of a handler's answer, and in which bytes.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
        CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, LINK, LOCATION,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RETRY_AFTER, SET_COOKIE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VARY,
    },
};

use crate::error::StoreError;

pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub(crate) const IDEMPOTENCY_BODY: HeaderName = HeaderName::from_static("idempotency-body");

/// The headers that are stored by default.
pub(super) const STORED: [HeaderName; 11] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    LINK,
    LOCATION,
    VARY,
];

/// The headers that are never stored: they belong to one connection, one moment or one session.
const NEVER: [HeaderName; 12] = [
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Returns whether a header may be stored.
pub(super) fn is_storable(name: &HeaderName) -> bool {
    !NEVER.contains(name) && *name != IDEMPOTENCY_REPLAYED && *name != IDEMPOTENCY_BODY
}

/// Returns whether an answer is stored: 2xx to 4xx, except 401, 403, 408, 425, 429 and a 409 that
/// says when to try again, which say nothing about the intention. Every other answer releases the
/// key.
pub(crate) fn is_stored(status: StatusCode, headers: &HeaderMap) -> bool {
    match status.as_u16() {
        401 | 403 | 408 | 425 | 429 => false,
        409 => !headers.contains_key(RETRY_AFTER),
        status => (200..500).contains(&status),
    }
}

/// An answer as it is kept: its status, the headers that are stored, and its body unless that was
/// longer than the limit.
#[derive(Clone)]
pub(crate) struct StoredAnswer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
}

/// The first byte of an answer in a store.
const VERSION: u8 = 1;

impl StoredAnswer {
    /// Takes the headers that are stored, each with all its lines.
    pub(super) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        stored: &[HeaderName],
        body: Option<Bytes>,
    ) -> Self {
        let headers = headers
            .iter()
            .filter(|(name, _)| stored.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()));
        Self {
            status,
            headers: headers.collect(),
            body,
        }
    }

    /// Returns what is kept in place of an answer if nobody knows what the attempt did: no
    /// handler's answer of 5xx is stored.
    pub(crate) fn unknown() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.status.is_server_error() && self.body.is_none()
    }

    /// The same answer, as it is kept if its body is longer than the limit.
    pub(crate) fn without_body(&self) -> Self {
        Self {
            body: None,
            ..self.clone()
        }
    }

    /// The bytes for a store. Each part is behind its length.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let body = self.body.as_deref().unwrap_or_default();
        let headers = self
            .headers
            .iter()
            .map(|(n, v)| 8 + n.as_str().len() + v.len());
        // As long as it will be, so that nothing is moved or kept beside it.
        let mut bytes = Vec::with_capacity(8 + headers.sum::<usize>() + body.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.status.as_u16().to_be_bytes());
        bytes.push(u8::from(self.body.is_some()));
        bytes.extend_from_slice(&length(self.headers.len()));
        for (name, value) in &self.headers {
            for part in [name.as_str().as_bytes(), value.as_bytes()] {
                bytes.extend_from_slice(&length(part.len()));
                bytes.extend_from_slice(part);
            }
        }
        bytes.extend_from_slice(body);
        bytes.into()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(crate) fn from_bytes(bytes: &Bytes) -> Result<Self, StoreError> {
        let unreadable = || {
            StoreError::unavailable(
                "an answer in the store cannot be read: it is damaged, or of a newer version",
            )
        };
        let mut rest = &**bytes;
        let Some([VERSION, high, low, has_body]) = take(&mut rest, 4) else {
            return Err(unreadable());
        };
        let status = u16::from_be_bytes([*high, *low]);
        let status = StatusCode::from_u16(status).map_err(|_| unreadable())?;
        let count = take_length(&mut rest).ok_or_else(unreadable)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let mut part = || {
                let len = take_length(&mut rest)?;
                take(&mut rest, len)
            };
            let (name, value) = (part(), part());
            let name = name.and_then(|name| HeaderName::from_bytes(name).ok());
            let value = value.map(|value| HeaderValue::from_maybe_shared(bytes.slice_ref(value)));
            let value = value.and_then(Result::ok);
            headers.push((name.ok_or_else(unreadable)?, value.ok_or_else(unreadable)?));
        }
        let body = match has_body {
            0 if rest.is_empty() => None,
            1 => Some(bytes.slice_ref(rest)),
            _ => return Err(unreadable()),
        };
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    /// The answer to a retry.
    pub(crate) fn replayed(self) -> Response<Bytes> {
        let is_whole = self.body.is_some();
        let mut response = Response::new(self.body.unwrap_or_default());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in self.headers {
            // A header that describes an absent body would describe an empty one.
            if is_whole || (name != CONTENT_TYPE && name != CONTENT_ENCODING) {
                headers.append(name, value);
            }
        }
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        if !is_whole {
            headers.insert(IDEMPOTENCY_BODY, HeaderValue::from_static("omitted"));
        }
        response
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let length = take(rest, 4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    usize::try_from(length).ok()
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: Option<&'static str>) -> StoredAnswer {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("link", "</1>; rel=next"),
            ("link", "</2>; rel=last"),
            ("set-cookie", "session=1"),
            ("date", "now"),
            ("x-other", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        StoredAnswer::new(
            StatusCode::CREATED,
            &headers,
            &STORED,
            body.map(Bytes::from),
        )
    }

    #[test]
    fn what_is_written_is_read_again_with_every_line_of_a_header() {
        let read = StoredAnswer::from_bytes(&answer(Some("made")).to_bytes()).unwrap();
        let response = read.replayed();
        assert_eq!(
            (response.status(), response.body().as_ref()),
            (StatusCode::CREATED, &b"made"[..])
        );
        let links: Vec<_> = response.headers().get_all("link").iter().collect();
        assert_eq!(links, ["</1>; rel=next", "</2>; rel=last"]);
        assert_eq!(response.headers()["idempotency-replayed"], "true");
        for never in ["set-cookie", "date", "x-other", "idempotency-body"] {
            assert!(!response.headers().contains_key(never), "{never}");
        }
    }

    #[test]
    fn an_answer_without_its_body_says_so() {
        let read = StoredAnswer::from_bytes(&answer(None).to_bytes()).unwrap();
        let response = read.replayed();
        assert_eq!(response.headers()["idempotency-body"], "omitted");
        assert!(!response.headers().contains_key("content-type") && response.body().is_empty());
    }

    /// No bytes of a store cause a panic, and an answer that is cut off is not an answer.
    #[test]
    fn damaged_bytes_are_refused() {
        let whole = answer(None).to_bytes();
        for len in 0..whole.len() {
            assert!(
                StoredAnswer::from_bytes(&whole.slice(..len)).is_err(),
                "{len}"
            );
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert!(StoredAnswer::from_bytes(&longer.into()).is_err());
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut other = whole.to_vec();
                other[at] ^= flip;
                let _ = StoredAnswer::from_bytes(&other.into());
            }
        }
    }

    #[test]
    fn the_statuses_that_are_stored() {
        let mut headers = HeaderMap::new();
        let stored =
            |status, headers: &HeaderMap| is_stored(StatusCode::from_u16(status).unwrap(), headers);
        for status in [200, 201, 204, 301, 304, 400, 402, 404, 409, 412, 422, 499] {
            assert!(stored(status, &headers), "{status}");
        }
        for status in [101, 401, 403, 408, 425, 429, 500, 502, 503, 599] {
            assert!(!stored(status, &headers), "{status}");
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        assert!(stored(404, &headers) && !stored(409, &headers));
    }
}
