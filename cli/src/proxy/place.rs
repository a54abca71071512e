//! Where a route applies: host, path prefix and methods.

use http::{HeaderMap, Method, Uri, header::HOST, uri::Authority};

use super::path::{self, Unclear};

/// Where a route applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// In lower case, with a port if only that port is meant.
    pub(super) host: Option<String>,
    /// The path as the file writes it.
    pub(super) path: String,
    pub(super) prefix: Vec<Part>,
    /// Empty for any method.
    pub(super) methods: Vec<Method>,
}

/// One segment of a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Vec<u8>),
    /// Any one segment: it names the tenant.
    Tenant,
}

impl Part {
    /// Returns whether some segment is both.
    fn fits(&self, other: &Self) -> bool {
        self == other || [self, other].contains(&&Self::Tenant)
    }
}

/// In a path, the segment that names the tenant.
pub(super) const TENANT: &str = "{tenant}";

/// How well a place fits a request: the longest prefix first, then the most text in it, then a host,
/// and then a port.
pub(super) type Fit = (usize, usize, bool, bool);

/// The target of a request, read for routes.
pub(super) struct Target<'r> {
    host: String,
    segments: Vec<path::Segment<'r>>,
}

impl<'r> Target<'r> {
    pub(super) fn read(uri: &'r Uri, headers: &HeaderMap) -> Result<Self, Unclear> {
        Ok(Self {
            host: authority(uri, headers)?,
            segments: path::segments(uri.path())?,
        })
    }
}

/// Reads which authority a request names, in lower case. Two that differ are unclear.
pub(super) fn authority(uri: &Uri, headers: &HeaderMap) -> Result<String, Unclear> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Unclear("header `host` appears more than once"));
    }
    let host = match host {
        Some(host) => Some(
            host.to_str()
                .map_err(|_| Unclear("header `host` is not ASCII"))?,
        ),
        None => None,
    };
    let named = uri.authority().map(http::uri::Authority::as_str);
    let authority = match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            return Err(Unclear("the target and header `host` name two hosts"));
        }
        (Some(named), _) => named,
        (None, Some(host)) => host,
        (None, None) => return Err(Unclear("the request names no host")),
    };
    // The same reader that forwards it.
    let is_host = authority.parse::<Authority>().is_ok() && !authority.contains(['@', ',']);
    match is_host {
        true => Ok(authority.to_ascii_lowercase()),
        false => Err(Unclear("the host cannot be read")),
    }
}

impl Place {
    /// Returns how well the place fits the target, whatever the method; `None` if it does not.
    pub(super) fn fit(&self, target: &Target<'_>) -> Option<Fit> {
        let serves = |host: &String| serves(host, &target.host);
        if !self.host.as_ref().is_none_or(serves) || self.prefix.len() > target.segments.len() {
            return None;
        }
        let mut pairs = self.prefix.iter().zip(&target.segments);
        let fits = pairs.all(|(part, segment)| match part {
            Part::Text(text) => *text == segment.compared,
            Part::Tenant => true,
        });
        fits.then(|| self.specificity())
    }

    fn specificity(&self) -> Fit {
        let texts = self.prefix.iter().filter(|part| **part != Part::Tenant);
        let host = self.host.as_deref().map(split_port);
        let has_port = host.is_some_and(|(_, port)| port.is_some());
        (self.prefix.len(), texts.count(), host.is_some(), has_port)
    }

    /// The tenant that the target names, exactly as it was sent.
    pub(super) fn tenant<'r>(&self, target: &Target<'r>) -> Option<&'r str> {
        let at = self.prefix.iter().position(|part| *part == Part::Tenant)?;
        target.segments.get(at).map(|segment| segment.sent)
    }

    pub(super) fn has_tenant(&self) -> bool {
        self.prefix.contains(&Part::Tenant)
    }

    pub(super) fn allows(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Returns whether the path of a request is spelled as the file writes it, except the tenant.
    pub(super) fn is_spelled_so(&self, path: &str) -> bool {
        let mut sent = path.split('/');
        let is_equal = self
            .path
            .split('/')
            .all(|own| sent.next().is_some_and(|sent| own == TENANT || own == sent));
        is_equal && sent.next().is_none()
    }

    /// Returns whether some request would fit both equally well.
    pub(super) fn collides(&self, other: &Self) -> bool {
        let any = |place: &Self| place.methods.is_empty();
        let shared = self.methods.iter().any(|method| other.allows(method));
        let host = |place: &Self| {
            let host = place.host.as_deref().map(split_port);
            host.map(|(name, port)| {
                (
                    name.trim_end_matches('.').to_owned(),
                    port.map(str::to_owned),
                )
            })
        };
        let mut parts = self.prefix.iter().zip(&other.prefix);
        self.specificity() == other.specificity()
            && host(self) == host(other)
            && parts.all(|(one, other)| one.fits(other))
            && (any(self) || any(other) || shared)
    }
}

/// Returns whether a host of a route means this authority. Without a port it means any port; a dot
/// at the end of a name changes nothing.
fn serves(host: &str, authority: &str) -> bool {
    let (name, port) = split_port(authority);
    let (own_name, own_port) = split_port(host);
    name.trim_end_matches('.') == own_name.trim_end_matches('.')
        && own_port.is_none_or(|own| Some(own) == port)
}

/// Splits off the port; the colons of an IPv6 address are in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn place(host: Option<&str>, prefix: &[&str]) -> Place {
        let part = |text: &&str| match *text {
            TENANT => Part::Tenant,
            text => Part::Text(text.into()),
        };
        Place {
            host: host.map(str::to_owned),
            path: format!("/{}", prefix.join("/")),
            prefix: prefix.iter().map(part).collect(),
            methods: Vec::new(),
        }
    }

    fn fit(place: &Place, host: &str, path: &str) -> Option<Fit> {
        let request = Request::get(path).header(HOST, host).body(()).unwrap();
        place.fit(&Target::read(request.uri(), request.headers()).unwrap())
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends_and_is_compared_decoded_and_without_case() {
        let transfer = place(None, &["transfer"]);
        for path in [
            "/transfer",
            "/transfer/",
            "/transfer/7",
            "/TRANSFER",
            "/%74ransfer?a=1",
        ] {
            assert!(fit(&transfer, "a.example", path).is_some(), "{path}");
        }
        for path in ["/", "/transfers", "/a/transfer", "/trans/fer"] {
            assert!(fit(&transfer, "a.example", path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_more_specific_place_fits_better() {
        let fits = [
            place(None, &[]),
            place(Some("a.example"), &[]),
            place(None, &["hooks"]),
            place(None, &["hooks", "{tenant}"]),
            place(None, &["hooks", "acme"]),
            place(Some("a.example"), &["hooks", "acme"]),
            place(Some("a.example:8443"), &["hooks", "acme"]),
        ]
        .map(|place| fit(&place, "A.example.:8443", "/hooks/acme/1").unwrap());
        assert!(fits.is_sorted_by(|one, next| one < next), "{fits:?}");
        assert_eq!(
            fit(&place(Some("a.example:80"), &[]), "a.example:81", "/"),
            None
        );
        assert!(fit(&place(Some("[::1]"), &[]), "[::1]:81", "/").is_some());
    }

    #[test]
    fn places_that_fit_some_request_equally_collide() {
        let collide = |one: (Option<&str>, &[&str]), other: (Option<&str>, &[&str])| {
            let (one, other) = (place(one.0, one.1), place(other.0, other.1));
            assert_eq!(one.collides(&other), other.collides(&one));
            one.collides(&other)
        };
        assert!(collide((None, &[TENANT, "b"]), (None, &["a", TENANT])));
        assert!(collide((Some("a.example"), &[]), (Some("a.example."), &[])));
        // The twins: no request fits both, or one of them fits better.
        assert!(!collide((None, &[TENANT, "b"]), (None, &[TENANT, "c"])));
        assert!(!collide((None, &[TENANT, "b"]), (None, &["a", "b"])));
        assert!(!collide(
            (Some("a.example"), &[]),
            (Some("a.example:443"), &[])
        ));
        assert!(!collide((Some("a.example"), &[]), (None, &[])));
    }

    #[test]
    fn a_path_is_spelled_so_byte_for_byte() {
        let place = place(None, &["hooks", TENANT]);
        assert!(place.is_spelled_so("/hooks/acme"));
        for path in [
            "/hooks/acme/",
            "/HOOKS/acme",
            "/%68ooks/acme",
            "/hooks",
            "/hooks/acme/x",
        ] {
            assert!(!place.is_spelled_so(path), "{path}");
        }
    }

    #[test]
    fn two_hosts_are_unclear() {
        let read = |uri: &str, hosts: &[&str]| {
            let mut request = Request::get(uri).body(()).unwrap();
            for host in hosts {
                request.headers_mut().append(HOST, host.parse().unwrap());
            }
            authority(request.uri(), request.headers())
        };
        assert!(read("http://a.example/", &["b.example"]).is_err());
        assert!(read("/", &["a.example", "a.example"]).is_err());
        assert!(read("/", &[]).is_err());
        for host in ["", "user@a.example", "a\"b", "a b", "a/b", "a,b", "[::1"] {
            assert!(read("/", &[host]).is_err(), "{host}");
        }
        assert_eq!(
            read("http://A.example/", &["a.example"]).unwrap(),
            "a.example"
        );
        assert_eq!(read("/", &["A.example:80"]).unwrap(), "a.example:80");
    }
}
