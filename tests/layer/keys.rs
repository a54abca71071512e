//! Keys: rotation while requests are served, the times of a secret, and look-ups that go wrong.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countersign::{
    ConfigError, HeaderScheme, HttpMessageSignatures, KeyRing, KeySet, KeyStore, OneTimeToken,
    Part, Rejection, RejectionKind, Secret, Signer, Verifier,
    error::{ConfigErrorKind, KeyError, SignErrorKind},
    key::KeyFuture,
    request::Verified,
    response::{ResponseSigner, ResponseVerifier},
    scheme::MacAlgorithm::{self, HmacSha1, HmacSha256, HmacSha512},
    store::StoreFuture,
    testing::ManualClock,
};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, sleep};

use crate::common::{
    parts::{Script, Step},
    *,
};

const OLD: &str = "the old secret of partner 1";
const NEW: &str = "the new secret of partner 1";

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn verifier(clock: &ManualClock, keys: impl KeyStore) -> Verifier {
    Verifier::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys)
        .store(store(clock))
        .clock(clock.clone())
        .build()
        .unwrap()
}

fn under(key: &str, secret: &str, clock: &ManualClock) -> Request<String> {
    signer_for(key, secret, clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap()
}

async fn verify(verifier: &Verifier, request: Request<String>) -> Result<(), RejectionKind> {
    let (head, body) = request.into_parts();
    kind(verifier.verify(&head, Full::<Bytes>::from(body)).await)
}

fn kind(result: Result<Verified, Rejection>) -> Result<(), RejectionKind> {
    result.map(drop).map_err(|rejection| rejection.kind())
}

const INVALID: Result<(), RejectionKind> = Err(RejectionKind::SignatureInvalid);

// Sets of secrets

#[tokio::test]
async fn any_secret_of_a_set_is_accepted_and_one_of_no_set_is_not() {
    let clock = clock();
    let set = KeySet::new(KEY)
        .unwrap()
        .with(secret(NEW))
        .with(secret(OLD));
    let ring = KeyRing::new()
        .with_set(set)
        .unwrap()
        .with(OTHER_KEY, OTHER_SECRET)
        .unwrap();
    let verifier = verifier(&clock, ring);
    for (key, secret, verdict) in [
        (KEY, NEW, Ok(())),
        (KEY, OLD, Ok(())),
        (OTHER_KEY, OTHER_SECRET, Ok(())),
        (KEY, "a secret that is nobody's", INVALID),
        (KEY, OTHER_SECRET, INVALID),
        (OTHER_KEY, NEW, INVALID),
        ("partner-3", NEW, INVALID),
    ] {
        let request = under(key, secret, &clock);
        assert_eq!(verify(&verifier, request).await, verdict, "{key} {secret}");
    }
}

#[tokio::test]
async fn the_body_counts_under_every_secret_of_a_set() {
    let clock = clock();
    let set = KeySet::new(KEY)
        .unwrap()
        .with(secret(NEW))
        .with(secret(OLD));
    let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
    for secret in [NEW, OLD] {
        let mut changed = under(KEY, secret, &clock);
        changed.body_mut().push(' ');
        assert_eq!(verify(&verifier, changed).await, INVALID, "{secret}");
    }
}

#[tokio::test]
async fn a_set_without_a_secret_refuses_all() {
    let clock = clock();
    let set = KeySet::new(KEY).unwrap();
    let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
    let request = under(KEY, NEW, &clock);
    assert_eq!(verify(&verifier, request).await, INVALID);
}

#[tokio::test]
async fn a_secret_holds_from_its_first_to_its_last_millisecond() {
    let clock = clock();
    let (from, to) = (NOW + 100, NOW + 200);
    let set = KeySet::new(KEY)
        .unwrap()
        .with_until(secret(OLD), at(to))
        .with_between(secret(NEW), at(from), at(NOW + 300));
    let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
    let millis = |secs: u64, delta: i64| {
        let millis = (secs * 1000).checked_add_signed(delta).unwrap();
        countersign::Timestamp::from_millis(millis).unwrap()
    };
    for (now, old, new) in [
        (millis(from, -1), Ok(()), INVALID),
        (millis(from, 0), Ok(()), Ok(())),
        (millis(to, 0), Ok(()), Ok(())),
        (millis(to, 1), INVALID, Ok(())),
        (millis(NOW + 300, 0), INVALID, Ok(())),
        (millis(NOW + 300, 1), INVALID, INVALID),
    ] {
        clock.set(now);
        let verdict = verify(&verifier, under(KEY, OLD, &clock)).await;
        assert_eq!(verdict, old, "the old one at {now}");
        let verdict = verify(&verifier, under(KEY, NEW, &clock)).await;
        assert_eq!(verdict, new, "the new one at {now}");
    }
}

#[tokio::test]
async fn it_is_the_servers_clock_that_ends_a_secret() {
    let clock = clock();
    let set = KeySet::new(KEY).unwrap().with_until(secret(OLD), at(NOW));
    let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
    // Signed while it held, sent after its end: anybody who has an old secret can date back.
    let request = under(KEY, OLD, &clock);
    clock.advance(Duration::from_secs(1));
    assert_eq!(verify(&verifier, request).await, INVALID);
}

#[tokio::test]
async fn no_more_secrets_are_tried_than_stated() {
    let clock = clock();
    let numbered = |n: usize| format!("secret number {n:4} of partner 1");
    let set = (0..KeySet::MAX_SECRETS + 1).fold(KeySet::new(KEY).unwrap(), |set, n| {
        set.with(secret(&numbered(n)))
    });
    let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
    for n in 0..=KeySet::MAX_SECRETS {
        let verdict = verify(&verifier, under(KEY, &numbered(n), &clock)).await;
        assert_eq!(verdict.is_ok(), n < KeySet::MAX_SECRETS, "secret {n}");
    }
}

// Rotation at run time

#[tokio::test]
async fn keys_are_rotated_while_requests_are_served() {
    let clock = clock();
    let ring = KeyRing::new().with(KEY, OLD).unwrap();
    let verifier = verifier(&clock, ring.clone());
    let first = under(KEY, OLD, &clock);
    assert_eq!(verify(&verifier, first.clone()).await, Ok(()));
    assert_eq!(verify(&verifier, under(KEY, NEW, &clock)).await, INVALID);

    let both = KeySet::new(KEY)
        .unwrap()
        .with(secret(NEW))
        .with(secret(OLD));
    ring.replace(KeyRing::new().with_set(both).unwrap());
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, Ok(()));
    assert_eq!(verify(&verifier, under(KEY, NEW, &clock)).await, Ok(()));
    // A rotation makes no used request new.
    let replayed = Err(RejectionKind::RequestReplayed);
    assert_eq!(verify(&verifier, first.clone()).await, replayed);

    ring.replace(KeyRing::new().with(KEY, NEW).unwrap());
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, INVALID);
    assert_eq!(verify(&verifier, under(KEY, NEW, &clock)).await, Ok(()));

    ring.replace(KeyRing::new());
    assert_eq!(verify(&verifier, under(KEY, NEW, &clock)).await, INVALID);
    assert_eq!(verify(&verifier, first).await, INVALID);
}

/// Signed twice, under either secret of one key, with one nonce: it is one request.
#[tokio::test]
async fn one_nonce_under_two_secrets_of_a_key_is_one_request() {
    let clock = clock();
    let set = KeySet::new(KEY)
        .unwrap()
        .with(secret(NEW))
        .with(secret(OLD));
    let ring = KeyRing::new().with_set(set).unwrap();
    let verifier = verifier(&clock, ring.with(OTHER_KEY, OTHER_SECRET).unwrap());
    let sign = |key, secret| {
        signer_for(key, secret, &clock)
            .sign_with_nonce(request("POST", "/orders", "{}"), "one-nonce")
            .unwrap()
    };
    assert_eq!(verify(&verifier, sign(KEY, NEW)).await, Ok(()));
    let replayed = Err(RejectionKind::RequestReplayed);
    assert_eq!(verify(&verifier, sign(KEY, OLD)).await, replayed);
    // Under another key it is another's nonce.
    assert_eq!(
        verify(&verifier, sign(OTHER_KEY, OTHER_SECRET)).await,
        Ok(())
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_key_was_looked_up_goes_on_with_it() {
    let clock = clock();
    let ring = KeyRing::new().with(KEY, OLD).unwrap();
    let verifier = verifier(&clock, ring.clone());
    let (head, _) = under(KEY, OLD, &clock).into_parts();
    let slow = Script::new([Step::Waits(Duration::from_secs(1)), Step::Data("{}".into())]);
    let replacing = async {
        sleep(Duration::from_millis(500)).await;
        ring.replace(KeyRing::new());
    };
    let (verified, ()) = tokio::join!(verifier.verify(&head, slow), replacing);
    assert_eq!(kind(verified), Ok(()));
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, INVALID);
}

/// Which secrets count is decided once, when the request is admitted, and alike for all of them.
#[tokio::test]
async fn a_secret_that_ends_while_the_body_arrives_still_counts() {
    let clock = clock();
    for place in [0, 1] {
        let mut secrets = [OLD, NEW].map(|text| (text, at(NOW)));
        secrets.rotate_left(place);
        let set = secrets
            .into_iter()
            .fold(KeySet::new(KEY).unwrap(), |set, (text, end)| {
                set.with_until(secret(text), end)
            });
        let verifier = verifier(&clock, KeyRing::new().with_set(set).unwrap());
        clock.set(at(NOW));
        let request = under(KEY, OLD, &clock);
        let (head, _) = request.clone().into_parts();
        let ticking = clock.clone();
        let body = Script::frames(["{}"]).map_frame(move |frame| {
            ticking.advance(Duration::from_secs(1));
            frame
        });
        assert_eq!(kind(verifier.verify(&head, body).await), Ok(()), "{place}");
        assert_eq!(
            verify(&verifier, request).await,
            INVALID,
            "admitted after its end"
        );
    }
}

// Look-ups

type Answer = Box<dyn Fn(&str) -> KeyFuture<'static> + Send + Sync>;

/// A key store that answers as it is told, and counts.
#[derive(Clone)]
struct Told(Arc<(Mutex<Answer>, AtomicUsize)>);

impl Told {
    fn new(answer: impl Fn(&str) -> KeyFuture<'static> + Send + Sync + 'static) -> Self {
        Self(Arc::new((
            Mutex::new(Box::new(answer)),
            AtomicUsize::new(0),
        )))
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

impl KeyStore for Told {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        (self.0.0.lock().unwrap())(key_id)
    }
}

fn set(id: &str) -> Option<Arc<KeySet>> {
    Some(Arc::new(KeySet::new(id).unwrap().with(secret(OLD))))
}

/// A look-up may last until a secret has ended, or begun.
#[tokio::test]
async fn the_times_of_a_secret_are_judged_after_the_look_up() {
    let clock = clock();
    for (from, until, verdict) in [
        (NOW, NOW, INVALID),
        (NOW, NOW + 1, Ok(())),
        (NOW + 1, NOW + 1, Ok(())),
        (NOW + 2, NOW + 2, INVALID),
    ] {
        clock.set(at(NOW));
        let ticking = clock.clone();
        let keys = Told::new(move |id| {
            ticking.advance(Duration::from_secs(1));
            let set = KeySet::new(id).unwrap();
            let set = set.with_between(secret(OLD), at(from), at(until));
            StoreFuture::ready(Ok(Some(Arc::new(set))))
        });
        let verifier = verifier(&clock, keys);
        let verified = verify(&verifier, under(KEY, OLD, &clock)).await;
        assert_eq!(verified, verdict, "{from} to {until}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_may_take_its_time() {
    let clock = clock();
    let keys = Told::new(|id| {
        let found = set(id);
        StoreFuture::new(async move {
            sleep(Duration::from_millis(1999)).await;
            Ok(found)
        })
    });
    let verifier = verifier(&clock, keys);
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, Ok(()));
    assert_eq!(verify(&verifier, under(KEY, NEW, &clock)).await, INVALID);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_hangs_is_not_waited_for() {
    let clock = clock();
    let verifier = verifier(&clock, Told::new(|_| StoreFuture::new(pending())));
    let start = Instant::now();
    let (head, _) = under(KEY, OLD, &clock).into_parts();
    let refused = verifier.verify(&head, Script::never_polled()).await;
    assert_eq!(kind(refused), Err(RejectionKind::StoreUnavailable));
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn a_look_up_that_fails_is_not_an_unknown_key() {
    let clock = clock();
    let failing = Told::new(|_| StoreFuture::ready(Err(KeyError::unavailable("as it was told"))));
    let verifier = verifier(&clock, failing);
    let verdict = verify(&verifier, under(KEY, OLD, &clock)).await;
    assert_eq!(verdict, Err(RejectionKind::StoreUnavailable));
}

#[tokio::test]
async fn a_key_store_that_answers_for_another_key_is_not_believed() {
    let clock = clock();
    // As a cache with a wrong index would, or a table that compares without case.
    for other in ["partner-2", "PARTNER-1", "partner-1 "] {
        let Ok(other) = KeySet::new(other) else {
            continue;
        };
        let found = Arc::new(other.with(secret(OLD)));
        let keys = Told::new(move |_| StoreFuture::ready(Ok(Some(Arc::clone(&found)))));
        let verifier = verifier(&clock, keys);
        assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, INVALID);
    }
    // The twin: under the right id the same secret passes.
    let verifier = verifier(&clock, Told::new(|id| StoreFuture::ready(Ok(set(id)))));
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, Ok(()));
}

#[tokio::test]
async fn a_key_is_looked_up_once_and_only_for_what_may_pass() {
    let clock = clock();
    let keys = Told::new(|id| StoreFuture::ready(Ok(set(id))));
    let verifier = verifier(&clock, keys.clone());
    let fresh = under(KEY, OLD, &clock);
    assert_eq!(verify(&verifier, fresh.clone()).await, Ok(()));
    assert_eq!(keys.asked(), 1);

    // Neither without a signature nor when it is stale, dated ahead, malformed or for others.
    let change = |name: &'static str, value: &str| {
        let mut changed = fresh.clone();
        changed.headers_mut().insert(name, value.parse().unwrap());
        changed
    };
    let mut unsigned = fresh.clone();
    unsigned.headers_mut().remove("x-signature");
    for refused in [
        unsigned,
        change("x-timestamp", "1699999699"),
        change("x-timestamp", "1700000006"),
        change("x-timestamp", "soon"),
        change("x-key-id", "a key id with spaces"),
        change("x-signature", "sha256=00"),
        change("host", "other.example.com"),
    ] {
        assert!(verify(&verifier, refused).await.is_err());
    }
    assert_eq!(keys.asked(), 1);
}

/// Panics when it is asked, or when its answer is waited for.
struct Panics {
    when_asked: bool,
}

const PAYLOAD: &str = "a panic that tells a secret";

impl KeyStore for Panics {
    fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
        assert!(!self.when_asked, "{PAYLOAD}");
        StoreFuture::new(async { panic!("{PAYLOAD}") })
    }
}

#[tokio::test]
async fn a_key_store_that_panics_is_an_outage_and_no_panic_of_the_connection() {
    let clock = clock();
    for when_asked in [true, false] {
        let request = under(KEY, SECRET, &clock);
        let (head, body) = request.into_parts();
        let verifier = verifier(&clock, Panics { when_asked });
        let verified = verifier.verify(&head, Full::<Bytes>::from(body)).await;
        let rejection = verified.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::StoreUnavailable);
        assert!(rejection.reason().contains("panicked"), "{rejection}");
        assert!(!format!("{rejection:?} {rejection}").contains(PAYLOAD));

        let tokens: OneTimeToken<String> = OneTimeToken::builder("purpose")
            .keys(Panics { when_asked })
            .issue_under(KEY)
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap();
        let error = tokens.issue(&"payload".into()).await.unwrap_err();
        assert_eq!(error.kind(), SignErrorKind::KeysUnavailable);
        assert!(!format!("{error:?} {error}").contains(PAYLOAD));
    }
}

/// The twin: without a guard, the panic reaches anybody who waits for the key.
#[tokio::test]
#[should_panic(expected = "a panic that tells a secret")]
async fn and_its_panic_is_one_where_nobody_catches_it() {
    let _ = Panics { when_asked: false }.find(KEY).await;
}

// Algorithms

fn tied(algorithm: MacAlgorithm) -> Secret {
    secret(OLD).for_algorithm(algorithm)
}

fn ring_of(secret: Secret) -> KeyRing {
    KeyRing::new().with(KEY, secret).unwrap()
}

fn with_algorithm(algorithm: MacAlgorithm) -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .algorithm(algorithm)
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_secret_makes_macs_of_the_algorithm_that_it_is_tied_to_and_of_no_other() {
    let clock = clock();
    for own in [HmacSha256, HmacSha512] {
        for keys in [tied(own), secret(OLD)] {
            let verifier = Verifier::builder(with_algorithm(own))
                .public_origin(ORIGIN)
                .keys(ring_of(keys))
                .store(store(&clock))
                .clock(clock.clone())
                .build()
                .unwrap();
            let signer = Signer::new(with_algorithm(own), KEY, tied(own)).unwrap();
            let signer = signer.clock(clock.clone());
            let signed = signer.sign(request("POST", "/orders", "{}")).unwrap();
            assert_eq!(verify(&verifier, signed).await, Ok(()), "{own:?}");
        }
    }
}

#[test]
fn a_known_secret_of_another_algorithm_is_a_mistake_that_build_reports() {
    let keys = || ring_of(tied(HmacSha512));
    let rfc = HttpMessageSignatures::default;
    for other in [HmacSha1, HmacSha512] {
        let keys = || ring_of(tied(other));
        let signer = Signer::new(rfc(), KEY, NEW).unwrap();
        let server = ResponseSigner::new(rfc(), KEY, NEW).unwrap();
        let verifier = Verifier::builder(rfc()).public_origin(ORIGIN).keys(keys());
        let tokens = OneTimeToken::<u8>::builder("a-purpose")
            .keys(keys())
            .issue_under(KEY);
        let refused: [Result<(), ConfigError>; 7] = [
            verifier.store(store(&clock())).build().map(drop),
            ResponseVerifier::builder(rfc())
                .keys(keys())
                .build()
                .map(drop),
            tokens.store(store(&clock())).build().map(drop),
            Signer::new(rfc(), KEY, tied(other)).map(drop),
            ResponseSigner::new(rfc(), KEY, tied(other)).map(drop),
            signer.rotate(KEY, tied(other)),
            server.rotate(KEY, tied(other)),
        ];
        for (place, refused) in refused.into_iter().enumerate() {
            let error = refused.unwrap_err();
            let is_it = matches!(error.kind(), ConfigErrorKind::OtherAlgorithm { .. });
            assert!(is_it, "{other:?}, {place}: {error}");
        }
    }
    // A request of a scheme with a fixed key id names no other key.
    let fixed = HeaderScheme::builder("x-signature")
        .fixed_key_id(OTHER_KEY)
        .time("x-timestamp")
        .signs(Part::lines([Part::Time, Part::Body]))
        .build()
        .unwrap();
    let both = keys().with(OTHER_KEY, OTHER_SECRET).unwrap();
    let verifier = Verifier::builder(fixed).keys(both).store(store(&clock()));
    verifier.build().unwrap();
}

const NO_ANSWER: Result<(), RejectionKind> = Err(RejectionKind::StoreUnavailable);

/// The key's algorithm is not that of the scheme, whatever the request says about it.
#[tokio::test]
async fn a_looked_up_secret_of_another_algorithm_is_a_fault_of_the_keys() {
    let clock = clock();
    let verifier = |keys: Told| {
        Verifier::builder(HttpMessageSignatures::default())
            .public_origin(ORIGIN)
            .keys(keys)
            .store(store(&clock))
            .clock(clock.clone())
            .build()
            .unwrap()
    };
    let of = |secret: Secret| {
        Told::new(move |id| {
            let set = KeySet::new(id).unwrap().with(secret.clone());
            StoreFuture::ready(Ok(Some(Arc::new(set))))
        })
    };
    let signed = |alg: &str| {
        let signer = Signer::new(HttpMessageSignatures::default(), KEY, OLD).unwrap();
        let signer = signer.clock(clock.clone());
        let mut request = signer.sign(request("POST", "/orders", "{}")).unwrap();
        let input = request.headers()["signature-input"].to_str().unwrap();
        let input = input.replace(";alg=\"hmac-sha256\"", alg);
        let headers = request.headers_mut();
        headers.insert("signature-input", input.parse().unwrap());
        request
    };
    let own = ";alg=\"hmac-sha256\"";
    for (algorithm, alg, verdict) in [
        (HmacSha256, own, Ok(())),
        (HmacSha256, ";alg=\"hmac-sha512\"", INVALID),
        (HmacSha512, own, NO_ANSWER),
        (HmacSha512, "", NO_ANSWER),
        (HmacSha512, ";alg=\"hmac-sha512\"", INVALID),
        (HmacSha1, own, NO_ANSWER),
    ] {
        let verifier = verifier(of(tied(algorithm)));
        let verified = verify(&verifier, signed(alg)).await;
        assert_eq!(verified, verdict, "{algorithm:?}, {alg}");
    }
}

#[tokio::test]
async fn a_secret_of_another_algorithm_that_is_added_later_is_not_used() {
    let clock = clock();
    let ring = ring_of(secret(OLD));
    let verifier = verifier(&clock, ring.clone());
    let set = KeySet::new(OTHER_KEY).unwrap();
    let set = set.with(secret(OTHER_SECRET).for_algorithm(HmacSha1));
    ring.insert(set).unwrap();
    let signed = under(OTHER_KEY, OTHER_SECRET, &clock);
    assert_eq!(verify(&verifier, signed).await, NO_ANSWER);
    assert_eq!(verify(&verifier, under(KEY, OLD, &clock)).await, Ok(()));
}
