//! Where an upstream listens, and how a connection is opened.

use std::{io, net::IpAddr, path::PathBuf};

use http::{
    Uri,
    uri::{Authority, Scheme},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service as _;

use super::super::{
    answer::BoxError,
    tls::{Authorities, provider},
};

const NO_TLS: &str = "`ca` has a meaning only with https://";

/// Where an upstream listens.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Address {
    Url(Url),
    Socket(PathBuf),
}

/// Where an upstream listens on a port, and how a connection is opened.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Url {
    uri: Uri,
    authorities: Option<Authorities>,
    connector: HttpsConnector<HttpConnector>,
}

/// Whether the servers are the same, and are believed by the same authorities.
impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(one), Self::Url(other)) => {
                one.uri == other.uri && one.authorities == other.authorities
            }
            (Self::Socket(one), Self::Socket(other)) => one == other,
            _ => false,
        }
    }
}

/// A connection that was opened.
pub(super) enum Opened {
    Url(Box<MaybeHttpsStream<TokioIo<TcpStream>>>),
    Socket(TokioIo<UnixStream>),
}

impl Address {
    /// Reads an address: `http://HOST:PORT`, `https://HOST` or `unix:PATH`. A server of `https://` has a
    /// certificate of one of the authorities, and without any, one of those that browsers know.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(in crate::proxy) fn parse(
        text: &str,
        http2: bool,
        authorities: Option<Authorities>,
    ) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match (path.is_empty(), authorities) {
                (true, _) => Err("it names no file"),
                (false, Some(_)) => Err(NO_TLS),
                (false, None) => Ok(Self::Socket(path.into())),
            };
        }
        let url: Uri = text.parse().map_err(|_| "it is not a URL")?;
        let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&url.scheme());
        let authority = url.authority().map(Authority::as_str);
        if !is_http || authority.is_none_or(|authority| authority.contains('@')) {
            return Err("it does not begin with http://, https:// or unix:, or holds a user name");
        }
        if url.path() != "/" || url.query().is_some() {
            return Err("it has a path or a query, and each request brings its own");
        }
        let connector = HttpsConnectorBuilder::new();
        let no_tls = "this program offers no version of TLS";
        let connector = match &authorities {
            Some(_) if url.scheme() != Some(&Scheme::HTTPS) => return Err(NO_TLS),
            Some(authorities) => connector
                .with_tls_config(authorities.config().map_err(|_| no_tls)?)
                .https_or_http(),
            None => connector
                .with_provider_and_webpki_roots(provider())
                .map_err(|_| no_tls)?
                .https_or_http(),
        };
        let connector = match http2 {
            true => connector.enable_http2().wrap_connector(tcp()),
            false => connector.enable_http1().wrap_connector(tcp()),
        };
        Ok(Self::Url(Url {
            uri: url,
            authorities,
            connector,
        }))
    }

    /// The scheme and the authority of its URL.
    pub(super) fn origin(&self) -> Option<(Scheme, Authority)> {
        match self {
            Self::Url(Url { uri, .. }) => Some((uri.scheme()?.clone(), uri.authority()?.clone())),
            Self::Socket(_) => None,
        }
    }

    /// Returns whether nobody on the way can read what is sent: it is encrypted, or stays on this
    /// host.
    pub(in crate::proxy) fn is_private(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Url(Url { uri, .. }) => {
                uri.scheme() == Some(&Scheme::HTTPS) || uri.authority().is_some_and(is_local)
            }
        }
    }

    /// The scheme of requests on its connections.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Url(Url { uri, .. }) => uri.scheme().cloned().unwrap_or(Scheme::HTTP),
            Self::Socket(_) => Scheme::HTTP,
        }
    }

    pub(super) async fn open(&self) -> Result<Opened, BoxError> {
        Ok(match self {
            Self::Url(Url { uri, connector, .. }) => {
                Opened::Url(Box::new(connector.clone().call(uri.clone()).await?))
            }
            Self::Socket(path) => {
                let opened: io::Result<UnixStream> = UnixStream::connect(path).await;
                Opened::Socket(TokioIo::new(opened?))
            }
        })
    }
}

/// Returns whether an authority names this host alone.
pub(in crate::proxy) fn is_local(authority: &Authority) -> bool {
    let host = authority.host().trim_matches(['[', ']']);
    let ip = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // The connector of TLS looks at the scheme.
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}
