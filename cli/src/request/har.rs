//! An entry of a HAR file, as a browser or a proxy saves it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Version};
use serde::Deserialize;

use super::input::{Unreadable, unreadable};
use crate::printer::visible;

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Log { log: Log },
    Entry { request: Box<Recorded> },
    Request(Box<Recorded>),
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    request: Recorded,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    #[serde(default)]
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: Option<String>,
    /// Some tools write binary bodies so, as HAR does for responses.
    #[serde(default)]
    encoding: Option<String>,
}

const ADVICE: &str = "export the request again as HAR, or save it as raw HTTP/1.1";

pub(super) fn parse(text: &[u8], entry: Option<usize>) -> Result<Request<Bytes>, Unreadable> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| {
        let why = if error.is_eof() {
            format!("the HAR file is cut off: {error}")
        } else {
            format!("it begins as JSON, and cannot be read: {error}")
        };
        unreadable(why, ADVICE)
    })?;
    let file: File = serde_json::from_value(value).map_err(|_| {
        unreadable(
            "the JSON is neither a HAR file nor an entry of one: it has no `log.entries`, no \
             `request`, and no `method` with `url`",
            ADVICE,
        )
    })?;
    let recorded = match file {
        File::Log { log } => choose(log.entries, entry)?,
        File::Entry { request } | File::Request(request) => *request,
    };
    request(recorded)
}

fn choose(entries: Vec<Entry>, wanted: Option<usize>) -> Result<Recorded, Unreadable> {
    let count = entries.len();
    let index = match wanted {
        Some(number) => number.checked_sub(1),
        None if count == 1 => Some(0),
        None => None,
    };
    let listed: Vec<String> = entries
        .iter()
        .take(20)
        .zip(1..)
        .map(|(entry, number)| {
            let Recorded { method, url, .. } = &entry.request;
            let (method, url) = (visible(method.as_bytes()), visible(url.as_bytes()));
            format!("{number}: {method} {url}")
        })
        .collect();
    let found = index.and_then(|index| entries.into_iter().nth(index));
    found.map(|entry| entry.request).ok_or_else(|| {
        unreadable(
            match wanted {
                Some(number) => format!("there is no entry {number}: the file has {count}"),
                None => format!("the file has {count} entries"),
            },
            if count == 0 {
                "record the request again".to_owned()
            } else {
                format!(
                    "choose an entry with --entry N:\n    {}",
                    listed.join("\n    ")
                )
            },
        )
    })
}

fn request(recorded: Recorded) -> Result<Request<Bytes>, Unreadable> {
    let mut request = Request::builder()
        .method(&*recorded.method)
        .uri(&*recorded.url)
        // The URL is whole, as in HTTP/2; on the wire of HTTP/1.1 only its path was there.
        .version(Version::HTTP_2);
    // The headers of HTTP/2 that begin with a colon are in method and URL.
    for header in recorded
        .headers
        .iter()
        .filter(|header| !header.name.starts_with(':'))
    {
        request = request.header(&*header.name, &*header.value);
    }
    let body = match recorded.post_data {
        None => Bytes::new(),
        Some(PostData { text, encoding }) => {
            let text = text.unwrap_or_default();
            if encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64")) {
                let decoded = STANDARD.decode(text.as_bytes());
                decoded
                    .map_err(|_| unreadable("the body of the entry is not base64", ADVICE))?
                    .into()
            } else {
                text.into_bytes().into()
            }
        }
    };
    request
        .body(body)
        .map_err(|error| unreadable(format!("the entry is not a request: {error}"), ADVICE))
}
