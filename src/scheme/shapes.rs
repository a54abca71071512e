//! Whether the trait of a scheme serves the formats to come: miniatures of five, each of which
//! signs and verifies through the public `Signer` and `Verifier`.
//!
//! What they sign is checked against a MAC over a message that the test wrote out itself.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, header::HOST, request::Parts};
use http_body_util::Full;
use sha2::{Digest as _, Sha256, Sha512};

use super::{
    BodyDigest, BodyForm, Candidate, Coverage, Describe, Formed, Head, Parameters, Profile,
    Reading, Signing, SigningInput,
};
use crate::{
    KeyRing, ManualClock, MemoryStore, NonceKind, RejectionKind, Signer, Timestamp, Verifier,
    encoding::{Encoding, decode_hex},
    error::SignError,
    mac::{DigestAlgorithm, HashOutput, MacAlgorithm, MacKey, RunningMac},
    rejection::{Rejection, malformed},
    scheme::Scheme,
    target::Target,
    verify::Verified,
};

const KEYS: [(&str, &str); 6] = [
    ("a", "the secret of the key named a"),
    ("b", "the secret of the key named b"),
    ("c", "the secret of the key named c"),
    ("d", "the secret of the key named d"),
    ("e", "the secret of the key named e"),
    ("f", "the secret of the key named f"),
];
const SECRET: &str = KEYS[0].1;
const NOW: u64 = 1_700_000_000;

/// Neither place nor authority is covered; a time is.
const PLAIN: Profile = Profile {
    algorithm: MacAlgorithm::HmacSha256,
    covers_authority: false,
    covers_place: false,
    untimed_retention: None,
    event_horizon: None,
    may_repeat: false,
    sender_retries: false,
};

/// The parameters that all the miniatures have.
fn parameters(key_id: &str, seconds: &str) -> Option<Parameters<'static>> {
    Some(Parameters {
        key_id: Cow::Owned(key_id.to_owned()),
        signed_at: Some(Timestamp::from_secs(seconds.parse().ok()?)?),
        expires_at: None,
        nonce: None,
    })
}

fn output(hex: &str) -> Option<HashOutput> {
    decode_hex(hex.as_bytes()).map(|bytes| HashOutput::new(&bytes))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Encoding::Hex.encode(bytes.as_ref())
}

fn text<'h>(head: &Head<'h>, name: &str) -> Option<&'h str> {
    head.headers.get(name)?.to_str().ok()
}

fn outgoing(parts: &Parts) -> Head<'_> {
    Head {
        method: &parts.method,
        target: Target::of_outgoing(&parts.uri, &parts.headers).unwrap(),
        headers: &parts.headers,
    }
}

fn missing() -> Rejection {
    Rejection::new(RejectionKind::SignatureMissing, "no signature")
}

fn hmac(key: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).unwrap();
    mac.update(message.as_ref());
    mac.finalize().into_bytes().to_vec()
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(NOW).unwrap())
}

fn verifier(scheme: impl Scheme) -> Verifier {
    let store = MemoryStore::builder().clock(clock()).assume_no_history();
    let keys = KEYS
        .iter()
        .try_fold(KeyRing::new(), |ring, (id, secret)| ring.with(id, *secret));
    Verifier::builder(scheme)
        .public_origin("https://a.example")
        .public_origin("https://b.example:8443")
        .keys(keys.unwrap())
        .store(store.build().unwrap())
        .clock(clock())
        .build()
        .unwrap()
}

fn request(body: &str) -> Request<String> {
    Request::post("/orders?x=1")
        .header(HOST, "a.example")
        .body(body.to_owned())
        .unwrap()
}

fn sign(scheme: impl Scheme, key: &str, request: Request<String>) -> Request<String> {
    let (_, secret) = KEYS.iter().find(|(id, _)| *id == key).unwrap();
    let signer = Signer::new(scheme, key, *secret).unwrap().clock(clock());
    signer.sign(request).unwrap()
}

async fn verify(verifier: &Verifier, request: &Request<String>) -> Result<Verified, Rejection> {
    let (parts, body) = request.clone().into_parts();
    verifier.verify(&parts, Full::new(Bytes::from(body))).await
}

async fn verdict(verifier: &Verifier, request: &Request<String>) -> Result<String, RejectionKind> {
    let verified = verify(verifier, request).await;
    verified
        .map(|verified| String::from_utf8(verified.payload().unwrap().bytes().to_vec()).unwrap())
        .map_err(|rejection| rejection.kind())
}

fn with(mut request: Request<String>, name: &'static str, value: &str) -> Request<String> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// Like RFC 9421: a head that holds digests of the body, and signatures under labels, each with
/// parameters of its own.
#[derive(Clone, Debug)]
struct Labelled {
    label: &'static str,
}

impl Labelled {
    fn candidate(head: &Head<'_>, params: &str, mac: HashOutput) -> Option<Candidate<'static>> {
        let mut split = params.split(';');
        let mut parameters = parameters(split.next()?, split.next()?)?;
        parameters.nonce = Some((NonceKind::Covered, split.next()?.as_bytes().to_vec().into()));
        let digests = text(head, "content-digest").unwrap_or_default();
        let claimed = digests.split(',').filter(|digest| !digest.is_empty());
        let body = claimed.map(|digest| {
            let (algorithm, value) = digest.split_once('=')?;
            let algorithm = match algorithm {
                "sha-256" => DigestAlgorithm::Sha256,
                "sha-512" => DigestAlgorithm::Sha512,
                _ => return None,
            };
            Some(BodyDigest {
                algorithm,
                claimed: output(value)?,
            })
        });
        Some(Candidate {
            parameters,
            mac,
            input: SigningInput::Head {
                body: body.collect::<Option<_>>()?,
                message: format!(
                    "\"@method\": {}\n\"@path\": {}\n\"content-digest\": {digests}\n\
                     \"@signature-params\": {params}",
                    head.method,
                    head.target.path(),
                )
                .into(),
            },
            coverage: Cow::Owned(Coverage {
                method: true,
                path: true,
                ..Coverage::default()
            }),
        })
    }
}

impl Describe for Labelled {
    fn profile(&self) -> &Profile {
        const {
            &Profile {
                covers_place: true,
                ..PLAIN
            }
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let pairs = |name| {
            head.headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().ok()?.split_once('='))
        };
        let read = pairs("signature-input").map(|input| {
            let (label, params) = input?;
            let (_, mac) = pairs("signature")
                .flatten()
                .find(|(other, _)| *other == label)?;
            Self::candidate(head, params, output(mac)?)
        });
        let read: Option<Vec<_>> = read.collect();
        read.map(Reading::Candidates)
            .ok_or_else(|| malformed("a signature that cannot be read"))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let nonce = String::from_utf8_lossy(signing.nonce);
        let params = format!("{};{};{nonce}", signing.key_id, signing.now.as_secs());
        let digests = (Sha256::digest(signing.body), Sha512::digest(signing.body));
        let digests = format!("sha-256={},sha-512={}", hex(digests.0), hex(digests.1));
        parts
            .headers
            .insert("content-digest", digests.parse().unwrap());
        parts.headers.append(
            "signature-input",
            format!("{}={params}", self.label).parse().unwrap(),
        );
        Self::candidate(&outgoing(parts), &params, HashOutput::new(&[]))
            .ok_or_else(|| SignError::new("cannot be covered"))
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let value = format!("{}={}", self.label, hex(mac));
        parts.headers.append("signature", value.parse().unwrap());
        Ok(())
    }
}

mod labelled {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::{Body, Frame};

    use super::*;

    const ONE: Labelled = Labelled { label: "one" };

    fn signed_by(keys: &[&'static str]) -> Request<String> {
        keys.iter().fold(request("{}"), |request, key| {
            sign(Labelled { label: key }, key, request)
        })
    }

    fn break_mac(request: &mut Request<String>, label: &str) {
        for value in request.headers_mut().get_all_mut("signature") {
            let text = value.to_str().unwrap().to_owned();
            if let Some(mac) = text.strip_prefix(&format!("{label}=")) {
                *value = format!("{label}={}", hex(vec![0; mac.len() / 2]))
                    .parse()
                    .unwrap();
            }
        }
    }

    trait GetAllMut {
        fn get_all_mut(&mut self, name: &str) -> Vec<&mut http::HeaderValue>;
    }

    impl GetAllMut for http::HeaderMap {
        fn get_all_mut(&mut self, name: &str) -> Vec<&mut http::HeaderValue> {
            self.iter_mut()
                .filter(|(n, _)| *n == name)
                .map(|(_, value)| value)
                .collect()
        }
    }

    /// A body that must not be touched.
    struct Untouched;

    impl Body for Untouched {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("the body was read");
        }
    }

    #[tokio::test]
    async fn what_is_signed_is_the_message_of_the_test() {
        let signed = sign(ONE, "a", request("{}"));
        let digests = format!(
            "sha-256={},sha-512={}",
            hex(Sha256::digest("{}")),
            hex(Sha512::digest("{}"))
        );
        let params = signed.headers()["signature-input"]
            .to_str()
            .unwrap()
            .replace("one=", "");
        let message = format!(
            "\"@method\": POST\n\"@path\": /orders\n\"content-digest\": {digests}\n\
             \"@signature-params\": {params}"
        );
        let expected = format!("one={}", hex(hmac(SECRET, message)));
        assert_eq!(signed.headers()["signature"], expected);
        assert_eq!(verdict(&verifier(ONE), &signed).await.as_deref(), Ok("{}"));
    }

    #[tokio::test]
    async fn every_digest_has_to_match_the_body() {
        let verifier = verifier(ONE);
        let mut changed = sign(ONE, "a", request("{}"));
        *changed.body_mut() = "[]".into();
        assert_eq!(
            verdict(&verifier, &changed).await,
            Err(RejectionKind::SignatureInvalid)
        );
        // One right digest does not make up for a wrong one that is signed beside it.
        for wrong in ["sha-256", "sha-512"] {
            let mut digests = [
                ("sha-256", hex(Sha256::digest("{}"))),
                ("sha-512", hex(Sha512::digest("{}"))),
            ];
            for (name, value) in &mut digests {
                if *name == wrong {
                    *value = "0".repeat(value.len());
                }
            }
            let digests = digests
                .map(|(name, value)| format!("{name}={value}"))
                .join(",");
            let params = format!("a;{NOW};n-{wrong}");
            let message = format!(
                "\"@method\": POST\n\"@path\": /orders\n\"content-digest\": {digests}\n\
                 \"@signature-params\": {params}"
            );
            let forged = with(request("{}"), "content-digest", &digests);
            let forged = with(forged, "signature-input", &format!("one={params}"));
            let forged = with(
                forged,
                "signature",
                &format!("one={}", hex(hmac(SECRET, message))),
            );
            let refused = verdict(&verifier, &forged).await;
            assert_eq!(refused, Err(RejectionKind::SignatureInvalid), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_wrong_mac_is_refused_before_the_body_is_read() {
        let mut wrong = sign(ONE, "a", request("{}"));
        break_mac(&mut wrong, "one");
        let (parts, _) = wrong.into_parts();
        let refused = verifier(ONE).verify(&parts, Untouched).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureInvalid);
    }

    #[tokio::test]
    #[should_panic(expected = "the body was read")]
    async fn and_with_the_right_mac_the_body_is_read() {
        let (parts, _) = sign(ONE, "a", request("{}")).into_parts();
        let _ = verifier(ONE).verify(&parts, Untouched).await;
    }

    #[tokio::test]
    async fn a_bad_extra_signature_blocks_nothing() {
        let verifier = verifier(ONE);
        for bad in ["a", "b"] {
            let mut request = signed_by(&["a", "b"]);
            break_mac(&mut request, bad);
            let verified = verify(&verifier, &request).await.unwrap();
            assert_ne!(verified.payload().unwrap().key_id().as_str(), bad);
        }
        // Neither does one under a key that is not known, or one that is stale.
        for params in [format!("zed;{NOW};n"), format!("b;{};n", NOW - 301)] {
            let mut request = sign(ONE, "a", request("{}"));
            let extra = format!("extra={params}").parse().unwrap();
            request.headers_mut().append("signature-input", extra);
            let mac = format!("extra={}", hex([0; 32])).parse().unwrap();
            request.headers_mut().append("signature", mac);
            assert!(verify(&verifier, &request).await.is_ok(), "{params}");
        }
    }

    #[tokio::test]
    async fn two_valid_signatures_under_two_keys_are_ambiguous() {
        let refused = verdict(&verifier(ONE), &signed_by(&["a", "b"])).await;
        assert_eq!(refused, Err(RejectionKind::SignatureMalformed));
    }

    /// Else one could be left out, to make a second request of the other.
    #[tokio::test]
    async fn two_valid_signatures_with_two_nonces_are_ambiguous() {
        let two = sign(
            Labelled { label: "two" },
            "a",
            sign(ONE, "a", request("{}")),
        );
        let refused = verdict(&verifier(ONE), &two).await;
        assert_eq!(refused, Err(RejectionKind::SignatureMalformed));
    }

    /// The later one would still be fresh when the record of the earlier is dropped.
    #[tokio::test]
    async fn two_valid_signatures_with_two_times_are_ambiguous() {
        let clock = clock();
        let sign = |label, request| {
            let signer = Signer::new(Labelled { label }, "a", SECRET).unwrap();
            let signer = signer.clock(clock.clone());
            signer.sign_with_nonce(request, "nonce").unwrap()
        };
        let one = sign("one", request("{}"));
        assert!(
            verify(&verifier(ONE), &sign("two", one.clone()))
                .await
                .is_ok()
        );
        clock.advance(Duration::from_secs(1));
        let refused = verdict(&verifier(ONE), &sign("two", one)).await;
        assert_eq!(refused, Err(RejectionKind::SignatureMalformed));
    }

    #[tokio::test]
    async fn one_signature_under_two_labels_is_one_request() {
        let mut twice = sign(ONE, "a", request("{}"));
        for name in ["signature-input", "signature"] {
            let other = twice.headers()[name]
                .to_str()
                .unwrap()
                .replace("one=", "two=");
            twice.headers_mut().append(name, other.parse().unwrap());
        }
        let verifier = verifier(ONE);
        assert!(verify(&verifier, &twice).await.is_ok());
        for name in ["signature-input", "signature"] {
            let second = twice.headers().get_all(name).iter().nth(1).unwrap().clone();
            twice.headers_mut().insert(name, second);
        }
        assert_eq!(
            verdict(&verifier, &twice).await,
            Err(RejectionKind::RequestReplayed)
        );
    }

    #[tokio::test]
    async fn more_than_four_signatures_that_count_are_refused() {
        let five = signed_by(&["a", "b", "c", "d", "e"]);
        let refused = verify(&verifier(ONE), &five).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureMalformed);
        assert!(refused.detail().contains("more than 4"), "{refused}");
        let four = signed_by(&["a", "b", "c", "d"]);
        let refused = verify(&verifier(ONE), &four).await.unwrap_err();
        assert!(refused.detail().contains("left out"), "{refused}");
    }

    #[tokio::test]
    async fn seventeen_signatures_are_refused_unseen() {
        let many = |bad: usize| {
            let mut request = sign(ONE, "a", request("{}"));
            for i in 0..bad {
                let input = format!("bad{i}=zed;{NOW};n").parse().unwrap();
                request.headers_mut().append("signature-input", input);
                let mac = format!("bad{i}=00").parse().unwrap();
                request.headers_mut().append("signature", mac);
            }
            request
        };
        let verifier = verifier(ONE);
        assert!(verify(&verifier, &many(15)).await.is_ok());
        let refused = verify(&verifier, &many(16)).await.unwrap_err();
        assert!(refused.detail().contains("more than 16"), "{refused}");
    }

    #[tokio::test]
    async fn no_digest_means_no_body() {
        let params = format!("a;{NOW};n");
        let message = format!(
            "\"@method\": POST\n\"@path\": /orders\n\"content-digest\": \n\
             \"@signature-params\": {params}"
        );
        let bare = |body| {
            let request = with(request(body), "signature-input", &format!("one={params}"));
            with(
                request,
                "signature",
                &format!("one={}", hex(hmac(SECRET, &message))),
            )
        };
        let verifier = verifier(ONE);
        assert_eq!(
            verdict(&verifier, &bare("x")).await,
            Err(RejectionKind::BodyNotCovered)
        );
        assert_eq!(verdict(&verifier, &bare("")).await.as_deref(), Ok(""));
    }
}

/// Like Stripe: the time and several MACs in one header, the event id in the body.
#[derive(Debug)]
struct Webhook;

impl Webhook {
    fn candidate(time: &str, mac: HashOutput) -> Option<Candidate<'static>> {
        Some(Candidate {
            parameters: parameters("a", time)?,
            mac,
            input: SigningInput::AroundBody {
                before: format!("{time}.").into(),
                form: BodyForm::Raw,
                after: Vec::new(),
            },
            coverage: Cow::Owned(Coverage::default()),
        })
    }
}

impl Describe for Webhook {
    fn profile(&self) -> &Profile {
        const {
            &Profile {
                event_horizon: Some(Duration::from_secs(3600)),
                ..PLAIN
            }
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let fields = text(head, "webhook-signature")
            .ok_or_else(missing)?
            .split(',');
        let fields: Vec<_> = fields.filter_map(|field| field.split_once('=')).collect();
        let time = fields
            .iter()
            .find(|(name, _)| *name == "t")
            .map(|(_, time)| *time);
        let macs = fields
            .iter()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, mac)| output(mac));
        let candidates: Option<Vec<_>> = macs.map(|mac| Self::candidate(time?, mac)).collect();
        candidates
            .map(Reading::Candidates)
            .ok_or_else(|| malformed("no time"))
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Rejection> {
        let event: serde_json::Value =
            serde_json::from_slice(body).map_err(|_| malformed("no JSON"))?;
        let id = event
            .get("id")
            .and_then(|id| id.as_str())
            .ok_or_else(|| malformed("no `id`"))?;
        parameters.nonce = Some((NonceKind::Event, Cow::Owned(id.into())));
        Ok(())
    }

    fn prepare(
        &self,
        _: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        Self::candidate(&signing.now.as_secs().to_string(), HashOutput::new(&[]))
            .ok_or_else(|| SignError::new("cannot be covered"))
    }

    fn write(
        &self,
        parts: &mut Parts,
        candidate: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let time = candidate.parameters.signed_at.map_or(0, Timestamp::as_secs);
        let value = format!("t={time},v1={}", hex(mac)).parse().unwrap();
        parts.headers.insert("webhook-signature", value);
        Ok(())
    }
}

mod webhook {
    use super::*;

    const EVENT: &str = r#"{"id":"evt_1"}"#;

    fn signature(time: u64, macs: &[Vec<u8>]) -> String {
        macs.iter().fold(format!("t={time}"), |value, mac| {
            format!("{value},v1={}", hex(mac))
        })
    }

    #[tokio::test]
    async fn what_is_signed_is_the_message_of_the_test() {
        let signed = sign(Webhook, "a", request(EVENT));
        let mac = hmac(SECRET, format!("{NOW}.{EVENT}"));
        assert_eq!(
            signed.headers()["webhook-signature"],
            signature(NOW, &[mac])
        );
        let verified = verify(&verifier(Webhook), &signed).await.unwrap();
        let nonce = verified.payload().unwrap().nonce().unwrap();
        assert_eq!(
            (nonce.kind(), nonce.as_bytes()),
            (NonceKind::Event, b"evt_1".as_slice())
        );
    }

    #[tokio::test]
    async fn any_of_several_macs_may_be_the_right_one() {
        let right = hmac(SECRET, format!("{NOW}.{EVENT}"));
        for place in 0..4 {
            let mut macs = vec![vec![0; 32]; 4];
            macs[place] = right.clone();
            let request = with(request(EVENT), "webhook-signature", &signature(NOW, &macs));
            assert!(
                verify(&verifier(Webhook), &request).await.is_ok(),
                "place {place}"
            );
        }
        let wrong = vec![vec![0; 32], right[..31].to_vec(), right[..0].to_vec()];
        let wrong = with(request(EVENT), "webhook-signature", &signature(NOW, &wrong));
        let refused = verdict(&verifier(Webhook), &wrong).await;
        assert_eq!(refused, Err(RejectionKind::SignatureInvalid));
    }

    #[tokio::test]
    async fn the_same_mac_twice_is_not_ambiguous() {
        let right = hmac(SECRET, format!("{NOW}.{EVENT}"));
        let macs = [right.clone(), right];
        let request = with(request(EVENT), "webhook-signature", &signature(NOW, &macs));
        assert!(verify(&verifier(Webhook), &request).await.is_ok());
    }

    #[tokio::test]
    async fn a_retry_that_was_signed_anew_is_the_same_event() {
        let verifier = verifier(Webhook);
        assert!(
            verify(&verifier, &sign(Webhook, "a", request(EVENT)))
                .await
                .is_ok()
        );
        let mac = hmac(SECRET, format!("{}.{EVENT}", NOW - 60));
        let retry = with(
            request(EVENT),
            "webhook-signature",
            &signature(NOW - 60, &[mac]),
        );
        assert_eq!(
            verdict(&verifier, &retry).await,
            Err(RejectionKind::RequestReplayed)
        );
        let other = sign(Webhook, "a", request(r#"{"id":"evt_2"}"#));
        assert!(verify(&verifier, &other).await.is_ok());
    }

    #[tokio::test]
    async fn an_event_without_an_id_is_refused_after_its_mac() {
        let verifier = verifier(Webhook);
        let mut request = sign(Webhook, "a", request("{}"));
        assert_eq!(
            verdict(&verifier, &request).await,
            Err(RejectionKind::SignatureMalformed)
        );
        *request.body_mut() = "[]".into();
        assert_eq!(
            verdict(&verifier, &request).await,
            Err(RejectionKind::SignatureInvalid)
        );
    }
}

/// Like Twilio: the whole URL, with its port or without, and the form's parameters sorted and set
/// side by side. No time, and no nonce.
#[derive(Debug)]
struct Form;

impl Form {
    fn candidate(head: &Head<'_>, port: &str, mac: HashOutput) -> Candidate<'static> {
        let Target {
            authority,
            path_and_query,
            ..
        } = &head.target;
        Candidate {
            parameters: Parameters {
                signed_at: None,
                ..parameters("a", "0").unwrap()
            },
            mac,
            input: SigningInput::AroundBody {
                before: format!("https://{authority}{port}{path_and_query}").into(),
                form: BodyForm::Canonical(Self::sorted),
                after: Vec::new(),
            },
            coverage: Cow::Owned(Coverage {
                authority: true,
                path: true,
                query: true,
                ..Coverage::default()
            }),
        }
    }

    fn sorted(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
        let body = std::str::from_utf8(body).map_err(|_| "not a form")?;
        let pairs = body.split('&').map(|pair| pair.split_once('='));
        let mut pairs: Vec<_> = pairs.collect::<Option<_>>().ok_or("not a form")?;
        pairs.sort_unstable();
        let given = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(Formed {
            signed: pairs
                .iter()
                .flat_map(|(name, value)| [*name, *value])
                .collect::<String>()
                .into(),
            given: given.collect::<Vec<_>>().join("&").into(),
            uncovered: None,
        })
    }
}

impl Describe for Form {
    fn profile(&self) -> &Profile {
        const DAY: Option<Duration> = Some(Duration::from_secs(86_400));
        const {
            &Profile {
                covers_authority: true,
                untimed_retention: DAY,
                ..PLAIN
            }
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let mac = text(head, "form-signature").ok_or_else(missing)?;
        let mac = output(mac).ok_or_else(|| malformed("not hexadecimal"))?;
        let ports = ["", ":443"];
        let candidates = ports.map(|port| Self::candidate(head, port, mac));
        Ok(Reading::Candidates(candidates.into()))
    }

    fn prepare(&self, parts: &mut Parts, _: &Signing<'_>) -> Result<Candidate<'static>, SignError> {
        Ok(Self::candidate(&outgoing(parts), "", HashOutput::new(&[])))
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        parts
            .headers
            .insert("form-signature", hex(mac).parse().unwrap());
        Ok(())
    }
}

mod form {
    use super::*;

    #[tokio::test]
    async fn what_is_signed_is_the_message_of_the_test() {
        let signed = sign(Form, "a", request("To=2&From=1"));
        let mac = hmac(SECRET, "https://a.example/orders?x=1From1To2");
        assert_eq!(signed.headers()["form-signature"], hex(mac));
        let given = verdict(&verifier(Form), &signed).await;
        assert_eq!(
            given.as_deref(),
            Ok("From=1&To=2"),
            "sorted, and still a form"
        );
    }

    #[tokio::test]
    async fn the_url_may_have_been_signed_with_its_port_or_without() {
        for (port, accepted) in [("", true), (":443", true), (":80", false)] {
            let mac = hmac(
                SECRET,
                format!("https://a.example{port}/orders?x=1From1To2"),
            );
            let request = with(request("To=2&From=1"), "form-signature", &hex(mac));
            let verdict = verdict(&verifier(Form), &request).await;
            assert_eq!(verdict.is_ok(), accepted, "`{port}`");
        }
    }

    #[tokio::test]
    async fn a_copy_in_another_order_is_the_same_request() {
        let verifier = verifier(Form);
        let mut request = sign(Form, "a", request("To=2&From=1"));
        assert!(verify(&verifier, &request).await.is_ok());
        *request.body_mut() = "From=1&To=2".into();
        assert_eq!(
            verdict(&verifier, &request).await,
            Err(RejectionKind::RequestReplayed)
        );
        *request.body_mut() = "To=2".into();
        assert_eq!(
            verdict(&verifier, &request).await,
            Err(RejectionKind::SignatureInvalid)
        );
        *request.body_mut() = "no form".into();
        assert_eq!(
            verdict(&verifier, &request).await,
            Err(RejectionKind::SignatureMalformed)
        );
    }
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
        let parameters = parameters(key_id, time)?;
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
                covers_place: true,
                ..PLAIN
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

    fn read<'h>(&'h self, head: &Head<'h>, _: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        let value = text(head, "authorization").ok_or_else(missing)?;
        let read = || {
            let mut split = value.strip_prefix("SCOPED ")?.split('/');
            Self::candidate(head, split.next()?, split.next()?, output(split.next()?)?)
        };
        let candidate = read().ok_or_else(|| malformed("an authorization that cannot be read"))?;
        Ok(Reading::Candidates(vec![candidate]))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let (id, time) = (signing.key_id.as_str(), signing.now.as_secs().to_string());
        Self::candidate(&outgoing(parts), id, &time, HashOutput::new(&[]))
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

mod scoped {
    use super::*;

    #[tokio::test]
    async fn what_is_signed_is_the_message_of_the_test() {
        let signed = sign(Scoped, "a", request("{}"));
        let day = (NOW / 86_400).to_string();
        let key = hmac(hmac(format!("SCOPED{SECRET}"), &day), "request");
        let inner = Sha256::digest(format!("POST\n/orders\n{}", hex(Sha256::digest("{}"))));
        let mac = hmac(key, format!("SCOPED\n{NOW}\n{day}/request\n{}", hex(inner)));
        assert_eq!(
            signed.headers()["authorization"],
            format!("SCOPED a/{NOW}/{}", hex(mac))
        );

        let verifier = verifier(Scoped);
        assert_eq!(verdict(&verifier, &signed).await.as_deref(), Ok("{}"));
        assert_eq!(
            verdict(&verifier, &signed).await,
            Err(RejectionKind::RequestReplayed)
        );
    }

    #[tokio::test]
    async fn body_place_time_and_key_are_bound() {
        let verifier = verifier(Scoped);
        let signed = sign(Scoped, "a", request("{}"));
        let authorization = signed.headers()["authorization"]
            .to_str()
            .unwrap()
            .to_owned();
        let header = |value: String| with(signed.clone(), "authorization", &value);
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
        assert!(verify(&verifier, &signed).await.is_ok());
    }
}

/// Like Mailgun: time, token and signature stand in the body, and of the body nothing else is
/// covered.
///
/// A signer gives the body back as it is, so that the signature is left in a header, for the sender
/// to move it.
#[derive(Debug)]
struct InBody;

#[derive(serde::Deserialize)]
struct Envelope {
    timestamp: String,
    token: String,
    #[serde(default)]
    signature: String,
}

impl InBody {
    fn envelope(body: &[u8]) -> Result<Envelope, Rejection> {
        serde_json::from_slice(body).map_err(|_| malformed("a body that cannot be read"))
    }

    fn candidate(body: &[u8]) -> Result<Candidate<'static>, Rejection> {
        let Envelope {
            timestamp,
            token,
            signature,
        } = Self::envelope(body)?;
        let unread = || malformed("a signature that cannot be read");
        let mut parameters = parameters("a", &timestamp).ok_or_else(unread)?;
        parameters.nonce = Some((NonceKind::Covered, Cow::Owned(token.into())));
        Ok(Candidate {
            parameters,
            mac: output(&signature).ok_or_else(unread)?,
            input: SigningInput::AroundBody {
                before: Vec::new(),
                form: BodyForm::Canonical(Self::covered),
                after: Vec::new(),
            },
            coverage: Cow::Owned(Coverage::default()),
        })
    }

    fn covered(body: &Bytes) -> Result<Formed, Cow<'static, str>> {
        let Envelope {
            timestamp, token, ..
        } = Self::envelope(body).map_err(|_| "not readable")?;
        Ok(Formed {
            signed: format!("{timestamp}{token}").into(),
            given: serde_json::json!({ "timestamp": timestamp, "token": token })
                .to_string()
                .into(),
            uncovered: None,
        })
    }
}

impl Describe for InBody {
    fn profile(&self) -> &Profile {
        &PLAIN
    }

    fn read<'h>(&'h self, _: &Head<'h>, body: Option<&Bytes>) -> Result<Reading<'h>, Rejection> {
        match body {
            None => Ok(Reading::AfterBody),
            Some(body) => Ok(Reading::Candidates(vec![Self::candidate(body)?])),
        }
    }

    fn prepare(
        &self,
        _: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        Ok(Self::candidate(signing.body)?)
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        parts
            .headers
            .insert("to-be-moved", hex(mac).parse().unwrap());
        Ok(())
    }
}

mod in_body {
    use super::*;

    fn signed(timestamp: u64, token: &str, rest: &str) -> Request<String> {
        let body = |signature: &str| {
            format!(
                r#"{{"timestamp":"{timestamp}","token":"{token}","signature":"{signature}","rest":"{rest}"}}"#
            )
        };
        let signed = sign(InBody, "a", request(&body("")));
        let mac = signed.headers()["to-be-moved"].to_str().unwrap();
        assert_eq!(mac, hex(hmac(SECRET, format!("{timestamp}{token}"))));
        request(&body(mac))
    }

    #[tokio::test]
    async fn the_handler_is_given_nothing_but_what_is_covered() {
        let verifier = verifier(InBody);
        let given = verdict(&verifier, &signed(NOW, "token", "amount: 100"))
            .await
            .unwrap();
        assert_eq!(given, format!(r#"{{"timestamp":"{NOW}","token":"token"}}"#));
        let again = verdict(&verifier, &signed(NOW, "token", "amount: 999")).await;
        assert_eq!(
            again,
            Err(RejectionKind::RequestReplayed),
            "the token is used up"
        );
    }

    #[tokio::test]
    async fn time_token_and_mac_are_checked_after_the_body() {
        let verifier = verifier(InBody);
        let stale = verdict(&verifier, &signed(NOW - 301, "token", "")).await;
        assert_eq!(stale, Err(RejectionKind::SignatureExpired));
        let mut other = signed(NOW, "token", "");
        *other.body_mut() = other.body().replace("token\":\"token", "token\":\"taken");
        assert_eq!(
            verdict(&verifier, &other).await,
            Err(RejectionKind::SignatureInvalid)
        );
        let none = verdict(&verifier, &request("")).await;
        assert_eq!(none, Err(RejectionKind::SignatureMalformed));
    }
}
