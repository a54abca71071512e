//! Row 57: duplicates of a request whose transaction takes long hold up nobody else.

use std::{pin::pin, sync::Arc, time::Duration};

use countersign::{
    PendingPayload, Processing, Signer, VerifyLayer,
    store::{Claim, ClaimOutcome, ConsumeIn, StoreFuture, TransactIn, postgres::PooledTransaction},
    webhooks::GitHub,
};
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

use tower::limit::GlobalConcurrencyLimitLayer;

use super::{
    Answer, app, clock, done, effect, effects, event, events_layer, is_pending, latest_deadline,
    layer, nonces, order, refused, replayed, run, send, transacting, unavailable,
};
use crate::common::database;

/// Long enough for a transaction on a busy machine. Most of these tests wait for it to pass.
const LIMIT: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_secs(3600);

async fn pool(test: &str, connections: u32) -> Option<PgPool> {
    let (wide, schema) = database::pool_and_schema(test).await?;
    wide.close().await;
    Some(database::pool_of(&database::url(test)?, &schema, connections).await)
}

/// A request whose transaction is open until it is told to go on.
struct Long {
    app: axum::Router,
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Long {
    fn on(pool: &PgPool, layer: countersign::VerifyLayer) -> Self {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let app = {
            let (pool, begun, go_on) = (pool.clone(), Arc::clone(&begun), Arc::clone(&go_on));
            let handler = async move |pending: PendingPayload| -> Answer {
                pending
                    .transact(&pool, async |tx, payload| {
                        effect(tx, &payload).await;
                        if payload.bytes().starts_with(b"{}") {
                            begun.notify_one();
                            go_on.notified().await;
                        }
                        Ok("done".to_owned())
                    })
                    .await
            };
            axum::Router::new()
                .route("/orders", axum::routing::post(handler.clone()))
                .route("/hooks/{tenant}", axum::routing::any(handler))
                .layer(GlobalConcurrencyLimitLayer::new(2))
                .layer(layer)
        };
        Self { app, begun, go_on }
    }

    async fn begin(&self, order: &http::Request<String>) -> JoinHandle<(u16, String)> {
        let (app, order) = (self.app.clone(), order.clone());
        let sent = tokio::spawn(async move { send(&app, &order).await });
        self.begun.notified().await;
        sent
    }
}

fn another(clock: &countersign::testing::ManualClock) -> http::Request<String> {
    let another = super::request("POST", "/orders", "{\"n\":2}");
    super::signer(clock).sign(another).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a57_duplicates_in_one_process_wait_without_a_connection() {
    let Some(pool) = pool("duplicates in one process", 2).await else {
        return;
    };
    let clock = clock();
    let long = Long::on(&pool, layer(&clock).store_timeout(LIMIT).build().unwrap());
    let first_order = order(&clock);
    let first = long.begin(&first_order).await;
    let start = Instant::now();
    let mut duplicates = JoinSet::new();
    for _ in 0..50 {
        let (app, order) = (long.app.clone(), first_order.clone());
        duplicates.spawn(async move { send(&app, &order).await });
    }
    // One connection and one permit of the limit are left, and the duplicates have taken neither.
    for _ in 0..5 {
        assert_eq!(send(&long.app, &another(&clock)).await, done());
    }
    while let Some(told) = duplicates.join_next().await {
        assert_eq!(told.unwrap(), refused(409, "request_in_flight"));
    }
    assert!(start.elapsed() >= LIMIT, "they waited for their turn");
    let late = {
        let (app, order) = (long.app.clone(), first_order.clone());
        tokio::spawn(async move { send(&app, &order).await })
    };
    long.go_on.notify_one();
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(late.await.unwrap(), replayed());
    assert_eq!(effects(&pool).await, 6);
}

/// It finds out in this process that the event was used, and still keeps its promise to the record.
#[tokio::test]
async fn a_duplicate_that_waited_for_its_turn_extends_the_record_of_its_event() {
    let Some(pool) = pool("a duplicate of an event waits", 2).await else {
        return;
    };
    let clock = clock();
    let long = Long::on(&pool, events_layer(&clock));
    let first = long.begin(&event(&clock)).await;
    clock.advance(Duration::from_secs(4));
    let later = event(&clock);
    let mut duplicate = pin!(send(&long.app, &later));
    assert!(is_pending(&mut duplicate).await);
    long.go_on.notify_one();
    assert_eq!(first.await.unwrap(), done());
    let before = latest_deadline(&pool).await;
    assert_eq!(duplicate.await, replayed());
    assert_eq!(latest_deadline(&pool).await, before + 4000);
    assert_eq!((effects(&pool).await, nonces(&pool).await), (1, 1));
}

const WEBHOOK_SECRET: &str = "the webhook secret of the tests";

/// Its signature covers neither method nor path, and its handler runs long if the body begins with
/// `{}`.
fn delivery(body: &str, method: &str, path: &str) -> http::Request<String> {
    let signer = Signer::with_secret(GitHub::new(), WEBHOOK_SECRET).unwrap();
    let delivery = http::Request::builder().method(method).uri(path);
    signer
        .sign(delivery.body(body.to_owned()).unwrap())
        .unwrap()
}

fn webhooks(pool: &PgPool) -> Long {
    let layer = VerifyLayer::builder(GitHub::new())
        .secret(WEBHOOK_SECRET)
        .namespace("webhooks of the tests")
        .processing(Processing::InTransaction)
        .store_timeout(LIMIT);
    Long::on(pool, layer.build().unwrap())
}

/// At each place the delivery is another record, and would wait for nobody in the database.
#[tokio::test(flavor = "multi_thread")]
async fn a57_one_delivery_sent_to_many_places_holds_one_connection() {
    let Some(pool) = pool("one delivery at many places", 2).await else {
        return;
    };
    let long = webhooks(&pool);
    let first = long.begin(&delivery("{}", "POST", "/hooks/a")).await;
    let mut elsewhere = JoinSet::new();
    for method in ["POST", "GET", "PUT", "PATCH", "DELETE"] {
        for path in ["/hooks/b", "/hooks/c", "/hooks/d"] {
            let (app, sent) = (long.app.clone(), delivery("{}", method, path));
            elsewhere.spawn(async move { send(&app, &sent).await });
        }
    }
    for n in 0..5 {
        let genuine = delivery(&format!("{{\"n\":{n}}}"), "POST", "/hooks/victim");
        assert_eq!(send(&long.app, &genuine).await, done());
    }
    while let Some(told) = elsewhere.join_next().await {
        assert_eq!(told.unwrap(), refused(409, "request_in_flight"));
    }
    long.go_on.notify_one();
    assert_eq!(first.await.unwrap(), done());
    // It was used at one place, and is new at another.
    let second = long.begin(&delivery("{}", "POST", "/hooks/b")).await;
    long.go_on.notify_one();
    assert_eq!(second.await.unwrap(), done());
    assert_eq!(effects(&pool).await, 7);
}

/// The twin: as many connections as there are messages. Two of them use up the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a57_twin_two_messages_at_two_places_hold_two_connections() {
    let Some(pool) = pool("two deliveries at two places", 2).await else {
        return;
    };
    let long = webhooks(&pool);
    let first = long.begin(&delivery("{}", "POST", "/hooks/a")).await;
    let second = long.begin(&delivery("{} ", "POST", "/hooks/b")).await;
    let genuine = delivery("{\"n\":1}", "POST", "/hooks/victim");
    let told = timeout(LIMIT / 2, send(&long.app, &genuine)).await;
    assert!(told.is_err(), "there is no connection left: {told:?}");
    long.go_on.notify_waiters();
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(second.await.unwrap(), done());
}

/// A database that is not told how long to wait: `consume` as it was.
struct Patient(PgPool);
struct PatientTransaction(PooledTransaction);

impl TransactIn for Patient {
    type Transaction = PatientTransaction;
    type Connection = PgConnection;

    fn begin(&self) -> StoreFuture<'_, PatientTransaction> {
        StoreFuture::new(async {
            let begun = TransactIn::begin(&self.0).await?;
            Ok(PatientTransaction(begun))
        })
    }

    fn connection(transaction: &mut PatientTransaction) -> &mut PgConnection {
        PgPool::connection(&mut transaction.0)
    }

    fn commit(transaction: PatientTransaction) -> StoreFuture<'static, ()> {
        PgPool::commit(transaction.0)
    }

    fn rollback(transaction: PatientTransaction) -> StoreFuture<'static, ()> {
        PgPool::rollback(transaction.0)
    }
}

impl ConsumeIn for PatientTransaction {
    fn consume<'a>(&'a mut self, claim: &'a Claim, _: Duration) -> StoreFuture<'a, ClaimOutcome> {
        self.0.consume(claim, HOUR)
    }

    fn is_recorded<'a>(&'a mut self, claim: &'a Claim) -> StoreFuture<'a, bool> {
        self.0.is_recorded(claim)
    }
}

/// Each layer acts as a process of its own, so the layers share no turns.
#[tokio::test(flavor = "multi_thread")]
async fn a57_a_duplicate_in_another_process_gives_its_connection_back() {
    let Some(pool) = pool("duplicates in two processes", 2).await else {
        return;
    };
    let clock = clock();
    let hasty = || layer(&clock).store_timeout(LIMIT).build().unwrap();
    let long = Long::on(&pool, hasty());
    let other = transacting(&pool, hasty());
    let first_order = order(&clock);
    let first = long.begin(&first_order).await;
    assert_eq!(send(&other, &first_order).await, unavailable());
    // The server has given up by itself: nothing waits, and the connection is good.
    assert_eq!(database::waiting(&pool).await, 0);
    assert_eq!(send(&other, &another(&clock)).await, done());

    // The twin: the server waits on, and only closing the connection makes room in the pool.
    let patient = {
        let pool = pool.clone();
        app(hasty(), async move |pending: PendingPayload| -> Answer {
            let work = async |_: &mut PgConnection, _| Ok("done".to_owned());
            pending.transact(&Patient(pool.clone()), work).await
        })
    };
    assert_eq!(send(&patient, &first_order).await, unavailable());
    assert_eq!(database::waiting(&pool).await, 1, "the server still waits");
    assert_eq!(send(&other, &another(&clock)).await, done());

    long.go_on.notify_one();
    assert_eq!(first.await.unwrap(), done());
    assert_eq!(effects(&pool).await, 3);
}

/// A sender that hangs up leaves a statement without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a57_a_connection_without_an_answer_is_closed_and_not_returned() {
    let Some(pool) = pool("connections without an answer", 1).await else {
        return;
    };
    let asleep = async |connection: &mut PgConnection| {
        let asleep = sqlx::raw_sql("SELECT pg_sleep(30)").execute(connection);
        assert!(timeout(Duration::from_millis(50), asleep).await.is_err());
    };
    let is_free = async || timeout(LIMIT, pool.acquire()).await.is_ok();
    let mut ours = TransactIn::begin(&pool).await.unwrap();
    asleep(PgPool::connection(&mut ours)).await;
    drop(ours);
    assert!(is_free().await, "it was closed, and replaced");

    // The twin: sqlx's own transaction returns it, and the pool waits for the answer.
    let mut theirs = pool.begin().await.unwrap();
    asleep(&mut theirs).await;
    drop(theirs);
    assert!(!is_free().await);
}

/// The limit is that of one statement, whatever the transaction has set.
#[tokio::test]
async fn a57_the_lock_timeout_is_the_transactions_own_again() {
    let Some(pool) = pool("a lock timeout", 3).await else {
        return;
    };
    let clock = clock();
    for (set, kept) in [
        ("SET LOCAL lock_timeout = '7s'", "7s"),
        ("SET lock_timeout = '8s'", "8s"),
        ("SET LOCAL lock_timeout = '1ms'", "1ms"),
        ("RESET lock_timeout", "0"),
    ] {
        let service = {
            let pool = pool.clone();
            let layer = layer(&clock).store_timeout(LIMIT).build().unwrap();
            app(layer, async move |pending: PendingPayload| -> Answer {
                let mut tx = pool.begin().await.unwrap();
                run(&mut tx, set).await;
                let payload = pending.consume(&mut tx).await?;
                effect(&mut tx, &payload).await;
                let shown = sqlx::query_scalar("SHOW lock_timeout");
                let shown: String = shown.fetch_one(&mut *tx).await.unwrap();
                run(&mut tx, "RESET lock_timeout").await;
                tx.commit().await.unwrap();
                Ok(shown)
            })
        };
        assert_eq!(send(&service, &order(&clock)).await, (200, kept.to_owned()));
    }
}
