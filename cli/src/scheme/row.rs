//! What a scheme covers, and what it leaves open: read off a request that the scheme signed itself.

use bytes::Bytes;
use countersign::{
    MemoryStore, Processing, Timestamp, VerifiedPayload, Verifier, store::NonceKind,
};
use http::Request;
use http_body_util::Full;
use serde::Serialize;

use super::names::Chosen;
use crate::{exit::Failure, runtime::block_on, secret::SecretText, time::Fixed};

/// One row of the list of schemes.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Of the schema of the JSON.
    pub(crate) version: u8,
    pub(crate) name: String,
    pub(crate) covered: Vec<String>,
    pub(crate) time: String,
    pub(crate) nonce: String,
    pub(crate) open: Vec<String>,
}

/// Every member in which a sender keeps a time or an event id.
const BODY: &str = r#"{"id":"evt_1","event_id":"evt_1","webhookTimestamp":1700000000000}"#;

/// A body of each kind that a scheme may ask for. In one of them stands whatever event id it reads.
const BODIES: [(&str, &str); 3] = [
    ("application/json", BODY),
    ("application/json", r#"[{"eventId":1}]"#),
    ("application/x-www-form-urlencoded", "a=1"),
];

/// What the signed time of the example is.
const SIGNED_AT: u64 = 1_700_000_000;

impl Row {
    /// Reads off what a scheme covers.
    pub(crate) fn of(chosen: &Chosen) -> Result<Self, Failure> {
        let mut found = None;
        let mut refused = None;
        for (content_type, body) in BODIES {
            match Self::of_body(chosen, content_type, body) {
                Ok((row, true)) => return Ok(row),
                Ok((row, false)) => found = found.or(Some(row)),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        found.ok_or_else(|| refused.unwrap_or_else(|| unsigned("no example fits")))
    }

    /// Reads off what is covered of a request with this body, and whether it has an event id.
    fn of_body(chosen: &Chosen, content_type: &str, body: &str) -> Result<(Self, bool), Failure> {
        let clock = Fixed(Timestamp::from_secs(SIGNED_AT).unwrap_or(Timestamp::EPOCH));
        let secret = chosen.example_secret();
        let key_id = chosen.names_key().then_some("example");
        let mut request =
            Request::post("https://example.com/hooks?a=1").header("content-type", content_type);
        for name in &chosen.headers {
            if !name.eq_ignore_ascii_case("content-type") {
                request = request.header(name, "example");
            }
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.map_err(|error| unsigned(&error.to_string()))?;
        let signer = chosen.signer(key_id, &secret)?.clock(clock);
        let signed = signer
            .sign_body(request, "example")
            .map_err(|e| unsigned(&e.to_string()))?;
        let verifier = verifier(chosen, &secret, clock)?;
        let (head, body) = signed.into_parts();
        block_on(async {
            let verified = verifier.verify(&head, Full::new(body)).await;
            let verified = verified.map_err(|rejection| unsigned(rejection.reason()))?;
            let payload = verified
                .payload()
                .ok_or_else(|| unsigned("it is pending"))?;
            let is_event = payload
                .nonce()
                .is_some_and(|n| n.kind() == NonceKind::Event);
            Ok((Self::of_payload(chosen, payload), is_event))
        })?
    }

    fn of_payload(chosen: &Chosen, payload: &VerifiedPayload) -> Self {
        let has_whole_body = payload.danger_uncovered_body().is_none();
        let parts = [
            ("method", payload.method().is_some()),
            ("authority", payload.authority().is_some()),
            ("path", payload.path().is_some()),
            ("query", payload.query().is_some()),
            ("body", has_whole_body),
        ];
        let of = |wanted: bool| {
            let parts = parts
                .iter()
                .filter(move |(_, is_covered)| *is_covered == wanted);
            parts.map(|(part, _)| (*part).to_owned())
        };
        let mut covered: Vec<String> = of(true).collect();
        let headers = chosen
            .headers
            .iter()
            .map(String::as_str)
            .chain(["content-type"]);
        for name in headers.filter(|name| payload.header(name).is_some()) {
            covered.push(name.to_owned());
        }
        if !has_whole_body {
            covered.push("two fields of the body".to_owned());
        }
        let mut open: Vec<String> = of(false).collect();
        open.push("other headers".to_owned());
        let is_timed = payload.signed_at().is_some();
        Self {
            version: 1,
            name: chosen.name.clone(),
            covered,
            time: if is_timed { "covered" } else { "not covered" }.to_owned(),
            nonce: match payload.nonce().map(countersign::store::Nonce::kind) {
                None => "nothing",
                Some(NonceKind::Covered) => "nonce",
                Some(NonceKind::Event) => "event id",
                Some(_) => "signed message",
            }
            .to_owned(),
            open,
        }
    }
}

fn verifier(chosen: &Chosen, secret: &SecretText, clock: Fixed) -> Result<Verifier, Failure> {
    let wrong = |error: countersign::ConfigError| unsigned(&error.to_string());
    let store = MemoryStore::builder()
        .danger_assume_no_history()
        .clock(clock);
    chosen
        .verifier(None, std::slice::from_ref(secret))?
        .store(store.build().map_err(wrong)?)
        .processing(Processing::AtMostOnce)
        .clock(clock)
        .danger_any_authority()
        .build()
        .map_err(wrong)
}

fn unsigned(why: &str) -> Failure {
    Failure::usage(
        "the scheme signs no example request",
        why,
        "sign a request of your own with `countersign sign`, and look at it with `countersign \
         verify`",
    )
}
