//! The use of this crate.

use axum::{Json, Router, body::Bytes, extract::{Path, Query}, http::HeaderMap, routing::{get, post}};
use countersign::{VerifiedJson, VerifiedPath, VerifiedPayload, VerifyLayer};

// unverified-extractor
fn app() -> Router {
    let layer = VerifyLayer::builder(Scheme::default()).build().unwrap();
    Router::new()
        .route("/json", post(json))
        .route("/path/{id}", post(path))
        .route("/query", get(query).post(bytes))
        .route("/verified", post(verified))
        .route("/verified/{id}", post(verified_path))
        .route("/payload", post(payload))
        .route("/nothing", post(nothing))
        .layer(layer)
}

async fn json(Json(order): Json<Order>) {} // expect: unverified-extractor

async fn path(payload: VerifiedPayload, Path(id): Path<u64>) {} // expect: unverified-extractor

async fn query(Query(page): Query<Page>) {} // expect: unverified-extractor

async fn bytes(headers: HeaderMap, body: Bytes) {} // expect: unverified-extractor

async fn verified(VerifiedJson(order): VerifiedJson<Order>) {} // fine: unverified-extractor

async fn verified_path(VerifiedPath(id): VerifiedPath<u64>) {} // fine: unverified-extractor

async fn payload(payload: VerifiedPayload) {} // fine: unverified-extractor

async fn nothing() {} // fine: unverified-extractor

// route-without-verification
fn routes_after(layer: VerifyLayer) -> Router {
    let layer = layers(VerifyLayer::builder(Scheme::default()));
    Router::new()
        .route("/covered", post(verified))
        .layer(layer)
        .route("/health", get(nothing))
        .route("/admin", post(nothing)) // expect: route-without-verification
        .route("/user", get(nothing).delete(nothing)) // expect: route-without-verification
        .route("/item", put(nothing)) // expect: route-without-verification
        .route("/part", patch(nothing)) // expect: route-without-verification
}

fn all_covered() -> Router { // fine: route-without-verification
    Router::new().route("/a", post(verified)).route("/b", post(payload)).layer(VerifyLayer::builder(Scheme::default()))
}

fn only_reads_after() -> Router { // fine: route-without-verification
    Router::new().route("/a", post(verified)).layer(VerifyLayer::builder(Scheme::default())).route("/health", get(nothing))
}

fn covered_again() -> Router { // fine: route-without-verification
    Router::new()
        .route("/a", post(verified))
        .layer(VerifyLayer::builder(One::default()))
        .route("/b", post(payload))
        .layer(VerifyLayer::builder(Other::default()))
}

fn another_layer() -> Router { // fine: route-without-verification
    Router::new().route("/a", post(nothing)).layer(TraceLayer::new_for_http()).route("/b", post(nothing))
}

// effects-outside-transaction
async fn on_the_pool(pending: PendingPayload, pool: PgPool) -> Result<(), Refused> {
    pending
        .transact(&pool, async |tx, payload| {
            sqlx::query("INSERT INTO transfers (body) VALUES ($1)").bind(payload.bytes()).execute(&pool).await // expect: effects-outside-transaction
        })
        .await
}

async fn on_the_pool_of_state(pending: PendingPayload, State(state): State<App>) -> Result<(), Refused> {
    pending.transact(&state.pool, async |tx, payload| insert(&state.pool, payload).await).await // expect: effects-outside-transaction
}

async fn on_the_pool_later(pending: PendingPayload, pool: PgPool) -> Result<(), Refused> {
    let mut tx = pool.begin().await?;
    let payload = pending.consume(&mut tx).await?;
    sqlx::query("DELETE FROM items").execute(&pool).await?; // expect: effects-outside-transaction
    tx.commit().await
}

async fn reads_on_the_pool(pending: PendingPayload, state: App) -> Result<(), Refused> {
    pending
        .transact(&state.db, async |tx, payload| {
            let row = find(&state.db, payload).await?; // expect: effects-outside-transaction
            insert(tx, row).await
        })
        .await
}

async fn in_the_transaction(pending: PendingPayload, pool: PgPool) -> Result<(), Refused> { // fine: effects-outside-transaction
    pending.transact(&pool, async |tx, payload| insert(tx, payload).await).await
}

async fn consumed_there(pending: PendingPayload, pool: PgPool) -> Result<(), Refused> { // fine: effects-outside-transaction
    let mut tx = pool.begin().await?;
    let payload = pending.consume(&mut tx).await?;
    sqlx::query("DELETE FROM items").execute(&mut *tx).await?;
    tx.commit().await
}

async fn after_the_transaction(pending: PendingPayload, pool: PgPool) -> Result<(), Refused> { // fine: effects-outside-transaction
    pending.transact(&pool, async |tx, payload| insert(tx, payload).await).await?;
    log(&pool).await
}

async fn no_payload(pool: PgPool) -> Result<(), Refused> { // fine: effects-outside-transaction
    sqlx::query("DELETE FROM items").execute(&pool).await
}

// danger-without-reason
fn weakened() -> VerifyLayer {
    VerifyLayer::builder(Scheme::default())
        .danger_any_authority() /* expect: danger-without-reason */
        .build()
}

fn weakened_store() -> MemoryStore {
    MemoryStore::new().danger_assume_no_history() /* expect: danger-without-reason */
}

fn weakened_twice(scheme: HeaderScheme) -> HeaderScheme {
    let scheme = scheme.danger_without_time(60); /* expect: danger-without-reason */
    scheme.danger_without_nonce() /* expect: danger-without-reason */
}

fn with_a_reason() -> VerifyLayer { // fine: danger-without-reason
    VerifyLayer::builder(Scheme::default())
        // Only the proxy of this machine reaches the service.
        .danger_any_authority()
        .build()
}

fn beside_it() -> MemoryStore { // fine: danger-without-reason
    MemoryStore::new().danger_assume_no_history() // the first start of a new service
}

fn above_the_statement() -> VerifyLayer { // fine: danger-without-reason
    // The provider signs no authority.
    VerifyLayer::builder(Scheme::default())
        .danger_any_authority()
        .build()
}

fn no_danger() -> VerifyLayer { // fine: danger-without-reason
    VerifyLayer::builder(Scheme::default()).build()
}
