//! Several signatures on one request; and a wrong one, before the body was read.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, RejectionKind, Signer, Verifier, testing::ManualClock,
};
use http::{HeaderValue, Request};
use http_body::{Body, Frame};

use super::{sign, verifier, verify};
use crate::common::{self, KEY, NOW, SECRET, at, clock, store};

/// Each signs under its own name as a label.
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn secret(key: &str) -> String {
    format!("the secret of the key named {key}")
}

fn request() -> Request<String> {
    common::request("POST", "/transfer", "{}")
}

fn labelled(label: &str) -> HttpMessageSignatures {
    let scheme = HttpMessageSignatures::builder().label(label);
    scheme.build().unwrap()
}

fn signed_by(keys: &[&str]) -> Request<String> {
    keys.iter().fold(request(), |request, key| {
        let signer = Signer::new(labelled(key), *key, secret(key)).unwrap();
        signer.clock(clock()).sign(request).unwrap()
    })
}

/// Signed by one key under another label, at another time, with another nonce, or with the same.
fn signed_again(first: &Request<String>, now: u64, nonce: &str) -> Request<String> {
    let signer = Signer::new(labelled("again"), KEY, SECRET).unwrap();
    let signer = signer.clock(ManualClock::at(at(now)));
    signer.sign_with_nonce(first.clone(), nonce).unwrap()
}

fn knows_all() -> Verifier {
    let keys = KEYS
        .iter()
        .try_fold(KeyRing::new(), |ring, key| ring.with(*key, secret(key)));
    let clock = clock();
    Verifier::builder(HttpMessageSignatures::default())
        .public_origin(common::ORIGIN)
        .keys(keys.unwrap())
        .store(store(&clock))
        .clock(clock)
        .build()
        .unwrap()
}

async fn refused(verifier: &Verifier, request: &Request<String>) -> (RejectionKind, String) {
    let rejection = verify(verifier, request).await.unwrap_err();
    (rejection.kind(), rejection.reason().to_owned())
}

fn break_mac(request: &mut Request<String>, label: &str) {
    let wrong = format!("{label}=:{}=:", "A".repeat(43));
    for (name, value) in request.headers_mut() {
        if name == "signature" && value.to_str().unwrap().starts_with(label) {
            *value = HeaderValue::from_str(&wrong).unwrap();
        }
    }
}

#[tokio::test]
async fn of_two_signatures_of_which_one_is_bad_the_other_counts() {
    for (bad, good) in [("a", "b"), ("b", "a")] {
        let mut request = signed_by(&["a", "b"]);
        break_mac(&mut request, bad);
        let payload = verify(&knows_all(), &request).await.unwrap();
        assert_eq!(payload.key_id().as_str(), good);
    }
}

/// Otherwise one could be left out, to make a second request of the other. The later one would still be
/// fresh when the record of the earlier is dropped.
#[tokio::test]
async fn two_valid_signatures_with_two_nonces_or_two_times_are_ambiguous() {
    let scheme = HttpMessageSignatures::default();
    let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
    let first = signer.clock(clock()).sign_with_nonce(request(), "nonce");
    let first = first.unwrap();
    let same = signed_again(&first, NOW, "nonce");
    assert!(verify(&verifier(&scheme), &same).await.is_ok());
    for two in [
        signed_again(&first, NOW, "other"),
        signed_again(&first, NOW + 1, "nonce"),
    ] {
        let (kind, detail) = refused(&verifier(&scheme), &two).await;
        assert_eq!(kind, RejectionKind::SignatureMalformed);
        assert!(detail.contains("left out"), "{detail}");
    }
}

#[tokio::test]
async fn more_than_four_signatures_that_count_are_refused() {
    let (kind, detail) = refused(&knows_all(), &signed_by(&KEYS)).await;
    assert_eq!(kind, RejectionKind::SignatureMalformed);
    assert!(detail.contains("more than 4"), "{detail}");
    let (_, detail) = refused(&knows_all(), &signed_by(&KEYS[..4])).await;
    assert!(detail.contains("left out"), "{detail}");
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
async fn a_wrong_mac_is_refused_before_the_body_is_read() {
    let scheme = HttpMessageSignatures::default();
    let mut wrong = sign(&scheme, request());
    break_mac(&mut wrong, "sig1");
    let (head, _) = wrong.into_parts();
    let refused = verifier(&scheme).verify(&head, Untouched).await;
    let refused = refused.unwrap_err().kind();
    assert_eq!(refused, RejectionKind::SignatureInvalid);
}

#[tokio::test]
#[should_panic(expected = "the body was read")]
async fn and_with_the_right_mac_the_body_is_read() {
    let scheme = HttpMessageSignatures::default();
    let (head, _) = sign(&scheme, request()).into_parts();
    let _ = verifier(&scheme).verify(&head, Untouched).await;
}

/// RFC 9421, section 4: "is an error", whoever the other signature is for.
#[tokio::test]
async fn a_label_in_only_one_of_the_two_fields_is_malformed() {
    let scheme = HttpMessageSignatures::default();
    let genuine = sign(&scheme, request());
    let with_more = |name: &'static str, member: &str| {
        let mut request = genuine.clone();
        request.headers_mut().append(name, member.parse().unwrap());
        request
    };
    let mac = format!("other=:{}=:", "A".repeat(43));
    for (name, member) in [
        ("signature", &*mac),
        ("signature", "other=1"),
        ("signature-input", "other=()"),
        ("signature-input", r#"other=("@method");keyid="nobody""#),
        ("signature-input", r#"other=();tag="another application""#),
        ("signature-input", "other"),
    ] {
        let (kind, detail) = refused(&verifier(&scheme), &with_more(name, member)).await;
        assert_eq!(kind, RejectionKind::SignatureMalformed, "{name}: {member}");
        assert!(detail.contains("`other`"), "{detail}");
    }
    // In both, a bad one blocks nothing.
    for input in ["other=()", "other", r#"other=();tag="another application""#] {
        let mut request = with_more("signature-input", input);
        request
            .headers_mut()
            .append("signature", mac.parse().unwrap());
        let verified = verify(&verifier(&scheme), &request).await;
        assert!(verified.is_ok(), "{input}");
    }
}

fn agreed() -> HttpMessageSignatures {
    let scheme = HttpMessageSignatures::builder().fixed_key_id(KEY);
    scheme.build().unwrap()
}

#[tokio::test]
async fn a_signature_without_keyid_counts_under_the_one_agreed_key() {
    let scheme = agreed();
    let by_secret = || {
        let clock = clock();
        let builder = Verifier::builder(agreed()).public_origin(common::ORIGIN);
        let builder = builder.secret(SECRET).store(store(&clock)).clock(clock);
        builder.build().unwrap()
    };
    let signed = sign(&scheme, request());
    let input = signed.headers()["signature-input"].to_str().unwrap();
    assert!(!input.contains("keyid"), "{input}");
    for verifier in [verifier(&scheme), by_secret()] {
        let payload = verify(&verifier, &signed).await.unwrap();
        assert_eq!(payload.key_id().as_str(), KEY);
        let (kind, _) = refused(&verifier, &signed).await;
        assert_eq!(kind, RejectionKind::RequestReplayed);
        // A signature that names the key counts too, and is the same key's.
        let named = sign(&HttpMessageSignatures::default(), request());
        assert!(verify(&verifier, &named).await.is_ok());
    }
    // Without the setting, the key must be named.
    let default = HttpMessageSignatures::default();
    let (kind, detail) = refused(&verifier(&default), &signed).await;
    assert_eq!(kind, RejectionKind::SignatureInsufficient);
    assert!(detail.contains("keyid"), "{detail}");
    // Another key's name is not passed over, though its secret is known.
    let other = Signer::new(default, common::OTHER_KEY, common::OTHER_SECRET).unwrap();
    let other = other.clock(clock()).sign(request()).unwrap();
    let (kind, _) = refused(&verifier(&scheme), &other).await;
    assert_eq!(kind, RejectionKind::SignatureInvalid);
    // A signer signs under the agreed key, and no other.
    let signer = Signer::new(agreed(), common::OTHER_KEY, common::OTHER_SECRET).unwrap();
    assert!(signer.sign(request()).is_err());
    for id in ["", "a b", "x\n"] {
        let builder = HttpMessageSignatures::builder().fixed_key_id(id);
        assert!(builder.build().is_err(), "{id:?}");
    }
}

/// Without a name there is nothing in the message that says whose signature it is: a change of the
/// key id by somebody on the way is a change of what is signed.
#[tokio::test]
async fn a_keyid_cannot_be_added_to_a_signature_or_taken_out_of_it() {
    let scheme = agreed();
    let anonymous = sign(&scheme, request());
    let named = sign(&HttpMessageSignatures::default(), request());
    for (signed, what, by) in [
        (&anonymous, r#";alg="#, format!(r#";keyid="{KEY}";alg="#)),
        (&named, &*format!(r#";keyid="{KEY}""#), String::new()),
    ] {
        let input = signed.headers()["signature-input"].to_str().unwrap();
        assert!(input.contains(what), "{input}");
        let mut changed = signed.clone();
        let input = input.replace(what, &by).parse().unwrap();
        changed.headers_mut().insert("signature-input", input);
        let (kind, _) = refused(&verifier(&scheme), &changed).await;
        assert_eq!(kind, RejectionKind::SignatureInvalid);
        assert!(verify(&verifier(&scheme), signed).await.is_ok());
    }
}
