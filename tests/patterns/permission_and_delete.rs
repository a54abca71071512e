//! Permission and delete: the post is handed over while its former owner deletes it.

use axum::{
    Router,
    extract::{Path, State},
    routing::delete,
};
use countersign::{Signer, VerifiedPayload};
use http::{Request, StatusCode};

use super::{Database, Failure, Pool};
use crate::{
    common::{KEY, ORIGIN, SECRET},
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/permission_and_delete.rs"]
mod answer;

const TABLES: &str = "CREATE TABLE posts (id bigint PRIMARY KEY, owner text NOT NULL)";

/// One client hands its post over to somebody else. All others have signed a delete of it.
fn deletes() -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (1..CLIENTS).map(move |_| {
        let delete = Request::delete(format!("{ORIGIN}/posts/1")).body(String::new());
        signer.sign(delete.unwrap()).unwrap()
    })
}

async fn write_post(pool: &Pool) {
    let post = sqlx::query("INSERT INTO posts VALUES (1, $1)").bind(KEY);
    post.execute(pool).await.unwrap();
}

/// Returns whether it was there to be handed over.
async fn hand_over(pool: &Pool) -> bool {
    let handed = sqlx::query("UPDATE posts SET owner = 'the new owner' WHERE id = 1");
    handed.execute(pool).await.unwrap().rows_affected() == 1
}

async fn posts(pool: &Pool) -> i64 {
    let posts = sqlx::query_scalar("SELECT count(*) FROM posts");
    posts.fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_was_handed_over_is_not_deleted_by_its_former_owner() {
    let Some(Database { pool, .. }) = &Database::with("permission", TABLES).await else {
        return;
    };
    let app = answer::app(pool.clone(), patient(answer::layer(keys()).unwrap()));
    for _ in rounds() {
        write_post(pool).await;
        let (handed, answers) = tokio::join!(hand_over(pool), at_once(&app, deletes()));
        // Either it was deleted once, by its owner, or it is the new owner's and there.
        let deleted = count(&answers, 200);
        assert_eq!(deleted, usize::from(!handed), "{answers:?}");
        assert_eq!(count(&answers, 404), CLIENTS - 1 - deleted, "{answers:?}");
        assert_eq!(posts(pool).await, i64::from(handed));
        sqlx::query("DELETE FROM posts")
            .execute(pool)
            .await
            .unwrap();
    }
}

/// As it is often written, behind a middleware that verifies: look up who owns it, then delete it.
async fn twin(
    State((pool, gap)): State<(Pool, Gap)>,
    Path(id): Path<i64>,
    payload: VerifiedPayload,
) -> Result<StatusCode, Failure> {
    let owner: String = sqlx::query_scalar("SELECT owner FROM posts WHERE id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await?;
    if owner != payload.key_id().as_str() {
        return Ok(StatusCode::FORBIDDEN);
    }
    gap.hold().await; // all have checked
    gap.hold().await; // the post was handed over
    let deleted = sqlx::query("DELETE FROM posts WHERE id = $1").bind(id);
    deleted.execute(&pool).await?;
    Ok(StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_permission_that_is_looked_up_first_deletes_what_belongs_to_another() {
    let Some(Database { pool, .. }) = &Database::with("permission, twin", TABLES).await else {
        return;
    };
    let gap = Gap::of(CLIENTS);
    let app = Router::new()
        .route("/posts/{id}", delete(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((pool.clone(), gap.clone()));
    for _ in rounds() {
        write_post(pool).await;
        let hands_over = async {
            gap.hold().await;
            let handed = hand_over(pool).await;
            gap.hold().await;
            handed
        };
        let (handed, answers) = tokio::join!(hands_over, at_once(&app, deletes()));
        assert_eq!(count(&answers, 200), CLIENTS - 1, "{answers:?}");
        // The new owner was told that the post is theirs, and it is gone.
        assert!(handed);
        assert_eq!(posts(pool).await, 0);
    }
}
