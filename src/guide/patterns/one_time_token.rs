// The token is recorded in the transaction that pays the voucher out.

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::post,
};
use countersign::{
    KeyRing, OneTimeToken,
    token::{InTransaction, OneTimeTokenBuilder},
};

use super::{Failure, Pool};

/// The payload of a token: whom it pays, and how much.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Voucher {
    pub account: i64,
    pub amount: i64,
}

#[derive(serde::Deserialize)]
struct Link {
    token: String,
}

pub type Vouchers = OneTimeToken<Voucher, InTransaction>;

/// To be built when the service starts: `vouchers(keys, "2026-11").build()?`.
pub fn vouchers(keys: KeyRing, issue_under: &str) -> OneTimeTokenBuilder<Voucher, InTransaction> {
    OneTimeToken::builder("voucher")
        .keys(keys)
        .issue_under(issue_under)
        .in_transaction()
}

pub fn app(pool: Pool, vouchers: Vouchers) -> Router {
    Router::new()
        .route("/accounts/{id}/vouchers", post(redeem))
        .with_state((pool, vouchers))
}

/// `POST /accounts/1/vouchers?token=…`
async fn redeem(
    State((pool, vouchers)): State<(Pool, Vouchers)>,
    Path(account): Path<String>,
    Query(Link { token }): Query<Link>,
) -> Result<(), Failure> {
    // A token for another account is refused here, and not used up.
    let pending = vouchers.verify_for(&token, "/account", &account).await?;
    pending
        .transact(&pool, async |tx, voucher: Voucher| {
            sqlx::query("INSERT INTO credits VALUES ($1, $2)")
                .bind(voucher.account)
                .bind(voucher.amount)
                .execute(tx)
                .await?;
            Ok(())
        })
        .await
}
