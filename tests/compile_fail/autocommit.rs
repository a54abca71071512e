//! A nonce is not consumed where each statement commits by itself, and the message says what to do.

use countersign::{PendingPayload, Rejection};
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

async fn bare(pending: PendingPayload, connection: &mut PgConnection) {
    let _ = pending.consume(connection).await;
}

async fn pooled(pending: PendingPayload, mut connection: PoolConnection<Postgres>) {
    let _ = pending.consume(&mut connection).await;
}

async fn pool(pending: PendingPayload, mut pool: PgPool) {
    let _ = pending.consume(&mut pool).await;
}

async fn shared_pool(pending: PendingPayload, pool: PgPool) {
    let _ = pending.consume(&pool).await;
}

async fn begun_by_a_connection(pending: PendingPayload, connection: PgConnection) {
    let _: Result<(), Rejection> = pending.transact(&connection, async |_, _| Ok(())).await;
}

fn main() {}
