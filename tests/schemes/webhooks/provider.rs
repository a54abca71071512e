//! A preset as its sender's documentation describes it, and how to tamper with its requests.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    Clock as _, ConfigError, Rejection, Signer, Verifier,
    request::{Verified, VerifierBuilder},
    scheme::Encoding,
    testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::common::{self, NOW, log};

pub const ID: &str = "msg_1";

/// A preset, and what it takes to forge in its format, as the documentation of its sender says it.
pub struct Provider {
    pub name: &'static str,
    pub begin: fn() -> VerifierBuilder<Verifier>,
    pub signer: fn(&str) -> Result<Signer, ConfigError>,
    /// As the provider shows it; a second one, for a rotation.
    pub secrets: [&'static str; 2],
    /// Makes the key of the MAC from the secret.
    pub key: fn(&str) -> Vec<u8>,
    pub hash: Hash,
    /// The header that ends in the MAC, or [`IN_BODY`].
    pub signature: &'static str,
    /// The value of that header, of `{time}` and `{mac}`.
    pub value: &'static str,
    /// The separator of the MACs in that header, if it is a list.
    pub list: Option<&'static str>,
    pub encoding: Encoding,
    pub time: Time,
    /// The header that holds the id.
    pub id: Option<&'static str>,
    /// The signed message, of `{id}`, `{time}`, `{method}`, `{url}`, `{target}`, `{listed}`, `{body}`, and
    /// the strings of a body that holds its signature. A listed header is there with its name.
    pub message: &'static str,
    /// A body that is an event for it, at this time.
    pub event: fn(u64) -> String,
    pub retries: Retries,
    /// Whether the sender may deliver again with the same time.
    pub may_keep_time: bool,
    /// How long after the first delivery the sender delivers again, in seconds.
    pub schedule: &'static [u64],
    /// Deliveries that are published.
    pub published: &'static [Published],
}

/// A delivery as its sender publishes it, in its documentation or in the tests of its library. If
/// the source says so, a well-known third party does.
pub struct Published {
    /// The place where it was published.
    pub source: &'static str,
    pub secret: &'static str,
    pub method: &'static str,
    /// With an authority only if that is not ours.
    pub uri: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: &'static str,
    /// Its signed time, in seconds.
    pub now: u64,
}

/// The signature is in the body, as its member `signature`.
pub const IN_BODY: &str = "signature";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    pub fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        macro_rules! hmac {
            ($hash:ty) => {{
                let mut mac = Hmac::<$hash>::new_from_slice(key).unwrap();
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Sha1 => hmac!(Sha1),
            Self::Sha256 => hmac!(Sha256),
            Self::Sha512 => hmac!(Sha512),
        }
    }
}

/// The place of the signed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    Header(&'static str),
    /// First in the header of the signature, under this name.
    Listed(&'static str),
    /// Under this name, in milliseconds, in the body.
    Body(&'static str),
    None,
}

/// The way in which the sender delivers again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// The same event, with a later time.
    SignedAnew,
    /// The very same request.
    Identical,
    /// The same event, with a later time: nothing that is kept for so long tells that it is the same.
    Redated,
    /// The very same request, or one that is alike: each is handled.
    Unclaimed,
}

fn url(request: &Request<Bytes>) -> String {
    format!("https://{}{}", get(request, "host"), request.uri())
}

/// The template with its `{names}` replaced. A value may hold any bytes.
fn fill(template: &str, value: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut pieces = template.split('{');
    let mut filled = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        let (name, text) = piece.split_once('}').unwrap();
        filled.extend(value(name));
        filled.extend(text.as_bytes());
    }
    filled
}

impl Provider {
    /// Returns what its requests are read by: the encoding of the MAC, its list, where the time and
    /// the id are.
    pub fn shape(&self) -> impl std::hash::Hash + Eq + use<> {
        let place = match self.time {
            Time::Header(_) => "header",
            Time::Listed(_) => "list",
            Time::Body(_) => "body",
            Time::None => "none",
        };
        let encoding = format!("{:?}", self.encoding);
        (encoding, self.list, place, self.id.is_some(), self.hash)
    }

    pub fn covers_authority(&self) -> bool {
        self.message.contains("{url}")
    }

    pub fn covers_url(&self) -> bool {
        self.covers_authority() || self.message.contains("{target}")
    }

    /// Returns the text before each MAC of a list.
    pub fn version(&self) -> &'static str {
        let last = self.value.rsplit(self.list.unwrap()).next().unwrap();
        last.strip_suffix("{mac}").unwrap()
    }

    pub fn builder(&self) -> VerifierBuilder<Verifier> {
        let builder = (self.begin)();
        if self.covers_authority() {
            builder.public_origin(common::ORIGIN)
        } else {
            builder
        }
    }

    /// A verifier with all but a store.
    pub fn verifier(&self, clock: &ManualClock) -> VerifierBuilder<Verifier> {
        log::listen();
        for secret in self.secrets {
            log::hide("a secret", secret.as_bytes());
            log::hide("a secret", &(self.key)(secret));
        }
        // The usual one, whatever the preset's own.
        self.builder()
            .max_age(std::time::Duration::from_secs(300))
            .secret(self.secrets[0])
            .clock(clock.clone())
    }

    /// `POST /hook` with this body, as the sender signs it.
    pub fn sign(&self, clock: &ManualClock, body: impl Into<Bytes>) -> Request<Bytes> {
        self.sign_under(self.secrets[0], clock, body)
    }

    pub fn sign_under(
        &self,
        secret: &str,
        clock: &ManualClock,
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        self.sign_for(common::HOST, secret, clock, body)
    }

    pub fn sign_for(
        &self,
        host: &str,
        secret: &str,
        clock: &ManualClock,
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        let signer = (self.signer)(secret).unwrap().clock(clock.clone());
        let request = Request::post("/hook")
            .header("host", host)
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        signer.sign_body(request, ID).unwrap()
    }

    /// The event of [`NOW`].
    pub fn delivery(&self, clock: &ManualClock) -> Request<Bytes> {
        self.sign(clock, (self.event)(NOW))
    }

    /// The same event, as the sender delivers it again by this clock.
    pub fn redelivery(&self, clock: &ManualClock) -> Request<Bytes> {
        let time = match self.retries {
            Retries::Redated => clock.now().as_secs(),
            _ => NOW,
        };
        self.sign(clock, (self.event)(time))
    }

    /// Writes another time, without signing it.
    pub fn set_time(&self, request: &mut Request<Bytes>, time: &str) {
        match self.time {
            Time::Header(name) => set(request, name, time),
            Time::Listed(name) => {
                let separator = self.list.unwrap();
                let header = get(request, self.signature);
                let (_, rest) = header.split_once(separator).unwrap();
                let header = format!("{name}={time}{separator}{rest}");
                set(request, self.signature, &header);
            }
            Time::Body(name) => {
                let body = String::from_utf8(request.body().to_vec()).unwrap();
                let (before, rest) = body.split_once(&format!(r#""{name}":"#)).unwrap();
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                *request.body_mut() = format!(r#"{before}"{name}":{time}{rest}"#).into();
            }
            Time::None => panic!("{} has no time", self.name),
        }
    }

    fn get_time(&self, request: &Request<Bytes>) -> Vec<u8> {
        match self.time {
            Time::Header(name) => request.headers()[name].as_bytes().to_vec(),
            Time::Listed(name) => {
                let separator = self.list.unwrap();
                let header = request.headers()[self.signature].as_bytes();
                let header = std::str::from_utf8(header).unwrap();
                let (listed, _) = header.rsplit_once(separator).unwrap();
                let time = listed.strip_prefix(&format!("{name}=")).unwrap();
                time.as_bytes().to_vec()
            }
            Time::Body(_) | Time::None => Vec::new(),
        }
    }

    /// The signed message of this request, put together a second time.
    fn signed(&self, request: &Request<Bytes>) -> Vec<u8> {
        fill(self.message, |name| match name {
            "id" => get(request, self.id.unwrap()).into_bytes(),
            "time" => self.get_time(request),
            "method" => request.method().as_str().into(),
            "url" => url(request).into_bytes(),
            "target" => request.uri().to_string().into_bytes(),
            "listed" => {
                let list = get(request, self.id.unwrap());
                let headers = list.split(',').map(|name| {
                    [name.as_bytes(), b":", request.headers()[name].as_bytes()].concat()
                });
                headers.collect::<Vec<_>>().join(&b';')
            }
            "body" => request.body().to_vec(),
            member => {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                body[IN_BODY][member].as_str().unwrap().into()
            }
        })
    }

    /// The MAC that a holder of the secret would make of this request.
    pub fn mac(&self, secret: &str, request: &Request<Bytes>) -> String {
        self.mac_by(self.hash, secret, request)
    }

    pub fn mac_by(&self, hash: Hash, secret: &str, request: &Request<Bytes>) -> String {
        let mac = hash.hmac(&(self.key)(secret), &self.signed(request));
        match self.encoding {
            Encoding::Hex => base16ct::lower::encode_string(&mac),
            _ => STANDARD.encode(mac),
        }
    }

    /// Signs the request as it is, whether or not the scheme would.
    pub fn resign(&self, request: &mut Request<Bytes>) {
        let mac = self.mac(self.secrets[0], request);
        *request = self.with_mac(request, &mac);
    }

    /// The request with another text in place of the MAC.
    pub fn with_mac(&self, request: &Request<Bytes>, mac: &str) -> Request<Bytes> {
        let length = self.mac(self.secrets[0], request).len();
        if self.signature == IN_BODY {
            let body = std::str::from_utf8(request.body()).unwrap();
            let (before, rest) = body.split_once(r#""signature":""#).unwrap();
            let mac = serde_json::to_string(mac).unwrap();
            return with_body(
                request,
                format!(r#"{before}"signature":{mac}{}"#, &rest[length + 1..]),
            );
        }
        let mut header = request.headers()[self.signature].as_bytes().to_vec();
        header.truncate(header.len() - length);
        header.extend_from_slice(mac.as_bytes());
        let value = HeaderValue::from_bytes(&header).unwrap();
        let mut request = request.clone();
        request
            .headers_mut()
            .insert(HeaderName::from_static(self.signature), value);
        request
    }

    /// The headers that carry the signature and its parameters.
    pub fn headers(&self) -> Vec<&'static str> {
        let time = match self.time {
            Time::Header(name) => Some(name),
            _ => None,
        };
        [Some(self.signature), time, self.id]
            .into_iter()
            .flatten()
            .collect()
    }
}

pub fn get(request: &Request<Bytes>, name: &str) -> String {
    request.headers()[name].to_str().unwrap().to_owned()
}

pub fn set(request: &mut Request<Bytes>, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
    request.headers_mut().insert(name, value);
}

pub fn with(request: &Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    let mut request = request.clone();
    set(&mut request, name, value);
    request
}

pub fn without(request: &Request<Bytes>, name: &str) -> Request<Bytes> {
    let mut request = request.clone();
    request.headers_mut().remove(name);
    request
}

pub fn with_body(request: &Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    request.clone().map(|_| body.into())
}

pub fn at_path(request: &Request<Bytes>, path: &str) -> Request<Bytes> {
    let mut request = request.clone();
    *request.uri_mut() = path.parse().unwrap();
    request
}

pub async fn verify(verifier: &Verifier, request: &Request<Bytes>) -> Result<Verified, Rejection> {
    let (head, body) = request.clone().into_parts();
    verifier.verify(&head, Full::new(body)).await
}
