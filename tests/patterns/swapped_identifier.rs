//! Swapped identifier: each client has a signature for its own account, and sends it to another's.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use countersign::{Signer, VerifiedJson};
use http::{Request, StatusCode};

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/swapped_identifier.rs"]
mod answer;

const TABLES: &str = "CREATE TABLE accounts (id text PRIMARY KEY, closed text)";

/// Signed for each client's own account, and sent to the one of this name.
fn closings(sent_to: &'static str) -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |client| {
        let close = Request::post(format!("{ORIGIN}/accounts/{sent_to}-{client}/close"))
            .header("content-type", "application/json")
            .body(format!(
                r#"{{"account_id":"own-{client}","reason":"moved"}}"#
            ));
        signer.sign(close.unwrap()).unwrap()
    })
}

async fn open_accounts(pool: &Pool) {
    let clear = sqlx::query("DELETE FROM accounts");
    clear.execute(pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    for client in 0..CLIENTS {
        for whose in ["own", "victim"] {
            let open = sqlx::query("INSERT INTO accounts VALUES ($1, NULL)");
            let open = open.bind(format!("{whose}-{client}"));
            open.execute(&mut *tx).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

async fn closed(pool: &Pool, whose: &str) -> usize {
    let closed = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM accounts WHERE closed = 'moved' AND id LIKE $1",
    );
    let closed = closed.bind(format!("{whose}-%")).fetch_one(pool).await;
    usize::try_from(closed.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_for_one_account_closes_no_other() {
    let Some(Database { pool, .. }) = &Database::with("swapped identifier", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for _ in rounds() {
        open_accounts(pool).await;
        let answers = at_once(&app, closings("victim")).await;
        assert_eq!(count(&answers, 403), CLIENTS, "{answers:?}");
        assert!(answers.iter().all(|(_, code)| code == "resource_mismatch"));
        assert_eq!(
            (closed(pool, "own").await, closed(pool, "victim").await),
            (0, 0)
        );
        let answers = at_once(&app, closings("own")).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(
            (closed(pool, "own").await, closed(pool, "victim").await),
            (CLIENTS, 0)
        );
    }
}

/// As it is often written, behind a middleware that verifies: the account of the body is looked at,
/// and the account of the path is closed.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(account): Path<String>,
    VerifiedJson(body): VerifiedJson<serde_json::Value>,
) -> Result<StatusCode, Failure> {
    let open = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM accounts WHERE id = $1 AND closed IS NULL",
    );
    let open = open
        .bind(body["account_id"].as_str())
        .fetch_one(&pool)
        .await?;
    if open != 1 {
        return Ok(StatusCode::CONFLICT);
    }
    gap.hold().await;
    let close = sqlx::query("UPDATE accounts SET closed = $2 WHERE id = $1");
    let close = close.bind(account).bind(body["reason"].as_str());
    close.execute(&pool).await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_handler_that_goes_by_the_path_closes_what_nobody_signed() {
    let test = "swapped identifier, twin";
    let Some(Database { pool, .. }) = &Database::with(test, TABLES).await else {
        return;
    };
    let app = Router::new()
        .route("/accounts/{account_id}/close", post(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), Gap::of(CLIENTS)));
    for _ in rounds() {
        open_accounts(pool).await;
        let answers = at_once(&app, closings("victim")).await;
        assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
        assert_eq!(
            (closed(pool, "own").await, closed(pool, "victim").await),
            (0, CLIENTS)
        );
    }
}
