//! The contenders that verify in process: a head and a body that are there already.

use std::hint::black_box;

use countersign::{MemoryStore, Verifier};
use http::request::Parts;
use http_body_util::Full;

use crate::{
    Contender, ready,
    requests::{BareHmac, body, keys, signed, standard_webhook, webhook},
};

/// Verifies, claims the nonce, and drops the payload.
pub fn countersign(body_len: usize) -> Contender {
    let verifier = Verifier::builder(webhook())
        .keys(keys())
        .store(MemoryStore::new().assume_no_history())
        .build()
        .expect("a configuration that is safe");
    let mut request = signed(webhook(), body(body_len));
    Contender::new(
        "countersign",
        move || request().into_parts(),
        move |(head, body): &mut (Parts, _)| {
            let verified = ready(verifier.verify(head, Full::new(Clone::clone(body))));
            let _ = black_box(verified.expect("a request that is new"));
        },
    )
}

/// Verifies; it makes no claim.
pub fn standardwebhooks(body_len: usize) -> Contender {
    let webhook = standardwebhooks::Webhook::from_bytes(crate::requests::SECRET.into())
        .expect("a valid secret");
    Contender::new(
        "standardwebhooks",
        standard_webhook(body(body_len)),
        move |request| {
            let verified = webhook.verify(request.body(), request.headers());
            verified.expect("a MAC that matches");
        },
    )
}

/// Hashes, and compares.
pub fn bare_hmac(body_len: usize) -> Contender {
    let mut request = signed(webhook(), body(body_len));
    let key = BareHmac::key();
    Contender::new(
        "one bare HMAC",
        move || BareHmac::of_webhook(&request()),
        move |hmac| hmac.verify(&key),
    )
}
