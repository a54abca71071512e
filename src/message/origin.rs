//! The public origins of a service, and whom to believe which of them a client asked for.

use std::{borrow::Cow, net::IpAddr};

use http::{
    HeaderName, Uri,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use ipnet::IpNet;

use super::{
    head::Head,
    routing::Routed,
    target::{
        Target, UserInfo, absolute_form, last_authority, path_and_query, requested_authority,
        without_default_port,
    },
};
use crate::error::{ConfigError, ConfigErrorKind, Fault, FaultKind, malformed};

/// A header in which a trusted proxy says which authority the client asked for.
///
/// From a peer outside of the networks that are named here, the header is ignored, and `Host` or
/// `:authority` counts. Without a network no peer is trusted.
///
/// ```
/// use countersign::request::Forwarded;
///
/// let forwarded = Forwarded::host("x-forwarded-host")?.trust_network("10.0.0.0/8")?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forwarded {
    header: HeaderName,
    networks: Vec<IpNet>,
}

impl Forwarded {
    /// Reads the authority from this header, such as `x-forwarded-host`.
    ///
    /// If the header holds a list, in one line or in several, the last value counts: the proxy that
    /// we trust wrote it, behind values that it received and that anybody may have written. With
    /// several proxies in a row, let each one that is not the first pass on the header as it is.
    ///
    /// # Errors
    /// Returns an error if this is not the name of a header.
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
    /// Returns an error if this is neither a network nor an address.
    pub fn trust_network(mut self, network: &str) -> Result<Self, ConfigError> {
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

    /// Returns whether a proxy at this address is trusted.
    ///
    /// ```
    /// use countersign::request::Forwarded;
    ///
    /// let forwarded = Forwarded::host("x-forwarded-host")?.trust_network("10.0.0.0/8")?;
    /// assert!(forwarded.trusts([10, 1, 2, 3].into()));
    /// assert!(!forwarded.trusts([192, 0, 2, 1].into()));
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Returns which authority a trusted proxy says the client asked for; `None` if the peer is not
    /// trusted, or says nothing.
    pub(crate) fn said<'h>(
        &self,
        parts: &'h Parts,
        peer: Option<IpAddr>,
    ) -> Result<Option<&'h str>, Fault> {
        if !peer.is_some_and(|peer| self.trusts(peer)) {
            return Ok(None);
        }
        last_authority(&parts.headers, &self.header)
    }
}

/// The URL at which clients reach this service: scheme, authority, and the part of the path that a
/// proxy takes off before it passes the request on.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    authority: String,
    prefix: String,
    user: Option<UserInfo>,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let origin = Self::parse_url(text)?;
        let is_http = origin.scheme == Scheme::HTTP || origin.scheme == Scheme::HTTPS;
        if is_http && origin.user.is_none() {
            Ok(origin)
        } else {
            Err(refused(text).into())
        }
    }

    /// The same for senders that sign the URL as it was configured there, which may begin with
    /// `ws://` or `wss://`, and have user information.
    pub(crate) fn parse_url(text: &str) -> Result<Self, ConfigError> {
        let refuse = || refused(text);
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(refuse().into());
        };
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let is_known = ["http", "https", "ws", "wss"].contains(&scheme.as_str());
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(UserInfo(user.to_owned())), host),
            None => (None, authority.as_str()),
        };
        if !is_known || host.is_empty() || path.query().is_some() {
            return Err(refuse().into());
        }
        Ok(Self {
            authority: without_default_port(host, &scheme).to_ascii_lowercase(),
            user,
            prefix: path.path().trim_end_matches('/').to_owned(),
            scheme,
        })
    }

    fn serves(&self, authority: &str) -> bool {
        // Nearly always as it was configured.
        authority == self.authority
            || without_default_port(authority, &self.scheme).eq_ignore_ascii_case(&self.authority)
    }
}

/// Without user and password, which are a secret.
fn refused(text: &str) -> ConfigErrorKind {
    let shown = match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    };
    ConfigErrorKind::Origin(shown)
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

    pub(crate) fn trust(&mut self, forwarded: Forwarded) -> Result<(), ConfigError> {
        if forwarded.networks.is_empty() {
            let what = "no network is trusted; name the proxies with `trust_network`";
            return Err(ConfigErrorKind::Forwarded(what.into()).into());
        }
        self.forwarded = Some(forwarded);
        Ok(())
    }

    /// Returns whether it is said which authorities this service answers for.
    pub(crate) fn are_known(&self) -> bool {
        self.any || !self.origins.is_empty()
    }

    /// The head of a request, with the target that the client asked for.
    pub(crate) fn head<'h>(
        &'h self,
        parts: &'h Parts,
        routed: Routed<'h>,
    ) -> Result<Head<'h>, Fault> {
        Ok(Head {
            method: &parts.method,
            target: self.resolve(parts, routed)?,
            headers: &parts.headers,
            supplied: None,
        })
    }

    fn resolve<'h>(&'h self, parts: &'h Parts, routed: Routed<'h>) -> Result<Target<'h>, Fault> {
        let Routed {
            uri,
            route,
            place,
            peer,
        } = routed;
        let asked = match self.forwarded_authority(parts, peer)? {
            Some(authority) => Some(authority),
            None => requested_authority(uri, &parts.headers)?,
        };
        let origin = asked.and_then(|asked| self.origins.iter().find(|o| o.serves(asked)));
        let Some(origin) = origin else {
            if self.any || self.origins.is_empty() {
                return Ok(Target {
                    absolute_form: absolute_form(uri, parts.version),
                    route,
                    place,
                    ..Target::without_origin(uri, asked)
                });
            }
            return Err(Fault::new(
                FaultKind::NotServed,
                format!(
                    "the request is for `{}`, which is not a public origin of this service; if a \
                     proxy is in front, let it pass on the client's `Host`, or configure \
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
            user: origin.user.as_ref(),
            authority: Cow::Borrowed(&origin.authority),
            path_and_query,
            prefix_len: origin.prefix.len(),
            route,
            place,
            absolute_form: absolute_form(uri, parts.version),
        })
    }

    fn forwarded_authority<'h>(
        &self,
        parts: &'h Parts,
        peer: fn(&Parts) -> Option<IpAddr>,
    ) -> Result<Option<&'h str>, Fault> {
        match &self.forwarded {
            Some(forwarded) => forwarded.said(parts, peer(parts)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, header::HOST};

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

    fn resolved(origins: &Origins, parts: &Parts) -> Result<String, FaultKind> {
        let routed = Routed {
            peer: |parts| parts.extensions.get().copied(),
            ..Routed::nowhere(parts)
        };
        let target = origins
            .resolve(parts, routed)
            .map_err(|fault| fault.kind())?;
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
            assert_eq!(refused, Err(FaultKind::NotServed), "{host}");
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
            assert_eq!(refused, Err(FaultKind::Malformed), "{hosts:?}");
        }
    }

    #[test]
    fn host_and_the_target_may_not_disagree() {
        let ours = origins(&["https://a.example", "https://b.example"]);
        let both = |host| resolved(&ours, &request("https://a.example/x", &[host]));
        assert_eq!(both("A.example:443").as_deref(), Ok("a.example /x"));
        assert_eq!(both("b.example"), Err(FaultKind::Malformed));
        assert!(
            resolved(&ours, &request("https://b.example/", &[])).is_ok(),
            "as in HTTP/2"
        );
        assert_eq!(
            resolved(&ours, &request("https://u@a.example/", &[])),
            Err(FaultKind::Malformed)
        );
    }

    #[test]
    fn without_an_authority_the_request_is_for_nobody() {
        let refused = resolved(&origins(&["https://a.example"]), &request("/", &[]));
        assert_eq!(refused, Err(FaultKind::NotServed));
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
                .trust_network("10.0.0.0/8")
                .unwrap()
                .trust_network("::1")
                .unwrap(),
        )
        .unwrap();
        let from = |peer: Option<&str>, values: &[&str]| {
            let mut parts = request("/", &["internal:8080"]);
            for value in values {
                parts
                    .headers
                    .append("x-forwarded-host", value.parse().unwrap());
            }
            if let Some(peer) = peer {
                parts.extensions.insert(peer.parse::<IpAddr>().unwrap());
            }
            resolved(&ours, &parts)
        };
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            assert!(from(Some(peer), &["a.example"]).is_ok(), "{peer}");
        }
        for peer in [None, Some("192.168.0.1"), Some("::2")] {
            let refused = from(peer, &["a.example"]);
            assert_eq!(refused, Err(FaultKind::NotServed), "{peer:?}");
        }
        // The trusted proxy wrote the last member of a list.
        for values in [
            &["evil.example, a.example"] as &[_],
            &["evil.example,a.example"],
            &["evil.example", "a.example"],
            &[
                "evil.example, evil.example",
                "evil.example , A.example:443 ",
            ],
        ] {
            assert!(from(Some("10.1.2.3"), values).is_ok(), "{values:?}");
            let reversed: Vec<_> = values.iter().rev().copied().collect();
            if reversed.len() > 1 {
                let refused = from(Some("10.1.2.3"), &reversed);
                assert_eq!(refused, Err(FaultKind::NotServed), "{values:?}");
            }
        }
        let first = from(Some("10.1.2.3"), &["a.example, evil.example"]);
        assert_eq!(first, Err(FaultKind::NotServed));
        for value in ["", "a.example,", "a.example, ", "a.example, u@a.example"] {
            let refused = from(Some("10.1.2.3"), &[value]);
            assert_eq!(refused, Err(FaultKind::Malformed), "{value}");
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
