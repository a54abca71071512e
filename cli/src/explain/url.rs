//! Other URLs that a sender may have signed in place of the one that the verifier sees.

use bytes::Bytes;
use countersign::inspect::Source;
use http::HeaderMap;

use super::{
    body,
    message::{Message, Part, edited, replaced, without},
};

/// Replaces the scheme, before `://` or after `"@scheme": `.
fn with_scheme(message: &[Part], scheme: &str) -> Vec<Message> {
    edited(message, Part::is_text, |text| {
        let text = std::str::from_utf8(text).unwrap_or_default();
        ["https", "http"].into_iter().find_map(|known| {
            let url = format!("{known}://");
            let line = format!("\"@scheme\": {known}\n");
            if text.contains(&url) {
                Some(text.replacen(&url, &format!("{scheme}://"), 1).into_bytes())
            } else if text.contains(&line) {
                Some(
                    text.replacen(&line, &format!("\"@scheme\": {scheme}\n"), 1)
                        .into_bytes(),
                )
            } else {
                None
            }
        })
    })
}

pub(super) fn http(message: &[Part]) -> Vec<Message> {
    with_scheme(message, "http")
}

pub(super) fn https(message: &[Part]) -> Vec<Message> {
    with_scheme(message, "https")
}

pub(super) fn web_socket(message: &[Part]) -> Vec<Message> {
    let schemes = ["wss", "ws"].into_iter();
    schemes
        .flat_map(|scheme| with_scheme(message, scheme))
        .collect()
}

pub(super) fn with_port(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Authority),
        |authority| {
            let has_port = authority.rsplit(|b| *b == b':').next().is_some_and(|port| {
                port.len() < authority.len() && port.iter().all(u8::is_ascii_digit)
            });
            let ports = ["443", "80", "8080", "8000", "3000", "8443", "5000", "4000"];
            let ports = ports.into_iter().filter(move |_| !has_port);
            let with = |port: &str| [authority, b":", port.as_bytes()].concat();
            ports.map(with).collect::<Vec<_>>()
        },
    )
}

pub(super) fn without_port(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Authority),
        |authority| {
            let at = authority.iter().rposition(|b| *b == b':');
            let (host, port) = authority.split_at_checked(at?)?;
            let is_port = port.len() > 1 && port.iter().skip(1).all(u8::is_ascii_digit);
            is_port.then(|| host.to_vec())
        },
    )
}

pub(super) fn with_prefix(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Path),
        |path| {
            let prefixes = [
                "/api",
                "/v1",
                "/api/v1",
                "/v2",
                "/api/v2",
                "/webhooks",
                "/webhook",
            ];
            prefixes.map(|prefix| [prefix.as_bytes(), path].concat())
        },
    )
}

pub(super) fn without_prefix(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Path),
        |path| {
            let slashes = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/');
            slashes
                .take(3)
                .filter_map(|(at, _)| path.get(at..))
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        },
    )
}

pub(super) fn with_slash(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Path) && !part.bytes.ends_with(b"/"),
        |path| [[path, b"/"].concat()],
    )
}

pub(super) fn without_slash(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Path),
        |path| path.strip_suffix(b"/").map(<[u8]>::to_vec),
    )
}

pub(super) fn decoded_path(message: &[Part]) -> Vec<Message> {
    edited(
        message,
        |part| part.is(&Source::Path),
        |path| [body::decoded(&String::from_utf8_lossy(path))],
    )
}

fn is_query(part: &Part) -> bool {
    part.is(&Source::Query)
}

/// The query, and the `?` before it, which may be part of either text.
pub(super) fn without_query(message: &[Part]) -> Vec<Message> {
    let Some(at) = message.iter().position(is_query) else {
        return Vec::new();
    };
    let mut other = without(message, &[at]);
    if let Some(before) = at.checked_sub(1).and_then(|before| other.get_mut(before))
        && before.is_text()
    {
        let text = before.bytes.strip_suffix(b"?").map(Bytes::copy_from_slice);
        before.bytes = text.unwrap_or_else(|| before.bytes.clone());
    }
    let mut all = vec![other];
    // A line of its own that stays, with nothing but the mark.
    all.extend(replaced(message, at, [Vec::new(), b"?".to_vec()]));
    all
}

fn query(message: &[Part], edit: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<Message> {
    edited(message, is_query, |query| {
        let text = std::str::from_utf8(query).ok();
        let (mark, text) = match text.and_then(|text| text.strip_prefix('?')) {
            Some(rest) => ("?", Some(rest)),
            None => ("", text),
        };
        text.and_then(&edit)
            .map(|edited| [mark.as_bytes(), &edited].concat())
    })
}

pub(super) fn sorted_query(message: &[Part]) -> Vec<Message> {
    query(message, |query| {
        let mut pairs: Vec<&str> = query.split('&').collect();
        pairs.sort_unstable();
        Some(pairs.join("&").into_bytes())
    })
}

pub(super) fn decoded_query(message: &[Part]) -> Vec<Message> {
    let plus = query(message, |query| {
        Some(body::decoded(&query.replace('+', " ")))
    });
    let percent = query(message, |query| Some(body::decoded(query)));
    percent.into_iter().chain(plus).collect()
}

pub(super) fn encoded_query(message: &[Part]) -> Vec<Message> {
    query(message, |query| {
        Some(query.replace('%', "%25").into_bytes())
    })
}

/// The most values of a proxy's header that are looked at: there are not more proxies between two
/// servers.
const MAX_VALUES: usize = 16;

/// The first values of these headers of a proxy; of a list, each.
fn values<'h>(headers: &'h HeaderMap, names: &'h [&'static str]) -> impl Iterator<Item = &'h str> {
    let values = names.iter().flat_map(|name| headers.get_all(*name));
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .take(MAX_VALUES)
}

/// The authorities that the headers of a proxy, or a browser, name.
pub(super) fn forwarded_host(message: &[Part], headers: &HeaderMap) -> Vec<Message> {
    let plain = values(headers, &["x-forwarded-host", "x-original-host", "x-host"]);
    let urls = values(headers, &["origin", "referer"])
        .filter_map(|url| url.split_once("://")?.1.split('/').next());
    let listed = values(headers, &["forwarded"]).flat_map(|value| value.split(';'));
    let hosts = listed
        .filter_map(|pair| pair.trim().strip_prefix("host="))
        .take(MAX_VALUES)
        .map(|h| h.trim_matches('"'));
    let all: Vec<Vec<u8>> = plain
        .chain(urls)
        .chain(hosts)
        .map(|host| host.to_ascii_lowercase().into_bytes())
        .collect();
    edited(message, |part| part.is(&Source::Authority), |_| all.clone())
}

/// The paths that the headers of a proxy name, each with its query if it has one.
pub(super) fn forwarded_path(message: &[Part], headers: &HeaderMap) -> Vec<Message> {
    let names = [
        "x-original-uri",
        "x-original-url",
        "x-forwarded-uri",
        "x-envoy-original-path",
    ];
    let whole = values(headers, &names).filter(|path| path.starts_with('/'));
    let mut all = Vec::new();
    for whole in whole {
        let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
        let mut other = message.to_vec();
        for part in &mut other {
            let mark = if part.bytes.starts_with(b"?") {
                "?"
            } else {
                ""
            };
            if part.is(&Source::Path) {
                part.bytes = Bytes::copy_from_slice(path.as_bytes());
            } else if is_query(part) {
                part.bytes = format!("{mark}{query}").into();
            }
        }
        all.push(other);
    }
    let prefixes: Vec<String> = values(headers, &["x-forwarded-prefix", "x-script-name"])
        .map(|prefix| prefix.trim_end_matches('/').to_owned())
        .collect();
    all.extend(edited(
        message,
        |part| part.is(&Source::Path),
        |path| {
            let with = |prefix: &String| [prefix.as_bytes(), path].concat();
            prefixes.iter().map(with).collect::<Vec<_>>()
        },
    ));
    all.retain(|other| other != message);
    all
}
