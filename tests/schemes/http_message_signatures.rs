//! RFC 9421 from outside: what is covered reaches the handler and nothing else does, no byte of it
//! can be changed, and what its signatures leave open is what the documentation says.

mod changes;
mod curl;
mod forms;
mod served;
mod several;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{
    HttpMessageSignatures, Rejection, Signer, VerifiedPayload, Verifier,
    request::VerifierBuilder,
    rfc9421::{Component, HttpMessageSignaturesBuilder},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use sha2::Sha256;

use crate::common::{self, KEY, SECRET, clock, keys, store};

const BODY: &str = r#"{"to":"alice","amount":7}"#;

fn component(text: &str) -> Component {
    text.parse().unwrap()
}

/// The default profile, with these components required too.
fn covering(components: &[&str]) -> HttpMessageSignaturesBuilder {
    let components = components.iter().map(|text| component(text));
    components.fold(HttpMessageSignatures::builder(), |b, c| b.covers(c))
}

fn verifier(scheme: &HttpMessageSignatures) -> Verifier {
    builder_of(scheme).build().unwrap()
}

fn builder_of(scheme: &HttpMessageSignatures) -> VerifierBuilder<Verifier> {
    let clock = clock();
    Verifier::builder(scheme.clone())
        .public_origin(common::ORIGIN)
        .keys(keys())
        .store(store(&clock))
        .clock(clock)
}

async fn verify(
    verifier: &Verifier,
    request: &Request<String>,
) -> Result<VerifiedPayload, Rejection> {
    let (head, body) = request.clone().into_parts();
    let verified = verifier
        .verify(&head, Full::<bytes::Bytes>::from(body))
        .await;
    verified.map(|verified| verified.payload().unwrap().clone())
}

fn signer(scheme: &HttpMessageSignatures) -> Signer {
    Signer::new(scheme.clone(), KEY, SECRET)
        .unwrap()
        .clock(clock())
}

/// Signed, and then as a server receives it: with the target in origin form.
fn sign(scheme: &HttpMessageSignatures, request: Request<String>) -> Request<String> {
    let mut signed = signer(scheme).sign(request).unwrap();
    if let Some(target) = signed.uri().path_and_query().cloned() {
        *signed.uri_mut() = target.into();
    }
    signed
}

fn with(request: &Request<String>, name: &str, value: impl AsRef<[u8]>) -> Request<String> {
    let mut request = request.clone();
    let name: HeaderName = name.parse().unwrap();
    let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
    request.headers_mut().insert(name, value);
    request
}

fn and(request: &Request<String>, name: &str, value: &str) -> Request<String> {
    let mut request = request.clone();
    let name: HeaderName = name.parse().unwrap();
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

fn without(request: &Request<String>, name: &str) -> Request<String> {
    let mut request = request.clone();
    request.headers_mut().remove(name);
    request
}

fn with_uri(request: &Request<String>, uri: &str) -> Request<String> {
    let mut request = request.clone();
    *request.uri_mut() = uri.parse().unwrap();
    request
}

/// The `Content-Digest` of a body.
fn digest_of(body: &str) -> String {
    use sha2::Digest as _;
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// The signature over this base, by a hand that knows the secret.
fn signed_by_hand(request: &Request<String>, lines: &str, params: &str) -> Request<String> {
    let base = format!("{lines}\"@signature-params\": {params}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(base.as_bytes());
    let mac = STANDARD.encode(mac.finalize().into_bytes());
    let request = with(request, "signature-input", format!("hand={params}"));
    with(&request, "signature", format!("hand=:{mac}:"))
}
