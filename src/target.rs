//! The target of a request as the client signed it: authority, path and query.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::HOST,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use ipnet::IpNet;

use crate::{
    error::{ConfigError, ConfigErrorKind},
    outcome::{Report, Signed},
    rejection::{Rejection, RejectionKind, malformed},
};

/// The address of the peer that a connection was accepted from, as an extension of the request.
///
/// With Axum's `into_make_service_with_connect_info::<SocketAddr>()` it is not needed. Other
/// servers insert it, for [forwarded headers](crate::Forwarded) to be trusted:
///
/// ```
/// use countersign::PeerAddr;
/// # let (mut request, addr) = (http::Request::new(()), "10.0.0.1:9".parse::<std::net::SocketAddr>()?);
/// request.extensions_mut().insert(PeerAddr::from(addr));
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(SocketAddr);

impl From<SocketAddr> for PeerAddr {
    fn from(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

/// A header in which a trusted proxy says which authority the client asked for.
///
/// From a peer outside of the networks that are named here, the header is ignored, and `Host` or
/// `:authority` counts. Without a network no peer is trusted.
///
/// ```
/// use countersign::Forwarded;
///
/// let forwarded = Forwarded::host("x-forwarded-host")?.from_network("10.0.0.0/8")?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forwarded {
    header: HeaderName,
    networks: Vec<IpNet>,
}

impl Forwarded {
    /// The header that holds the authority, such as `x-forwarded-host`: one value, without a list.
    ///
    /// # Errors
    /// When this is not the name of a header.
    pub fn host(header: &str) -> Result<Self, ConfigError> {
        let header = header.parse().map_err(|_| {
            ConfigErrorKind::Forwarded(format!("`{header}` is not the name of a header"))
        })?;
        Ok(Self {
            header,
            networks: Vec::new(),
        })
    }

    /// Trusts the proxies of this network, such as `10.0.0.0/8`, or this one address.
    ///
    /// # Errors
    /// When this is neither a network nor an address.
    pub fn from_network(mut self, network: &str) -> Result<Self, ConfigError> {
        let network = network
            .parse()
            .or_else(|_| network.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                ConfigErrorKind::Forwarded(format!(
                    "`{network}` is neither a network, such as `10.0.0.0/8`, nor an address"
                ))
            })?;
        self.networks.push(network);
        Ok(self)
    }

    /// Whether anybody is trusted at all.
    pub(crate) fn trusts_nobody(&self) -> bool {
        self.networks.is_empty()
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }
}

/// Where clients reach this service: scheme, authority, and the part of the path that a proxy takes
/// off before it passes the request on.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: String,
    prefix: String,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let refuse = || ConfigErrorKind::Origin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(refuse().into());
        };
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let known = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
        if !known || authority.as_str().contains('@') || path.query().is_some() {
            return Err(refuse().into());
        }
        Ok(Self {
            authority: without_default_port(authority.as_str(), &scheme).to_ascii_lowercase(),
            prefix: path.path().trim_end_matches('/').to_owned(),
            scheme,
        })
    }

    fn serves(&self, authority: &str) -> bool {
        without_default_port(authority, &self.scheme).eq_ignore_ascii_case(&self.authority)
    }
}

fn without_default_port<'a>(authority: &'a str, scheme: &Scheme) -> &'a str {
    let port = if *scheme == Scheme::HTTP {
        ":80"
    } else {
        ":443"
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

/// The authorities that this service answers for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    origins: Vec<Origin>,
    forwarded: Option<Forwarded>,
    any: bool,
}

impl Origins {
    pub(crate) fn add(&mut self, origin: Origin) -> Result<(), ConfigError> {
        if self
            .origins
            .iter()
            .any(|known| known.authority == origin.authority)
        {
            return Err(ConfigErrorKind::Origin(origin.authority).into());
        }
        self.origins.push(origin);
        Ok(())
    }

    pub(crate) fn allow_any(&mut self) {
        self.any = true;
    }

    pub(crate) fn trust(&mut self, forwarded: Forwarded) {
        self.forwarded = Some(forwarded);
    }

    /// Whether it is said which authorities this service answers for.
    pub(crate) fn are_known(&self) -> bool {
        self.any || !self.origins.is_empty()
    }

    /// The target that the client asked for.
    pub(crate) fn resolve<'h>(&'h self, parts: &'h Parts) -> Result<Target<'h>, Rejection> {
        let uri = original_uri(parts);
        let asked = match self.forwarded_authority(parts)? {
            Some(authority) => Some(authority),
            None => requested_authority(uri, &parts.headers)?,
        };
        let origin = asked.and_then(|asked| self.origins.iter().find(|o| o.serves(asked)));
        let Some(origin) = origin else {
            if self.any || self.origins.is_empty() {
                return Ok(Target {
                    absolute_form: absolute_form(uri, parts.version),
                    is_known_route: is_known_route(parts),
                    ..Target::without_origin(uri, asked)
                });
            }
            return Err(Rejection::new(
                RejectionKind::AuthorityNotServed,
                format!(
                    "the request is for `{}`, which is no public origin of this service; if a \
                     proxy stands in front, let it pass on the client's `Host`, or configure \
                     `forwarded`",
                    asked.unwrap_or_default().escape_debug()
                ),
            ));
        };
        let path_and_query = path_and_query(uri);
        let path_and_query = if origin.prefix.is_empty() {
            path_and_query
        } else {
            let whole = format!("{}{path_and_query}", origin.prefix);
            Cow::Owned(
                whole
                    .parse()
                    .map_err(|_| malformed("the path cannot be read"))?,
            )
        };
        Ok(Target {
            scheme: Some(&origin.scheme),
            authority: Cow::Borrowed(&origin.authority),
            path_and_query,
            prefix_len: origin.prefix.len(),
            is_known_route: is_known_route(parts),
            absolute_form: absolute_form(uri, parts.version),
        })
    }

    fn forwarded_authority<'h>(&self, parts: &'h Parts) -> Result<Option<&'h str>, Rejection> {
        let Some(forwarded) = &self.forwarded else {
            return Ok(None);
        };
        if !peer(parts).is_some_and(|peer| forwarded.trusts(peer)) {
            return Ok(None);
        }
        single_authority(&parts.headers, &forwarded.header)
    }
}

/// The target of a request: what of it a client signs.
#[derive(Clone, Debug)]
pub(crate) struct Target<'h> {
    /// Of the public origin, or of the URI; not known where neither says it.
    pub(crate) scheme: Option<&'h Scheme>,
    /// In lower case and without the default port; empty where the request names none.
    pub(crate) authority: Cow<'h, str>,
    pub(crate) path_and_query: Cow<'h, PathAndQuery>,
    /// How much of the path a proxy took off before it passed the request on, in bytes.
    pub(crate) prefix_len: usize,
    /// Whether a router took it for a route that this very path is all of.
    pub(crate) is_known_route: bool,
    /// The whole URI, where it stood in the request line (RFC 9112, section 3.2.2).
    pub(crate) absolute_form: Option<&'h Uri>,
}

impl<'h> Target<'h> {
    /// The target of an outgoing request: from its URI, and where that names no authority, `Host`.
    pub(crate) fn of_outgoing(uri: &'h Uri, headers: &'h HeaderMap) -> Result<Self, Rejection> {
        Ok(Self::without_origin(
            uri,
            requested_authority(uri, headers)?,
        ))
    }

    /// The authority as it was asked for, where no public origin says how it is written.
    fn without_origin(uri: &'h Uri, asked: Option<&'h str>) -> Self {
        Self {
            scheme: uri.scheme(),
            authority: normalize(
                asked.unwrap_or_default(),
                uri.scheme().unwrap_or(&Scheme::HTTPS),
            ),
            path_and_query: path_and_query(uri),
            prefix_len: 0,
            is_known_route: false,
            absolute_form: None,
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

    pub(crate) fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

/// From HTTP/2 on a request has no line; its URI is put together from pseudo-headers.
fn absolute_form(uri: &Uri, version: Version) -> Option<&Uri> {
    (version < Version::HTTP_2 && uri.scheme().is_some()).then_some(uri)
}

fn path_and_query(uri: &Uri) -> Cow<'_, PathAndQuery> {
    uri.path_and_query()
        .map_or_else(|| Cow::Owned(PathAndQuery::from_static("/")), Cow::Borrowed)
}

fn normalize<'a>(authority: &'a str, scheme: &Scheme) -> Cow<'a, str> {
    let authority = without_default_port(authority, scheme);
    if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    }
}

/// What `:authority` or an absolute request target says, and `Host`: they may not disagree.
fn requested_authority<'h>(
    uri: &'h Uri,
    headers: &'h HeaderMap,
) -> Result<Option<&'h str>, Rejection> {
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

/// The value of a header that must not stand there twice.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(malformed(format!("header `{name}` stands there twice")));
    }
    Ok(first)
}

fn single_authority<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Rejection> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    // Whether it is one of ours is decided by comparison; here, only that it can be nothing else.
    let authority = value.to_str().ok().filter(|text| {
        let never = |b| matches!(b, b'@' | b'/' | b'?' | b'#' | b'\\' | b',' | b' ' | b'\t');
        !text.is_empty() && !text.bytes().any(never)
    });
    match authority {
        Some(authority) => Ok(Some(authority)),
        None => Err(malformed(format!("`{name}` is no authority"))),
    }
}

/// The URI before a router took off the prefix under which it is nested.
pub(crate) fn original_uri(parts: &Parts) -> &Uri {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = parts.extensions.get() {
        return uri;
    }
    &parts.uri
}

/// Whether the path is one of those that the router names: a route with a parameter or a wildcard is
/// spelled in another way than any path that it matches.
fn is_known_route(parts: &Parts) -> bool {
    #[cfg(feature = "axum")]
    let route = parts
        .extensions
        .get()
        .map(axum::extract::MatchedPath::as_str);
    #[cfg(not(feature = "axum"))]
    let route = None::<&str>;
    route.is_some_and(|route| route == original_uri(parts).path())
}

/// What of the head of a request that arrived tells its target, and its headers: to be kept while
/// it is handled.
pub(crate) fn keep_received(parts: &Parts) -> Parts {
    let mut kept = keep(parts, original_uri(parts));
    if let Some(peer) = peer(parts) {
        kept.extensions.insert(PeerAddr(SocketAddr::new(peer, 0)));
    }
    if let Some(report) = parts.extensions.get::<Report>() {
        kept.extensions.insert(report.clone());
    }
    kept
}

/// The same of one that is about to be sent. Where it is one that arrived and is passed on, what it
/// was before does not count.
pub(crate) fn keep_sent(parts: &Parts) -> Parts {
    let mut kept = keep(parts, &parts.uri);
    if let Some(signed) = parts.extensions.get::<Signed>() {
        kept.extensions.insert(*signed);
    }
    kept
}

fn keep(parts: &Parts, uri: &Uri) -> Parts {
    let mut kept = Request::new(()).into_parts().0;
    kept.method.clone_from(&parts.method);
    kept.uri.clone_from(uri);
    kept.version = parts.version;
    kept.headers.clone_from(&parts.headers);
    kept
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(addr)) = parts.extensions.get() {
        let addr: &SocketAddr = addr;
        return Some(addr.ip());
    }
    parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Origins {
        let mut origins = Origins::default();
        for origin in list {
            origins.add(Origin::parse(origin).unwrap()).unwrap();
        }
        origins
    }

    fn request(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn resolved(origins: &Origins, parts: &Parts) -> Result<String, RejectionKind> {
        let target = origins
            .resolve(parts)
            .map_err(|rejection| rejection.kind())?;
        Ok(format!("{} {}", target.authority, target.path_and_query))
    }

    #[test]
    fn the_authority_is_compared_without_case_and_default_port() {
        let ours = origins(&["https://API.example.com:443", "http://plain.example.com:80"]);
        for host in ["api.example.com", "Api.Example.COM", "api.example.com:443"] {
            let target = resolved(&ours, &request("/a?b", &[host]));
            assert_eq!(target.as_deref(), Ok("api.example.com /a?b"), "{host}");
        }
        assert!(resolved(&ours, &request("/", &["plain.example.com:80"])).is_ok());
        for host in [
            "api.example.com:80",
            "api.example.com.",
            "xapi.example.com",
            "evil.com",
        ] {
            let refused = resolved(&ours, &request("/", &[host]));
            assert_eq!(refused, Err(RejectionKind::AuthorityNotServed), "{host}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_read_one_way_is_malformed() {
        let ours = origins(&["https://a.example"]);
        let many: &[&[&str]] = &[
            &["a.example", "a.example"],
            &["a.example,b.example"],
            &["u@a.example"],
            &[""],
            &["a.example/x"],
        ];
        for hosts in many {
            let refused = resolved(&ours, &request("/", hosts));
            assert_eq!(refused, Err(RejectionKind::SignatureMalformed), "{hosts:?}");
        }
    }

    #[test]
    fn host_and_the_target_may_not_disagree() {
        let ours = origins(&["https://a.example", "https://b.example"]);
        let both = |host| resolved(&ours, &request("https://a.example/x", &[host]));
        assert_eq!(both("A.example:443").as_deref(), Ok("a.example /x"));
        assert_eq!(both("b.example"), Err(RejectionKind::SignatureMalformed));
        assert!(
            resolved(&ours, &request("https://b.example/", &[])).is_ok(),
            "as in HTTP/2"
        );
        assert_eq!(
            resolved(&ours, &request("https://u@a.example/", &[])),
            Err(RejectionKind::SignatureMalformed)
        );
    }

    #[test]
    fn without_an_authority_the_request_is_for_nobody() {
        let refused = resolved(&origins(&["https://a.example"]), &request("/", &[]));
        assert_eq!(refused, Err(RejectionKind::AuthorityNotServed));
    }

    #[test]
    fn the_prefix_that_a_proxy_took_off_is_put_back() {
        let ours = origins(&["https://a.example/api/v1/", "https://b.example"]);
        let path = |host| resolved(&ours, &request("/x%2Fy?z", &[host]));
        assert_eq!(
            path("a.example").as_deref(),
            Ok("a.example /api/v1/x%2Fy?z")
        );
        assert_eq!(path("b.example").as_deref(), Ok("b.example /x%2Fy?z"));
    }

    #[test]
    fn forwarded_headers_count_from_trusted_peers_only() {
        let mut ours = origins(&["https://a.example"]);
        let forwarded = Forwarded::host("x-forwarded-host").unwrap();
        ours.trust(
            forwarded
                .from_network("10.0.0.0/8")
                .unwrap()
                .from_network("::1")
                .unwrap(),
        );
        let from = |peer: Option<&str>, values: &[&str]| {
            let mut parts = request("/", &["internal:8080"]);
            for value in values {
                parts
                    .headers
                    .append("x-forwarded-host", value.parse().unwrap());
            }
            if let Some(peer) = peer {
                parts.extensions.insert(PeerAddr(peer.parse().unwrap()));
            }
            resolved(&ours, &parts)
        };
        for peer in ["10.1.2.3:9", "[::ffff:10.1.2.3]:9", "[::1]:9"] {
            assert!(from(Some(peer), &["a.example"]).is_ok(), "{peer}");
        }
        for peer in [None, Some("192.168.0.1:9"), Some("[::2]:9")] {
            let refused = from(peer, &["a.example"]);
            assert_eq!(refused, Err(RejectionKind::AuthorityNotServed), "{peer:?}");
        }
        for values in [
            &["a.example, b.example"] as &[_],
            &["a.example", "a.example"],
        ] {
            let refused = from(Some("10.1.2.3:9"), values);
            assert_eq!(
                refused,
                Err(RejectionKind::SignatureMalformed),
                "{values:?}"
            );
        }
    }

    #[test]
    fn an_origin_that_says_two_things_is_refused() {
        for text in [
            "a.example",
            "ftp://a.example",
            "https://",
            "https://u@a.example",
            "/x",
            "https://a.example/?q",
        ] {
            assert!(Origin::parse(text).is_err(), "{text}");
        }
        let mut ours = origins(&["https://a.example/one"]);
        assert!(
            ours.add(Origin::parse("https://A.example:443/two").unwrap())
                .is_err()
        );
    }

    #[test]
    fn any_authority_is_taken_as_it_came_but_normalized() {
        let mut any = Origins::default();
        any.allow_any();
        let target = resolved(&any, &request("/x", &["LOCALHOST:8080"]));
        assert_eq!(target.as_deref(), Ok("localhost:8080 /x"));
        // The default port is that of the URI's scheme, with public origins or without.
        let mut some = origins(&["https://a.example/api"]);
        some.allow_any();
        for any in [any, some] {
            let target = resolved(&any, &request("http://B.example:80/x", &[]));
            assert_eq!(target.as_deref(), Ok("b.example /x"));
        }
    }
}
