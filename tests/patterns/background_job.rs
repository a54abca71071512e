//! Background job: a job is delivered to all workers at once, and one of them does it.

use std::sync::Arc;

use axum::response::IntoResponse as _;
use countersign::{KeyRing, Signer, envelope::Envelopes};
use http::Request;
use tokio::{sync::Barrier, task::JoinSet};

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{CLIENTS, Gap, at_once, count, keys, patient, rounds},
};

#[path = "../../src/guide/patterns/background_job.rs"]
mod answer;

// SQLite takes any name for a type.
const TABLES: &str = "
    CREATE TABLE jobs (job bytea NOT NULL);
    CREATE TABLE parcels (of_order bigint NOT NULL)";

fn envelopes() -> Envelopes {
    let ring = KeyRing::new().with("2026-11", "a secret of envelopes alone");
    answer::envelopes(ring.unwrap()).unwrap()
}

/// One request, and copies of it.
fn order(id: usize) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    let order = Request::post(format!("{ORIGIN}/orders"))
        .header("content-type", "application/json")
        .body(format!(r#"{{"id":{id}}}"#));
    let signed = signer.sign(order.unwrap()).unwrap();
    std::iter::repeat_n(signed, CLIENTS)
}

async fn jobs(pool: &Pool) -> Vec<Vec<u8>> {
    let jobs = sqlx::query_scalar("SELECT job FROM jobs")
        .fetch_all(pool)
        .await;
    sqlx::query("DELETE FROM jobs").execute(pool).await.unwrap();
    jobs.unwrap()
}

async fn parcels(pool: &Pool, order: usize) -> i64 {
    let parcels = sqlx::query_scalar("SELECT count(*) FROM parcels WHERE of_order = $1");
    parcels.bind(order as i64).fetch_one(pool).await.unwrap()
}

/// Delivers a job to all workers at once. Returns the status of what each answers.
async fn delivered<F>(work: impl Fn() -> F) -> Vec<(u16, String)>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let released = Arc::new(Barrier::new(CLIENTS));
    let mut workers = JoinSet::new();
    for _ in 0..CLIENTS {
        let (work, released) = (work(), Arc::clone(&released));
        workers.spawn(async move {
            released.wait().await;
            let status = match work.await {
                Ok(()) => 200,
                Err(failure) => failure.into_response().status().as_u16(),
            };
            (status, String::new())
        });
    }
    workers.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_by_one_worker_however_often_it_is_delivered() {
    let Some(Database { pool, .. }) = &Database::with("background job", TABLES).await else {
        return;
    };
    let envelopes = envelopes();
    let layer = patient(answer::layer(keys()).unwrap());
    let app = answer::app(pool.clone(), envelopes.clone(), layer);
    for id in rounds() {
        let answers = at_once(&app, order(id)).await;
        assert_eq!(count(&answers, 202), 1, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - 1, "{answers:?}");
        let jobs = jobs(pool).await;
        let [job] = &jobs[..] else {
            panic!("{} jobs", jobs.len());
        };
        let answers = delivered(|| {
            let (pool, envelopes, job) = (pool.clone(), envelopes.clone(), job.clone());
            async move { answer::work(&pool, &envelopes, &job).await }
        })
        .await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 409), CLIENTS - 1, "{answers:?}");
        assert_eq!(parcels(pool, id).await, 1);
        // A job that somebody has altered is not done.
        let mut altered = job.clone();
        let place = altered
            .windows(5)
            .position(|text| text == b"\"id\":")
            .unwrap()
            + 5;
        altered[place] ^= 1;
        let refused = answer::work(pool, &envelopes, &altered).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 403);
    }
}

/// As it is often written: look whether the parcel is there, then send it.
async fn twin(pool: Pool, gap: Gap, id: i64) -> Result<(), Failure> {
    let sent: i64 = sqlx::query_scalar("SELECT count(*) FROM parcels WHERE of_order = $1")
        .bind(id)
        .fetch_one(&pool)
        .await?;
    if sent > 0 {
        return Ok(());
    }
    gap.hold().await;
    let parcel = sqlx::query("INSERT INTO parcels VALUES ($1)").bind(id);
    parcel.execute(&pool).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_parcel_that_is_looked_for_first_is_sent_by_every_worker() {
    let Some(Database { pool, .. }) = &Database::with("background job, twin", TABLES).await else {
        return;
    };
    let gap = Gap::of(CLIENTS);
    for id in rounds() {
        let answers = delivered(|| twin(pool.clone(), gap.clone(), id as i64)).await;
        assert_eq!(count(&answers, 200), CLIENTS);
        assert_eq!(parcels(pool, id).await, CLIENTS as i64);
    }
}
