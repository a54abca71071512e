//! Where requests may go. The address that is connected to counts: each host is resolved
//! once, and no connection goes anywhere else.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tower_service::Service;

use crate::exit::Failure;

const LOOK_UP: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

/// A connection, with TLS or without.
pub(crate) type Io = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A host that requests may go to.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The scheme and the authority, such as `http://127.0.0.1:8000`.
    pub(crate) base: Uri,
    pub(crate) address: SocketAddr,
    pub(crate) timeout: Duration,
    /// The longest answer that is read.
    pub(crate) max_answer: usize,
    /// For HTTP/1.1 and for HTTP/2.
    connectors: [HttpsConnector<Pinned>; 2],
}

/// All hosts that requests may go to.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    allowed: Vec<String>,
    resolved: BTreeMap<String, SocketAddr>,
}

impl Sites {
    /// Allows loopback, and these hosts exactly as they are written.
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self {
            allowed: allowed.to_vec(),
            resolved: BTreeMap::new(),
        }
    }

    /// Resolves the host of a URL, unless it is resolved, and refuses it unless it is allowed.
    pub(crate) async fn site(&mut self, url: &Uri, timeout: Duration) -> Result<Site, Failure> {
        let wrong = |why: &str| {
            Failure::usage(
                format!("`{url}` is not a URL that can be probed"),
                why,
                "write it as http://127.0.0.1:8000/path",
            )
        };
        let is_tls = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it is neither http:// nor https://")),
        };
        let host = url.host().ok_or_else(|| wrong("it names no host"))?;
        if url.authority().is_some_and(|of| of.as_str().contains('@')) {
            return Err(wrong("it holds a user name"));
        }
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let key = format!("{name} {port}");
        let address = match self.resolved.get(&key) {
            Some(address) => *address,
            None => {
                let address = resolve(name, port).await?;
                self.resolved.insert(key, address);
                address
            }
        };
        if !is_loopback(address.ip()) && !self.allowed.iter().any(|allowed| allowed == name) {
            return Err(Failure::usage(
                format!(
                    "`{name}` is not this machine: its address is {}",
                    address.ip()
                ),
                "the probe sends real requests with real effects, and attacks what it is pointed at",
                format!(
                    "if the owner of the host has allowed it, add --i-am-allowed-to-test {name}"
                ),
            ));
        }
        let base = format!(
            "{}://{}",
            if is_tls { "https" } else { "http" },
            url.authority().map_or(host, |authority| authority.as_str())
        );
        Ok(Site {
            base: base.parse().map_err(|_| wrong("its host cannot be read"))?,
            address,
            timeout,
            max_answer: MAX_ANSWER,
            connectors: connectors(Pinned(address)),
        })
    }
}

/// An address that carries IPv4 in IPv6 is the address that it carries.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

async fn resolve(name: &str, port: u16) -> Result<SocketAddr, Failure> {
    let failed = |why: String| {
        Failure::unable(
            format!("`{name}` has no address"),
            why,
            "check the URL, and the network",
        )
    };
    if let Ok(ip) = name.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = timeout(LOOK_UP, lookup_host((name, port))).await;
    let found = found.map_err(|_| failed("no name server answered in time".to_owned()))?;
    let mut found: Vec<SocketAddr> = found.map_err(|error| failed(error.to_string()))?.collect();
    // Servers of development listen on IPv4 more often than on IPv6.
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| failed("the look-up found nothing".to_owned()))
}

impl Site {
    /// Opens a connection to the address.
    pub(crate) async fn connect(&self, is_http2: bool) -> Result<Io, String> {
        let [http1, http2] = &self.connectors;
        let mut connector = if is_http2 { http2 } else { http1 }.clone();
        let connecting = timeout(self.timeout, connector.call(self.base.clone())).await;
        let io = connecting
            .map_err(|_| format!("no connection within {} s", self.timeout.as_secs()))?
            .map_err(|error| crate::http_client::causes(&*error))?;
        Ok(TokioIo::new(io))
    }
}

fn connectors(pinned: Pinned) -> [HttpsConnector<Pinned>; 2] {
    let builder = || {
        HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
    };
    [
        builder().enable_http1().wrap_connector(pinned),
        builder().enable_http2().wrap_connector(pinned),
    ]
}

/// Connects to one address, whatever the name.
#[derive(Clone, Copy, Debug)]
struct Pinned(SocketAddr);

impl Service<Uri> for Pinned {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = std::pin::Pin<
        Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn only_loopback_and_named_hosts_are_sites() {
        let allowed = ["192.0.2.7".to_owned()];
        let is_site = |url: &str| {
            let url = url.parse().unwrap();
            let mut sites = Sites::new(&allowed);
            block_on(async { sites.site(&url, LOOK_UP).await.is_ok() }).unwrap()
        };
        for url in [
            "http://127.0.0.1:1/",
            "http://127.8.8.8/",
            "http://[::1]:9",
            "https://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "https://192.0.2.7/x",
        ] {
            assert!(is_site(url), "{url}");
        }
        for url in [
            "http://0.0.0.0/",
            "http://192.0.2.8/",
            "http://127.0.0.1@192.0.2.8/",
            "http://a@127.0.0.1/",
            "http://169.254.169.254/",
            "http://[::ffff:192.0.2.8]/",
            "ftp://127.0.0.1/",
            "/path",
        ] {
            assert!(!is_site(url), "{url}");
        }
    }
}
