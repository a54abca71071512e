//! Verifying one request with the library, and what its signature covers.

use bytes::Bytes;
use countersign::{
    Clock as _, MemoryStore, Rejection, RejectionKind, Timestamp, VerifiedPayload,
    clock::SystemClock, store::NonceKind,
};
use http::{
    HeaderName, Request,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};
use serde_json::{Value, json};

use crate::{
    args::RequestArgs,
    exit::Failure,
    explain::Shape,
    printer::visible,
    runtime::block_on,
    scheme::{Chosen, in_names},
    secret::SecretText,
    time::{self, Arrived, Fixed},
};

/// The longest body that is verified; what reads requests allows no longer ones.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The headers that belong to the connection, or whose value is a part of another name.
const OF_THE_CONNECTION: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// The outcome of a verification.
#[derive(Debug)]
pub(crate) enum Verdict {
    Verified(Facts),
    Refused(Rejection),
}

/// The facts of a verified request: its parameters, and the parts that are covered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) key_id: String,
    pub(crate) signed_at: Option<Timestamp>,
    pub(crate) nonce: Option<(NonceKind, Vec<u8>)>,
    pub(crate) covered: Vec<String>,
    pub(crate) uncovered: Vec<String>,
}

impl Facts {
    /// Returns how the nonce is called, and its text.
    pub(crate) fn nonce(&self) -> Option<(&'static str, String)> {
        self.nonce.as_ref().map(|(kind, bytes)| match kind {
            NonceKind::Covered => ("nonce", visible(bytes)),
            NonceKind::Event => ("event id", visible(bytes)),
            _ => (
                "sha-256",
                bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            ),
        })
    }

    /// The JSON object of a verified request, as `cli/README.md` describes it.
    pub(crate) fn object(&self) -> Value {
        let nonce = self.nonce().map(|(kind, text)| match kind {
            "sha-256" => format!("sha-256:{text}"),
            _ => text,
        });
        json!({
            "version": 1,
            "verified": true,
            "code": null,
            "reason": null,
            "key_id": self.key_id,
            "signed_at": self.signed_at.map(time::show),
            "nonce": nonce,
            "covered": self.covered,
            "uncovered": self.uncovered,
        })
    }
}

/// The JSON object of a refused request.
pub(crate) fn object_of_refused(rejection: &Rejection) -> Value {
    json!({
        "version": 1,
        "verified": false,
        "code": rejection.kind().code(),
        "reason": reason(rejection),
        "key_id": null,
        "signed_at": null,
        "nonce": null,
        "covered": [],
        "uncovered": [],
    })
}

/// Verifies a request as a server would, at the time that the command line names.
pub(crate) fn verify(
    chosen: &Chosen,
    key_id: Option<&str>,
    secrets: &[SecretText],
    args: &RequestArgs,
    request: &Request<Bytes>,
) -> Result<Verdict, Failure> {
    let arrived = request.extensions().get().map(|Arrived(at)| *at);
    let now = args.now.or(arrived);
    let clock = Fixed(now.unwrap_or_else(|| SystemClock::default().now()));
    let wrong = |error: countersign::ConfigError| {
        Failure::usage(
            "the request cannot be verified with these options",
            error.to_string(),
            "`countersign help verify` describes the options",
        )
    };
    let store = MemoryStore::builder()
        // A recorded request is verified as often as somebody asks.
        .danger_assume_no_history()
        .clock(clock);
    let builder = chosen.verifier(key_id, secrets)?;
    let store = store.build().map_err(wrong)?;
    let mut builder = chosen
        .recording_nothing(builder, store)
        .clock(clock)
        .max_body_bytes(MAX_BODY)
        .body_budget_bytes(4 * MAX_BODY);
    builder = match &args.origin {
        Some(origin) => builder.public_origin(origin),
        // Without `--origin`, the person does not ask for one authority.
        None => builder.danger_any_authority(),
    };
    if let Some(max_age) = args.max_age {
        builder = builder.max_age(max_age);
    }
    let verifier = builder.build().map_err(wrong)?;
    block_on(async {
        let (head, body) = request.clone().into_parts();
        match chosen.verified(&verifier, &head, body).await {
            Ok(payload) => {
                let carriers = carriers(chosen);
                let mut facts = facts(payload.as_ref(), request, &carriers);
                let supplied = chosen.awaits.iter();
                let supplied = supplied.map(|name| format!("supplied value {name}"));
                facts.covered.extend(supplied);
                Verdict::Verified(facts)
            }
            Err(rejection) => Verdict::Refused(rejection),
        }
    })
}

/// Why a request is refused, in the words of the command.
pub(crate) fn reason(rejection: &Rejection) -> String {
    in_names(rejection.reason())
}

/// Says what the people of both sides can do about a refused request.
pub(crate) fn advice(kind: RejectionKind) -> &'static str {
    match kind {
        // The library names its log, which the command does not have.
        RejectionKind::SignatureInvalid => {
            "Check that both sides have the same key id and secret, and that no proxy or middleware \
             changes the request on its way."
        }
        kind => kind.advice(),
    }
}

/// The headers that hold the signature itself, which no signature can cover.
pub(crate) fn carriers(chosen: &Chosen) -> Vec<HeaderName> {
    let header = Shape::of(chosen).map(|shape| shape.header().clone());
    // With RFC 9421 the parameters have another one, and are covered as `@signature-params`.
    let input = header.as_ref().filter(|header| *header == "signature");
    let input = input.map(|_| HeaderName::from_static("signature-input"));
    header.into_iter().chain(input).collect()
}

/// Asks the payload for each part. A part that is not covered reads as `None`.
pub(crate) fn facts(
    payload: Option<&VerifiedPayload>,
    request: &Request<Bytes>,
    carriers: &[HeaderName],
) -> Facts {
    let mut facts = Facts::default();
    let Some(payload) = payload else {
        return facts;
    };
    facts.key_id = payload.key_id().to_string();
    facts.signed_at = payload.signed_at();
    facts.nonce = payload
        .nonce()
        .map(|nonce| (nonce.kind(), nonce.as_bytes().to_vec()));
    let mut say = |is_covered: bool, what: String| {
        let list = if is_covered {
            &mut facts.covered
        } else {
            &mut facts.uncovered
        };
        if !list.contains(&what) {
            list.push(what);
        }
    };
    say(payload.method().is_some(), "method".to_owned());
    say(payload.authority().is_some(), "authority".to_owned());
    say(payload.path().is_some(), "path".to_owned());
    say(payload.query().is_some(), "query".to_owned());
    if payload.query().is_none() {
        let query = request.uri().query().unwrap_or_default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            let is_covered = payload.query_param(name).is_some();
            let name = visible(name.as_bytes());
            say(is_covered, format!("query parameter {name}"));
        }
    }
    for name in request
        .headers()
        .keys()
        .filter(|name| !OF_THE_CONNECTION.contains(name) && !carriers.contains(name))
    {
        say(payload.header(name).is_some(), format!("header {name}"));
    }
    // Only whether there is such a body is said.
    match payload.danger_uncovered_body() {
        None => say(true, "body".to_owned()),
        Some(_) => {
            say(true, format!("of the body: {}", visible(payload.bytes())));
            say(false, "everything else of the body".to_owned());
        }
    }
    facts
}
