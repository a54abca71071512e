//! Row and version: all clients have read one version, and one of them changes it. The version is sent
//! in `If-Match`, or signed and not sent.

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    routing::put,
};
use countersign::{Signer, request::Supplied};
use http::{Request, StatusCode};

use super::{Connection, Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{self, CLIENTS, Gap, at_once, count, keys, patient, rounds},
};

#[path = "../../src/guide/patterns/row_and_version.rs"]
mod answer;
#[path = "../../src/guide/patterns/row_and_version_supplied.rs"]
mod supplied;

const TABLES: &str = "
    CREATE TABLE documents (id bigint PRIMARY KEY, title text NOT NULL, version bigint NOT NULL);
    INSERT INTO documents VALUES (1, 'untitled', 0)";

/// Each client signs a title of its own, for the version that all of them have read.
fn changes(version: usize) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |client| {
        let change = Request::put(format!("{ORIGIN}/documents/1"))
            .header("content-type", "application/json")
            .header("if-match", format!("\"{version}\""))
            .body(format!(r#"{{"title":"of client {client}"}}"#));
        signer.sign(change.unwrap()).unwrap()
    })
}

async fn version(pool: &Pool) -> i64 {
    let version = sqlx::query_scalar("SELECT version FROM documents WHERE id = 1");
    version.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_changes_of_one_version_one_is_made() {
    let Some(Database { pool, .. }) = &Database::with("row and version", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for round in rounds() {
        let answers = at_once(&app, changes(round)).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 412), CLIENTS - 1, "{answers:?}");
        assert_eq!(version(pool).await, round as i64 + 1);
    }
}

/// As it is often written, behind a middleware that verifies: read, compare, write.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let version: i64 = sqlx::query_scalar("SELECT version FROM documents WHERE id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await?;
    if headers["if-match"] != format!("\"{version}\"") {
        return Ok(StatusCode::PRECONDITION_FAILED);
    }
    gap.hold().await;
    let change: serde_json::Value = serde_json::from_slice(&body)?;
    sqlx::query("UPDATE documents SET title = $2, version = $3 WHERE id = $1")
        .bind(id)
        .bind(change["title"].as_str())
        .bind(version + 1)
        .execute(&pool)
        .await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_version_that_is_compared_before_the_change_loses_all_but_one() {
    let Some(Database { pool, .. }) = &Database::with("row and version, twin", TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/documents/{id}", put(twin))
        .layer(harness::middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), Gap::of(CLIENTS)));
    for round in rounds() {
        let answers = at_once(&app, changes(round)).await;
        // All are told that their change was made, and the row has changed once.
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(version(pool).await, round as i64 + 1);
    }
}

/// The same changes, of which none says its version.
fn unsaid(version: usize) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(supplied::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |client| {
        let change = Request::put(format!("{ORIGIN}/documents/1"))
            .extension(Supplied::new().with("version", version))
            .header("content-type", "application/json")
            .body(format!(r#"{{"title":"of client {client}"}}"#));
        signer.sign(change.unwrap()).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_changes_that_are_signed_for_one_version_one_is_made() {
    let Some(Database { pool, .. }) = &Database::with("supplied", TABLES).await else {
        return;
    };
    let app = supplied::app(pool.clone(), patient(supplied::layer(keys()).unwrap()));
    for round in rounds() {
        let answers = at_once(&app, unsaid(round)).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 401), CLIENTS - 1, "{answers:?}");
        assert_eq!(version(pool).await, round as i64 + 1);
    }
}

/// As the document's example goes wrong without `select_for_update()`: the version is read, the MAC
/// is compared with it, and the row is changed, each by itself.
async fn twin_supplied(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(id): Path<i64>,
    request: axum::extract::Request,
) -> Result<StatusCode, Failure> {
    let read = sqlx::query_scalar("SELECT version FROM documents WHERE id = $1").bind(id);
    let version: i64 = read.fetch_one(&pool).await?;
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1000).await.unwrap();
    let inspector = countersign::inspect::Inspector::new(supplied::scheme().unwrap())
        .supplied(Supplied::new().with("version", version));
    let signatures = inspector.inspect(&head, &body).unwrap();
    if !signatures[0].matches(&SECRET.try_into().unwrap()) {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    gap.hold().await;
    let change: serde_json::Value = serde_json::from_slice(&body)?;
    sqlx::query("UPDATE documents SET title = $2, version = $3 WHERE id = $1")
        .bind(id)
        .bind(change["title"].as_str())
        .bind(version + 1)
        .execute(&pool)
        .await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_version_that_is_supplied_without_a_lock_loses_all_but_one() {
    let Some(Database { pool, .. }) = &Database::with("supplied, twin", TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/documents/{id}", put(twin_supplied))
        .with_state((pool.clone(), Gap::of(CLIENTS)));
    for round in rounds() {
        let answers = at_once(&app, unsaid(round)).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(version(pool).await, round as i64 + 1);
    }
}
