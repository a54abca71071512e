//! The target of a request: authority, path and query, as the client signed them.

use std::{borrow::Cow, fmt};

use http::{
    HeaderMap, HeaderName, Uri, Version,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{fields::single, routing::MatchedPlace};
use crate::error::{Fault, malformed};

/// The target of a request, as a client signs it.
#[derive(Clone, Debug)]
pub(crate) struct Target<'h> {
    /// The scheme of the public origin, or of the URI; not known if neither says it.
    pub(crate) scheme: Option<&'h Scheme>,
    /// The public origin's user information: no request says it.
    pub(crate) user: Option<&'h UserInfo>,
    /// In lower case and without the default port; empty where the request names none.
    pub(crate) authority: Cow<'h, str>,
    pub(crate) path_and_query: Cow<'h, PathAndQuery>,
    /// How much of the path a proxy took off before it passed the request on, in bytes.
    pub(crate) prefix_len: usize,
    /// The route that a router took it for, with the names of its parameters.
    pub(super) route: Option<&'h str>,
    /// The place that a server says it was routed to.
    pub(crate) place: Option<&'h MatchedPlace>,
    /// The whole URI, where it stood in the request line (RFC 9112, section 3.2.2).
    pub(crate) absolute_form: Option<&'h Uri>,
}

/// User and password of a URL, which some senders sign with it.
#[derive(Clone)]
pub(crate) struct UserInfo(pub(crate) String);

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(redacted)")
    }
}

impl<'h> Target<'h> {
    /// The target of an outgoing request: from its URI, and where that names no authority, `Host`.
    pub(crate) fn of_outgoing(uri: &'h Uri, headers: &'h HeaderMap) -> Result<Self, Fault> {
        Ok(Self::without_origin(
            uri,
            requested_authority(uri, headers)?,
        ))
    }

    /// The authority as it was asked for, where no public origin says how it is written.
    pub(super) fn without_origin(uri: &'h Uri, asked: Option<&'h str>) -> Self {
        Self {
            scheme: uri.scheme(),
            user: None,
            authority: normalize(
                asked.unwrap_or_default(),
                uri.scheme().unwrap_or(&Scheme::HTTPS),
            ),
            path_and_query: path_and_query(uri),
            prefix_len: 0,
            route: None,
            place: None,
            absolute_form: None,
        }
    }

    /// The authority of a request that must name one.
    pub(crate) fn named_authority(&self) -> Result<&str, &'static str> {
        match &*self.authority {
            "" => Err("the request names no authority, in its URI or in `Host`"),
            named => Ok(named),
        }
    }

    pub(crate) fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The path without the prefix that a proxy took off: the same whichever of several public
    /// origins a request names.
    pub(crate) fn routed_path(&self) -> &str {
        self.path().get(self.prefix_len..).unwrap_or_default()
    }

    /// Returns whether a router took it for a route that this very path is all of: a route with a
    /// parameter or a wildcard is spelled in another way than any path that it matches.
    pub(crate) fn is_known_route(&self) -> bool {
        self.route.is_some_and(|route| route == self.routed_path())
    }

    /// Returns the value of this parameter of the route in the path, as it was sent.
    pub(crate) fn route_parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.routed_path().split('/');
        for segment in self.route?.split('/') {
            let value = values.next()?;
            let parameter = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            match parameter {
                Some(parameter) if parameter == name => return Some(value),
                Some(parameter) if parameter.starts_with('*') => return None,
                Some(_) => {}
                // The path was rewritten before it was routed.
                None if segment != value => return None,
                None => {}
            }
        }
        None
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

/// From HTTP/2 on a request has no line; its URI is put together from pseudo-headers.
pub(super) fn absolute_form(uri: &Uri, version: Version) -> Option<&Uri> {
    (version < Version::HTTP_2 && uri.scheme().is_some()).then_some(uri)
}

pub(super) fn path_and_query(uri: &Uri) -> Cow<'_, PathAndQuery> {
    uri.path_and_query()
        .map_or_else(|| Cow::Owned(PathAndQuery::from_static("/")), Cow::Borrowed)
}

pub(super) fn normalize<'a>(authority: &'a str, scheme: &Scheme) -> Cow<'a, str> {
    let authority = without_default_port(authority, scheme);
    if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    }
}

/// Returns what `:authority` or an absolute request target says, and `Host`: they may not disagree.
pub(super) fn requested_authority<'h>(
    uri: &'h Uri,
    headers: &'h HeaderMap,
) -> Result<Option<&'h str>, Fault> {
    let host = single_authority(headers, &HOST)?;
    let Some(authority) = uri.authority().map(Authority::as_str) else {
        return Ok(host);
    };
    if authority.contains('@') {
        return Err(malformed("the authority has user information"));
    }
    let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
    let plain = |authority| without_default_port(authority, scheme);
    if host.is_some_and(|host| !plain(host).eq_ignore_ascii_case(plain(authority))) {
        return Err(malformed("`Host` and the authority of the target disagree"));
    }
    Ok(Some(authority))
}

pub(super) fn single_authority<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Fault> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    authority_in(value.to_str().ok(), name).map(Some)
}

/// The authority that the nearest proxy wrote: the last one of a list, and of several lines. Each
/// proxy adds its own behind those that it received, which anybody may have written.
pub(super) fn last_authority<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Fault> {
    let Some(line) = headers.get_all(name).iter().next_back() else {
        return Ok(None);
    };
    // The earlier ones may be anything: the last one is read all the same.
    let last = line.as_bytes().rsplit(|b| *b == b',').next();
    let last = str::from_utf8(last.unwrap_or_default().trim_ascii()).ok();
    authority_in(last.filter(|last| last.is_ascii()), name).map(Some)
}

fn authority_in<'h>(value: Option<&'h str>, name: &HeaderName) -> Result<&'h str, Fault> {
    // A comparison decides later whether the authority is one of ours. Here it only must not be
    // anything else.
    let never = |b| matches!(b, b'@' | b'/' | b'?' | b'#' | b'\\' | b',' | b' ' | b'\t');
    let authority = value.filter(|value| !value.is_empty() && !value.bytes().any(never));
    authority.ok_or_else(|| malformed(format!("`{name}` is not an authority")))
}

pub(super) fn without_default_port<'a>(authority: &'a str, scheme: &Scheme) -> &'a str {
    authority
        .strip_suffix(default_port(scheme))
        .unwrap_or(authority)
}

/// Returns the port that this scheme implies, such as `:443`.
pub(crate) fn default_port(scheme: &Scheme) -> &'static str {
    match scheme.as_str() {
        "http" | "ws" => ":80",
        _ => ":443",
    }
}
