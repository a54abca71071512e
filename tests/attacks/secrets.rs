//! Row 30: neither a secret nor an expected MAC is in any log, answer, error or `Debug`.

use std::{error::Error, fmt::Write as _, sync::Mutex, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use countersign::{
    KeyId, KeyRing, KeySet, Processing, Rejection, Secret, Timestamp, Verifier,
    error::StoreError,
    request::Verified,
    store::{Claim, ClaimOutcome, LeaseStore, Nonce, NonceKind, NonceStore, StoreFuture},
};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, Service as _, ServiceExt};

use crate::{
    common::{self, KEY, OTHER_KEY, OTHER_SECRET, SECRET, forms::forms, log::Log},
    naive::NEXT_SECRET,
    subject::{ALL, BODY, HOUSE, Subject, Target, app, get, set, with, with_body, without},
};

/// The hidden text, and the output.
#[derive(Default)]
struct Transcript {
    hidden: Vec<(String, String)>,
    said: Mutex<String>,
}

impl Transcript {
    fn new() -> Self {
        let mut transcript = Self::default();
        for secret in [SECRET, OTHER_SECRET, NEXT_SECRET] {
            transcript.hide("a secret", secret.as_bytes());
        }
        transcript
    }

    fn hide(&mut self, what: &str, bytes: &[u8]) {
        self.hidden.extend(forms(what, bytes));
    }

    fn say(&self, text: impl AsRef<str>) {
        let mut said = self.said.lock().unwrap();
        writeln!(said, "{}", text.as_ref()).unwrap();
    }

    fn leaks(&self) -> Vec<String> {
        let said = self.said.lock().unwrap();
        let leaks = self.hidden.iter().filter(|(_, text)| said.contains(text));
        leaks.map(|(what, _)| what.clone()).collect()
    }
}

/// Good and bad requests, one for each way to be refused that does not need a clock.
fn requests(
    subject: &Subject,
    clock: &countersign::testing::ManualClock,
) -> Vec<http::Request<String>> {
    let sign = |n: u32| subject.sign(clock, common::request("POST", "/transfer", &n.to_string()));
    let guess = subject.encode(&vec![7; subject.algorithm.mac_len()]);
    let mut requests = vec![
        sign(0),
        sign(0),
        with_body(&sign(1), BODY),
        with(&sign(2), subject.signature, &guess),
        with(&sign(3), subject.signature, "not one"),
        without(&sign(4), subject.signature),
        with(&sign(5), subject.time, "1600000000"),
        with(&sign(6), subject.time, "1800000000"),
        with(&sign(7), subject.time, "soon"),
        with(&sign(8), "host", "other.example"),
        with(&sign(9), "content-encoding", "gzip"),
        with(&sign(10), "upgrade", "websocket"),
        with_body(&sign(11), &"x".repeat(1001)),
        with_body(&sign(12), ""),
    ];
    for name in [subject.nonce, subject.key_id].into_iter().flatten() {
        requests.push(with(&sign(13), name, "another"));
        requests.push(without(&sign(14), name));
        requests.push(with(&sign(15), name, OTHER_KEY));
    }
    // A replay, and whatever else is made of the one that passes.
    requests.push(requests[0].clone());
    requests
}

/// Sends it all, and writes down what is answered and logged.
async fn listen(transcript: &mut Transcript, subject: &Subject, target: &Target) {
    for request in requests(subject, &target.clock) {
        for secret in [SECRET, OTHER_SECRET, NEXT_SECRET] {
            transcript.hide("a MAC", &subject.mac(secret.as_bytes(), &request));
        }
        let response = target
            .app
            .clone()
            .oneshot(request.map(Body::from))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        transcript.say(format!("{:?} {:?}", parts.status, parts.headers));
        transcript.say(String::from_utf8_lossy(
            &body.collect().await.unwrap().to_bytes(),
        ));
        if let Some(rejection) = parts.extensions.get::<Rejection>() {
            transcript.say(format!("{rejection:?} {rejection} {}", rejection.reason()));
            let mut source = rejection.source();
            while let Some(error) = source {
                transcript.say(format!("{error:?} {error}"));
                source = error.source();
            }
        }
    }
}

/// Fails with whatever it was asked in its error, as drivers do.
struct Failing;

impl NonceStore for Failing {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        let asked = format!("{claim:?}");
        StoreFuture::ready(Err(StoreError::unavailable("down").with_source(asked)))
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        None
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

fn rotating() -> KeyRing {
    let set = KeySet::new(KEY)
        .unwrap()
        .with(Secret::new(NEXT_SECRET).unwrap())
        .with(Secret::new(SECRET).unwrap());
    KeyRing::new()
        .with_set(set)
        .unwrap()
        .with(OTHER_KEY, OTHER_SECRET)
        .unwrap()
}

#[tokio::test]
async fn a30_no_secret_and_no_expected_mac_is_logged_or_answered() {
    for subject in ALL {
        let clock = common::clock();
        let lease = Duration::from_secs(10);
        let targets = [
            Target::with(subject, |layer| layer.max_body_bytes(1000)),
            Target::with(subject, |layer| layer.keys(rotating())),
            Target::with(subject, |layer| {
                layer.processing(Processing::Retryable { lease })
            }),
            Target::with_store(subject, &clock, Failing, |layer| layer),
            Target::with(subject, |layer| {
                layer
                    .max_age(Duration::from_secs(1))
                    .max_skew(Duration::ZERO)
            }),
        ];
        for target in targets {
            let mut transcript = Transcript::new();
            let log = Log::captured();
            listen(&mut transcript, subject, &target).await;
            transcript.say(log.text());
            drop(log);
            assert_eq!(transcript.leaks(), [""; 0], "{}", subject.name);
            let said = transcript.said.lock().unwrap();
            let refusals = said.matches("request refused").count();
            assert!(refusals >= 12, "{refusals} refusals are logged:\n{said}");
            assert!(
                said.contains("expected to be signed"),
                "with what helps to find the difference"
            );
        }
    }
}

/// Everything that can be printed, printed.
async fn print_everything(transcript: &mut Transcript, subject: &Subject) {
    let clock = common::clock();
    let genuine = subject.signed(&clock);
    transcript.hide("a MAC", &subject.mac(SECRET.as_bytes(), &genuine));
    transcript.hide("a MAC", &subject.mac(NEXT_SECRET.as_bytes(), &genuine));

    let secret = Secret::new(SECRET).unwrap();
    let set = KeySet::new(KEY).unwrap().with(secret.clone());
    transcript.say(format!("{secret:?} {set:?} {:?}", rotating()));
    transcript.say(format!("{secret:#?} {set:#?} {:#?}", rotating()));
    transcript.say(format!("{:?}", subject.signer(&clock)));
    for error in [
        KeyRing::new()
            .with(KEY, SECRET)
            .unwrap()
            .with(OTHER_KEY, SECRET)
            .unwrap_err(),
        KeyRing::new()
            .with(KEY, SECRET)
            .unwrap()
            .with(KEY, OTHER_SECRET)
            .unwrap_err(),
        KeyRing::new().with(SECRET, OTHER_SECRET).unwrap_err(),
        Secret::from_hex(SECRET).unwrap_err(),
        Secret::from_base64(SECRET).unwrap_err(),
        Secret::new(SECRET.repeat(1000)).unwrap_err(),
    ] {
        transcript.say(format!("{error:?} {error} {:?}", error.kind()));
    }

    let keys = || subject.layer(&clock).keys(rotating());
    transcript.say(format!("{:?}", keys()));
    let layer = keys().store(common::store(&clock)).build().unwrap();
    transcript.say(format!("{layer:?} {:?}", layer.clone().buffered()));
    let effects = common::Effects::default();
    let mut service = layer.layer(app(&effects));
    transcript.say(format!("{service:?}"));
    let service = ServiceExt::<http::Request<Body>>::ready(&mut service);
    let answering = service.await.unwrap().call(genuine.clone().map(Body::from));
    transcript.say(format!("{answering:?}"));
    transcript.say(format!("{:?}", answering.await.unwrap()));

    transcript.say(format!("{:?}", common::store(&clock)));
    let nonce = Nonce::new(NonceKind::Covered, "a nonce");
    transcript.say(format!("{nonce:?}"));
    let claim = Claim::new("n".into(), KeyId::new(KEY).unwrap(), nonce, Timestamp::MAX);
    transcript.say(format!("{claim:?} {:?}", claim.attempt()));
}

/// Each stage of the pipeline, printed.
async fn print_the_stages(transcript: &mut Transcript) {
    let clock = common::clock();
    let genuine = HOUSE.signed(&clock);
    transcript.hide("a MAC", &HOUSE.mac(SECRET.as_bytes(), &genuine));
    let verifier = Verifier::builder(common::scheme())
        .public_origin(common::ORIGIN)
        .keys(rotating())
        .clock(clock.clone())
        .store(common::store(&clock))
        .processing(Processing::Retryable {
            lease: Duration::from_secs(5),
        })
        .build()
        .unwrap();
    transcript.say(format!("{verifier:?} {verifier:#?}"));
    let (head, body) = genuine.into_parts();
    let parsed = verifier.parse(&head).unwrap();
    transcript.say(format!("{parsed:?}"));
    let admitted = parsed.admit().await.unwrap();
    transcript.say(format!("{admitted:?}"));
    let received = admitted.receive(Full::<Bytes>::from(body)).await.unwrap();
    transcript.say(format!("{received:?}"));
    let authentic = received.authenticate().unwrap();
    transcript.say(format!("{authentic:?}"));
    let verified = authentic.claim().await.unwrap();
    transcript.say(format!("{verified:?} {:?}", verified.payload()));
    if let Verified::Leased(_, lease) = verified {
        let _ = lease.complete().await;
    }
}

#[tokio::test]
async fn a30_no_secret_and_no_expected_mac_is_in_debug() {
    for subject in ALL {
        let mut transcript = Transcript::new();
        let log = Log::captured();
        print_everything(&mut transcript, subject).await;
        print_the_stages(&mut transcript).await;
        transcript.say(log.text());
        drop(log);
        assert_eq!(transcript.leaks(), [""; 0], "{}", subject.name);
        let said = transcript.said.lock().unwrap();
        // Nothing leaks from what says nothing.
        let stages = ["Candidate {", "fed: Mac", "VerifiedPayload { key_id"];
        for told in ["redacted", KEY].iter().chain(&stages) {
            assert!(said.contains(told), "{told}: {said}");
        }
    }
}

#[tokio::test]
async fn a30_twin_a_leak_in_any_form_is_found() {
    let clock = common::clock();
    let genuine = HOUSE.signed(&clock);
    let mac = HOUSE.mac(SECRET.as_bytes(), &genuine);
    for (what, bytes) in [("a secret", SECRET.as_bytes()), ("a MAC", &mac)] {
        for (form, text) in forms(what, bytes) {
            let mut transcript = Transcript::new();
            transcript.hide("a MAC", &mac);
            let log = Log::of_a_leak();
            tracing::debug!(found = %text, "a leak");
            transcript.say(log.text());
            drop(log);
            assert!(transcript.leaks().contains(&form), "{form}: {text}");
        }
    }

    // As a server logs it that shows what it expected.
    let mut transcript = Transcript::new();
    transcript.hide("a MAC", &mac);
    let log = Log::of_a_leak();
    let mut logged = genuine.clone();
    set(&mut logged, "x-signature", "sha256=00");
    tracing::warn!(expected = ?get(&genuine, "x-signature"), claimed = ?logged.headers(), "mismatch");
    transcript.say(log.text());
    drop(log);
    assert_eq!(transcript.leaks(), ["a MAC as hex"]);
}
