//! Addresses to listen on, and their certificates.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{ServerConfig, sign::CertifiedKey};
use toml::Spanned;

use super::{
    super::{tls, written},
    values::fault_of,
};
use crate::{printer::escaped, toml_file::Fault};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Whose requests an address takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Clients,
    Operators,
    /// Those of an application, to be signed by the route of this name.
    Application(Arc<str>),
}

/// An address with what is needed to listen on it.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(in crate::proxy) side: Side,
    pub(in crate::proxy) listen: Listen,
    /// `None` for an address without TLS.
    pub(in crate::proxy) tls: Option<Arc<ServerConfig>>,
}

impl Entrance {
    /// An address without TLS.
    pub(super) fn plain(side: Side, listen: Listen) -> Self {
        let tls = None;
        Self { side, listen, tls }
    }

    /// Reads the addresses of clients. Certificates of one address are chosen from by name.
    ///
    /// Says which certificates expire soon.
    pub(super) fn of_clients(
        written: &written::Written,
        folder: &Path,
    ) -> Result<(Vec<Self>, Vec<String>), Fault> {
        if let Some(listen) = &written.listen
            && listen.get_ref().is_empty()
        {
            let advice = "write one such as \"127.0.0.1:8080\" or \"unix:countersign.sock\"";
            return Err(Fault::at(listen.span(), "it names no address").advising(advice));
        }
        let mut all = Vec::new();
        let mut expiring = Vec::new();
        for listen in written.listen.iter().flat_map(Spanned::get_ref) {
            all.push(Self::plain(Side::Clients, Listen::read(listen, folder)?));
        }
        let mut with_tls: Vec<(Listen, Vec<Arc<CertifiedKey>>)> = Vec::new();
        for written in &written.tls {
            let listen = Listen::read(&written.listen, folder)?;
            let file = |written: &Spanned<String>| folder.join(written.get_ref());
            let chain = file(&written.certificate);
            let certificate = tls::certificate(&chain, &file(&written.key))
                .map_err(|failure| fault_of(written.certificate.span(), failure))?;
            expiring.extend(tls::expiry(&chain, &certificate));
            match with_tls.iter_mut().find(|(known, _)| *known == listen) {
                Some((_, certificates)) => certificates.push(certificate),
                None => with_tls.push((listen, vec![certificate])),
            }
        }
        for (listen, certificates) in with_tls {
            let config = tls::accepting(certificates);
            let config = config.map_err(|error| Fault::at(0..0, error.to_string()))?;
            all.push(Self {
                side: Side::Clients,
                listen,
                tls: Some(config),
            });
        }
        match (written.routes.first(), all.is_empty()) {
            (Some(route), true) => Err(Fault::at(
                route.span(),
                "the file names no address for its routes",
            )
            .advising("add listen = [\"127.0.0.1:8080\"] at its beginning")),
            _ => Ok((all, expiring)),
        }
    }
}

impl Listen {
    /// Reads an address. A relative path of a socket begins at the folder of the configuration.
    pub(super) fn read(written: &Spanned<String>, folder: &Path) -> Result<Self, Fault> {
        let text = written.get_ref();
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(folder.join(path)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            Fault::at(
                written.span(),
                format!("`{}` is not an address to listen on", escaped(text)),
            )
            .advising(
                "write an IP address with a port, such as \"127.0.0.1:8080\", or \"unix:PATH\"",
            )
        })
    }

    /// Refuses an address that is named twice, and can be bound once. Several tables of TLS with one
    /// address are its certificates.
    pub(super) fn refuse_twice(written: &written::Written, folder: &Path) -> Result<(), Fault> {
        let plain = written.listen.iter().flat_map(Spanned::get_ref);
        let plain = plain.chain(&written.admin);
        let plain = plain.chain(written.sign.iter().map(|sign| &sign.get_ref().listen));
        let tls = written.tls.iter().map(|tls| (&tls.listen, true));
        let mut known: Vec<(Self, bool)> = Vec::new();
        for (written, is_tls) in plain.map(|plain| (plain, false)).chain(tls) {
            let at = Self::read(written, folder)?;
            let is_one = |known: &(Self, bool)| is_tls && known.1 && known.0 == at;
            let mut others = known.iter().filter(|known| !is_one(known));
            if let Some((other, _)) = others.find(|(other, _)| other.excludes(&at)) {
                return Err(Fault::at(
                    written.span(),
                    format!(
                        "the proxy listens on {} already",
                        escaped(&other.to_string())
                    ),
                )
                .advising("give each an address of its own"));
            }
            known.push((at, is_tls));
        }
        Ok(())
    }

    /// Returns whether no system can bind both.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Tcp(one), Self::Tcp(other)) => {
                let (ip, other_ip) = (one.ip(), other.ip());
                // Port 0 is another for each. Whether all addresses of IPv6 hold those of IPv4 is a
                // setting of the system.
                let holds = |all: IpAddr, one: IpAddr| {
                    all.is_unspecified() && all.is_ipv6() == one.is_ipv6()
                };
                let meet = ip == other_ip || holds(ip, other_ip) || holds(other_ip, ip);
                one.port() != 0 && one.port() == other.port() && meet
            }
            _ => false,
        }
    }

    /// Returns whether no other host reaches it.
    pub(in crate::proxy) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    pub(in crate::proxy) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn addresses_that_one_system_can_bind_both_are_left_to_the_system() {
        let at = |text: &str| Listen::Tcp(text.parse().unwrap());
        for (one, other, excludes) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "0.0.0.0:80", false),
            ("[::]:80", "127.0.0.1:80", false),
            ("0.0.0.0:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(at(one).excludes(&at(other)), excludes, "{one}, {other}");
            assert_eq!(at(other).excludes(&at(one)), excludes, "{other}, {one}");
        }
    }
}
