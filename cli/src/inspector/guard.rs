//! Admits requests of this inspector's own page, and refuses all others.

use std::net::SocketAddr;

use http::{
    HeaderMap, Method, StatusCode,
    header::{HOST, HeaderName, HeaderValue, ORIGIN},
};
use sha2::{Digest as _, Sha256};

use crate::{exit::Failure, secret};

pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-countersign-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The facts that a request must know.
#[derive(Debug)]
pub(super) struct Guard {
    authorities: [String; 2],
    /// The first segment of every path.
    pub(super) path: String,
    /// The token that a POST carries in a header, which a form of another site cannot set.
    pub(super) token: String,
}

impl Guard {
    pub(super) fn new(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self {
            authorities: [address.to_string(), format!("localhost:{}", address.port())],
            path: random()?,
            token: random()?,
        })
    }

    /// The rest of the path behind the first segment, if the request may be answered.
    ///
    /// A name of another site that is made to lead to this address (DNS rebinding) is still the
    /// other site's in `Host`; a page of another site is named in `Origin`.
    pub(super) fn admit<'p>(
        &self,
        method: &Method,
        path: &'p str,
        headers: &HeaderMap,
    ) -> Result<&'p str, StatusCode> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let host = host.filter(|host| self.authorities.iter().any(|ours| ours == host));
        let (Some(host), None) = (host, hosts.next()) else {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        };
        let rest = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .filter(|(first, _)| is_same(first, &self.path))
            .map(|(_, rest)| rest)
            .ok_or(StatusCode::NOT_FOUND)?;
        let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
        let is_ours = origin.map(|origin| origin == format!("http://{host}").as_bytes());
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        let is_foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        if is_ours == Some(false) || is_foreign {
            return Err(StatusCode::FORBIDDEN);
        }
        if method == Method::POST {
            let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
            let has_token = token.is_some_and(|token| is_same(token, &self.token));
            if is_ours != Some(true) || !has_token {
                return Err(StatusCode::FORBIDDEN);
            }
        } else if method != Method::GET {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        Ok(rest)
    }
}

/// Compares digests: how long that takes says nothing about the texts.
fn is_same(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

/// 128 random bits.
fn random() -> Result<String, Failure> {
    secret::random().map_err(|why| {
        Failure::unable(
            "cannot make a path for the inspector",
            why,
            "leave out --ui",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(guard: &Guard, method: &Method, path: &str, headers: &[(&str, &str)]) -> u16 {
        let headers = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let headers: HeaderMap = headers.collect();
        match guard.admit(method, path, &headers) {
            Ok(_) => 200,
            Err(status) => status.as_u16(),
        }
    }

    #[test]
    fn pages_of_others_are_refused() {
        let guard = Guard::new(([127, 0, 0, 1], 4000).into()).unwrap();
        let path = format!("/{}/requests/1", guard.path);
        let get = |headers: &[(&str, &str)]| admitted(&guard, &Method::GET, &path, headers);
        let post = |headers: &[(&str, &str)]| admitted(&guard, &Method::POST, &path, headers);
        let host = ("host", "127.0.0.1:4000");
        let origin = ("origin", "http://127.0.0.1:4000");
        let token = ("x-countersign-token", &*guard.token);
        assert_eq!(get(&[host]), 200);
        assert_eq!(get(&[("host", "localhost:4000")]), 200);
        assert_eq!(get(&[host, ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(get(&[]), 421);
        assert_eq!(
            get(&[("host", "rebound.example:4000")]),
            421,
            "DNS rebinding"
        );
        assert_eq!(get(&[("host", "127.0.0.1:4001")]), 421);
        assert_eq!(get(&[host, ("origin", "https://a.example")]), 403);
        assert_eq!(get(&[host, ("origin", "null")]), 403);
        assert_eq!(get(&[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(
            admitted(&guard, &Method::GET, "/0/requests/1", &[host]),
            404
        );
        assert_eq!(admitted(&guard, &Method::GET, "/", &[host]), 404);
        assert_eq!(admitted(&guard, &Method::PUT, &path, &[host, token]), 405);
        assert_eq!(post(&[host, origin, token]), 200);
        assert_eq!(post(&[host, token]), 403, "no origin");
        assert_eq!(post(&[host, origin]), 403, "no token");
        let localhost = ("origin", "http://localhost:4000");
        assert_eq!(
            post(&[host, localhost, token]),
            403,
            "another origin of ours"
        );
        assert_eq!(post(&[host, origin, ("x-countersign-token", "0")]), 403);
    }
}
