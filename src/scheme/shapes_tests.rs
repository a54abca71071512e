//! Whether the trait of a scheme serves the one shape that no scheme has yet: a miniature, which signs
//! and verifies through the public `Signer` and `Verifier`.
//!
//! What it signs is checked against a MAC over a message that the test wrote out itself.

use std::borrow::Cow;

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, header::HOST, request::Parts};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use super::describe::{Describe, Profile, Reading, Signing};
use crate::{
    client::Signer,
    clock::Timestamp,
    error::{Rejection, RejectionKind, SignError, malformed},
    key::{KeyRing, MacAlgorithm, MacKey, RunningMac},
    message::{Coverage, Encoding, HashOutput, Head, SigningInput, Target, encoding::decode_hex},
    proof::{Announced, Candidate, Parameters},
    request::Verifier,
    store::memory::MemoryStore,
    testing::ManualClock,
};

const KEYS: [(&str, &str); 2] = [
    ("a", "the secret of the key named a"),
    ("b", "the secret of the key named b"),
];
const SECRET: &str = KEYS[0].1;
const NOW: u64 = 1_700_000_000;

fn output(hex: &str) -> Option<HashOutput> {
    decode_hex(hex.as_bytes()).map(|bytes| HashOutput::new(&bytes))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Encoding::Hex.encode(bytes.as_ref())
}

fn hmac(key: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).unwrap();
    mac.update(message.as_ref());
    mac.finalize().into_bytes().to_vec()
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(NOW).unwrap())
}

fn verifier() -> Verifier {
    let store = MemoryStore::builder().clock(clock()).assume_no_history();
    let keys = KEYS
        .iter()
        .try_fold(KeyRing::new(), |ring, (id, secret)| ring.with(id, *secret));
    Verifier::builder(Scoped)
        .keys(keys.unwrap())
        .store(store.build().unwrap())
        .clock(clock())
        .build()
        .unwrap()
}

fn signed() -> Request<String> {
    let request = Request::post("/orders?x=1").header(HOST, "a.example");
    let signer = Signer::new(Scoped, "a", SECRET).unwrap().clock(clock());
    signer.sign(request.body("{}".to_owned()).unwrap()).unwrap()
}

async fn verdict(verifier: &Verifier, request: &Request<String>) -> Result<Bytes, RejectionKind> {
    let (parts, body) = request.clone().into_parts();
    let verified = verifier.verify(&parts, Full::new(Bytes::from(body))).await;
    verified
        .map(|verified| verified.payload().unwrap().bytes().clone())
        .map_err(|rejection| rejection.kind())
}

/// Like AWS: a digest of a digest of the body, under a key derived for the day.
#[derive(Debug)]
struct Scoped;

impl Scoped {
    fn candidate(
        head: &Head<'_>,
        key_id: &str,
        time: &str,
        mac: HashOutput,
    ) -> Option<Candidate<'static>> {
        let parameters = Parameters {
            key_id: Cow::Owned(key_id.to_owned()),
            signed_at: Some(Timestamp::from_secs(time.parse().ok()?)?),
            expires_at: None,
            nonce: None,
        };
        let day = Self::day(&parameters);
        Some(Candidate {
            parameters,
            mac,
            input: SigningInput::NestedDigest {
                prefix: format!("SCOPED\n{time}\n{day}/request\n").into(),
                before: format!("{}\n{}\n", head.method, head.target.path()).into(),
            },
            coverage: Cow::Owned(Coverage {
                method: true,
                path: true,
                ..Coverage::default()
            }),
        })
    }

    fn day(parameters: &Parameters<'_>) -> u64 {
        parameters.signed_at.map_or(0, |at| at.as_secs() / 86_400)
    }
}

impl Describe for Scoped {
    fn profile(&self) -> &Profile {
        const {
            &Profile {
                algorithm: MacAlgorithm::HmacSha256,
                covers_authority: false,
                covers_place: true,
                covers_method: true,
                untimed_retention: None,
                event_horizon: None,
                may_repeat: false,
                key_id_is_own: false,
                sender_retries: false,
            }
        }
    }

    fn start(&self, key: &MacKey, parameters: &Parameters<'_>) -> RunningMac {
        let day = Self::day(parameters).to_string();
        let secret = [b"SCOPED", key.secret().expose()].concat();
        let derived = [day.as_bytes(), b"request"]
            .iter()
            .fold(secret, |key, step| {
                let mut mac = RunningMac::new(MacAlgorithm::HmacSha256, &key);
                mac.update(step);
                mac.finish().as_ref().to_vec()
            });
        RunningMac::new(MacAlgorithm::HmacSha256, &derived)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let value = head
            .headers
            .get("authorization")
            .ok_or_else(|| Rejection::new(RejectionKind::SignatureMissing, "no signature"))?;
        let read = || {
            let mut split = value.to_str().ok()?.strip_prefix("SCOPED ")?.split('/');
            Self::candidate(head, split.next()?, split.next()?, output(split.next()?)?)
        };
        let candidate = read().ok_or_else(|| malformed("an authorization that cannot be read"))?;
        Ok(Reading::Announced(vec![Announced {
            parameters: candidate.parameters,
            mac: candidate.mac,
            build: Box::new(|_, _| Ok((candidate.input, candidate.coverage))),
        }]))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let head = Head {
            method: &parts.method,
            target: Target::of_outgoing(&parts.uri, &parts.headers)?,
            headers: &parts.headers,
        };
        let (id, time) = (signing.key_id.as_str(), signing.now.as_secs().to_string());
        Self::candidate(&head, id, &time, HashOutput::new(&[]))
            .ok_or_else(|| SignError::new("cannot be covered"))
    }

    fn write(
        &self,
        parts: &mut Parts,
        candidate: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let Parameters {
            key_id, signed_at, ..
        } = &candidate.parameters;
        let time = signed_at.map_or(0, Timestamp::as_secs);
        let value = format!("SCOPED {key_id}/{time}/{}", hex(mac));
        parts
            .headers
            .insert("authorization", value.parse().unwrap());
        Ok(())
    }
}

#[tokio::test]
async fn what_is_signed_is_the_message_of_the_test() {
    let signed = signed();
    let day = (NOW / 86_400).to_string();
    let key = hmac(hmac(format!("SCOPED{SECRET}"), &day), "request");
    let inner = Sha256::digest(format!("POST\n/orders\n{}", hex(Sha256::digest("{}"))));
    let mac = hmac(key, format!("SCOPED\n{NOW}\n{day}/request\n{}", hex(inner)));
    assert_eq!(
        signed.headers()["authorization"],
        format!("SCOPED a/{NOW}/{}", hex(mac))
    );

    let verifier = verifier();
    assert_eq!(verdict(&verifier, &signed).await.as_deref(), Ok(&b"{}"[..]));
    assert_eq!(
        verdict(&verifier, &signed).await,
        Err(RejectionKind::RequestReplayed)
    );
}

#[tokio::test]
async fn body_place_time_and_key_are_bound() {
    let verifier = verifier();
    let signed = signed();
    let authorization = signed.headers()["authorization"]
        .to_str()
        .unwrap()
        .to_owned();
    let header = |value: String| {
        let mut request = signed.clone();
        let value = value.parse().unwrap();
        request.headers_mut().insert("authorization", value);
        request
    };
    let mut changed = vec![
        header(authorization.replace(" a/", " b/")),
        header(authorization.replace(&NOW.to_string(), &(NOW - 1).to_string())),
    ];
    for change in [
        |r: &mut Request<String>| *r.body_mut() = "[]".into(),
        |r: &mut Request<String>| *r.uri_mut() = "/refunds?x=1".parse().unwrap(),
        |r: &mut Request<String>| *r.method_mut() = http::Method::PUT,
    ] {
        let mut request = signed.clone();
        change(&mut request);
        changed.push(request);
    }
    for request in changed {
        let refused = verdict(&verifier, &request).await;
        assert_eq!(refused, Err(RejectionKind::SignatureInvalid), "{request:?}");
    }
    assert!(verdict(&verifier, &signed).await.is_ok());
}
