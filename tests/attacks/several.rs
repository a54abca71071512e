//! One layer that accepts several schemes: what carries two signatures is one request.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    response::Response,
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use countersign::{
    ConfigError, HeaderScheme, HttpMessageSignatures, KeyRing, MemoryStore, Part, Processing,
    Signer, VerifiedPayload, VerifyLayer,
    error::ConfigErrorKind,
    request::VerifierBuilder,
    testing::ManualClock,
    webhooks::{Dropbox, GitHub, Mailgun, Meta},
};
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;

use crate::common::{
    self, Effects, KEY, ORIGIN, OTHER_KEY, OTHER_SECRET, SECRET,
    log::Log,
    parts::{Asked, Fault, FaultyStore},
};

/// The headers of the one scheme, and of the other.
const NEW: &[&str] = &["signature", "signature-input"];
const OLD: &[&str] = &["x-signature"];

/// A layer for a sender that changes from a house format to RFC 9421.
fn builder(clock: &ManualClock, old_key: &str) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(HttpMessageSignatures::default())
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .or(common::scheme())
        .keys(KeyRing::new().with(old_key, OTHER_SECRET).unwrap())
        .public_origin(ORIGIN)
        .clock(clock.clone())
        .store(common::store(clock))
}

/// The same, and it accepts signatures that say nothing about each other.
fn accepts_unrelated(clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
    builder(clock, OTHER_KEY).danger_unrelated_signatures()
}

/// A request that is signed under both.
fn both(clock: &ManualClock, old_key: &str) -> Request<Bytes> {
    let request = common::request("POST", "/", "{}").map(Bytes::from);
    let old = Signer::new(common::scheme(), old_key, OTHER_SECRET).unwrap();
    let request = old
        .clock(clock.clone())
        .sign_with_nonce(request, "n-1")
        .unwrap();
    let new = Signer::new(HttpMessageSignatures::default(), KEY, SECRET).unwrap();
    new.clock(clock.clone())
        .sign_with_nonce(request, "n-1")
        .unwrap()
}

fn without(request: &Request<Bytes>, names: &[&str]) -> Request<Bytes> {
    let mut request = request.clone();
    for name in names {
        request.headers_mut().remove(*name).unwrap();
    }
    request
}

/// A service that can be asked for its effects.
#[derive(Clone)]
struct Served {
    app: Router,
    effects: Effects,
}

impl Served {
    fn new(layer: VerifyLayer) -> Self {
        let effects = Effects::default();
        let app = common::echo(&effects).layer(layer);
        Self { app, effects }
    }

    async fn send(&self, request: &Request<Bytes>) -> StatusCode {
        let request = request.clone().map(Body::from);
        self.app.clone().oneshot(request).await.unwrap().status()
    }

    /// Each of these many times, all released together.
    async fn at_once(&self, requests: &[&Request<Bytes>]) {
        let barrier = Arc::new(tokio::sync::Barrier::new(requests.len() * 20));
        let mut tasks = Vec::new();
        for request in requests.iter().flat_map(|request| [request; 20]) {
            let (served, barrier) = (self.clone(), Arc::clone(&barrier));
            let request = (*request).clone();
            tasks.push(tokio::spawn(async move {
                barrier.wait().await;
                served.send(&request).await
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
}

const PROCESSINGS: [Processing; 2] = [
    Processing::AtMostOnce,
    Processing::Retryable {
        lease: Duration::from_secs(30),
    },
];

/// Sent with both signatures, then with each alone, in either order and at once; and with one alone
/// before both.
async fn sent_with_both_then_each_alone(
    serve: impl Fn(&ManualClock, Processing) -> Served,
) -> Result<(), String> {
    let clock = common::clock();
    let both = both(&clock, OTHER_KEY);
    let (new, old) = (without(&both, OLD), without(&both, NEW));
    for processing in PROCESSINGS {
        for (name, order) in [
            ("both, new, old", [&both, &new, &old]),
            ("both, old, new", [&both, &old, &new]),
            ("new, both, old", [&new, &both, &old]),
            ("old, both, new", [&old, &both, &new]),
        ] {
            let served = serve(&clock, processing);
            for request in order {
                served.send(request).await;
            }
            let effects = served.effects.count();
            if effects != 1 {
                return Err(format!("{name}, {processing:?}: {effects} effects"));
            }
        }
        let served = serve(&clock, processing);
        served.send(&both).await;
        served.at_once(&[&both, &new, &old]).await;
        let effects = served.effects.count();
        if effects != 1 {
            return Err(format!(
                "both, then all at once, {processing:?}: {effects} effects"
            ));
        }
        // Parts that were never sent as one request are two requests, which the documentation says; but both
        // together never have an effect beside one of them.
        for order in [[&new, &old, &both], [&old, &new, &both]] {
            let served = serve(&clock, processing);
            for request in order {
                served.send(request).await;
            }
            assert_eq!(served.effects.count(), 2, "{processing:?}");
        }
        let served = serve(&clock, processing);
        served.at_once(&[&both, &new, &old]).await;
        assert!((1..=2).contains(&served.effects.count()), "{processing:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_with_both_then_each_alone_in_every_order_and_at_once_has_one_effect() {
    let serve = |clock: &ManualClock, processing| {
        Served::new(
            accepts_unrelated(clock)
                .processing(processing)
                .build()
                .unwrap(),
        )
    };
    sent_with_both_then_each_alone(serve).await.unwrap();
}

/// The twin: two layers, of which the first whose header is there decides.
#[tokio::test(flavor = "multi_thread")]
async fn twin_of_two_layers_side_by_side_each_signature_has_an_effect() {
    let serve = |clock: &ManualClock, processing| {
        let effects = Effects::default();
        let store = Arc::new(common::store(clock));
        let with = |builder: VerifierBuilder<VerifyLayer>| {
            let layer = builder.public_origin(ORIGIN).clock(clock.clone());
            let layer = layer.store(Arc::clone(&store)).processing(processing);
            common::echo(&effects).layer(layer.build().unwrap())
        };
        let new = VerifyLayer::builder(HttpMessageSignatures::default());
        let new = with(new.keys(KeyRing::new().with(KEY, SECRET).unwrap()));
        let old = VerifyLayer::builder(common::scheme());
        let old = with(old.keys(KeyRing::new().with(OTHER_KEY, OTHER_SECRET).unwrap()));
        let choose = move |request: AxumRequest| {
            let is_new = request.headers().contains_key("signature");
            let app = if is_new { new.clone() } else { old.clone() };
            async move { app.oneshot(request).await.unwrap() as Response }
        };
        let app = Router::new().route("/", post(choose));
        Served { app, effects }
    };
    let found = sent_with_both_then_each_alone(serve).await;
    assert!(found.unwrap_err().contains("2 effects"));
}

/// Where both schemes sign the same nonce under the same key id, the pieces are one request, also if
/// it never arrived whole.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_nonce_under_one_key_id_each_alone_is_the_same_request() {
    let clock = common::clock();
    let both = both(&clock, KEY);
    let (new, old) = (without(&both, OLD), without(&both, NEW));
    for processing in PROCESSINGS {
        let serve = || Served::new(builder(&clock, KEY).processing(processing).build().unwrap());
        for order in [
            [&both, &new, &old],
            [&both, &old, &new],
            [&new, &both, &old],
            [&new, &old, &both],
            [&old, &both, &new],
            [&old, &new, &both],
        ] {
            let served = serve();
            let [first, others @ ..] = order;
            assert_eq!(served.send(first).await, 200, "{processing:?}");
            for request in others {
                assert_eq!(served.send(request).await, 409, "{processing:?}");
            }
            assert_eq!(served.effects.count(), 1, "{processing:?}");
        }
        let served = serve();
        served.at_once(&[&both, &new, &old]).await;
        assert_eq!(served.effects.count(), 1, "{processing:?}");
    }
}

/// Two requests with one body, each signed under one scheme, and the two put together.
fn put_together(clock: &ManualClock) -> [Request<Bytes>; 3] {
    let (new, mut together) = (both(clock, OTHER_KEY), both(clock, OTHER_KEY));
    for name in NEW {
        let value = new.headers()[*name].clone();
        together.headers_mut().insert(*name, value);
    }
    [without(&new, OLD), without(&together, NEW), together]
}

/// An observer of two requests, used or not, gains nothing by putting them together, and takes
/// nothing from them.
#[tokio::test]
async fn signatures_of_two_requests_put_together_use_up_neither() {
    let clock = common::clock();
    let [new, old, together] = put_together(&clock);
    for processing in PROCESSINGS {
        for used in [None, Some(&new), Some(&old)] {
            let layer = builder(&clock, OTHER_KEY).processing(processing);
            let served = Served::new(layer.build().unwrap());
            if let Some(request) = used {
                assert_eq!(served.send(request).await, 200);
            }
            assert_eq!(served.send(&together).await, 401);
            for request in [&new, &old] {
                served.send(request).await;
            }
            assert_eq!(served.effects.count(), 2, "{processing:?}");
        }
    }
}

/// The twin: a layer that takes any signatures for those of one request loses one of the two.
#[tokio::test]
async fn twin_unrelated_signatures_put_together_lose_a_request() {
    let clock = common::clock();
    let [new, old, together] = put_together(&clock);
    let served = Served::new(accepts_unrelated(&clock).build().unwrap());
    for request in [&new, &together, &old] {
        served.send(request).await;
    }
    assert_eq!(served.effects.count(), 1);
}

/// A signature that covers the other one says that the two belong together.
#[tokio::test]
async fn a_signature_that_covers_the_other_belongs_to_it() {
    let clock = common::clock();
    let house = Signer::new(common::scheme(), OTHER_KEY, OTHER_SECRET).unwrap();
    let request = common::request("POST", "/", "{}").map(Bytes::from);
    let signed = house
        .clock(clock.clone())
        .sign_with_nonce(request, "n-1")
        .unwrap();
    let covering = HttpMessageSignatures::builder();
    let covering = covering
        .covers(countersign::rfc9421::Component::header("x-signature").unwrap())
        .build()
        .unwrap();
    let covering = Signer::new(covering, KEY, SECRET).unwrap();
    let both = covering
        .clock(clock.clone())
        .sign_with_nonce(signed, "n-2")
        .unwrap();
    let (new, old) = (without(&both, OLD), without(&both, NEW));
    for processing in PROCESSINGS {
        let serve = || {
            let layer = builder(&clock, OTHER_KEY).processing(processing);
            Served::new(layer.build().unwrap())
        };
        for (order, answers) in [
            ([&both, &new, &old], [200, 400, 409]),
            ([&old, &both, &new], [200, 409, 400]),
            ([&new, &old, &both], [400, 200, 409]),
        ] {
            let served = serve();
            for (request, answer) in order.into_iter().zip(answers) {
                assert_eq!(served.send(request).await, answer, "{processing:?}");
            }
            assert_eq!(served.effects.count(), 1, "{processing:?}");
        }
    }
}

/// The answer of a server whose handler is this one.
async fn answer(
    layer: &VerifyLayer,
    handler: MethodRouter,
    request: &Request<Bytes>,
) -> StatusCode {
    let app = Router::new().route("/", handler).layer(layer.clone());
    let answered = app.oneshot(request.clone().map(Body::from)).await;
    answered.unwrap().status()
}

/// A handler that fails gives both signatures back, and one that succeeds uses both.
#[tokio::test]
async fn a_lease_on_two_signatures_is_released_and_completed_as_one() {
    let clock = common::clock();
    let lease = Duration::from_secs(30);
    let layer = accepts_unrelated(&clock).processing(Processing::Retryable { lease });
    let layer = layer.build().unwrap();
    let both = both(&clock, OTHER_KEY);
    let answers = async |status: StatusCode, request: &Request<Bytes>| {
        let handler = post(async move |_: VerifiedPayload| status);
        answer(&layer, handler, request).await
    };
    assert_eq!(answers(StatusCode::BAD_GATEWAY, &both).await, 502);
    assert_eq!(answers(StatusCode::OK, &both).await, 200);
    for alone in [without(&both, OLD), without(&both, NEW)] {
        assert_eq!(answers(StatusCode::OK, &alone).await, 409);
    }
}

/// The next try is about the signature that is left: each is completed once.
#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_between_two_signatures_goes_on_with_the_other() {
    let log = Log::captured();
    let clock = common::clock();
    let lease = Duration::from_secs(30);
    let store = FaultyStore::around(common::store(&clock));
    store.fault(Asked::Complete, Fault::Takes(Duration::ZERO));
    store.fault(Asked::Complete, Fault::Fails);
    let layer = accepts_unrelated(&clock).store(store.clone());
    let layer = layer.processing(Processing::Retryable { lease });
    let layer = layer.build().unwrap();
    let both = both(&clock, OTHER_KEY);
    let ok = || post(async |_: VerifiedPayload| StatusCode::OK);
    assert_eq!(answer(&layer, ok(), &both).await, 200);
    tokio::time::sleep(lease).await;
    assert_eq!(store.times(Asked::Complete), 3);
    assert!(log.text().contains("trying again"));
    assert!(!log.text().contains("was lost"), "{log:?}");
    for alone in [without(&both, OLD), without(&both, NEW)] {
        assert_eq!(answer(&layer, ok(), &alone).await, 409);
    }
}

/// While one of both is in a handler, both together are refused, and the other is not used up.
#[tokio::test]
async fn two_signatures_of_which_one_is_in_flight_use_up_neither() {
    let clock = common::clock();
    let lease = Duration::from_secs(30);
    let both = both(&clock, OTHER_KEY);
    for alone in [without(&both, OLD), without(&both, NEW)] {
        let layer = accepts_unrelated(&clock).processing(Processing::Retryable { lease });
        let layer = layer.build().unwrap();
        let ok = || post(async |_: VerifiedPayload| StatusCode::OK);
        let meanwhile = (layer.clone(), both.clone());
        let fails = post(async move |_: VerifiedPayload| {
            let (layer, both) = meanwhile;
            assert_eq!(answer(&layer, ok(), &both).await, 409);
            StatusCode::BAD_GATEWAY
        });
        assert_eq!(answer(&layer, fails, &alone).await, 502);
        assert_eq!(answer(&layer, ok(), &both).await, 200);
    }
}

type Break = fn(&mut HeaderMap);

/// Each way to break the signature of a scheme, beside a genuine one of the other.
#[tokio::test]
async fn a_broken_signature_of_one_scheme_beside_a_genuine_one_of_another() {
    let clock = common::clock();
    let both = both(&clock, OTHER_KEY);
    let breaks: &[(&str, Break)] = &[
        ("an empty signature", |headers| {
            headers.insert("signature", "".parse().unwrap());
        }),
        ("a signature that cannot be read", |headers| {
            headers.insert("signature", "nonsense!".parse().unwrap());
        }),
        ("no signature, and its input", |headers| {
            headers.remove("signature");
        }),
        ("no input, and its signature", |headers| {
            headers.remove("signature-input");
        }),
        ("another tag", |headers| {
            let input = headers["signature-input"].to_str().unwrap();
            let tagged = format!("{input};tag=\"another\"").parse().unwrap();
            headers.insert("signature-input", tagged);
        }),
        ("a wrong MAC", |headers| {
            let label = headers["signature"].to_str().unwrap();
            let label = label.split('=').next().unwrap().to_owned();
            let mac = format!("{label}=:{}:", "A".repeat(43) + "=");
            headers.insert("signature", mac.parse().unwrap());
        }),
        ("a wrong MAC of the other", |headers| {
            let mac = format!("sha256={}", "0".repeat(64));
            headers.insert("x-signature", mac.parse().unwrap());
        }),
        ("an empty signature of the other", |headers| {
            headers.insert("x-signature", "".parse().unwrap());
        }),
        ("two signatures of the other", |headers| {
            let copy = headers["x-signature"].clone();
            headers.append("x-signature", copy);
        }),
    ];
    let served = Served::new(accepts_unrelated(&clock).build().unwrap());
    for (name, break_it) in breaks {
        let mut broken = both.clone();
        break_it(broken.headers_mut());
        let status = served.send(&broken).await;
        assert!(status.is_client_error(), "{name}: {status}");
        assert_eq!(served.effects.count(), 0, "{name}");
    }
    // The twin: what is left without the broken signature passes, so that a layer which goes on to
    // the next scheme would have let each through.
    assert_eq!(served.send(&without(&both, NEW)).await, 200);
    assert_eq!(served.send(&without(&both, OLD)).await, 200);
}

/// A refusal of one signature is no final word: the request may be accepted by the other.
#[tokio::test]
async fn the_payload_says_the_scheme_and_an_unsigned_request_is_asked_for_the_first() {
    let clock = common::clock();
    let layer = || accepts_unrelated(&clock).build().unwrap();
    let handler = async |payload: VerifiedPayload| payload.scheme().to_owned();
    let both = both(&clock, OTHER_KEY);
    for (request, scheme) in [
        (both.clone(), "http-message-signatures"),
        (without(&both, OLD), "http-message-signatures"),
        (without(&both, NEW), "x-signature"),
    ] {
        let app = Router::new().route("/", post(handler)).layer(layer());
        let response = app.oneshot(request.map(Body::from)).await.unwrap();
        assert_eq!(common::verdict(response).await, (200, scheme.to_owned()));
    }
    let app = Router::new().route("/", post(handler)).layer(layer());
    let unsigned = without(&without(&both, OLD), NEW);
    let response = app.oneshot(unsigned.map(Body::from)).await.unwrap();
    assert!(response.headers().contains_key("accept-signature"));
    assert_eq!(
        common::verdict(response).await,
        (401, "signature_missing".to_owned())
    );
}

fn two(
    one: VerifierBuilder<VerifyLayer>,
    then: impl FnOnce(VerifierBuilder<VerifyLayer>) -> VerifierBuilder<VerifyLayer>,
) -> Result<(), ConfigError> {
    let layer = one.processing(Processing::AtMostOnce).public_origin(ORIGIN);
    then(layer.store(MemoryStore::new())).build().map(|_| ())
}

fn house(header: &str) -> HeaderScheme {
    HeaderScheme::builder(header)
        .fixed_key_id("house")
        .time("x-time")
        .signs(Part::lines([Part::Time, Part::Body]))
        .build()
        .unwrap()
}

#[test]
fn schemes_that_could_be_taken_for_each_other_are_an_error_at_build() {
    let new = || {
        VerifyLayer::builder(HttpMessageSignatures::default())
            .keys(KeyRing::new().with(KEY, SECRET).unwrap())
    };
    let github = || VerifyLayer::builder(GitHub::new()).secret(SECRET);
    let refused = |built: Result<(), ConfigError>, why: &str| {
        let error = built.expect_err(why);
        assert!(
            matches!(error.kind(), ConfigErrorKind::SeveralSchemes(_)),
            "{error}"
        );
        assert!(error.to_string().contains(why), "{error}");
    };
    let secret = "a secret in common";
    refused(two(new(), |b| b.or(house("x-a")).secret(SECRET)), secret);
    refused(two(github(), |b| b.or(house("x-a")).secret(SECRET)), secret);
    refused(two(new(), |b| b.or(GitHub::new()).secret(SECRET)), secret);
    // HMAC does not tell these apart.
    let padded = format!("{SECRET}\0");
    refused(two(github(), |b| b.or(house("x-a")).secret(padded)), secret);
    refused(
        two(github(), |b| b.or(Meta::new()).secret(OTHER_SECRET)),
        "in one header",
    );
    refused(
        two(github(), |b| b.or(Mailgun::new()).secret(OTHER_SECRET)),
        "in the body",
    );
    refused(
        two(github(), |b| b.or(Dropbox::new()).secret(OTHER_SECRET)),
        "may be alike",
    );
    let five = |b: VerifierBuilder<VerifyLayer>| {
        let each = ["x-a", "x-b", "x-c", "x-d"].into_iter();
        each.fold(b, |b, header| {
            b.or(house(header))
                .secret(format!("{OTHER_SECRET} {header}"))
        })
    };
    refused(two(github(), five), "more than 4");
    let undecided = new()
        .or(GitHub::new())
        .secret(OTHER_SECRET)
        .public_origin(ORIGIN);
    refused(
        undecided.store(MemoryStore::new()).build().map(|_| ()),
        "call `processing`",
    );
    // The twin, and a scheme whose keys are forgotten.
    two(new(), |b| b.or(house("x-a")).secret(OTHER_SECRET)).unwrap();
    let missing = two(new(), |b| b.or(house("x-a"))).unwrap_err();
    assert!(
        matches!(missing.kind(), ConfigErrorKind::Missing(_)),
        "{missing}"
    );
}

#[cfg(feature = "sqlite")]
mod in_transaction {
    use countersign::{PendingPayload, Rejection, clock::SystemClock, store::SqliteStore};
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    #[tokio::test]
    async fn in_a_transaction_too_both_then_each_alone_has_one_effect() {
        // The database goes by the clock of the machine.
        use countersign::Clock as _;
        let clock = ManualClock::at(SystemClock::default().now());
        let both = both(&clock, OTHER_KEY);
        let (new, old) = (without(&both, OLD), without(&both, NEW));
        for order in [
            [&both, &new, &old],
            [&both, &old, &new],
            [&new, &both, &old],
            [&old, &both, &new],
        ] {
            let pool = SqlitePoolOptions::new().max_connections(1);
            let pool = pool.connect("sqlite::memory:").await.unwrap();
            SqliteStore::migrate(&pool).await.unwrap();
            let tables = "UPDATE countersign_store SET since = 0";
            sqlx::raw_sql(tables).execute(&pool).await.unwrap();
            let layer = VerifyLayer::builder(HttpMessageSignatures::default())
                .keys(KeyRing::new().with(KEY, SECRET).unwrap())
                .or(common::scheme())
                .keys(KeyRing::new().with(OTHER_KEY, OTHER_SECRET).unwrap())
                .public_origin(ORIGIN)
                .clock(clock.clone())
                .danger_unrelated_signatures()
                .processing(Processing::InTransaction)
                .build()
                .unwrap();
            let effects = Effects::default();
            let counted = effects.clone();
            let handler = async move |pending: PendingPayload| -> Result<(), Rejection> {
                let work = async |_: &mut _, _| {
                    counted.happened();
                    Ok(())
                };
                pending.transact(&pool, work).await
            };
            let app = Router::new().route("/", post(handler)).layer(layer);
            let served = Served { app, effects };
            for request in order {
                served.send(request).await;
            }
            assert_eq!(served.effects.count(), 1);
        }
    }
}
