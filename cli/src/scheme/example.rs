//! A request that a scheme signed itself. Facts about the scheme are read off it.

use bytes::Bytes;
use countersign::Timestamp;
use http::Request;

use super::chosen::Chosen;
use crate::{exit::Failure, secret::SecretText, time::Fixed};

/// Every member in which a sender keeps a time or an event id.
const BODY: &str = concat!(
    r#"{"id":"evt_1","event_id":"evt_1","webhookTimestamp":1700000000000,"#,
    r#""event":{"id":"evt_1"},"action":{"id":"evt_1"},"events":[{"webhookEventId":"evt_1"}]}"#,
);

/// A body of each kind that a scheme may ask for. One of them has the event id that the scheme
/// reads.
const BODIES: [(&str, &str); 3] = [
    ("application/json", BODY),
    (
        "application/json",
        r#"[{"eventId":1,"id":"evt_1","source":"a"}]"#,
    ),
    ("application/x-www-form-urlencoded", "a=1"),
];

/// The signed time of every example, in seconds.
const SIGNED_AT: u64 = 1_700_000_000;

/// A request that a scheme signed itself, under a secret that protects nothing.
pub(crate) struct Example {
    pub(crate) request: Request<Bytes>,
    pub(crate) secret: SecretText,
    pub(crate) clock: Fixed,
}

impl Example {
    /// How many kinds of bodies there are to try.
    pub(crate) const KINDS: usize = BODIES.len();

    /// Signs a request with a body of this kind.
    pub(crate) fn of_kind(chosen: &Chosen, kind: usize) -> Result<Self, Failure> {
        let (content_type, body) = BODIES.get(kind).copied().unwrap_or_default();
        let clock = Fixed(Timestamp::from_secs(SIGNED_AT).unwrap_or(Timestamp::EPOCH));
        let secret = chosen.example_secret();
        let key_id = chosen.names_key().then_some("example");
        let path = chosen.path.as_deref().unwrap_or("/hooks?a=1");
        let mut request = Request::post(format!("https://example.com{path}"))
            .extension(chosen.supplied.clone())
            .header("content-type", content_type);
        for name in &chosen.headers {
            if !name.eq_ignore_ascii_case("content-type") {
                request = request.header(name, "example");
            }
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
        let request = request.map_err(|error| unsigned(&error.to_string()))?;
        let signer = chosen.signer(key_id, &secret)?.clock(clock);
        let signed = signer.sign_body(request, "example");
        Ok(Self {
            request: signed.map_err(|error| unsigned(&error.to_string()))?,
            secret,
            clock,
        })
    }
}

pub(super) fn unsigned(why: &str) -> Failure {
    Failure::usage(
        "the scheme signs no example request",
        why,
        "sign a request of your own with `countersign sign`, and look at it with `countersign \
         verify`",
    )
}
