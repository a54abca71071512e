//! The answer to each request, one after another.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::post};
use countersign::{
    HeaderScheme, HttpMessageSignatures, KeyRing, KeySet, Part, Processing, Secret, Signer,
    VerifyLayer,
    idempotency::{IdempotencyKey, IdempotencyLayer, Intention},
    rfc9421::Component,
    store::MemoryAnswers,
};
use http::{Method, Request, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Server, answers, ask, keyed, request, sign, verify};
use crate::common::{self, Effects, KEY, ORIGIN, SECRET};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_retry_that_is_signed_anew_gets_the_stored_answer() {
    let server = Server::new();
    let first = server.send("k", "/pay?amount=1", "{}").await;
    assert_eq!(first.said(), (201, "partner-1 paid amount=1 {}".into()));
    assert!(!first.is_replayed() && first.header("set-cookie").is_some());
    server.clock.advance(MINUTE);
    let again = server.send("k", "/pay?amount=1", "{}").await;
    assert_eq!(again.said(), first.said());
    assert!(again.is_replayed() && server.effects() == 1);
    assert_eq!(again.header("location"), Some("/payments/1"));
    let links = again.head.headers.get_all("link");
    assert_eq!(links.iter().count(), 2);
    for never in ["set-cookie", "date", "x-secret", "idempotency-body"] {
        assert_eq!(again.header(never), None, "{never}");
    }
    assert_eq!(again.header("cache-control"), Some("private, no-store"));
}

#[tokio::test]
async fn the_same_signature_again_gets_the_stored_answer() {
    let server = Server::new();
    let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "{}"));
    let first = server.ask(signed.clone().map(Body::from)).await;
    let again = server.ask(signed.clone().map(Body::from)).await;
    assert_eq!((again.said(), server.effects()), (first.said(), 1));
    assert!(again.is_replayed());
    assert_eq!(again.header("cache-control"), Some("private, no-store"));
    // A signature that is no longer fresh gets nothing.
    server.clock.advance(10 * MINUTE);
    let stale = server.ask(signed.map(Body::from)).await;
    assert_eq!(stale.said(), (401, "signature_expired".into()));
}

#[tokio::test]
async fn a_duplicate_without_an_answer_is_refused_and_no_handler_runs() {
    let server = Server::new();
    // Released: nothing is on record.
    let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "500"));
    assert_eq!(
        server.ask(signed.clone().map(Body::from)).await.said().0,
        500
    );
    let again = server.ask(signed.map(Body::from)).await;
    assert_eq!(again.said(), (409, "request_replayed".into()));
    // Without a key.
    let signed = sign(&server.clock, (KEY, SECRET), request("/pay", "{}"));
    assert_eq!(
        server.ask(signed.clone().map(Body::from)).await.said().0,
        201
    );
    let again = server.ask(signed.map(Body::from)).await;
    assert_eq!(again.said(), (409, "request_replayed".into()));
    assert_eq!(server.effects(), 2);
}

#[tokio::test]
async fn a_layer_that_is_not_told_refuses_the_same_signature() {
    let clock = common::clock();
    let layer = IdempotencyLayer::new(answers(&clock));
    let verify = verify(&clock).build().unwrap();
    let server = Server::of(clock, layer, verify);
    let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "{}"));
    assert_eq!(
        server.ask(signed.clone().map(Body::from)).await.said().0,
        201
    );
    let again = server.ask(signed.map(Body::from)).await;
    assert_eq!(again.said(), (409, "request_replayed".into()));
}

#[tokio::test]
async fn a_key_is_there_can_be_read_and_is_covered() {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(answers(&clock)).required();
    let server = Server::with(clock, builder);
    let signed = |request| server.sign(request);
    let missing = server.ask(signed(request("/pay", "{}"))).await;
    assert_eq!(missing.said(), (400, "idempotency_key_missing".into()));
    let mut bare = request("/pay", "{}");
    bare.headers_mut()
        .insert("idempotency-key", "k".parse().unwrap());
    let malformed = server.ask(signed(bare)).await;
    assert_eq!(malformed.said(), (400, "idempotency_key_malformed".into()));
    let mut twice = keyed("k", "/pay", "{}");
    twice
        .headers_mut()
        .append("idempotency-key", "\"l\"".parse().unwrap());
    let malformed = server.ask(signed(twice)).await;
    assert_eq!(malformed.said(), (400, "idempotency_key_malformed".into()));
    let mut uncovered = signed(request("/pay", "{}"));
    let key = "\"k\"".parse().unwrap();
    uncovered.headers_mut().insert("idempotency-key", key);
    let uncovered = server.ask(uncovered).await;
    assert_eq!(uncovered.said(), (401, "signature_insufficient".into()));
    let asked = uncovered.header("accept-signature").unwrap();
    assert!(asked.contains(r#""idempotency-key""#), "{asked}");
    assert_eq!(uncovered.header("www-authenticate"), Some("Signature"));
    assert_eq!(server.effects(), 0);
    // A request that changes nothing needs none.
    let get = Request::get("/pay")
        .header("host", common::HOST)
        .body(String::new());
    assert_eq!(server.ask(signed(get.unwrap())).await.said().0, 201);
}

/// The client does what the challenge asks, and is served.
#[tokio::test]
async fn a_client_that_answers_the_challenge_covers_its_key() {
    let server = Server::new();
    let mut uncovered = server.sign(request("/pay", "{}"));
    let key: http::HeaderValue = "\"k\"".parse().unwrap();
    uncovered.headers_mut().insert("idempotency-key", key);
    let refused = server.ask(uncovered).await;
    let asked = countersign::rfc9421::AcceptSignature::read(&refused.head.headers).unwrap();
    let signer = countersign::Signer::new(asked[0].scheme().unwrap(), KEY, SECRET).unwrap();
    let signer = signer.clock(server.clock.clone());
    let signed = signer.sign(keyed("k", "/pay", "{}")).unwrap();
    assert_eq!(server.ask(signed.map(Body::from)).await.said().0, 201);
}

#[tokio::test]
async fn a_key_that_is_stripped_is_refused_all_the_same() {
    let clock = common::clock();
    let layer = IdempotencyLayer::new(answers(&clock));
    let verify = verify(&clock).strip_uncovered_headers().build().unwrap();
    let server = Server::of(clock, layer, verify);
    let mut uncovered = server.sign(request("/pay", "{}"));
    let key = "\"k\"".parse().unwrap();
    uncovered.headers_mut().insert("idempotency-key", key);
    let refused = server.ask(uncovered).await;
    assert_eq!(refused.said(), (401, "signature_insufficient".into()));
    assert_eq!(server.effects(), 0);
    assert_eq!(server.send("k", "/pay", "{}").await.said().0, 201);
}

#[tokio::test]
async fn the_same_key_for_something_else_is_refused() {
    let server = Server::new();
    let first = server.send("k", "/pay?amount=1", "{}").await;
    for (path, body) in [
        ("/pay?amount=2", "{}"),
        ("/pay", "{}"),
        ("/pay?amount=1", "{ }"),
    ] {
        let other = server.send("k", path, body).await;
        let refused = (422, "idempotency_key_reused".into());
        assert_eq!(other.said(), refused, "{path} {body}");
    }
    // Another method or path is another intention.
    assert_eq!(
        server.send("k", "/refund?amount=1", "{}").await.said().0,
        201
    );
    let mut put = keyed("k", "/pay?amount=1", "{}");
    *put.method_mut() = Method::PUT;
    assert_eq!(server.ask(server.sign(put)).await.said().0, 201);
    assert_eq!(
        server.send("k", "/pay?amount=1", "{}").await.said(),
        first.said()
    );
    assert_eq!(server.effects(), 3);
}

#[tokio::test]
async fn what_belongs_to_one_signature_alone_does_not_count() {
    let server = Server::new();
    let dated = |date: &str| {
        let mut request = keyed("k", "/pay", "{}");
        request.headers_mut().insert("date", date.parse().unwrap());
        request
    };
    for date in [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 02 Jan 1970 00:00:00 GMT",
    ] {
        let answer = server.ask(server.sign(dated(date))).await;
        assert_eq!(answer.said().0, 201, "{date}");
    }
    // A signature with other components in another order, over the same content.
    let mut scheme = HttpMessageSignatures::builder().expires_after(MINUTE);
    for name in ["date", "idempotency-key"] {
        scheme = scheme.covers(Component::header(name).unwrap());
    }
    let signer = countersign::Signer::new(scheme.build().unwrap(), KEY, SECRET).unwrap();
    let signed = signer
        .clock(server.clock.clone())
        .sign(dated("Sat, 03 Jan 1970 00:00:00 GMT"));
    let answer = server.ask(signed.unwrap().map(Body::from)).await;
    assert!(answer.is_replayed() && server.effects() == 1);
}

#[tokio::test]
async fn a_rotated_secret_keeps_the_intention() {
    let clock = common::clock();
    let layer = IdempotencyLayer::new(answers(&clock));
    let (old, new) = ("the old secret of partner 1", "the new secret of partner 1");
    let set = KeySet::new(KEY).unwrap();
    let set = set
        .with(Secret::new(old).unwrap())
        .with(Secret::new(new).unwrap());
    let verify = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with_set(set).unwrap())
        .store(common::store(&clock))
        .clock(clock.clone());
    let server = Server::of(clock, layer, verify.build().unwrap());
    for (secret, is_replayed) in [(old, false), (new, true)] {
        let signed = sign(&server.clock, (KEY, secret), keyed("k", "/pay", "{}"));
        let answer = server.ask(signed.map(Body::from)).await;
        assert_eq!((answer.said().0, answer.is_replayed()), (201, is_replayed));
    }
}

#[tokio::test]
async fn a_retry_waits_while_the_first_is_at_work() {
    let server = Server::new();
    let (router, signed) = (
        server.router.clone(),
        server.sign(keyed("k", "/pay", "slow")),
    );
    let first = tokio::spawn(async move { ask(&router, signed).await });
    while server.effects() == 0 {
        tokio::task::yield_now().await;
    }
    let waits = server.send("k", "/pay", "slow").await;
    assert_eq!(waits.said(), (409, "request_in_flight".into()));
    assert_eq!(waits.header("retry-after"), Some("30"));
    server.work.gate.add_permits(1);
    let first = first.await.unwrap();
    let again = server.send("k", "/pay", "slow").await;
    assert!(again.is_replayed() && again.said() == first.said());
    assert_eq!(server.effects(), 1);
}

#[tokio::test]
async fn what_says_nothing_of_the_intention_releases_its_key() {
    let server = Server::new();
    for (n, (body, runs)) in [("500", 2), ("403", 2), ("429", 2), ("422", 1)]
        .iter()
        .enumerate()
    {
        let before = server.effects();
        let first = server.send(&format!("k{n}"), "/pay", body).await;
        let again = server.send(&format!("k{n}"), "/pay", body).await;
        assert_eq!(first.said().0, again.said().0);
        assert_eq!(again.is_replayed(), *runs == 1, "{body}");
        assert_eq!(server.effects() - before, *runs, "{body}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_cuts_off_nothing() {
    let server = Server::new();
    let (router, signed) = (
        server.router.clone(),
        server.sign(keyed("k", "/pay", "slow")),
    );
    let first = tokio::spawn(async move { ask(&router, signed).await });
    while server.effects() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.work.gate.add_permits(1);
    let answer = loop {
        let answer = server.send("k", "/pay", "slow").await;
        if answer.said().0 == 201 {
            break answer;
        }
        assert_eq!(answer.said(), (409, "request_in_flight".into()));
        tokio::task::yield_now().await;
    };
    assert!(answer.is_replayed() && server.effects() == 1);
}

/// The twin: a handler that may not go on is cut off with its client.
#[tokio::test]
async fn a_handler_that_is_cut_off_leaves_its_outcome_unknown() {
    let clock = common::clock();
    let builder = IdempotencyLayer::builder(answers(&clock)).max_going_on(0);
    let server = Server::with(clock, builder);
    let (router, signed) = (
        server.router.clone(),
        server.sign(keyed("k", "/pay", "slow")),
    );
    let first = tokio::spawn(async move { ask(&router, signed).await });
    while server.effects() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    let _ = first.await;
    tokio::task::yield_now().await;
    let unknown = server.send("k", "/pay", "slow").await;
    assert_eq!(unknown.said(), (409, "outcome_unknown".into()));
    assert_eq!(server.effects(), 1);
}

/// A server whose panics are caught outside.
fn panicking(
    after_crash: impl FnOnce(MemoryAnswers) -> IdempotencyLayer,
) -> (Server, IdempotencyLayer) {
    let clock = common::clock();
    let store = MemoryAnswers::builder()
        .clock(clock.clone())
        .build()
        .unwrap();
    let layer = after_crash(store);
    let verify = verify(&clock)
        .answer_duplicates_from(&layer)
        .build()
        .unwrap();
    let mut server = Server::of(clock, layer.clone(), verify);
    server.router = server.router.layer(CatchPanicLayer::new());
    (server, layer)
}

#[tokio::test]
async fn an_unknown_outcome_stays_unknown_until_it_is_resolved_or_ends() {
    let (server, layer) = panicking(IdempotencyLayer::new);
    for key in ["k", "l"] {
        assert_eq!(server.send(key, "/pay", "panic").await.said().0, 500);
        // The hold is given up by a task of its own.
        tokio::task::yield_now().await;
        for _ in 0..2 {
            let unknown = server.send(key, "/pay", "panic").await;
            assert_eq!(unknown.said(), (409, "outcome_unknown".into()));
        }
    }
    assert_eq!(server.effects(), 2);
    let intention = |key| {
        let key = IdempotencyKey::new(key).unwrap();
        Intention::new("default", KEY, Method::POST, "/pay", key).unwrap()
    };
    let answer = || {
        Response::builder()
            .status(201)
            .body("paid by hand")
            .unwrap()
    };
    assert!(layer.resolve(&intention("k"), answer()).await.unwrap());
    // Once, and nothing else.
    assert!(!layer.resolve(&intention("k"), answer()).await.unwrap());
    assert!(
        !layer
            .resolve(&intention("unheard of"), answer())
            .await
            .unwrap()
    );
    let resolved = server.send("k", "/pay", "panic").await;
    assert_eq!(resolved.said(), (201, "paid by hand".into()));
    assert!(resolved.is_replayed() && server.effects() == 2);
    server.clock.advance(24 * 60 * MINUTE);
    assert_eq!(server.send("l", "/pay", "panic").await.said().0, 500);
    assert_eq!(server.effects(), 3, "its retention has ended");
}

#[tokio::test]
async fn danger_an_attempt_that_was_cut_off_runs_again() {
    let (server, _) = panicking(|store| {
        let builder = IdempotencyLayer::builder(store).danger_run_again_after_crash();
        builder.build().unwrap()
    });
    for runs in 1..=3 {
        assert_eq!(server.send("k", "/pay", "panic").await.said().0, 500);
        tokio::task::yield_now().await;
        assert_eq!(server.effects(), runs);
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_its_retention() {
    let server = Server::new();
    server.send("k", "/pay", "{}").await;
    server
        .clock
        .advance(24 * 60 * MINUTE - Duration::from_millis(1));
    assert!(server.send("k", "/pay", "{}").await.is_replayed());
    server.clock.advance(Duration::from_millis(1));
    assert!(!server.send("k", "/pay", "{}").await.is_replayed());
    assert_eq!(server.effects(), 2);
}

#[tokio::test]
async fn it_sits_well_with_leases() {
    let clock = common::clock();
    let layer = IdempotencyLayer::new(answers(&clock));
    let verify = verify(&clock)
        .processing(Processing::Retryable { lease: MINUTE })
        .on_duplicate(countersign::OnDuplicate::Acknowledge)
        .answer_duplicates_from(&layer);
    let server = Server::of(clock, layer, verify.build().unwrap());
    // Released by both layers: the same signed request runs again.
    let signed = sign(&server.clock, (KEY, SECRET), keyed("k", "/pay", "500"));
    for runs in 1..=2 {
        assert_eq!(
            server.ask(signed.clone().map(Body::from)).await.said().0,
            500
        );
        assert_eq!(server.effects(), runs);
    }
    // Released by the outer layer, and stored by the inner one.
    let signed = sign(&server.clock, (KEY, SECRET), keyed("l", "/pay", "422"));
    for _ in 0..2 {
        assert_eq!(
            server.ask(signed.clone().map(Body::from)).await.said().0,
            422
        );
    }
    assert_eq!(server.effects(), 3);
    // Completed: the answer, and not a bare acknowledgement.
    let signed = sign(&server.clock, (KEY, SECRET), keyed("m", "/pay", "{}"));
    for is_replayed in [false, true] {
        let answer = server.ask(signed.clone().map(Body::from)).await;
        assert_eq!((answer.said().0, answer.is_replayed()), (201, is_replayed));
    }
    assert_eq!(server.effects(), 4);
}

#[tokio::test]
async fn without_a_verified_payload_nothing_runs() {
    let effects = Effects::default();
    let layer = || IdempotencyLayer::new(MemoryAnswers::new());
    let counted = effects.clone();
    let app = Router::new().route("/pay", post(async move || counted.happened()));
    let answer = ask(
        &app.clone().layer(layer()),
        keyed("k", "/pay", "{}").map(Body::from),
    )
    .await;
    assert_eq!(answer.said(), (500, "store_misconfigured".into()));
    // A payload that is pending cannot be read before the handler runs.
    let clock = common::clock();
    let verify = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(common::keys())
        .processing(Processing::InTransaction)
        .clock(clock.clone());
    let app = app.layer(layer()).layer(verify.build().unwrap());
    let signed = sign(&clock, (KEY, SECRET), keyed("k", "/pay", "{}"));
    let answer = ask(&app, signed.map(Body::from)).await;
    assert_eq!(answer.said(), (500, "store_misconfigured".into()));
    assert_eq!(effects.count(), 0);
}

#[test]
fn a_setting_that_is_out_of_its_range_is_refused() {
    let builder = || IdempotencyLayer::builder(Arc::new(MemoryAnswers::new()));
    for refused in [
        builder().namespace(""),
        builder().lease(Duration::from_millis(99)),
        builder().retention(Duration::from_secs(59)),
        builder().retention(MINUTE).lease(MINUTE),
        builder().store_timeout(Duration::ZERO),
        builder().max_body_bytes((16 << 20) + 1),
        builder().max_going_on(1_000_001),
        builder().store_header("set-cookie"),
        builder().store_header("date"),
        builder().store_header("Connection"),
        builder().store_header("not a name"),
    ] {
        assert!(refused.build().is_err());
    }
    assert!(builder().store_header("x-secret").build().is_ok());
    assert!(builder().max_going_on(1_000_000).build().is_ok());
}

/// As that of any other answer.
#[tokio::test]
async fn the_body_of_a_resolved_answer_is_bounded() {
    for (limit, said) in [(12, "paid by hand"), (11, "")] {
        let (server, layer) = panicking(|store| {
            let builder = IdempotencyLayer::builder(store).max_body_bytes(limit);
            builder.build().unwrap()
        });
        assert_eq!(server.send("k", "/pay", "panic").await.said().0, 500);
        tokio::task::yield_now().await;
        let key = IdempotencyKey::new("k").unwrap();
        let intention = Intention::new("default", KEY, Method::POST, "/pay", key).unwrap();
        let answer = Response::new("paid by hand");
        assert!(layer.resolve(&intention, answer).await.unwrap());
        let resolved = server.send("k", "/pay", "panic").await;
        assert_eq!(resolved.said(), (200, said.into()));
        let omitted = resolved.header("idempotency-body").is_some();
        assert_eq!(omitted, said.is_empty());
    }
}

/// A format of its own has its time, its nonce and its key id in headers, which are others with each
/// signature. The twin covers a header that holds none of them.
#[tokio::test]
async fn a_house_format_is_the_same_however_often_it_is_signed() {
    let scheme = HeaderScheme::builder("x-signature")
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
            Part::header("x-amount"),
            Part::header("idempotency-key"),
            Part::Body,
        ]))
        .build()
        .unwrap();
    let clock = common::clock();
    let layer = IdempotencyLayer::new(answers(&clock));
    let verify = VerifyLayer::builder(scheme.clone())
        .public_origin(ORIGIN)
        .keys(common::keys())
        .store(common::store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let server = Server::of(clock.clone(), layer, verify);
    let send = async |amount: &str| {
        clock.advance(Duration::from_secs(1));
        let mut request = keyed("k", "/pay?a=1", "{}");
        let amount = amount.parse().unwrap();
        request.headers_mut().insert("x-amount", amount);
        let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
        let signed = signer.clock(clock.clone()).sign(request).unwrap();
        server.ask(signed.map(Body::from)).await
    };
    assert_eq!(send("1").await.said().0, 201);
    let again = send("1").await;
    assert_eq!((again.said().0, again.is_replayed()), (201, true));
    let other = send("2").await;
    assert_eq!(other.said(), (422, "idempotency_key_reused".into()));
    assert_eq!(server.effects(), 1);
}
