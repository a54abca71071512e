//! Nonces that are consumed in a transaction of the handler's own: on a real PostgreSQL, and on
//! SQLite where that differs. The tests named `a37_…` are row 37 of the attacks, with its twins.

mod duplicates;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    handler::Handler,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use countersign::{
    Clock as _, HeaderScheme, HttpMessageSignatures, KeyRing, OnDuplicate, Part, PendingPayload,
    Processing, Rejection, Signer, VerifiedPayload, VerifyLayer,
    clock::SystemClock,
    error::{ConfigErrorKind, StoreError},
    request::{PendingSlot, VerifierBuilder},
    response::{
        Outcome::{Open, Used},
        ResponseSigner, ResponseVerifier, SignResponseLayer, SignedBy,
    },
    store::{
        Claim, ClaimOutcome, ConsumeIn, PostgresStore, SqliteStore, StoreFuture, TransactIn,
        postgres::PooledTransaction,
    },
    testing::ManualClock,
};
use http::{HeaderMap, Request, StatusCode};
use sqlx::{
    Acquire as _, PgConnection, PgPool, PgTransaction, SqlitePool, sqlite::SqlitePoolOptions,
};
use tokio::sync::{Barrier, Notify};
use tower::ServiceExt as _;

use crate::body::is_pending;
use crate::common::{
    self, ORIGIN,
    database::{self, count, effects, nonces, pool},
    keys,
    log::Log,
    request, scheme, signer, verdict,
};

type Answer = Result<String, Rejection>;

/// The server decides by its own clock, so that this one must show the same.
fn clock() -> ManualClock {
    ManualClock::at(SystemClock::default().now())
}

fn layer(clock: &ManualClock) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(scheme())
        .public_origin(ORIGIN)
        .keys(keys())
        .clock(clock.clone())
        .processing(Processing::InTransaction)
}

fn app<H, T>(layer: VerifyLayer, handler: H) -> Router
where
    H: Handler<T, ()>,
    T: 'static,
{
    Router::new().route("/orders", post(handler)).layer(layer)
}

/// A service whose handler has its effect in `transact`.
fn transacting(pool: &PgPool, layer: VerifyLayer) -> Router {
    let pool = pool.clone();
    app(layer, async move |pending: PendingPayload| -> Answer {
        pending
            .transact(&pool, async |tx, payload| {
                effect(tx, &payload).await;
                Ok("done".to_owned())
            })
            .await
    })
}

/// A service whose handler begins its own transaction, and commits it.
fn consuming(pool: &PgPool, layer: VerifyLayer) -> Router {
    let pool = pool.clone();
    app(layer, async move |pending: PendingPayload| -> Answer {
        let mut tx = pool.begin().await.unwrap();
        let payload = pending.consume(&mut tx).await?;
        effect(&mut tx, &payload).await;
        tx.commit().await.unwrap();
        Ok("done".to_owned())
    })
}

async fn effect(connection: &mut PgConnection, payload: &VerifiedPayload) {
    sqlx::query("INSERT INTO effects VALUES ($1)")
        .bind(std::str::from_utf8(payload.bytes()).unwrap())
        .execute(connection)
        .await
        .unwrap();
}

fn order(clock: &ManualClock) -> Request<String> {
    signer(clock)
        .sign(request("POST", "/orders", "{}"))
        .unwrap()
}

async fn send(app: &Router, request: &Request<String>) -> (u16, String) {
    let request = request.clone().map(Body::from);
    verdict(app.clone().oneshot(request).await.unwrap()).await
}

fn done() -> (u16, String) {
    (200, "done".to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn replayed() -> (u16, String) {
    refused(409, "request_replayed")
}

fn not_recorded() -> (u16, String) {
    refused(500, "nonce_not_recorded")
}

fn unavailable() -> (u16, String) {
    refused(503, "store_unavailable")
}

#[tokio::test]
async fn a_request_has_one_effect_and_its_copy_is_refused() {
    let Some(pool) = pool("one effect").await else {
        return;
    };
    let clock = clock();
    for (service, sum) in [(transacting as fn(&_, _) -> _, 1), (consuming, 2)] {
        let app = service(&pool, layer(&clock).build().unwrap());
        let order = order(&clock);
        assert_eq!(send(&app, &order).await, done());
        assert_eq!(send(&app, &order).await, replayed());
        assert_eq!((effects(&pool).await, nonces(&pool).await), (sum, sum));
    }
}

async fn copies_at_once(app: &Router, order: &Request<String>, n: u32) -> Vec<(u16, String)> {
    let copies: Vec<_> = (0..n)
        .map(|_| {
            let (app, order) = (app.clone(), order.clone());
            tokio::spawn(async move { send(&app, &order).await })
        })
        .collect();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(copy.await.unwrap());
    }
    answers.sort();
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_copies_at_once_one_has_an_effect() {
    let Some(pool) = pool("a thousand copies").await else {
        return;
    };
    let clock = clock();
    for (service, sum) in [(transacting as fn(&_, _) -> _, 1), (consuming, 2)] {
        let patient = layer(&clock).store_timeout(Duration::from_secs(60));
        let app = service(&pool, patient.build().unwrap());
        let answers = copies_at_once(&app, &order(&clock), 1000).await;
        assert_eq!(answers[0], done());
        assert!(answers[1..].iter().all(|answer| *answer == replayed()));
        assert_eq!((effects(&pool).await, nonces(&pool).await), (sum, sum));
    }
}

/// The check is not blind: where a handler looks whether it was there before, and then records that
/// it is, two copies have an effect each.
#[tokio::test]
async fn twin_of_a_thousand_copies_a_look_before_the_record_is_found() {
    let Some(pool) = pool("a thousand copies, twin").await else {
        return;
    };
    let clock = clock();
    let both_have_looked = Arc::new(Barrier::new(2));
    let naive = {
        let pool = pool.clone();
        app(
            layer(&clock)
                .processing(Processing::Retryable {
                    lease: Duration::from_secs(60),
                })
                .store(Forgetful)
                .build()
                .unwrap(),
            async move |payload: VerifiedPayload| {
                let mut tx = pool.begin().await.unwrap();
                let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM effects")
                    .fetch_one(&mut *tx)
                    .await
                    .unwrap();
                if seen > 0 {
                    return StatusCode::CONFLICT;
                }
                both_have_looked.wait().await;
                effect(&mut tx, &payload).await;
                tx.commit().await.unwrap();
                StatusCode::OK
            },
        )
    };
    copies_at_once(&naive, &order(&clock), 2).await;
    assert_eq!(effects(&pool).await, 2);
}

/// A store that grants everything.
struct Forgetful;

impl countersign::store::NonceStore for Forgetful {
    fn claim<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::ready(Ok(ClaimOutcome::New))
    }

    fn leases(&self) -> Option<&dyn countersign::store::LeaseStore> {
        Some(self)
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> countersign::store::Sharing {
        countersign::store::Sharing::within_process(self)
    }
}

impl countersign::store::LeaseStore for Forgetful {
    fn lease<'a>(
        &'a self,
        _: &'a Claim,
        _: Duration,
    ) -> StoreFuture<'a, countersign::store::LeaseOutcome> {
        StoreFuture::ready(Ok(countersign::store::LeaseOutcome::Held))
    }

    fn renew<'a>(
        &'a self,
        _: &'a Claim,
        _: Duration,
    ) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Done))
    }

    fn complete<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Done))
    }

    fn release<'a>(&'a self, _: &'a Claim) -> StoreFuture<'a, countersign::store::StepOutcome> {
        StoreFuture::ready(Ok(countersign::store::StepOutcome::Done))
    }
}

#[tokio::test]
async fn an_error_rolls_back_and_the_same_request_may_come_again() {
    let Some(pool) = pool("an error rolls back").await else {
        return;
    };
    let clock = clock();
    let failing = Arc::new(Mutex::new(true));
    let app = {
        let (pool, failing) = (pool.clone(), Arc::clone(&failing));
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Result<String, Failure> {
                pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        if *failing.lock().unwrap() {
                            return Err(Failure(StatusCode::UNPROCESSABLE_ENTITY.into_response()));
                        }
                        Ok("done".to_owned())
                    })
                    .await
            },
        )
    };
    let order = order(&clock);
    assert_eq!(send(&app, &order).await.0, 422);
    assert_eq!((effects(&pool).await, nonces(&pool).await), (0, 0));
    *failing.lock().unwrap() = false;
    assert_eq!(send(&app, &order).await, done());
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

/// An error of an application: whatever it is, it is answered with.
struct Failure(Response);

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.into_response())
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0
    }
}

#[tokio::test]
async fn a37_a_body_read_by_another_extractor_is_empty_and_its_success_no_success() {
    let Some(_) = pool("a37, another extractor").await else {
        return;
    };
    let clock = clock();
    for (layer, expected) in [
        (layer(&clock), (Bytes::new(), not_recorded())),
        // The twin: what was claimed before may be read by anybody.
        (
            layer(&clock)
                .processing(Processing::AtMostOnce)
                .store(common::store(&clock)),
            (Bytes::from("{}"), done()),
        ),
    ] {
        let seen = Arc::new(Mutex::new(Bytes::new()));
        let app = {
            let seen = Arc::clone(&seen);
            app(
                layer.build().unwrap(),
                async move |headers: HeaderMap, body: Bytes| {
                    assert_eq!(headers["content-length"], body.len().to_string());
                    *seen.lock().unwrap() = body;
                    "done"
                },
            )
        };
        let mut order = order(&clock);
        order.headers_mut().insert("content-length", 2.into());
        let answer = send(&app, &order).await;
        assert_eq!((seen.lock().unwrap().clone(), answer), expected);
    }
}

/// Takes the payload through a clone of the request's extensions, before the handler.
fn taking_before(app: Router, pool: &PgPool) -> Router {
    let pool = pool.clone();
    let take = move |request: AxumRequest, next: Next| {
        let pool = pool.clone();
        async move {
            let clone = request.extensions().clone();
            if let Some(slot) = clone.get::<PendingSlot>() {
                let mut tx = pool.begin().await.unwrap();
                let payload = slot.take().unwrap().consume(&mut tx).await.unwrap();
                effect(&mut tx, &payload).await;
                tx.commit().await.unwrap();
                assert!(slot.take().is_none());
            } else if let Some(payload) = clone.get::<VerifiedPayload>() {
                effect(&mut pool.acquire().await.unwrap(), payload).await;
            }
            next.run(request).await
        }
    };
    app.route_layer(from_fn(take))
}

#[tokio::test]
async fn a37_of_two_clones_that_take_the_payload_one_gets_it() {
    let Some(pool) = pool("a37, two clones").await else {
        return;
    };
    let clock = clock();
    let log = Log::captured();
    let handler = {
        let pool = pool.clone();
        async move |pending: PendingPayload| -> Answer {
            pending
                .transact(&pool, async |tx, payload| {
                    effect(tx, &payload).await;
                    Ok("done".to_owned())
                })
                .await
        }
    };
    let router = Router::new().route("/orders", post(handler));
    let app = taking_before(router, &pool).layer(layer(&clock).build().unwrap());
    assert_eq!(
        send(&app, &order(&clock)).await,
        refused(500, "not_verified")
    );
    assert_eq!(effects(&pool).await, 1);
    assert!(log.text().contains("taken before"), "{}", log.text());

    // The twin: a payload that is cloned with its request has an effect in each.
    let handler = {
        let pool = pool.clone();
        async move |payload: VerifiedPayload| {
            effect(&mut pool.acquire().await.unwrap(), &payload).await;
        }
    };
    let claimed = layer(&clock)
        .processing(Processing::AtMostOnce)
        .store(common::store(&clock));
    let router = Router::new().route("/orders", post(handler));
    let app = taking_before(router, &pool).layer(claimed.build().unwrap());
    assert_eq!(send(&app, &order(&clock)).await.0, 200);
    assert_eq!(effects(&pool).await, 3);
}

/// The steps of a handler after it has consumed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Commits,
    RollsBack,
    Drops,
}

fn consuming_and(pool: &PgPool, layer: VerifyLayer, after: After) -> Router {
    let pool = pool.clone();
    app(layer, async move |pending: PendingPayload| -> Answer {
        let mut tx = pool.begin().await.unwrap();
        let payload = pending.consume(&mut tx).await?;
        effect(&mut tx, &payload).await;
        match after {
            After::Commits => tx.commit().await.unwrap(),
            After::RollsBack => tx.rollback().await.unwrap(),
            After::Drops => drop(tx),
        }
        Ok("done".to_owned())
    })
}

#[tokio::test]
async fn a37_consumed_and_rolled_back_and_answered_with_200_is_no_success() {
    let Some(pool) = pool("a37, rolled back").await else {
        return;
    };
    let clock = clock();
    let log = Log::captured();
    // Known exactly where the transaction is ours.
    let swallowing = {
        let pool = pool.clone();
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| {
                let failed: Result<(), Rejection> = pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        Err(common_failure())
                    })
                    .await;
                assert!(failed.is_err());
                "done"
            },
        )
    };
    assert_eq!(send(&swallowing, &order(&clock)).await, not_recorded());
    assert!(log.text().contains("rolled back"), "{}", log.text());

    // Looked up where it is the caller's.
    for after in [After::RollsBack, After::Drops, After::Commits] {
        let confirming = layer(&clock).build().unwrap().confirm_in(pool.clone());
        let app = consuming_and(&pool, confirming, after);
        let expected = if after == After::Commits {
            done()
        } else {
            not_recorded()
        };
        assert_eq!(send(&app, &order(&clock)).await, expected, "{after:?}");
    }
    assert_eq!(effects(&pool).await, 1);

    // The twin: not looked up, a success leaves that was none. That is the limit of `consume`.
    let app = consuming_and(&pool, layer(&clock).build().unwrap(), After::RollsBack);
    assert_eq!(send(&app, &order(&clock)).await, done());
    assert_eq!(effects(&pool).await, 1);
}

fn common_failure() -> Rejection {
    StoreError::unavailable("an error of the handler's").into()
}

/// A connection in autocommit that says that it is a transaction.
struct Autocommit<'c>(&'c PgPool);

impl ConsumeIn for Autocommit<'_> {
    fn consume<'a>(
        &'a mut self,
        claim: &'a Claim,
        wait: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        StoreFuture::new(async move {
            let mut tx = TransactIn::begin(self.0).await?;
            let claimed = tx.consume(claim, wait).await?;
            PgPool::commit(tx).await?;
            Ok(claimed)
        })
    }

    fn is_recorded<'a>(&'a mut self, _: &'a Claim) -> StoreFuture<'a, bool> {
        StoreFuture::ready(Ok(true))
    }
}

/// The tests of code that does not compile show that a real one cannot be passed. This is what
/// would happen if it could.
#[tokio::test]
async fn a37_twin_a_connection_in_autocommit_loses_the_effect_and_keeps_the_nonce() {
    let Some(pool) = pool("a37, autocommit").await else {
        return;
    };
    let clock = clock();
    for autocommit in [false, true] {
        let app = {
            let pool = pool.clone();
            app(
                layer(&clock).build().unwrap(),
                async move |pending: PendingPayload| -> Answer {
                    let mut tx = pool.begin().await.unwrap();
                    let payload = if autocommit {
                        pending.consume(&mut Autocommit(&pool)).await?
                    } else {
                        pending.consume(&mut tx).await?
                    };
                    effect(&mut tx, &payload).await;
                    tx.rollback().await.unwrap();
                    Err(common_failure())
                },
            )
        };
        let order = order(&clock);
        assert_eq!(send(&app, &order).await, unavailable());
        let again = if autocommit {
            replayed()
        } else {
            unavailable()
        };
        assert_eq!(send(&app, &order).await, again);
        assert_eq!(effects(&pool).await, 0);
    }
}

#[tokio::test]
async fn a_duplicate_is_answered_as_is_set_whatever_the_handler_said() {
    let Some(pool) = pool("duplicates").await else {
        return;
    };
    let clock = clock();
    for (on_duplicate, expected) in [
        (OnDuplicate::Reject, replayed()),
        (OnDuplicate::Acknowledge, (200, String::new())),
    ] {
        for said in [200, 418, 500] {
            let layer = layer(&clock).build().unwrap().on_duplicate(on_duplicate);
            let app = {
                let pool = pool.clone();
                app(layer, async move |pending: PendingPayload| {
                    let answer: Answer = pending
                        .transact(&pool, async |_, _| Ok("done".to_owned()))
                        .await;
                    answer.map_err(|_| StatusCode::from_u16(said).unwrap())
                })
            };
            let order = order(&clock);
            assert_eq!(send(&app, &order).await, done());
            assert_eq!(send(&app, &order).await, expected, "{said}");
        }
    }
}

#[tokio::test]
async fn a_success_without_a_nonce_is_an_error_and_an_error_is_passed_on() {
    let Some(_) = pool("a success without a nonce").await else {
        return;
    };
    let clock = clock();
    for (said, expected) in [(200, 500), (204, 500), (303, 303), (404, 404), (500, 500)] {
        let app = app(
            layer(&clock).build().unwrap(),
            async move |_: PendingPayload| StatusCode::from_u16(said).unwrap(),
        );
        assert_eq!(send(&app, &order(&clock)).await.0, expected, "{said}");
    }
}

#[tokio::test]
async fn a_savepoint_that_could_take_the_nonce_with_it_is_refused() {
    let Some(pool) = pool("savepoints").await else {
        return;
    };
    let clock = clock();
    let consume_in_savepoint = {
        let pool = pool.clone();
        async move |pending: PendingPayload| -> Answer {
            let mut tx = pool.begin().await.unwrap();
            let mut savepoint: PgTransaction<'_> = tx.begin().await.unwrap();
            let payload = pending.consume(&mut savepoint).await?;
            savepoint.rollback().await.unwrap();
            effect(&mut tx, &payload).await;
            tx.commit().await.unwrap();
            Ok("done".to_owned())
        }
    };
    let named = {
        let pool = pool.clone();
        async move |pending: PendingPayload| -> Answer {
            let mut tx = pool.begin().await.unwrap();
            run(&mut tx, "SAVEPOINT mine").await;
            let payload = pending.consume(&mut tx).await?;
            run(&mut tx, "ROLLBACK TO SAVEPOINT mine").await;
            effect(&mut tx, &payload).await;
            tx.commit().await.unwrap();
            Ok("done".to_owned())
        }
    };
    for app in [
        app(layer(&clock).build().unwrap(), consume_in_savepoint),
        app(layer(&clock).build().unwrap(), named),
    ] {
        assert_eq!(send(&app, &order(&clock)).await, unavailable());
        assert_eq!((effects(&pool).await, nonces(&pool).await), (0, 0));
    }
}

async fn run(connection: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_savepoint_after_the_nonce_rolls_back_what_was_done_in_it() {
    let Some(pool) = pool("later savepoints").await else {
        return;
    };
    let clock = clock();
    let app = {
        let pool = pool.clone();
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        let mut savepoint = tx.begin().await.unwrap();
                        effect(&mut savepoint, &payload).await;
                        savepoint.rollback().await.unwrap();
                        Ok("done".to_owned())
                    })
                    .await
            },
        )
    };
    let order = order(&clock);
    assert_eq!(send(&app, &order).await, done());
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
    assert_eq!(send(&app, &order).await, replayed());
}

/// PostgreSQL takes COMMIT from a transaction that has failed, says nothing, and rolls back.
#[tokio::test]
async fn a_statement_that_failed_unnoticed_is_no_success() {
    let Some(pool) = pool("unnoticed failures").await else {
        return;
    };
    let clock = clock();
    for (statement, expected) in [
        ("SELECT 1/0", unavailable()),
        ("ROLLBACK", not_recorded()),
        ("ROLLBACK; BEGIN", not_recorded()),
    ] {
        let app = {
            let pool = pool.clone();
            app(
                layer(&clock).build().unwrap(),
                async move |pending: PendingPayload| -> Answer {
                    pending
                        .transact(&pool, async |tx, payload| {
                            effect(tx, &payload).await;
                            let _ = sqlx::raw_sql(statement).execute(&mut *tx).await;
                            Ok("done".to_owned())
                        })
                        .await
                },
            )
        };
        let order = order(&clock);
        assert_eq!(send(&app, &order).await, expected, "{statement}");
        assert_eq!((effects(&pool).await, nonces(&pool).await), (0, 0));
        let app = transacting(&pool, layer(&clock).build().unwrap());
        assert_eq!(send(&app, &order).await, done());
        run(
            &mut pool.acquire().await.unwrap(),
            "TRUNCATE effects, countersign_nonces",
        )
        .await;
    }
}

#[tokio::test]
async fn freshness_is_checked_once_more_when_the_nonce_is_consumed() {
    let Some(pool) = pool("freshness").await else {
        return;
    };
    let clock = clock();
    let app = {
        let (pool, clock) = (pool.clone(), clock.clone());
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                clock.advance(Duration::from_secs(301));
                let answer = pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        Ok("done".to_owned())
                    })
                    .await;
                clock.step_back(Duration::from_secs(301));
                answer
            },
        )
    };
    assert_eq!(
        send(&app, &order(&clock)).await,
        refused(401, "signature_expired")
    );
    assert_eq!((effects(&pool).await, nonces(&pool).await), (0, 0));
}

#[tokio::test]
async fn a_request_that_grew_too_old_while_it_waited_for_its_turn_meets_no_handler() {
    let clock = clock();
    let (ended, handled) = (Arc::new(Notify::new()), Arc::new(Mutex::new(0)));
    let app = {
        let (ended, handled) = (Arc::clone(&ended), Arc::clone(&handled));
        app(
            layer(&clock).build().unwrap(),
            async move |_: PendingPayload| {
                *handled.lock().unwrap() += 1;
                ended.notified().await;
            },
        )
    };
    let order = order(&clock);
    let (mut first, mut second) = (Box::pin(send(&app, &order)), Box::pin(send(&app, &order)));
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    clock.advance(Duration::from_secs(301));
    ended.notify_one();
    assert_eq!(first.await, refused(500, "nonce_not_recorded"));
    // One that is called waits forever.
    assert_eq!(second.await, refused(401, "signature_expired"));
    assert_eq!(*handled.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_servers_clock_decides_and_what_was_dropped_stays_refused() {
    let Some(pool) = pool("the server's clock").await else {
        return;
    };
    let behind = clock();
    let app = transacting(&pool, layer(&behind).build().unwrap());
    let sign_again = refused(503, "sign_again");
    assert_eq!(send(&app, &order(&behind)).await, done());
    // Fresh by a clock that is an hour behind; long over by the server's.
    behind.step_back(Duration::from_secs(3600));
    assert_eq!(send(&app, &order(&behind)).await, sign_again);
    behind.advance(Duration::from_secs(3600));

    // The server's clock has stepped back: it has dropped more than it would have by now.
    let mut connection = pool.acquire().await.unwrap();
    let raise = "UPDATE countersign_namespaces SET dropped_up_to_ms =
                     (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 400000";
    run(&mut connection, raise).await;
    assert_eq!(send(&app, &order(&behind)).await, sign_again);
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

#[tokio::test]
async fn what_has_expired_is_dropped_in_batches_and_nothing_else() {
    let Some(pool) = pool("expiry").await else {
        return;
    };
    let clock = clock();
    let app = transacting(&pool, layer(&clock).build().unwrap());
    let live = order(&clock);
    assert_eq!(send(&app, &live).await, done());
    let mut connection = pool.acquire().await.unwrap();
    let expired = "INSERT INTO countersign_nonces
        SELECT sha256(i::text::bytea), '',
               (extract(epoch FROM now()) * 1000)::bigint - 60000 - i
        FROM generate_series(1, 2500) AS i";
    run(&mut connection, expired).await;
    let latest = "SELECT max(deadline_ms) FROM countersign_nonces WHERE attempt = ''";
    let latest = count(&pool, latest).await;
    // Not for a minute yet:
    let recent = "INSERT INTO countersign_nonces VALUES
        ('recent', '', (extract(epoch FROM now()) * 1000)::bigint)";
    run(&mut connection, recent).await;

    // One at a time drops, of all that share the server, such as other tests.
    let mut dropped = 0;
    while dropped < 2500 {
        dropped += PostgresStore::drop_expired(&pool).await.unwrap();
    }
    assert_eq!((dropped, nonces(&pool).await), (2500, 2));
    let raised = "SELECT max(dropped_up_to_ms) FROM countersign_namespaces";
    let raised = count(&pool, raised).await;
    let spared = "SELECT (extract(epoch FROM now()) * 1000)::bigint - 60000";
    assert!((latest..=count(&pool, spared).await).contains(&raised));
    assert_eq!(send(&app, &live).await, replayed());
    assert_eq!(send(&app, &order(&clock)).await, done());
}

#[tokio::test]
async fn a_server_that_needs_a_longer_memory_is_refused_until_it_is_made() {
    let Some(pool) = pool("retention").await else {
        return;
    };
    let clock = clock();
    let short = transacting(&pool, layer(&clock).build().unwrap());
    let longer = layer(&clock).max_age(Duration::from_secs(600));
    let longer = transacting(&pool, longer.build().unwrap());
    let old = order(&clock);
    assert_eq!(send(&short, &old).await, done());
    let misconfigured = refused(500, "store_misconfigured");
    assert_eq!(send(&longer, &old).await, misconfigured);
    assert_eq!(send(&longer, &order(&clock)).await, misconfigured);

    let retention = Duration::from_secs(700);
    PostgresStore::extend_retention_in(&pool, "default", retention)
        .await
        .unwrap();
    let sign_again = refused(503, "sign_again");
    for app in [&short, &longer] {
        assert_eq!(send(app, &old).await, sign_again);
        assert_eq!(send(app, &order(&clock)).await, sign_again);
    }
    // As if a minute had passed.
    let mut connection = pool.acquire().await.unwrap();
    run(
        &mut connection,
        "UPDATE countersign_namespaces SET raised_ms = raised_ms - 70000",
    )
    .await;
    // A record of the server with the shorter memory lasts as long as the other's.
    let order = order(&clock);
    assert_eq!(send(&short, &order).await, done());
    assert_eq!(send(&longer, &order).await, replayed());
    let kept = "SELECT count(*) FROM countersign_nonces WHERE deadline_ms >
        (extract(epoch FROM now()) * 1000)::bigint + 650000";
    assert_eq!(count(&pool, kept).await, 1);
}

/// A scheme whose senders repeat an event under the same id, signed again.
fn events() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .fixed_key_id(common::KEY)
        .time("x-timestamp")
        .event_id("x-event-id")
        .signs(Part::lines([
            Part::Method,
            Part::PathAndQuery,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()
        .unwrap()
}

fn events_layer(clock: &ManualClock) -> VerifyLayer {
    VerifyLayer::builder(events())
        .keys(keys())
        .clock(clock.clone())
        .processing(Processing::InTransaction)
        .build()
        .unwrap()
}

/// One event, signed now.
fn event(clock: &ManualClock) -> Request<String> {
    let signer = Signer::new(events(), common::KEY, common::SECRET).unwrap();
    let signer = signer.clock(clock.clone());
    let request = request("POST", "/orders", "{}");
    signer.sign_with_nonce(request, "event-1").unwrap()
}

async fn latest_deadline(pool: &PgPool) -> i64 {
    count(pool, "SELECT max(deadline_ms) FROM countersign_nonces").await
}

#[tokio::test]
async fn a_duplicate_of_an_event_extends_its_record() {
    let Some(pool) = pool("events").await else {
        return;
    };
    let clock = clock();
    let app = transacting(&pool, events_layer(&clock));
    assert_eq!(send(&app, &event(&clock)).await, done());
    let before = latest_deadline(&pool).await;
    clock.advance(Duration::from_secs(4));
    assert_eq!(send(&app, &event(&clock)).await, replayed());
    assert_eq!(latest_deadline(&pool).await, before + 4000);
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

#[tokio::test]
async fn a_copy_waits_for_the_first_and_takes_its_place_if_that_is_rolled_back() {
    let Some(pool) = pool("a copy waits").await else {
        return;
    };
    let clock = clock();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = {
        let (pool, begun, go_on) = (pool.clone(), Arc::clone(&begun), Arc::clone(&go_on));
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        begun.notify_one();
                        go_on.notified().await;
                        Err(common_failure())
                    })
                    .await
            },
        )
    };
    let hasty = layer(&clock).store_timeout(Duration::from_millis(100));
    let hasty = transacting(&pool, hasty.build().unwrap());
    let patient = transacting(&pool, layer(&clock).build().unwrap());
    let order = order(&clock);
    let sent = {
        let order = order.clone();
        tokio::spawn(async move { send(&first, &order).await })
    };
    begun.notified().await;
    assert_eq!(send(&hasty, &order).await, unavailable());
    let copy = {
        let order = order.clone();
        tokio::spawn(async move { send(&patient, &order).await })
    };
    until_somebody_waits(&pool).await;
    go_on.notify_one();
    assert_eq!(sent.await.unwrap(), unavailable());
    assert_eq!(copy.await.unwrap(), done());
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

async fn until_somebody_waits(pool: &PgPool) {
    while database::waiting(pool).await == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sender_that_hangs_up_rolls_back() {
    let Some(pool) = pool("hang-up").await else {
        return;
    };
    let clock = clock();
    let begun = Arc::new(Notify::new());
    let hanging = {
        let (pool, begun) = (pool.clone(), Arc::clone(&begun));
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        begun.notify_one();
                        std::future::pending().await
                    })
                    .await
            },
        )
    };
    let order = order(&clock);
    let sent = {
        let order = order.clone();
        tokio::spawn(async move { send(&hanging, &order).await })
    };
    begun.notified().await;
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
    let app = transacting(&pool, layer(&clock).build().unwrap());
    assert_eq!(send(&app, &order).await, done());
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

/// The outcome of a COMMIT.
#[derive(Clone, Copy, Debug)]
enum Commit {
    IsDoneAndNotAnswered,
    NeverArrives,
    IsDoneAndNothingIsAnsweredAnyMore,
}

#[derive(Clone)]
struct Faulty(PgPool, Commit, Arc<Mutex<u32>>);

impl TransactIn for Faulty {
    type Transaction = FaultyTransaction;
    type Connection = PgConnection;

    fn begin(&self) -> StoreFuture<'_, FaultyTransaction> {
        StoreFuture::new(async {
            let begun = {
                let mut begun = self.2.lock().unwrap();
                *begun += 1;
                *begun
            };
            if begun > 1 && matches!(self.1, Commit::IsDoneAndNothingIsAnsweredAnyMore) {
                return Err(StoreError::unavailable("gone"));
            }
            Ok(FaultyTransaction(TransactIn::begin(&self.0).await?, self.1))
        })
    }

    fn connection(transaction: &mut FaultyTransaction) -> &mut PgConnection {
        PgPool::connection(&mut transaction.0)
    }

    fn commit(transaction: FaultyTransaction) -> StoreFuture<'static, ()> {
        StoreFuture::new(async {
            match transaction.1 {
                Commit::NeverArrives => drop(transaction),
                _ => PgPool::commit(transaction.0).await?,
            }
            Err(StoreError::unavailable("connection reset"))
        })
    }

    fn rollback(transaction: FaultyTransaction) -> StoreFuture<'static, ()> {
        PgPool::rollback(transaction.0)
    }
}

struct FaultyTransaction(PooledTransaction, Commit);

impl ConsumeIn for FaultyTransaction {
    fn consume<'a>(
        &'a mut self,
        claim: &'a Claim,
        wait: Duration,
    ) -> StoreFuture<'a, ClaimOutcome> {
        self.0.consume(claim, wait)
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        self.0.is_recorded(claim)
    }
}

#[tokio::test]
async fn a_commit_that_is_not_answered_is_looked_up() {
    let Some(pool) = pool("unanswered commits").await else {
        return;
    };
    let clock = clock();
    for (commit, expected, again) in [
        (Commit::IsDoneAndNotAnswered, done(), replayed()),
        (Commit::NeverArrives, unavailable(), done()),
        (
            Commit::IsDoneAndNothingIsAnsweredAnyMore,
            unavailable(),
            replayed(),
        ),
    ] {
        let faulty = Faulty(pool.clone(), commit, Arc::default());
        let app = app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&faulty, async |tx, payload| {
                        effect(tx, &payload).await;
                        Ok("done".to_owned())
                    })
                    .await
            },
        );
        let order = order(&clock);
        assert_eq!(send(&app, &order).await, expected, "{commit:?}");
        let app = transacting(&pool, layer(&clock).build().unwrap());
        assert_eq!(send(&app, &order).await, again, "{commit:?}");
    }
    assert_eq!((effects(&pool).await, nonces(&pool).await), (3, 3));
}

#[tokio::test]
async fn an_attempt_can_be_looked_up_by_its_claim() {
    let Some(pool) = pool("look-up").await else {
        return;
    };
    let clock = clock();
    let claims = Arc::new(Mutex::new(Vec::new()));
    let app = {
        let (pool, claims) = (pool.clone(), Arc::clone(&claims));
        app(
            layer(&clock).build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                claims.lock().unwrap().push(pending.claim().clone());
                let mut tx = pool.begin().await.unwrap();
                pending.consume(&mut tx).await?;
                tx.commit().await.unwrap();
                Ok("done".to_owned())
            },
        )
    };
    let order = order(&clock);
    assert_eq!(send(&app, &order).await, done());
    assert_eq!(send(&app, &order).await, replayed());
    let mut tx = pool.begin().await.unwrap();
    let claims = claims.lock().unwrap().clone();
    assert!(tx.is_recorded(&claims[0]).await.unwrap());
    assert!(
        !tx.is_recorded(&claims[1]).await.unwrap(),
        "another attempt"
    );
}

#[tokio::test]
async fn at_every_isolation_level_one_of_two_copies_has_an_effect() {
    let Some(pool) = pool("isolation").await else {
        return;
    };
    let clock = clock();
    for (level, sum) in [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", 1),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 2),
    ] {
        // Layers of their own, so that they meet in the database.
        let service = || {
            let pool = pool.clone();
            app(
                layer(&clock).build().unwrap(),
                async move |pending: PendingPayload| -> Result<String, Failure> {
                    let mut tx = pool.begin().await.unwrap();
                    run(&mut tx, level).await;
                    let payload = pending.consume(&mut tx).await?;
                    effect(&mut tx, &payload).await;
                    let failed = |_| Failure(StatusCode::SERVICE_UNAVAILABLE.into_response());
                    tx.commit().await.map_err(failed)?;
                    Ok("done".to_owned())
                },
            )
        };
        // Until it is there, the namespace itself makes one of two fail.
        let order = order(&clock);
        let (app, another) = (service(), service());
        let (one, other) = tokio::join!(send(&app, &order), send(&another, &order));
        let statuses = [one.0, other.0];
        assert!(statuses.iter().filter(|status| **status == 200).count() <= 1);
        assert!(
            statuses.iter().all(|s| [200, 409, 503].contains(s)),
            "{statuses:?}"
        );
        let last = send(&app, &order).await.0;
        assert!(last == 409 || last == 200 && !statuses.contains(&200));
        assert_eq!(
            (effects(&pool).await, nonces(&pool).await),
            (sum, sum),
            "{level}"
        );
    }
}

#[tokio::test]
async fn tables_are_made_once_by_any_number_of_servers() {
    let Some((url, schema)) = database::schema("migration").await else {
        return;
    };
    let pool = database::pool_of(&url, &schema, 8).await;
    let clock = clock();
    let app = transacting(&pool, layer(&clock).build().unwrap());
    let log = Log::captured();
    assert_eq!(send(&app, &order(&clock)).await, unavailable());
    assert!(
        log.text().contains("`migrate` of the store"),
        "{}",
        log.text()
    );

    let servers: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { PostgresStore::migrate(&pool).await })
        })
        .collect();
    for server in servers {
        server.await.unwrap().unwrap();
    }
    PostgresStore::migrate(&pool).await.unwrap();
    assert_eq!(nonces(&pool).await, 0);
}

#[tokio::test]
async fn what_was_signed_before_the_tables_were_made_may_have_been_used() {
    let Some((url, schema)) = database::schema("first start").await else {
        return;
    };
    let pool = database::pool_of(&url, &schema, 2).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let clock = clock();
    let app = app(
        layer(&clock).build().unwrap(),
        async move |pending: PendingPayload| -> Answer {
            pending
                .transact(&pool, async |_, _| Ok("done".to_owned()))
                .await
        },
    );
    let before = order(&clock);
    // A second for `x-timestamp`, which has whole ones.
    clock.advance(Duration::from_secs(6));
    let after = order(&clock);
    assert_eq!(send(&app, &before).await, refused(503, "sign_again"));
    assert_eq!(send(&app, &after).await, done());
}

/// A fence that is rolled back with its request would have to be found to be missing by each one.
#[tokio::test]
async fn a_database_that_was_put_back_is_fenced_by_the_request_that_finds_it() {
    let Some(pool) = pool("a fence is kept").await else {
        return;
    };
    let ended = "UPDATE countersign_store SET timeline = 'that ended', written_by = DEFAULT";
    sqlx::raw_sql(ended).execute(&pool).await.unwrap();
    let fences = async || count(&pool, "SELECT count(*) FROM countersign_store").await;
    assert_eq!(fences().await, 1);
    let clock = clock();
    let app = transacting(&pool, layer(&clock).build().unwrap());
    assert_eq!(send(&app, &order(&clock)).await, refused(503, "sign_again"));
    assert_eq!((fences().await, effects(&pool).await), (2, 0));
}

/// A database of SQLite in memory, and one connection: a transaction at a time.
async fn sqlite() -> SqlitePool {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    SqliteStore::danger_assume_no_history(&pool).await.unwrap();
    let table = "CREATE TABLE effects (request text NOT NULL)";
    sqlx::raw_sql(table).execute(&pool).await.unwrap();
    pool
}

async fn effects_in_sqlite(pool: &SqlitePool) -> i64 {
    let effects = sqlx::query_scalar("SELECT count(*) FROM effects");
    effects.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_of_a_thousand_copies_at_once_one_has_an_effect() {
    let pool = sqlite().await;
    let clock = clock();
    let patient = layer(&clock).store_timeout(Duration::from_secs(60));
    let app = {
        let pool = pool.clone();
        app(
            patient.build().unwrap(),
            async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&pool, async |tx, _| {
                        let effect = sqlx::query("INSERT INTO effects VALUES ('{}')");
                        effect.execute(tx).await.unwrap();
                        Ok("done".to_owned())
                    })
                    .await
            },
        )
    };
    let answers = copies_at_once(&app, &order(&clock), 1000).await;
    assert_eq!(answers[0], done());
    assert!(answers[1..].iter().all(|answer| *answer == replayed()));
    assert_eq!(effects_in_sqlite(&pool).await, 1);
}

/// SQLite does not tell a savepoint from its transaction. A loss with one is noticed when it
/// is looked up: too late for the effect, in time for the answer.
#[tokio::test]
async fn on_sqlite_a_savepoint_that_takes_the_nonce_with_it_is_noticed_by_the_look_up() {
    let clock = clock();
    for (looks_up, expected) in [(true, not_recorded()), (false, done())] {
        let pool = sqlite().await;
        let mut layer = layer(&clock).build().unwrap();
        if looks_up {
            layer = layer.confirm_in(pool.clone());
        }
        let app = {
            let pool = pool.clone();
            app(layer, async move |pending: PendingPayload| -> Answer {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                let mut savepoint = tx.begin().await.unwrap();
                pending.consume(&mut savepoint).await?;
                savepoint.rollback().await.unwrap();
                let effect = sqlx::query("INSERT INTO effects VALUES ('{}')");
                effect.execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                Ok("done".to_owned())
            })
        };
        assert_eq!(send(&app, &order(&clock)).await, expected);
        assert_eq!(effects_in_sqlite(&pool).await, 1);
    }
}

#[test]
fn a_store_beside_the_handlers_database_is_refused() {
    let clock = clock();
    assert!(layer(&clock).build().is_ok());
    let with_store = layer(&clock).store(common::store(&clock)).build();
    let error = with_store.unwrap_err();
    assert!(
        matches!(error.kind(), ConfigErrorKind::Processing(_)),
        "{error}"
    );
    let without = layer(&clock).processing(Processing::AtMostOnce).build();
    let error = without.unwrap_err();
    assert!(
        matches!(error.kind(), ConfigErrorKind::Missing(_)),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_misplaced_is_answered_with_500_and_logged() {
    let clock = clock();
    let log = Log::captured();
    let misplaced = refused(500, "not_verified");
    let reading = app(
        layer(&clock).build().unwrap(),
        async |_: VerifiedPayload| {},
    );
    assert_eq!(send(&reading, &order(&clock)).await, misplaced);
    assert!(
        log.text().contains("take `PendingPayload`"),
        "{}",
        log.text()
    );

    let claimed = layer(&clock)
        .processing(Processing::AtMostOnce)
        .store(common::store(&clock));
    let pending = app(claimed.build().unwrap(), async |_: PendingPayload| {});
    assert_eq!(send(&pending, &order(&clock)).await, misplaced);
    assert!(
        log.text().contains("Processing::InTransaction"),
        "{}",
        log.text()
    );
}

/// Row 42: an outcome is used once the transaction was committed, and not before.
#[tokio::test]
async fn a42_an_outcome_follows_the_transaction() {
    let clock = clock();
    let pool = sqlite().await;
    let scheme = HttpMessageSignatures::default;
    let verify = || {
        VerifyLayer::builder(scheme())
            .public_origin(ORIGIN)
            .keys(keys())
            .clock(clock.clone())
            .processing(Processing::InTransaction)
            .build()
            .unwrap()
    };
    // Whether the handler commits in a transaction of its own, and what it answers.
    let handler = |commits: bool, status: StatusCode| {
        let pool = pool.clone();
        async move |pending: PendingPayload| -> Result<StatusCode, Rejection> {
            let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
            pending.consume(&mut tx).await?;
            if commits {
                tx.commit().await.unwrap();
            }
            Ok(status)
        }
    };
    let transacting = {
        let pool = pool.clone();
        async move |pending: PendingPayload| -> Result<StatusCode, Rejection> {
            pending
                .transact(&pool, async |_, _| Ok(StatusCode::NOT_FOUND))
                .await
        }
    };
    let (ok, failed) = (StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR);
    let confirming = || verify().confirm_in(pool.clone());
    for (app, outcomes) in [
        // For every answer of a handler once it has committed.
        (app(verify(), transacting), [(404, Used), (409, Used)]),
        (
            app(verify(), handler(false, failed)),
            [(500, Open), (500, Open)],
        ),
        // Whether it has committed cannot be seen, and the next duplicate shows it.
        (app(verify(), handler(true, ok)), [(200, Open), (409, Used)]),
        (
            app(confirming(), handler(true, ok)),
            [(200, Used), (409, Used)],
        ),
        (
            app(confirming(), handler(false, ok)),
            [(500, Open), (500, Open)],
        ),
    ] {
        let server = ResponseSigner::new(scheme(), "api", "the secret of the api").unwrap();
        let app = app.layer(SignResponseLayer::new(server.clock(clock.clone())));
        let client = Signer::new(scheme(), common::KEY, common::SECRET).unwrap();
        let verifier = ResponseVerifier::builder(scheme())
            .keys(KeyRing::new().with("api", "the secret of the api").unwrap())
            .clock(clock.clone())
            .build()
            .unwrap();
        let order = Request::post(format!("{ORIGIN}/orders")).body("{}");
        let order = client.clock(clock.clone()).sign(order.unwrap()).unwrap();
        for expected in outcomes {
            let (head, body) = order.clone().into_parts();
            let asked = AxumRequest::from_parts(head.clone(), Body::from(body));
            let response = app.clone().oneshot(asked).await.unwrap();
            let response = verifier.verify(&head, response).await.unwrap();
            let by: &SignedBy = response.extensions().get().unwrap();
            assert_eq!((response.status().as_u16(), by.outcome()), expected);
        }
    }
}
