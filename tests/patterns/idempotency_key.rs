//! Idempotency key: a client sends one payment again and again, signed again each time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use countersign::{MemoryStore, Signer};
use http::{Request, StatusCode};

use super::{Answers, Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{self, CLIENTS, Gap, at_once, count, keys, patient, rounds},
};

#[path = "../../src/guide/patterns/idempotency_key.rs"]
mod answer;

const TABLES: &str = "
    CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
    INSERT INTO accounts VALUES (1, 0)";

/// One payment of 1, and each retry is signed by itself.
fn retries(round: usize, clients: usize) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..clients).map(move |_| {
        let payment = Request::post(format!("{ORIGIN}/payments"))
            .header("content-type", "application/json")
            .header("idempotency-key", format!("\"payment {round}\""))
            .body(r#"{"account":1,"amount":1}"#.to_owned());
        signer.sign(payment.unwrap()).unwrap()
    })
}

async fn paid(pool: &Pool) -> i64 {
    let balance = sqlx::query_scalar("SELECT -balance FROM accounts WHERE id = 1");
    balance.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_retries_of_one_payment_one_pays() {
    let Some(Database { pool, .. }) = &Database::with("idempotency key", TABLES).await else {
        return;
    };
    Answers::migrate(pool).await.unwrap();
    let idempotency = answer::idempotency(Answers::open(pool.clone()).await.unwrap()).unwrap();
    let nonces = MemoryStore::new().danger_assume_no_history();
    let verify = answer::verify(keys(), nonces, &idempotency).unwrap();
    let app = answer::app(pool.clone(), idempotency, patient(verify));
    for round in rounds() {
        let answers = at_once(&app, retries(round, CLIENTS)).await;
        let paid_now = round as i64 + 1;
        let answered = (201, format!("-{paid_now} left"));
        for answer in &answers {
            let waits = answer.0 == 409 && answer.1 == "request_in_flight";
            // A client that the database keeps waiting for too long is refused, and pays nothing.
            let is_refused = answer.0 == 503;
            assert!(*answer == answered || waits || is_refused, "{answer:?}");
        }
        let is_paid = i64::from(answers.contains(&answered));
        assert_eq!(paid(pool).await, round as i64 + is_paid, "{answers:?}");
        // A client that asks later gets the answer, also one that was told to wait, or that was refused.
        let later = loop {
            match at_once(&app, retries(round, 1)).await {
                refused if refused[0].0 == 503 => {}
                later => break later,
            }
        };
        assert_eq!(later, [answered]);
        assert_eq!(paid(pool).await, paid_now);
    }
}

type Seen = Arc<Mutex<HashMap<String, String>>>;

/// As it is often written, behind a middleware that verifies: look, pay, remember.
async fn twin(
    State((pool, seen, gap)): State<(Pool, Seen, Gap)>,
    headers: HeaderMap,
    _: Bytes,
) -> Result<(StatusCode, String), Failure> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let found = seen.lock().unwrap().get(&key).cloned();
    if let Some(answer) = found {
        return Ok((StatusCode::CREATED, answer));
    }
    gap.hold().await;
    let pay = "UPDATE accounts SET balance = balance - 1 WHERE id = 1 RETURNING balance";
    let balance: i64 = sqlx::query_scalar(pay).fetch_one(&pool).await?;
    let answer = format!("{balance} left");
    seen.lock().unwrap().insert(key, answer.clone());
    Ok((StatusCode::CREATED, answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_key_that_is_looked_up_before_the_payment_pays_for_each_retry() {
    let Some(Database { pool, .. }) = &Database::with("idempotency key, twin", TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/payments", post(twin))
        .layer(harness::middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), Seen::default(), Gap::of(CLIENTS)));
    for round in rounds() {
        let answers = at_once(&app, retries(round, CLIENTS)).await;
        assert_eq!(count(&answers, 201), CLIENTS, "{answers:?}");
        assert_eq!(paid(pool).await, (CLIENTS * (round + 1)) as i64);
    }
}
