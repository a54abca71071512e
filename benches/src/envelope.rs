//! The contenders that seal a payload and open its envelope, in process.

use std::hint::black_box;

use countersign::{
    KeyRing, MemoryStore, VerifiedPayload, Verifier,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
};
use hmac::Mac as _;
use http_body_util::Full;
use std::time::Duration;

use crate::{
    Contender, ready,
    requests::{BareHmac, ORIGIN, body, keys, rfc9421, signed},
};

fn envelopes() -> Envelopes {
    PayloadEnvelope::builder("bench")
        .keys(
            KeyRing::new()
                .with("2026-11", "a secret of envelopes alone")
                .expect("a key"),
        )
        .seal_under("2026-11")
        .build()
        .expect("a configuration that is safe")
}

fn payload(body_len: usize) -> VerifiedPayload {
    let verifier = Verifier::builder(rfc9421())
        .public_origin(ORIGIN)
        .keys(keys())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe");
    let (head, body) = signed(rfc9421(), body(body_len))().into_parts();
    let verified = ready(verifier.verify(&head, Full::new(body))).expect("a request that is new");
    verified.payload().expect("one that is claimed").clone()
}

const DEADLINE: Duration = Duration::from_secs(3600);

pub fn seal(body_len: usize) -> Contender {
    let (envelopes, payload) = (envelopes(), payload(body_len));
    Contender::new(
        "seal",
        || (),
        move |()| {
            let sealed = envelopes.seal(&payload, Deadline::after(DEADLINE));
            drop(black_box(sealed.expect("an envelope")));
        },
    )
}

/// With the claim that is made next.
pub fn open(body_len: usize) -> Contender {
    let envelopes = envelopes();
    let sealed = envelopes.seal(&payload(body_len), Deadline::after(DEADLINE));
    let sealed = sealed.expect("an envelope");
    Contender::new(
        "open",
        || (),
        move |()| {
            drop(black_box(
                envelopes.open(&sealed).expect("an envelope of ours"),
            ))
        },
    )
}

/// One HMAC over the bytes of an envelope.
pub fn bare_hmac(body_len: usize) -> Contender {
    let sealed = envelopes().seal(&payload(body_len), Deadline::after(DEADLINE));
    let (sealed, key) = (sealed.expect("an envelope"), BareHmac::key());
    Contender::new(
        "one bare HMAC",
        || (),
        move |()| {
            let mac = key.clone().chain_update(black_box(&sealed));
            black_box(mac.finalize());
        },
    )
}
