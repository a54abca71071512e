//! TLS: the certificates of an address, and the authorities of a connection to an upstream.
//!
//! The provider of cryptography is named in each place, so that none of the whole process is asked.

use std::{
    fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use countersign::{Clock as _, Timestamp, clock::SystemClock};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        CertificateError, ClientConfig, Error, RootCertStore, ServerConfig,
        client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
        server::{ClientHello, ParsedCertificate, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use zeroize::Zeroizing;

use crate::{exit::Failure, time};

/// The longest file of certificates or of a key, in bytes: more than all authorities of a system.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// How long before its end a certificate is warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Versions of HTTP that are offered, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate with the certificates above it, and its private key.
pub(super) fn certificate(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Failure> {
    let unreadable = |file: &Path, why: String| {
        Failure::usage(
            format!("the file `{}` cannot be used", file.display()),
            why,
            "the file is in PEM: the certificate of the server first, then those above it, and \
             its private key in a file of its own",
        )
    };
    let read = certificates(chain).map_err(|why| unreadable(chain, why))?;
    let private = read_file(key).map_err(|why| unreadable(key, why))?;
    let private = PrivateKeyDer::from_pem_slice(&Zeroizing::new(private));
    let private = private.map_err(|error| unreadable(key, error.to_string()))?;
    let certified = CertifiedKey::from_der(read, private, &provider());
    let certified = certified.map_err(|error| unreadable(key, error.to_string()))?;
    Ok(Arc::new(certified))
}

/// Says that a certificate has expired, or will soon, with those above it in its file.
pub(super) fn expiry(chain: &Path, certified: &CertifiedKey) -> Option<String> {
    let now = SystemClock::default().now().as_secs();
    let mut each = certified.cert.iter();
    let until = each.find_map(|certificate| expired_at(certificate, now + SOON.as_secs()))?;
    let at = Timestamp::from_secs(until)
        .map(time::show)
        .unwrap_or_default();
    let expires = match until < now {
        true => "expired",
        false => "expires",
    };
    Some(format!(
        "a certificate of `{}` {expires} at {at}",
        chain.display()
    ))
}

/// Since when a certificate will have expired at a moment. Nobody is believed, so that the validity alone
/// is looked at.
fn expired_at(certificate: &CertificateDer<'_>, at: u64) -> Option<u64> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
    let nobody = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, &[]) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        _ => None,
    }
}

/// At least one certificate.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_file(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.map_err(|error| error.to_string())?;
    match read.is_empty() {
        true => Err("it holds no certificate".to_owned()),
        false => Ok(read),
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    let of = fs::metadata(file).map_err(|error| error.to_string())?;
    match of.is_file() && of.len() <= MAX_FILE {
        true => fs::read(file).map_err(|error| error.to_string()),
        // A named pipe would wait for its other end, and the proxy with it.
        false => Err(format!(
            "it is not a regular file of at most {MAX_FILE} bytes"
        )),
    }
}

/// Accepts connections with the certificate that fits the name that a client asks for, and otherwise
/// with the first.
pub(super) fn accepting(certificates: Vec<Arc<CertifiedKey>>) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByName(certificates)));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

/// The authorities of an upstream: one of them has signed its certificate.
#[derive(Clone, Debug)]
pub(super) struct Authorities(RootCertStore);

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

impl Authorities {
    /// Connects to servers whose certificates one of these authorities has signed, and no other.
    pub(super) fn config(&self) -> Result<ClientConfig, Error> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions()?;
        Ok(builder
            .with_root_certificates(self.0.clone())
            .with_no_client_auth())
    }
}

/// Reads the certificates of authorities.
pub(super) fn authorities(file: &Path) -> Result<Authorities, Failure> {
    let refused = |why: String| {
        Failure::usage(
            format!("the file `{}` cannot be used", file.display()),
            why,
            "the file holds the certificates of authorities, in PEM",
        )
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(file).map_err(refused)? {
        let added = roots.add(authority);
        added.map_err(|error| refused(error.to_string()))?;
    }
    Ok(Authorities(roots))
}

#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let asked = asked.and_then(|name| ServerName::try_from(name).ok());
        let fits = asked.and_then(|name| self.0.iter().find(|known| is_for(known, &name)));
        fits.or(self.0.first()).cloned()
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

/// The certificates of one address. They may change: each handshake takes those of its moment.
#[derive(Debug)]
pub(super) struct Current(RwLock<Arc<ServerConfig>>);

impl Current {
    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(config))
    }

    pub(super) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}
