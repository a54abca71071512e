//! A nonce is not consumed where each statement commits by itself, and the message says what to do.

use countersign::{PendingPayload, Rejection};
use sqlx::{PgPool, SqliteConnection, SqlitePool};

async fn connection(pending: PendingPayload, connection: &mut SqliteConnection) {
    let _ = pending.consume(connection).await;
}

async fn pool(pending: PendingPayload, mut pool: PgPool) {
    let _ = pending.consume(&mut pool).await;
}

async fn shared_pool(pending: PendingPayload, pool: SqlitePool) {
    let _ = pending.consume(&pool).await;
}

async fn begun_by_a_connection(pending: PendingPayload, connection: SqliteConnection) {
    let _: Result<(), Rejection> = pending.transact(&connection, async |_, _| Ok(())).await;
}

fn main() {}
