//! A request under RFC 9421, a service that verifies it, and texts that differ from it.

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, MemoryStore, Rejection, Signer, Timestamp, VerifiedPayload,
    Verifier, testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use sha2::Sha256;

use crate::ready;

pub const KEY: &str = "partner-1";
const SECRET: &str = "the secret of partner 1";

/// A text of the fuzzer's own, or one that is some edits away from a given one.
#[derive(Arbitrary, Debug)]
pub enum Text {
    Own(String),
    Edited(Vec<Edit>),
}

#[derive(Arbitrary, Debug)]
pub struct Edit {
    at: u16,
    removed: u8,
    put: Piece,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Own(String),
    Nothing,
    Space,
    Zero,
    Quote,
    Backslash,
    Parameter,
    Component,
    Key,
    Member,
    InnerList,
    Bytes,
    Digest,
}

impl Text {
    pub fn of(&self, given: &str) -> String {
        let edits = match self {
            Self::Own(text) => return text.clone(),
            Self::Edited(edits) => edits,
        };
        let mut text: Vec<char> = given.chars().collect();
        for edit in edits {
            let at = usize::from(edit.at) % (text.len() + 1);
            let end = (at + usize::from(edit.removed % 16)).min(text.len());
            text.splice(at..end, edit.put.text().chars());
        }
        text.into_iter().collect()
    }
}

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Own(text) => text,
            Self::Nothing => "",
            Self::Space => " ",
            Self::Zero => "0",
            Self::Quote => "\"",
            Self::Backslash => "\\",
            Self::Parameter => ";created=1700000000",
            Self::Component => " \"x-dict\"",
            Self::Key => ";key=\"a\"",
            Self::Member => ", a=1",
            Self::InnerList => ", b=(\"x-list\";sf)",
            Self::Bytes => ":AAAA:",
            Self::Digest => "sha-512=",
        }
    }
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(1_700_000_000).expect("a valid time"))
}

/// The fields of the requests beside their signature.
pub const HEADERS: [(&str, &str); 5] = [
    ("host", "api.example.com"),
    ("content-type", "application/json"),
    ("x-dict", "a=1,  b=(c  d);e, f=:YQ==:"),
    ("x-list", "1, \"two\""),
    ("priority", "u=1,i"),
];

pub fn unsigned(body: &str) -> Request<String> {
    let mut request = Request::post("/a%2Fb?x=1&y=%20+");
    for (name, value) in HEADERS {
        request = request.header(name, value);
    }
    request.body(body.to_owned()).expect("a valid request")
}

/// As a holder of the key signs it, with every default.
pub static SIGNED: LazyLock<Request<String>> = LazyLock::new(|| {
    let signer = Signer::new(HttpMessageSignatures::default(), KEY, SECRET).expect("a valid key");
    let signed = signer
        .clock(clock())
        .sign_with_nonce(unsigned("{}"), "a-nonce");
    signed.expect("a request that can be signed")
});

/// The MAC over a signature base, as it is in `Signature`.
pub fn mac(base: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(base);
    format!(":{}:", STANDARD.encode(mac.finalize().into_bytes()))
}

/// With another value; `None` where HTTP has no such value.
pub fn with(
    mut request: Request<String>,
    name: &'static str,
    value: &str,
) -> Option<Request<String>> {
    let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    request
        .headers_mut()
        .insert(HeaderName::from_static(name), value);
    Some(request)
}

pub fn verify(
    scheme: HttpMessageSignatures,
    request: &Request<String>,
) -> Result<VerifiedPayload, Rejection> {
    let clock = clock();
    let store = MemoryStore::builder().capacity_bytes(64 * 1024);
    let store = store
        .clock(clock.clone())
        .danger_assume_no_history()
        .build();
    let verifier = Verifier::builder(scheme)
        .public_origin("https://api.example.com")
        .keys(KeyRing::new().with(KEY, SECRET).expect("a valid key"))
        .store(store.expect("a valid capacity"))
        .clock(clock)
        .build()
        .expect("a valid configuration");
    let (head, body) = request.clone().into_parts();
    let verified = ready(verifier.verify(&head, Full::<Bytes>::from(body)));
    verified.map(|verified| {
        let payload = verified.payload();
        payload.expect("claimed at once").clone()
    })
}
