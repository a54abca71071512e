//! A ledger that is hammered with duplicates, races and stale versions, and whose money adds up: beside
//! one without signatures, transactions and versions, in which it does not.
//!
//! On SQLite, in a temporary file:
//! `cargo run --example transfer --features sqlite`
//!
//! On PostgreSQL:
//! `cargo run --example transfer --features sqlite,postgres -- postgres://…`
//!
//! Each transfer is signed for the version of the account that it takes money from (`If-Match`), and
//! sent three times at once. Its nonce, its check and its change are in one transaction. The account
//! is a parameter of the path, and the currency one of the query: both are read from the payload.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example for people to read"
)]

use std::{
    error::Error as StdError,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use countersign::{
    HttpMessageSignatures, KeyRing, PendingPayload, Processing, Rejection, Signer, VerifyLayer,
    axum::ExtractRejection, rfc9421::Component, store::SqliteStore,
};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::task::{JoinSet, yield_now};
use tower::ServiceExt as _;

const ORIGIN: &str = "https://bank.example.com";
const KEY: &str = "partner-1";
const SECRET: &str = "a secret that only the partner and we know";

const ACCOUNTS: i64 = 6;
const EACH: i64 = 1000;
const SENDERS: i64 = 8;
const TRANSFERS: i64 = 15;
const COPIES: usize = 3;

/// `POST /accounts/{from}/transfers?currency=EUR`, with this body.
#[derive(serde::Serialize, serde::Deserialize)]
struct Transfer {
    to: i64,
    amount: i64,
}

const ROUTE: &str = "/accounts/{from}/transfers";
const CURRENCY: &str = "EUR";

/// The parameters of the path.
#[derive(serde::Deserialize)]
struct Place {
    from: i64,
}

/// The parameters of the query.
#[derive(serde::Deserialize)]
struct Asked {
    currency: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Account {
    balance: i64,
    version: i64,
}

impl From<(i64, i64)> for Account {
    fn from((balance, version): (i64, i64)) -> Self {
        Self { balance, version }
    }
}

type AnyError = Box<dyn StdError + Send + Sync>;

/// Why a transfer was not made.
enum Error {
    /// Copies, stale versions, and whatever else the crate refuses.
    Refused(ExtractRejection),
    NotEnoughMoney,
    OtherCurrency,
    Malformed(serde_json::Error),
    Database(sqlx::Error),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection.into())
    }
}

impl From<ExtractRejection> for Error {
    fn from(rejection: ExtractRejection) -> Self {
        Self::Refused(rejection)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(rejection) => rejection.into_response(),
            Self::NotEnoughMoney => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            Self::OtherCurrency => StatusCode::BAD_REQUEST.into_response(),
            Self::Malformed(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            Self::Database(error) => {
                eprintln!("  the database: {error}");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }
}

const ACCOUNT: &str = "SELECT balance, version FROM accounts WHERE id = $1";

const TABLES: &str = "
    DROP TABLE IF EXISTS accounts;
    CREATE TABLE accounts (
        id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL
    )";

/// The handlers, for one database: what differs is its type, and how a row is locked.
macro_rules! ledger {
    ($name:ident, $pool:ty, $connection:ty, $lock:literal) => {
        mod $name {
            use super::*;

            pub(super) async fn open_accounts(pool: &$pool) -> Result<(), sqlx::Error> {
                sqlx::raw_sql(TABLES).execute(pool).await?;
                for id in 0..ACCOUNTS {
                    sqlx::query("INSERT INTO accounts VALUES ($1, $2, 1)")
                        .bind(id)
                        .bind(EACH)
                        .execute(pool)
                        .await?;
                }
                Ok(())
            }

            /// In one transaction: the nonce, the locks, the version, and both changes.
            async fn transfer(
                State(pool): State<$pool>,
                pending: PendingPayload,
            ) -> Result<String, Error> {
                pending
                    .transact(&pool, async |tx, payload| {
                        let version = payload.signed_version()?; // else 428
                        let Place { from } = payload.path_params(ROUTE)?; // else 403
                        let Asked { currency } = payload.query_params()?;
                        let order: Transfer = payload.json()?;
                        if currency != CURRENCY {
                            return Err(Error::OtherCurrency);
                        }
                        // Locked in one order, so that no two wait for each other.
                        for id in [from.min(order.to), from.max(order.to)] {
                            lock(tx, id).await?;
                        }
                        if lock(tx, from).await?.balance < order.amount {
                            return Err(Error::NotEnoughMoney);
                        }
                        // The check and the change are one statement: 0 rows are a 412.
                        let taken = sqlx::query(
                            "UPDATE accounts SET balance = balance - $3, version = version + 1
                             WHERE id = $1 AND version = $2",
                        )
                        .bind(from)
                        .bind(version.parse::<i64>()?)
                        .bind(order.amount)
                        .execute(&mut *tx)
                        .await?;
                        version.require_changed(taken.rows_affected())?;
                        sqlx::query(
                            "UPDATE accounts SET balance = balance + $2, version = version + 1
                             WHERE id = $1",
                        )
                        .bind(order.to)
                        .bind(order.amount)
                        .execute(&mut *tx)
                        .await?;
                        Ok("transferred".to_owned())
                    })
                    .await
            }

            async fn lock(tx: &mut $connection, id: i64) -> Result<Account, sqlx::Error> {
                sqlx::query_as(concat!(
                    "SELECT balance, version FROM accounts WHERE id = $1",
                    $lock
                ))
                .bind(id)
                .fetch_one(tx)
                .await
                .map(<(i64, i64)>::into)
            }

            /// As it is often written: read, compute, write.
            async fn transfer_unguarded(
                State(pool): State<$pool>,
                Path(id): Path<i64>,
                Json(order): Json<Transfer>,
            ) -> Result<String, Error> {
                let from = read(&pool, id).await?;
                let to = read(&pool, order.to).await?;
                if from.balance < order.amount {
                    return Err(Error::NotEnoughMoney);
                }
                yield_now().await;
                for (id, balance) in [
                    (id, from.balance - order.amount),
                    (order.to, to.balance + order.amount),
                ] {
                    sqlx::query("UPDATE accounts SET balance = $2 WHERE id = $1")
                        .bind(id)
                        .bind(balance)
                        .execute(&pool)
                        .await?;
                }
                Ok("transferred".to_owned())
            }

            async fn read(pool: &$pool, id: i64) -> Result<Account, sqlx::Error> {
                let row = sqlx::query_as(ACCOUNT).bind(id).fetch_one(pool).await;
                row.map(<(i64, i64)>::into)
            }

            async fn account(
                State(pool): State<$pool>,
                Path(id): Path<i64>,
            ) -> Result<Json<Account>, Error> {
                Ok(Json(read(&pool, id).await?))
            }

            pub(super) fn guarded(pool: $pool, layer: VerifyLayer) -> Router {
                Router::new()
                    .route(ROUTE, post(transfer).layer(layer))
                    .route("/accounts/{id}", get(account))
                    .with_state(pool)
            }

            pub(super) fn unguarded(pool: $pool) -> Router {
                Router::new()
                    .route(ROUTE, post(transfer_unguarded))
                    .route("/accounts/{id}", get(account))
                    .with_state(pool)
            }
        }
    };
}

// `BEGIN IMMEDIATE` has locked the whole database.
ledger!(sqlite, sqlx::SqlitePool, sqlx::SqliteConnection, "");
#[cfg(feature = "postgres")]
ledger!(postgres, sqlx::PgPool, sqlx::PgConnection, " FOR UPDATE");

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let scheme = HttpMessageSignatures::builder()
        .covers(Component::header("if-match")?)
        .build()?;
    let layer = VerifyLayer::builder(scheme.clone())
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET)?)
        .processing(Processing::InTransaction)
        // All of the copies wait for a few connections here.
        .store_timeout(Duration::from_secs(30))
        .build()?;
    let signer = Arc::new(Signer::new(scheme, KEY, SECRET)?);

    let adds_up = match std::env::args().nth(1) {
        None => {
            let file = std::env::temp_dir().join(format!("ledger-{}.db", std::process::id()));
            let adds_up = on_sqlite(&file, layer, &signer).await;
            for end in ["", "-wal", "-shm"] {
                let mut file = file.clone().into_os_string();
                file.push(end);
                let _ = std::fs::remove_file(file);
            }
            adds_up?
        }
        #[cfg(feature = "postgres")]
        Some(url) => {
            println!("  On PostgreSQL.");
            let pool = sqlx::PgPool::connect(&url).await?;
            countersign::store::PostgresStore::migrate(&pool).await?;
            // The first start of a service that has used nothing else before.
            countersign::store::PostgresStore::danger_assume_no_history(&pool).await?;
            postgres::open_accounts(&pool).await?;
            let with = hammer(postgres::guarded(pool.clone(), layer), Some(&signer)).await?;
            postgres::open_accounts(&pool).await?;
            let without = hammer(postgres::unguarded(pool), None).await?;
            with && !without
        }
        #[cfg(not(feature = "postgres"))]
        Some(_) => return Err("for PostgreSQL, add `--features sqlite,postgres`".into()),
    };
    Ok(if adds_up {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn on_sqlite(
    file: &std::path::Path,
    layer: VerifyLayer,
    signer: &Arc<Signer>,
) -> Result<bool, AnyError> {
    use sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    };

    println!("  On SQLite, in {}.", file.display());
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Below the verifier's `store_timeout`.
        .busy_timeout(Duration::from_secs(20));
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await?;
    SqliteStore::migrate(&pool).await?;
    // The first start of a service that has used nothing else before.
    SqliteStore::danger_assume_no_history(&pool).await?;
    sqlite::open_accounts(&pool).await?;
    let with = hammer(sqlite::guarded(pool.clone(), layer), Some(signer)).await?;
    sqlite::open_accounts(&pool).await?;
    let without = hammer(sqlite::unguarded(pool.clone()), None).await?;
    pool.close().await;
    Ok(with && !without)
}

/// A request, and its answer.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    copies_refused: AtomicU64,
    stale: AtomicU64,
    made: AtomicU64,
    /// By account, what the transfers that succeeded should have changed.
    changes: Vec<AtomicI64>,
}

/// Senders that race each other; then whether the money adds up.
async fn hammer(app: Router, signer: Option<&Arc<Signer>>) -> Result<bool, AnyError> {
    println!(
        "\n  {}: {SENDERS} senders, {TRANSFERS} transfers each, every one sent {COPIES} times at \
         once.",
        if signer.is_some() {
            "Signed, in one transaction, for one version"
        } else {
            "Unguarded"
        }
    );
    let tally = Arc::new(Tally {
        changes: (0..ACCOUNTS).map(|_| AtomicI64::new(0)).collect(),
        ..Tally::default()
    });
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (app, tally) = (app.clone(), Arc::clone(&tally));
        let signer = signer.cloned();
        senders.spawn(async move {
            for n in 0..TRANSFERS {
                let from = (sender + n) % ACCOUNTS;
                let transfer = Transfer {
                    to: (from + 1 + n % (ACCOUNTS - 1)) % ACCOUNTS,
                    amount: 1 + (sender * 7 + n * 3) % 20,
                };
                send_until_made(&app, signer.as_deref(), from, &transfer, &tally).await?;
            }
            Ok::<_, AnyError>(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
        print!(".");
    }
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    println!(
        "\n  {} requests sent, {} transfers made, {} duplicates refused, {} stale versions refused.",
        count(&tally.sent),
        count(&tally.made),
        count(&tally.copies_refused),
        count(&tally.stale),
    );

    let mut adds_up = true;
    let mut total = 0;
    println!("  {:<10}{:>10}{:>10}", "account", "balance", "expected");
    for (id, change) in (0..).zip(&tally.changes) {
        let balance = account(&app, id).await?.balance;
        let expected = EACH + change.load(Ordering::SeqCst);
        let mark = if balance == expected { "" } else { "   <--" };
        println!("  {id:<10}{balance:>10}{expected:>10}{mark}");
        adds_up &= balance == expected;
        total += balance;
    }
    println!("  {:<10}{total:>10}{:>10}", "all", ACCOUNTS * EACH);
    adds_up &= total == ACCOUNTS * EACH;
    println!(
        "  The money {}.",
        if adds_up {
            "adds up"
        } else {
            "does not add up"
        }
    );
    Ok(adds_up)
}

/// Reads the version, signs for it, and sends; and again while the version is stale by then.
async fn send_until_made(
    app: &Router,
    signer: Option<&Signer>,
    from: i64,
    transfer: &Transfer,
    tally: &Tally,
) -> Result<(), AnyError> {
    loop {
        let version = account(app, from).await?.version;
        let uri = format!("{ORIGIN}/accounts/{from}/transfers?currency={CURRENCY}");
        let request = Request::post(uri)
            .header("content-type", "application/json")
            .header("if-match", format!("\"{version}\""))
            .body(serde_json::to_string(transfer)?)?;
        let request = match signer {
            Some(signer) => signer.sign(request)?,
            None => request,
        };
        let mut copies = JoinSet::new();
        for _ in 0..COPIES {
            let request = request.clone().map(Body::from);
            copies.spawn(app.clone().oneshot(request));
            tally.sent.fetch_add(1, Ordering::SeqCst);
        }
        let mut made = 0;
        while let Some(response) = copies.join_next().await {
            match response??.status() {
                StatusCode::OK => made += 1,
                StatusCode::CONFLICT => {
                    tally.copies_refused.fetch_add(1, Ordering::SeqCst);
                }
                StatusCode::PRECONDITION_FAILED => {
                    tally.stale.fetch_add(1, Ordering::SeqCst);
                }
                StatusCode::UNPROCESSABLE_ENTITY => return Ok(()),
                other => return Err(format!("answered with {other}").into()),
            }
        }
        if made > 0 {
            // However many copies were told so, the sender has asked for one transfer.
            tally.made.fetch_add(made, Ordering::SeqCst);
            for (id, change) in (0..).zip(&tally.changes) {
                if id == from {
                    change.fetch_sub(transfer.amount, Ordering::SeqCst);
                } else if id == transfer.to {
                    change.fetch_add(transfer.amount, Ordering::SeqCst);
                }
            }
            return Ok(());
        }
    }
}

async fn account(app: &Router, id: i64) -> Result<Account, AnyError> {
    let request = Request::get(format!("{ORIGIN}/accounts/{id}")).body(Body::empty())?;
    let response = app.clone().oneshot(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}
