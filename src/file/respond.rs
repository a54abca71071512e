//! The response with a file: `ETag`, a single `Range`, `If-Range`, `If-None-Match`, `HEAD`.

use std::ops::Range;

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE,
        RANGE,
    },
};

use super::verified::{FileBody, VerifiedFile};

impl VerifiedFile {
    /// Returns the strong entity tag: the digest, in quotes.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.digest())
    }

    /// Makes the response to a request with this method and these headers (RFC 9110). Axum takes it
    /// as it is; so does everything that takes an [`http_body::Body`].
    ///
    /// | request | answer |
    /// | --- | --- |
    /// | `GET` | 200 with the whole file |
    /// | `GET` with one `Range` in bytes | 206 with these bytes, or 416 if there are none; only the blocks of the range are read |
    /// | several ranges, or one that cannot be read | 200: a server may ignore them |
    /// | `If-Range` that is not the file's `ETag` | 200 |
    /// | `If-None-Match` with the file's `ETag`, or `*` | 304 |
    /// | `HEAD` | the headers of `GET` without a range |
    ///
    /// `Content-Type` is `application/octet-stream`; replace it in the response. The headers of the
    /// request decide only how much of the file is sent, so they need not be covered.
    #[must_use]
    pub fn respond(&self, method: &Method, headers: &HeaderMap) -> Response<FileBody> {
        let mut response = Response::new(self.body_of(0..0));
        let etag = HeaderValue::try_from(self.etag()).ok();
        let answer = response.headers_mut();
        if let Some(etag) = &etag {
            answer.insert(ETAG, etag.clone());
        }
        answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let is_current = |list: &HeaderValue| lists(list.as_bytes(), self.etag().as_bytes());
        if headers.get_all(IF_NONE_MATCH).iter().any(is_current) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let octets = HeaderValue::from_static("application/octet-stream");
        answer.insert(CONTENT_TYPE, octets);

        let is_for_this = headers
            .get(IF_RANGE)
            .is_none_or(|tag| Some(tag) == etag.as_ref());
        let asked = match single(headers) {
            Some(range) if *method == Method::GET && is_for_this => asked(range, self.len()),
            _ => Asked::Whole,
        };
        let range = match asked {
            Asked::Whole => 0..self.len(),
            Asked::Part(range) => {
                let all = format!("bytes {}-{}/{}", range.start, range.end - 1, self.len());
                insert(answer, CONTENT_RANGE, &all);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                range
            }
            Asked::Nothing => {
                insert(answer, CONTENT_RANGE, &format!("bytes */{}", self.len()));
                answer.insert(CONTENT_LENGTH, 0.into());
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return response;
            }
        };
        let len = range.end - range.start;
        response.headers_mut().insert(CONTENT_LENGTH, len.into());
        if *method != Method::HEAD {
            *response.body_mut() = self.body_of(range);
        }
        response
    }
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// `None` without a range, and with several lines of them.
fn single(headers: &HeaderMap) -> Option<&[u8]> {
    let mut ranges = headers.get_all(RANGE).iter();
    let range = ranges.next()?;
    ranges.next().is_none().then_some(range.as_bytes())
}

enum Asked {
    Whole,
    Part(Range<u64>),
    /// No byte of the range is there.
    Nothing,
}

/// RFC 9110, section 14.1.2. A range that cannot be read is ignored.
fn asked(range: &[u8], len: u64) -> Asked {
    let spec = str::from_utf8(range)
        .ok()
        .and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = spec.and_then(|spec| spec.trim().split_once('-')) else {
        return Asked::Whole;
    };
    // Digits alone: `parse` would take a plus sign. A number that is too large is beyond any file.
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(len),
        (Some(first), None) if last.is_empty() => first..len,
        (None, Some(suffix)) if first.is_empty() => len.saturating_sub(suffix)..len,
        _ => return Asked::Whole,
    };
    if range.is_empty() {
        Asked::Nothing
    } else {
        Asked::Part(range)
    }
}

/// Returns whether a list of entity tags has this one, compared weakly (RFC 9110, section 13.1.2).
fn lists(list: &[u8], etag: &[u8]) -> bool {
    let mut tags = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
}
