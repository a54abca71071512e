//! Rows of the list of schemes: covered and open parts, read off a request that the scheme signed.

use countersign::{MemoryStore, VerifiedPayload, Verifier, store::NonceKind};
use serde::Serialize;

use super::{
    chosen::Chosen,
    example::{Example, unsigned},
};
use crate::{exit::Failure, runtime::block_on, secret::SecretText, time::Fixed};

/// One row of the list of schemes.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The version of the JSON schema.
    pub(crate) version: u8,
    pub(crate) name: String,
    pub(crate) covered: Vec<String>,
    pub(crate) time: String,
    pub(crate) nonce: String,
    pub(crate) open: Vec<String>,
}

impl Row {
    /// Reads off what a scheme covers.
    pub(crate) fn of(chosen: &Chosen) -> Result<Self, Failure> {
        let mut found = None;
        let mut refused = None;
        for kind in 0..Example::KINDS {
            let row = Example::of_kind(chosen, kind);
            match row.and_then(|example| Self::of_example(chosen, &example)) {
                Ok((row, true)) => return Ok(row),
                Ok((row, false)) => found = found.or(Some(row)),
                Err(failure) => refused = refused.or(Some(failure)),
            }
        }
        found.ok_or_else(|| refused.unwrap_or_else(|| unsigned("no example fits")))
    }

    /// Reads off what is covered of this request, and whether it has an event id.
    fn of_example(chosen: &Chosen, example: &Example) -> Result<(Self, bool), Failure> {
        let verifier = verifier(chosen, &example.secret, example.clock)?;
        let (head, body) = example.request.clone().into_parts();
        block_on(async {
            let verified = chosen.verified(&verifier, &head, body).await;
            let verified = verified.map_err(|rejection| unsigned(rejection.reason()))?;
            let payload = verified.ok_or_else(|| unsigned("it is pending"))?;
            let is_event = payload
                .nonce()
                .is_some_and(|n| n.kind() == NonceKind::Event);
            Ok((Self::of_payload(chosen, &payload), is_event))
        })?
    }

    fn of_payload(chosen: &Chosen, payload: &VerifiedPayload) -> Self {
        // Only whether there is such a body is asked.
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
        // The request is an example of our own, and it is verified once.
        .danger_assume_no_history()
        .clock(clock);
    let builder = chosen.verifier(None, std::slice::from_ref(secret))?;
    chosen
        .recording_nothing(builder, store.build().map_err(wrong)?)
        .clock(clock)
        // The request is an example of our own.
        .danger_any_authority()
        .build()
        .map_err(wrong)
}
