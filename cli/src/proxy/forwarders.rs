//! Forwarders in front of the proxy, such as nginx or a load balancer. Only their fields about the
//! address, scheme and host of a client are trusted.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use countersign::request::{Forwarded, PeerAddr};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{FORWARDED, HOST},
    request::Parts,
};

use super::answer::Refused;

/// A peer on a Unix socket is a process of this machine, as one on loopback is.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The peers that are trusted, and the fields that are read from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarders {
    /// `None` if no peer is trusted.
    pub(super) trusted: Option<Forwarded>,
    /// Where the address of the client is.
    pub(super) client: Option<HeaderName>,
    /// Where the scheme is that the client used.
    pub(super) scheme: Option<HeaderName>,
    /// Whether the field of `trusted` says which host the client asked for.
    pub(super) host: bool,
}

/// The peer of a connection, and whether it uses TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// `None` for a peer on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    pub(super) is_tls: bool,
}

/// The client of a request and its scheme, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) address: Option<IpAddr>,
    pub(super) scheme: Option<&'static str>,
    /// Whether a forwarder says whose request it is. Then requests are counted, and no connections.
    pub(super) is_forwarded: bool,
}

impl Arrival {
    pub(super) fn address(self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}

impl Forwarders {
    /// Returns whether a peer is trusted.
    pub(super) fn trust(&self, arrival: Arrival) -> bool {
        self.is_trusted(arrival.peer.unwrap_or(LOCAL).ip())
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        let trusted = self.trusted.as_ref();
        trusted.is_some_and(|trusted| trusted.trusts(address))
    }

    /// Finds out who sent a request. If a forwarder says which host the client asked for, the request
    /// is for that host from then on.
    pub(super) fn client(&self, arrival: Arrival, head: &mut Parts) -> Result<Client, Refused> {
        let trusted = self.trusted.as_ref().filter(|_| self.trust(arrival));
        let Some(trusted) = trusted else {
            return Ok(Client {
                address: arrival.address(),
                // A server in front of a Unix socket knows more.
                scheme: (arrival.is_tls || arrival.peer.is_some()).then(|| scheme(arrival.is_tls)),
                is_forwarded: false,
            });
        };
        if self.host {
            let peer = arrival.peer.unwrap_or(LOCAL);
            head.extensions.insert(PeerAddr::from(peer));
            let asked = trusted.authority(head).map_err(|_| Refused::Unclear)?;
            if let Some(host) = asked.map(HeaderValue::from_str) {
                let host = host.map_err(|_| Refused::Unclear)?;
                head.headers.insert(HOST, host);
                let mut uri = mem::take(&mut head.uri).into_parts();
                (uri.scheme, uri.authority) = (None, None);
                head.uri = Uri::from_parts(uri).map_err(|_| Refused::Unclear)?;
            }
        }
        let client = self.client.as_ref();
        let scheme = self.scheme.as_ref();
        Ok(Client {
            address: match client {
                None => None,
                Some(name) => self.last_stranger(&head.headers, name)?,
            },
            scheme: match scheme {
                None => None,
                Some(name) => last_scheme(&head.headers, name)?,
            },
            is_forwarded: client.is_some(),
        })
    }

    /// The last address of a list that is not a forwarder's own: each forwarder adds from whom it got
    /// the request, and anybody may have written what is before.
    fn last_stranger(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
    ) -> Result<Option<IpAddr>, Refused> {
        let mut last = None;
        for value in listed(headers, name, "for")?.iter().rev() {
            last = address(value);
            if !last.is_some_and(|address| self.is_trusted(address)) {
                break;
            }
        }
        Ok(last)
    }
}

fn scheme(is_tls: bool) -> &'static str {
    match is_tls {
        true => "https",
        false => "http",
    }
}

fn last_scheme(headers: &HeaderMap, name: &HeaderName) -> Result<Option<&'static str>, Refused> {
    let values = listed(headers, name, "proto")?;
    let last = values.last();
    let is_last = |known: &&str| last.is_some_and(|last| last.eq_ignore_ascii_case(known));
    Ok([scheme(false), scheme(true)].into_iter().find(is_last))
}

/// The values of a list, in all lines of a field; of `Forwarded` (RFC 7239) one parameter of each
/// element, which is empty if there is none. A client whose line cannot be read, or ends within quotes,
/// would hide all that a forwarder adds to the line.
fn listed(headers: &HeaderMap, name: &HeaderName, parameter: &str) -> Result<Vec<String>, Refused> {
    let mut listed = Vec::new();
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| Refused::Unclear)?;
        if Quoting::after(line).is_quoted {
            return Err(Refused::Unclear);
        }
        listed.extend(split(line, ',').map(|value| match *name == FORWARDED {
            true => parameter_of(value, parameter),
            false => value.trim().to_owned(),
        }));
    }
    Ok(listed)
}

fn parameter_of(element: &str, parameter: &str) -> String {
    let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(parameter));
    let (_, value) = found.unwrap_or_default();
    value.trim().trim_matches('"').to_owned()
}

/// Splits a text, but not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoting = Quoting::default();
    text.split(move |c| {
        quoting.read(c);
        c == separator && !quoting.is_quoted
    })
}

/// Whether a place in a text is within quotes.
#[derive(Default)]
struct Quoting {
    is_quoted: bool,
    is_escaped: bool,
}

impl Quoting {
    fn after(text: &str) -> Self {
        let mut quoting = Self::default();
        text.chars().for_each(|c| quoting.read(c));
        quoting
    }

    fn read(&mut self, c: char) {
        self.is_quoted ^= c == '"' && !self.is_escaped;
        self.is_escaped = c == '\\' && self.is_quoted && !self.is_escaped;
    }
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let read = text.parse().ok().or_else(with_port).or_else(in_brackets);
    read.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn forwarders(field: &str) -> Forwarders {
        let trusted = Forwarded::host("x-forwarded-host").unwrap();
        Forwarders {
            trusted: Some(trusted.trust_network("10.0.0.0/8").unwrap()),
            client: Some(field.parse().unwrap()),
            scheme: Some(FORWARDED),
            host: true,
        }
    }

    fn client(field: &str, peer: &str, lines: &[(&str, &str)]) -> Result<Client, Refused> {
        let mut request = Request::get("/a?b").header(HOST, "inner");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 9));
        let is_tls = false;
        forwarders(field).client(Arrival { peer, is_tls }, &mut head)
    }

    fn address_of(field: &str, peer: &str, values: &[&str]) -> Option<String> {
        let lines: Vec<_> = values.iter().map(|value| (field, *value)).collect();
        let client = client(field, peer, &lines).unwrap();
        client.address.map(|address| address.to_string())
    }

    #[test]
    fn the_last_stranger_of_a_list_is_the_client() {
        let of = |values: &[&str]| address_of("x-forwarded-for", "10.0.0.1", values);
        for values in [
            &["192.0.2.1"] as &[_],
            &["evil, 192.0.2.1"],
            &["198.51.100.7, 192.0.2.1:4711, 10.0.0.2"],
            &["198.51.100.7", "::ffff:192.0.2.1 , 10.9.9.9,10.0.0.2"],
        ] {
            assert_eq!(of(values).as_deref(), Some("192.0.2.1"), "{values:?}");
        }
        // Every one of them is a forwarder's: the first is as far as they know.
        assert_eq!(of(&["10.3.0.1, 10.0.0.2"]).as_deref(), Some("10.3.0.1"));
        for values in [&[] as &[_], &[""], &["192.0.2.1, unknown"], &["192.0.2.1,"]] {
            assert_eq!(of(values), None, "{values:?}");
        }
        // The twin: a peer that is not trusted is the client itself, whatever it says.
        let stranger = address_of("x-forwarded-for", "192.0.2.9", &["192.0.2.1"]);
        assert_eq!(stranger.as_deref(), Some("192.0.2.9"));
    }

    #[test]
    fn elements_of_forwarded_are_read_with_their_quotes() {
        let of = |values: &[&str]| address_of("forwarded", "10.0.0.1", values);
        for value in [
            "for=192.0.2.1",
            "For=\"192.0.2.1:80\";proto=http",
            "for=evil, proto=https;for=192.0.2.1;by=\"a,for=b\"",
            "for=\"evil\\\",\", for=192.0.2.1, for=10.0.0.2",
        ] {
            assert_eq!(of(&[value]).as_deref(), Some("192.0.2.1"), "{value}");
        }
        let six = of(&["for=\"[2001:db8::1]:80\""]);
        assert_eq!(six.as_deref(), Some("2001:db8::1"));
        for value in ["for=_hidden", "proto=http"] {
            assert_eq!(of(&[value]), None, "{value}");
        }
    }

    #[test]
    fn a_client_cannot_hide_what_a_forwarder_adds_to_its_line() {
        for (field, begun) in [
            ("forwarded", "for=\"evil"),
            ("forwarded", "for=\"evil\\\""),
            ("forwarded", "for=\u{e9}"),
            ("x-forwarded-for", "\""),
            ("x-forwarded-for", "\u{e9}"),
        ] {
            let added = match field {
                "forwarded" => "for=192.0.2.1",
                _ => "192.0.2.1",
            };
            let line = format!("{begun}, {added}");
            let read = client(field, "10.0.0.1", &[(field, &line)]);
            assert_eq!(read, Err(Refused::Unclear), "{line}");
            // The twin: such fields of a peer that is not a forwarder are ignored.
            assert!(client(field, "192.0.2.9", &[(field, &line)]).is_ok());
        }
    }

    #[test]
    fn scheme_and_host_come_from_a_trusted_peer_alone() {
        let lines = [
            (
                "forwarded",
                "for=192.0.2.1;proto=http, for=10.0.0.9;proto=HTTPS",
            ),
            ("x-forwarded-host", "evil.example, api.example.com"),
        ];
        let mut request = Request::get("http://inner/a?b").header(HOST, "inner");
        for (name, value) in lines {
            request = request.header(name, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let read = |peer: Option<&str>| {
            let peer = peer.map(|peer| SocketAddr::new(peer.parse().unwrap(), 9));
            let mut head = head.clone();
            let arrival = Arrival {
                peer,
                is_tls: false,
            };
            let client = forwarders("forwarded").client(arrival, &mut head).unwrap();
            let host = head.headers.get(HOST).unwrap().to_str().unwrap().to_owned();
            (client.scheme, host, head.uri.to_string())
        };
        let is = |scheme, host: &str, uri: &str| (Some(scheme), host.to_owned(), uri.to_owned());
        let forwarded = is("https", "api.example.com", "/a?b");
        assert_eq!(read(Some("10.0.0.1")), forwarded);
        let (_, host, uri) = is("http", "inner", "http://inner/a?b");
        let own = |scheme| (scheme, host.clone(), uri.clone());
        assert_eq!(read(Some("192.0.2.1")), own(Some("http")));
        // A Unix socket counts as loopback, which is not trusted here.
        assert_eq!(read(None), own(None));
        let unclear = client("forwarded", "10.0.0.1", &[("x-forwarded-host", "u@a")]);
        assert_eq!(unclear, Err(Refused::Unclear));
    }
}
