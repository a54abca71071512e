//! A signed request verifies once, as it was sent, and nothing else does.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use proptest::prelude::*;

use super::{Values, any_parts, any_values, builder, covers, runner};
use crate::{
    client::Signer,
    clock::Timestamp,
    error::{Rejection, RejectionKind},
    key::{KeyRing, MacAlgorithm},
    message::{Encoding, PythonJson},
    once::NonceKind,
    request::{VerifiedPayload, Verifier},
    scheme::header::{
        HeaderScheme,
        part::{JsonObject, Part},
    },
    store::memory::MemoryStore,
    testing::ManualClock,
};

fn run<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

const SECRET: &str = "the secret of the tests";

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap())
}

fn verifier(scheme: &HeaderScheme, key_id: &str, method: &Method) -> Verifier {
    let store = MemoryStore::builder()
        .clock(clock())
        .danger_assume_no_history();
    Verifier::builder(scheme.clone())
        .danger_any_authority()
        .keys(KeyRing::new().with(key_id, SECRET).unwrap())
        .store(store.build().unwrap())
        .methods([method.clone()])
        .clock(clock())
        .build()
        .unwrap()
}

fn sign(scheme: &HeaderScheme, key_id: &str, values: &Values) -> Request<Vec<u8>> {
    let mut parts = values.request().unwrap();
    for name in ["x-signature", "x-time", "x-nonce", "x-key-id"] {
        parts.headers.remove(name);
    }
    let signer = Signer::new(scheme.clone(), key_id, SECRET)
        .unwrap()
        .clock(clock());
    let request = Request::from_parts(parts, values.body.clone());
    signer.sign_with_nonce(request, &values.nonce).unwrap()
}

fn verify(verifier: &Verifier, request: &Request<Vec<u8>>) -> Result<VerifiedPayload, Rejection> {
    let (parts, body) = request.clone().into_parts();
    let verified = run(verifier.verify(&parts, Full::new(Bytes::from(body))))?;
    Ok(verified.payload().unwrap().clone())
}

/// Each covered part is there, as it was sent, and no other part is.
fn check_payload(payload: &VerifiedPayload, parts: &[Part], values: &Values) {
    let has = |part| covers(parts, part);
    let path = has(Part::Path) || has(Part::PathAndQuery);
    let query = has(Part::Query) || has(Part::PathAndQuery);
    let text = |name: &str| payload.header(name).map(HeaderValue::as_bytes);
    let expected = |covered: bool, value: &str| covered.then(|| value.to_owned());
    let found = |value: Option<&str>| value.map(str::to_owned);

    assert_eq!(payload.bytes(), &values.body);
    assert_eq!(
        found(payload.method().map(Method::as_str)),
        expected(has(Part::Method), &values.method)
    );
    assert_eq!(
        found(payload.authority()),
        expected(has(Part::Authority), &values.authority)
    );
    assert_eq!(found(payload.path()), expected(path, &values.path));
    let value = values.query.as_deref().unwrap_or_default();
    assert_eq!(found(payload.query()), expected(query, value));
    assert_eq!(
        text("x-a"),
        has(Part::header("x-a")).then_some(values.a.as_bytes())
    );
    assert_eq!(
        text("X-B"),
        has(Part::header("x-b")).then_some(values.b.as_bytes())
    );
    assert_eq!(payload.signed_at().is_some(), has(Part::Time));
    assert_eq!(text("x-time").is_some(), has(Part::Time));
    assert_eq!(
        text("x-key-id"),
        has(Part::KeyId).then_some(values.key_id.as_bytes())
    );
    assert_eq!(
        text("x-nonce"),
        has(Part::Nonce).then_some(values.nonce.as_bytes())
    );
    let nonce = payload.nonce().unwrap();
    if has(Part::Nonce) {
        assert_eq!(nonce.as_bytes(), values.nonce.as_bytes());
    } else {
        assert_eq!(
            (nonce.kind(), nonce.as_bytes().len()),
            (NonceKind::Digest, 32)
        );
    }
    assert_eq!(payload.header("host"), None);
    assert_eq!(payload.header("x-signature"), None);
}

#[test]
fn what_is_signed_verifies_once_whatever_the_description() {
    let settings = (
        prop_oneof![
            Just(MacAlgorithm::HmacSha256),
            Just(MacAlgorithm::HmacSha512)
        ],
        prop_oneof![Just(Encoding::Hex), Just(Encoding::Base64)],
        "[!-~]{0,8}",
        any::<bool>(),
    );
    let tried = Cell::new(0);
    let strategy = (any_parts(), any_values(), settings);
    let outcome = runner(800).run(&strategy, |(parts, mut values, settings)| {
        let (algorithm, encoding, prefix, millis) = settings;
        let mut builder = builder(&parts)
            .algorithm(algorithm)
            .encoding(encoding)
            .prefix(prefix);
        if millis && parts.contains(&Part::Time) {
            builder = builder.time_millis("x-time");
        }
        let Ok(scheme) = builder.build() else {
            return Ok(());
        };
        if !parts.contains(&Part::Body) {
            values.body.clear();
        }
        if !parts.contains(&Part::Method) {
            // No other is let in.
            values.method = "POST".into();
        }
        let key_id = if parts.contains(&Part::KeyId) {
            &values.key_id
        } else {
            "k"
        };
        let request = sign(&scheme, key_id, &values);
        let verifier = verifier(&scheme, key_id, request.method());
        check_payload(&verify(&verifier, &request).unwrap(), &parts, &values);
        let again = verify(&verifier, &request).map_err(|rejection| rejection.kind());
        prop_assert_eq!(again.err(), Some(RejectionKind::RequestReplayed));
        tried.set(tried.get() + 1);
        Ok(())
    });
    outcome.unwrap();
    assert!(tried.get() > 200, "{} were signed", tried.get());
}

/// Every text that one byte makes of this one: changed, left out, or said twice.
fn one_byte_off(text: &[u8]) -> Vec<Vec<u8>> {
    let mut changes = Vec::new();
    for i in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.to_vec();
            changed[i] ^= 1 << bit;
            changes.push(changed);
        }
        let mut shorter = text.to_vec();
        shorter.remove(i);
        let mut longer = text.to_vec();
        longer.insert(i, text[i]);
        changes.extend([shorter, longer]);
    }
    changes.retain(|changed| changed != text);
    changes
}

/// The place of a value in a request.
#[derive(Clone, Copy, Debug)]
enum Place {
    Method,
    Target,
    Header(&'static str),
    Body,
}

fn change(request: &Request<Vec<u8>>, place: Place) -> Vec<Request<Vec<u8>>> {
    let value = match place {
        Place::Method => request.method().as_str().as_bytes().to_vec(),
        Place::Target => request.uri().to_string().into_bytes(),
        Place::Header(name) => request.headers()[name].as_bytes().to_vec(),
        Place::Body => request.body().clone(),
    };
    let changes = one_byte_off(&value).into_iter().filter_map(|value| {
        let mut changed = request.clone();
        match place {
            Place::Method => *changed.method_mut() = Method::from_bytes(&value).ok()?,
            // A part that HTTP drops on the way, such as a fragment, does not arrive as a change.
            Place::Target => {
                let uri = Uri::try_from(&*value).ok()?;
                (uri.to_string().as_bytes() == value).then(|| *changed.uri_mut() = uri)?;
            }
            Place::Header(name) => {
                let value = HeaderValue::from_bytes(&value).ok()?;
                changed.headers_mut().insert(name, value);
            }
            Place::Body => *changed.body_mut() = value,
        }
        Some(changed)
    });
    changes.collect()
}

/// Equal by their own rules: hexadecimal digits and authorities, whatever their case.
fn means_the_same(one: &Request<Vec<u8>>, other: &Request<Vec<u8>>, place: Place) -> bool {
    match place {
        Place::Header("host") => one.headers()["host"]
            .as_bytes()
            .eq_ignore_ascii_case(other.headers()["host"].as_bytes()),
        Place::Header("x-signature") => {
            let mac = |request: &Request<Vec<u8>>| {
                let value = request.headers()["x-signature"].as_bytes();
                value.strip_prefix(b"v1=").map(<[u8]>::to_ascii_lowercase)
            };
            mac(one).is_some() && mac(one) == mac(other)
        }
        _ => false,
    }
}

#[test]
fn every_change_of_one_byte_is_refused_where_it_is_covered_and_answers_none_where_it_is_not() {
    const PLACES: [Place; 10] = [
        Place::Method,
        Place::Target,
        Place::Header("host"),
        Place::Header("x-a"),
        Place::Header("x-b"),
        Place::Header("x-key-id"),
        Place::Header("x-time"),
        Place::Header("x-nonce"),
        Place::Header("x-signature"),
        Place::Body,
    ];
    let values = Values {
        path: "/orders/%41;x".into(),
        query: Some("amount=100&to=%2F".into()),
        body: b"{\"amount\":100}".to_vec(),
        nonce: "nonce-1".into(),
        key_id: "partner-1".into(),
        ..Values::plain()
    };
    let everything = Part::lines([
        Part::Method,
        Part::Authority,
        Part::PathAndQuery,
        Part::header("x-a"),
        Part::KeyId,
        Part::Time,
        Part::Nonce,
        Part::Body,
    ]);
    let little = vec![Part::Time, Part::text("."), Part::Body];
    let untimed = vec![Part::Body];
    let json = |value: bool| {
        let object = JsonObject::new(PythonJson::sorted().compact())
            .string("method", Part::Method)
            .string("target", Part::PathAndQuery)
            .string("a", Part::header("x-a"))
            .string("key", Part::KeyId)
            .string("host", Part::Authority)
            .string("nonce", Part::Nonce);
        let body = Part::canonical_body(PythonJson::sorted().compact());
        let object = if value {
            object.value("body", body).value("time", Part::Time)
        } else {
            object.string("body", body).string("time", Part::Time)
        };
        vec![Part::Json(object)]
    };
    for parts in [everything, little, untimed, json(false), json(true)] {
        let has = |part| covers(&parts, part);
        let scheme = builder(&parts).prefix("v1=").build().unwrap();
        let key_id = if has(Part::KeyId) { "partner-1" } else { "k" };
        let mut request = sign(&scheme, key_id, &values);
        for name in ["x-key-id", "x-time", "x-nonce"] {
            let value = HeaderValue::from_static("17");
            request.headers_mut().entry(name).or_insert(value);
        }
        assert!(verify(&verifier(&scheme, key_id, request.method()), &request).is_ok());

        // It sees nothing that is accepted, and so serves for all that is refused.
        let refusing = verifier(&scheme, key_id, request.method());
        for place in PLACES {
            let covered = match place {
                Place::Method => has(Part::Method),
                Place::Target => has(Part::PathAndQuery),
                Place::Header("host") => has(Part::Authority),
                Place::Header("x-key-id") => has(Part::KeyId),
                Place::Header("x-time") => has(Part::Time),
                Place::Header("x-nonce") => has(Part::Nonce),
                Place::Header("x-signature") => true,
                Place::Header(name) => has(Part::header(name)),
                Place::Body => has(Part::Body),
            };
            let changes = change(&request, place);
            assert!(changes.len() > 5, "{place:?}");
            for changed in changes {
                if covered && !means_the_same(&request, &changed, place) {
                    // Another method is refused by its MAC, and not because it is not let in.
                    let verdict = match place {
                        Place::Method => {
                            verify(&verifier(&scheme, key_id, changed.method()), &changed)
                        }
                        _ => verify(&refusing, &changed),
                    };
                    assert!(verdict.is_err(), "{parts:?}: {place:?} became {changed:?}");
                    continue;
                }
                let verdict = verify(&verifier(&scheme, key_id, changed.method()), &changed);
                if let Ok(payload) = verdict {
                    check_payload(&payload, &parts, &values);
                } else if matches!(place, Place::Method) {
                    let kind = verdict.unwrap_err().kind();
                    assert_eq!(kind, RejectionKind::MethodNotAllowed, "{changed:?}");
                } else {
                    // A host that cannot be read, or a path that is none.
                    let kind = verdict.unwrap_err().kind();
                    assert_eq!(kind, RejectionKind::SignatureMalformed, "{changed:?}");
                    assert!(
                        matches!(place, Place::Target | Place::Header("host")),
                        "{changed:?}"
                    );
                }
            }
        }
    }
}
