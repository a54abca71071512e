//! The contenders that verify in process: a head and a body that are there already.

use std::hint::black_box;

use bytes::Bytes;
use countersign::{
    MemoryStore, Verifier,
    request::{Lease, Verified},
    scheme::Scheme,
    webhooks::StandardWebhooks,
};
use http::{Request, Uri, request::Parts};
use http_body_util::{BodyExt as _, Full};
use httpsig_hyper::{MessageSignatureReq as _, RequestContentDigest as _, prelude::SharedKey};

use crate::{
    Contender, ready,
    requests::{
        BareEvent, BareHashes, BareHmac, KEY, ORIGIN, SECRET, WEBHOOK_SECRET, body, delivered,
        forged, keys, rfc9421, signed, standard_webhook, webhook,
    },
};

fn verifier(scheme: impl Scheme) -> Verifier {
    Verifier::builder(scheme)
        .public_origin(ORIGIN)
        .keys(keys())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe")
}

/// Verifies, claims the nonce, and drops the payload.
pub fn countersign(body_len: usize) -> Contender {
    accepting("countersign", webhook(), body_len)
}

/// The same in RFC 9421.
pub fn countersign_rfc9421(body_len: usize) -> Contender {
    accepting("countersign, RFC 9421", rfc9421(), body_len)
}

fn accepting(name: &'static str, scheme: impl Scheme + Clone, body_len: usize) -> Contender {
    let verifier = verifier(scheme.clone());
    let mut request = signed(scheme, body(body_len));
    Contender::new(
        name,
        move || request().into_parts(),
        move |(head, body): &mut (Parts, _)| {
            let verified = ready(verifier.verify(head, Full::new(Clone::clone(body))));
            let _ = black_box(verified.expect("a request that is new"));
        },
    )
}

/// Verifies a delivery by the sender of a preset, and takes the lease on it.
pub fn preset(scheme: impl Scheme + Clone, event: fn(u64) -> String) -> Contender {
    leased(scheme.clone(), delivered(scheme, event))
}

/// The preset beside the crate of the same name: the same requests.
pub fn preset_standard_webhooks(body_len: usize) -> Contender {
    leased(StandardWebhooks::new(), standard_webhook(body(body_len)))
}

fn leased(scheme: impl Scheme, mut request: impl FnMut() -> Request<Bytes> + 'static) -> Contender {
    let verifier = Verifier::builder(scheme)
        .public_origin(ORIGIN)
        .secret(WEBHOOK_SECRET)
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .expect("a configuration that is safe");
    Contender::new(
        "countersign",
        move || (request().into_parts(), Completed(None)),
        move |((head, body), lease): &mut ((Parts, _), Completed)| {
            let verified = ready(verifier.verify(head, Full::new(Clone::clone(body))));
            match black_box(verified.expect("a request that is new")) {
                Verified::Leased(_, taken) => lease.0 = Some(taken),
                verified => drop(verified),
            }
        },
    )
}

/// A lease that is completed where it is dropped, outside of what is measured: as soon as a handler
/// is done, few are in flight.
struct Completed(Option<Lease>);

impl Drop for Completed {
    fn drop(&mut self) {
        if let Some(lease) = &self.0 {
            let _ = ready(lease.complete()).expect("a store that answers");
        }
    }
}

/// Hashes what a preset has to, and compares.
pub fn bare_event(
    scheme: impl Scheme,
    event: fn(u64) -> String,
    before: &'static str,
    is_told_apart: bool,
) -> Contender {
    let mut request = delivered(scheme, event);
    let key = BareHmac::key();
    Contender::new(
        "bare hashing",
        move || BareEvent::of(&request(), before, is_told_apart),
        move |event| event.verify(&key),
    )
}

/// Verifies; it makes no claim.
pub fn standardwebhooks(body_len: usize) -> Contender {
    let webhook = standardwebhooks::Webhook::from_bytes(SECRET.into()).expect("a valid secret");
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

/// Refuses a request whose MAC is wrong, and does not read its body.
pub fn countersign_forged(body_len: usize) -> Contender {
    let verifier = verifier(rfc9421());
    let mut request = forged(rfc9421(), body(body_len));
    Contender::new(
        "countersign, RFC 9421, forged",
        move || request().into_parts(),
        move |(head, body): &mut (Parts, Bytes)| {
            let body = Full::new(body.clone()).inspect_frame(|_| panic!("the body was read"));
            let verified = ready(verifier.verify(head, body));
            let _ = black_box(verified.expect_err("a MAC that does not match"));
        },
    )
}

/// Refuses a head of 64 KiB that names 16 signatures, each of them over as many parameters of a long
/// query as there is room for.
pub fn countersign_refusing(name: &'static str, created: u64, key: &str, end: &str) -> Contender {
    let verifier = verifier(rfc9421());
    let components = |of: usize| {
        let names = (0..28).map(|at| format!("\"@query-param\";name=\"p{of}-{at}\""));
        names.collect::<Vec<_>>().join(" ")
    };
    let members = (0..16).map(|at| {
        let components = components(at);
        format!("l{at}=({components});created={created};nonce=\"n\";keyid=\"{key}\"")
    });
    let inputs = members.collect::<Vec<_>>().join(", ") + end;
    let mac = "A".repeat(43);
    let macs: Vec<_> = (0..16).map(|at| format!("l{at}=:{mac}=:")).collect();
    let so_far = inputs.len() + 16 * 53;
    let query: String = (0..).map(|at| format!("q{at}=v&")).take(9000).collect();
    let query = &query[..64 * 1024 - so_far];
    let request = Request::post(format!("/transfer?{query}"))
        .header("host", ORIGIN.rsplit('/').next().unwrap_or_default())
        .header("signature-input", inputs)
        .header("signature", macs.join(", "))
        .body(())
        .expect("a request");
    let (head, ()) = request.into_parts();
    Contender::new(
        name,
        move || head.clone(),
        move |head| {
            let body = Full::new(Bytes::new()).inspect_frame(|_| panic!("the body was read"));
            let verified = ready(verifier.verify(head, body));
            let _ = black_box(verified.expect_err("a request that is not believed"));
        },
    )
}

/// Verifies the signature, and the digest; it makes no claim.
pub fn httpsig_hyper(body_len: usize) -> Contender {
    let key = SharedKey::HmacSha256(SECRET.into());
    let mut request = signed(rfc9421(), body(body_len));
    Contender::new(
        "httpsig-hyper",
        move || {
            let (mut head, body) = request().into_parts();
            // It takes the authority from there only.
            let uri = format!("{ORIGIN}{}", head.uri);
            head.uri = Uri::from_maybe_shared(Bytes::from(uri)).expect("a target");
            Some(Request::from_parts(head, Full::new(body)))
        },
        move |request| {
            let request = request.take().expect("verified once");
            ready(request.verify_message_signature(&key, Some(KEY))).expect("a MAC that matches");
            let verified = ready(request.verify_content_digest());
            let _ = black_box(verified.expect("a digest that matches"));
        },
    )
}

/// Hashes what RFC 9421 has to, and compares.
pub fn bare_hashes(body_len: usize) -> Contender {
    let mut request = signed(rfc9421(), body(body_len));
    let key = BareHmac::key();
    Contender::new(
        "one digest and one bare HMAC",
        move || BareHashes::of_rfc9421(&request()),
        move |hashes| hashes.verify(&key),
    )
}
