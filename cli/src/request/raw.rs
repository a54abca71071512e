//! A request as it is on the wire of HTTP/1.1, or as an editor saved it, with bare line feeds.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};

use super::input::{Unreadable, unreadable};

const MAX_HEADERS: usize = 1000;

const SHAPE: &str = "write a request line such as `POST /path HTTP/1.1`, one header a line, an \
                     empty line, and the body";

pub(super) fn parse(bytes: &[u8]) -> Result<Request<Bytes>, Unreadable> {
    let mut rest = bytes;
    let request_line = line(&mut rest).unwrap_or_default();
    let not_http = || unreadable("the first line is not a request line of HTTP/1.1", SHAPE);
    let request_line = std::str::from_utf8(request_line).map_err(|_| not_http())?;
    if request_line.starts_with("HTTP/") {
        return Err(unreadable("this is a response, and not a request", SHAPE));
    }
    let mut words = request_line.split(' ').filter(|word| !word.is_empty());
    let (Some(method), Some(target), version) = (words.next(), words.next(), words.next()) else {
        return Err(not_http());
    };
    if words.next().is_some() || version.is_some_and(|version| !version.starts_with("HTTP/")) {
        return Err(not_http());
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| not_http())?;
    let uri: Uri = target.parse().map_err(|error| {
        unreadable(
            format!("the target of the request line is not a URI: {error}"),
            SHAPE,
        )
    })?;
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .version(match version {
            Some("HTTP/2" | "HTTP/2.0") => Version::HTTP_2,
            Some("HTTP/1.0") => Version::HTTP_10,
            _ => Version::HTTP_11,
        });
    let mut number = 1;
    loop {
        number += 1;
        if number > MAX_HEADERS {
            return Err(unreadable(
                format!("it has more than {MAX_HEADERS} headers"),
                SHAPE,
            ));
        }
        let Some(header) = line(&mut rest) else {
            return Err(unreadable(
                "the head does not end: no empty line follows the headers",
                "add an empty line after the last header, even without a body",
            ));
        };
        if header.is_empty() {
            break;
        }
        let wrong = || {
            unreadable(
                format!("line {number} is not a header: it has no `name: value`"),
                SHAPE,
            )
        };
        let at = header.iter().position(|b| *b == b':').ok_or_else(wrong)?;
        let (name, value) = header.split_at_checked(at).ok_or_else(wrong)?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let name = HeaderName::from_bytes(name).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value).map_err(|_| wrong())?;
        request = request.header(name, value);
    }
    let body = body(rest, request.headers_ref())?;
    request
        .body(body)
        .map_err(|error| unreadable(error.to_string(), SHAPE))
}

/// Takes a line, without its end. `None` if there is no end of a line.
fn line<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..).unwrap_or_default();
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// Takes the body from the rest: as `content-length` or chunks say, or all of it.
fn body(rest: &[u8], headers: Option<&http::HeaderMap>) -> Result<Bytes, Unreadable> {
    let header = |name| headers.and_then(|headers| headers.get(name));
    let is_chunked = header(TRANSFER_ENCODING)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
    if is_chunked {
        return chunks(rest).ok_or_else(|| {
            unreadable(
                "the head says `transfer-encoding: chunked`, and the body is not whole chunks",
                "save the request again as it is on the wire, or leave out `transfer-encoding` and \
                 save the plain body",
            )
        });
    }
    let Some(length) = header(CONTENT_LENGTH) else {
        return Ok(Bytes::copy_from_slice(rest));
    };
    let length: Option<usize> = length.to_str().ok().and_then(|text| text.parse().ok());
    let length = length.ok_or_else(|| {
        unreadable(
            "`content-length` is not a number",
            "correct the header, or leave it out",
        )
    })?;
    match rest.get(..length) {
        Some(body) => Ok(Bytes::copy_from_slice(body)),
        None => Err(unreadable(
            format!(
                "the body is cut off: `content-length` says {length} bytes, and there are {}",
                rest.len()
            ),
            "save the whole request; if an editor changed the ends of lines, save the body again \
             byte for byte",
        )),
    }
}

fn chunks(mut rest: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let size = std::str::from_utf8(line(&mut rest)?).ok()?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body.into());
        }
        let (chunk, after) = rest.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = after
            .strip_prefix(b"\r\n")
            .or_else(|| after.strip_prefix(b"\n"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_head_says() {
        let read = |text: &str| parse(text.as_bytes()).map(http::Request::into_body).ok();
        let head = "POST /a HTTP/1.1\r\nhost: a.example\r\n";
        assert_eq!(
            read(&format!("{head}\r\n{{}}\n")).as_deref(),
            Some(&b"{}\n"[..])
        );
        let sized = read(&format!("{head}content-length: 2\r\n\r\n{{}}\n"));
        assert_eq!(sized.as_deref(), Some(&b"{}"[..]));
        let chunked =
            format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n1;x\r\n}}\r\n0\r\n\r\n");
        assert_eq!(read(&chunked).as_deref(), Some(&b"{}"[..]));
        assert_eq!(
            read("GET /\n\n").as_deref(),
            Some(&b""[..]),
            "as an editor saved it"
        );
        for refused in [
            format!("{head}content-length: 9\r\n\r\n{{}}"),
            format!("{head}transfer-encoding: chunked\r\n\r\n5\r\n{{}}"),
            format!("{head}no header\r\n\r\n"),
            head.to_owned(),
            "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
            "hello".to_owned(),
            "\u{0}\u{1}\n\n".to_owned(),
        ] {
            assert_eq!(read(&refused), None, "{refused}");
        }
    }
}
