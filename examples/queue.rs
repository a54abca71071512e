//! A queue between a web process and two workers that are killed at random: each order is shipped
//! once. Beside it, the queue as it is often written, in which orders are shipped twice, and an order
//! that nobody signed is shipped as well.
//!
//! On SQLite, in a temporary file:
//! `cargo run --example queue --features sqlite`
//!
//! On PostgreSQL:
//! `cargo run --example queue --features sqlite,postgres -- postgres://…`
//!
//! The web process verifies an order, seals it in an envelope, and writes the job in the transaction
//! that records the nonce. A worker takes a job, opens the envelope, ships in the transaction that
//! records its use, and then removes the job. If it dies in between, the job comes again. The workers
//! are processes of their own, and die by SIGKILL.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example for people to read"
)]

use std::{
    env,
    error::Error as StdError,
    fmt,
    hash::{BuildHasher as _, RandomState},
    process::{Child, Command, ExitCode},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use countersign::{
    Clock as _, ConfigError, HttpMessageSignatures, KeyRing, PendingPayload, Processing, Rejection,
    RejectionKind, Signer, VerifyLayer,
    clock::SystemClock,
    envelope::{Deadline, Envelopes, PayloadEnvelope},
};
use http::{Request, StatusCode};
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt as _;

const ORIGIN: &str = "https://shop.example.com";
const KEY: &str = "partner-1";
const SECRET: &str = "a secret that only the partner and we know";

const ORDERS: i64 = 60;
/// How often each order is sent, at once.
const COPIES: usize = 3;
/// The time that the carrier takes to answer.
const SHIPPING: Duration = Duration::from_millis(12);
/// When a job that was taken, and neither removed nor put off, is delivered once more.
const INVISIBLE: Duration = Duration::from_millis(250);
/// For how long a worker lives, at most.
const LIFE: Duration = Duration::from_millis(250);

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    id: i64,
}

type AnyError = Box<dyn StdError + Send + Sync>;

fn envelopes() -> Result<Envelopes, ConfigError> {
    envelopes_with(KeyRing::new().with("2026-11", "a secret of this service alone")?)
}

/// No sender has a secret of this ring: anybody who has one can write jobs.
fn envelopes_with(keys: KeyRing) -> Result<Envelopes, ConfigError> {
    PayloadEnvelope::builder("ship-order")
        .keys(keys)
        .seal_under("2026-11")
        // Both workers wait for one file.
        .store_timeout(Duration::from_secs(30))
        .build()
}

enum Error {
    Refused(Rejection),
    NoOrder,
    Other(AnyError),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl<E: StdError + Send + Sync + 'static> From<Box<E>> for Error {
    fn from(error: Box<E>) -> Self {
        Self::Other(error)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rejection) => rejection.fmt(f),
            Self::NoOrder => f.write_str("the body is not an order"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(rejection) => rejection.into_response(),
            Self::NoOrder => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            Self::Other(error) => {
                eprintln!("  {error}");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
        }
    }
}

fn now() -> i64 {
    i64::try_from(SystemClock::default().now().as_millis()).unwrap_or(i64::MAX)
}

/// Web process and worker, for one database: what differs is its types, and how a row is locked.
macro_rules! queue {
    ($name:ident, $pool:ty, $bytes:literal, $lock:literal) => {
        mod $name {
            use super::*;

            pub(super) async fn tables(pool: &$pool) -> Result<(), sqlx::Error> {
                sqlx::raw_sql(concat!(
                    "DROP TABLE IF EXISTS jobs; DROP TABLE IF EXISTS shipments;
                     CREATE TABLE jobs (job ",
                    $bytes,
                    " NOT NULL, due_ms bigint NOT NULL,
                                        attempts bigint NOT NULL, id text PRIMARY KEY);
                     CREATE TABLE shipments (order_id bigint NOT NULL)"
                ))
                .execute(pool)
                .await
                .map(drop)
            }

            async fn enqueue(
                tx: impl sqlx::Executor<'_, Database = <$pool as OfDatabase>::Database>,
                job: Vec<u8>,
            ) -> Result<(), sqlx::Error> {
                let id = format!("{:016x}", random());
                sqlx::query("INSERT INTO jobs VALUES ($1, 0, 0, $2)")
                    .bind(job)
                    .bind(id)
                    .execute(tx)
                    .await
                    .map(drop)
            }

            /// The nonce and the job are recorded together, or neither.
            async fn accept(
                State((pool, envelopes)): State<($pool, Envelopes)>,
                pending: PendingPayload,
            ) -> Result<StatusCode, Error> {
                pending
                    .transact(&pool, async |tx, payload| {
                        // A worker could do nothing else with it than give up.
                        let _: Order = payload.json().map_err(|_| Error::NoOrder)?;
                        let hour = Deadline::after(Duration::from_secs(3600));
                        let job = envelopes.seal(&payload, hour).map_err(Box::new)?;
                        enqueue(tx, job).await?;
                        Ok(StatusCode::ACCEPTED)
                    })
                    .await
            }

            /// As it is often written: the middleware has verified, and the job is the JSON.
            async fn accept_naively(
                State((pool, _)): State<($pool, Envelopes)>,
                Json(order): Json<Order>,
            ) -> Result<StatusCode, Error> {
                let job = serde_json::to_vec(&order).map_err(Box::new)?;
                enqueue(&pool, job).await?;
                Ok(StatusCode::ACCEPTED)
            }

            pub(super) fn web(pool: &$pool, envelopes: Envelopes, is_naive: bool) -> Router {
                let accept = if is_naive {
                    post(accept_naively)
                } else {
                    post(accept)
                };
                Router::new()
                    .route("/orders", accept)
                    .with_state((pool.clone(), envelopes))
            }

            /// Somebody who can write to the table copies a job, and alters the copy.
            pub(super) async fn forge(pool: &$pool) -> Result<(), AnyError> {
                let (job,): (Vec<u8>,) = sqlx::query_as("SELECT job FROM jobs LIMIT 1")
                    .fetch_one(pool)
                    .await?;
                let place = job.windows(6).position(|text| text == b"{\"id\":");
                let place = place.ok_or("no order in the job")? + 6;
                let mut forged = job;
                forged.splice(place..=place, *b"9999");
                Ok(enqueue(pool, forged).await?)
            }

            /// Takes one job after the other, until somebody kills it.
            pub(super) async fn work(pool: &$pool, is_naive: bool) -> Result<(), AnyError> {
                let envelopes = envelopes()?;
                loop {
                    if !turn(pool, &envelopes, is_naive).await? {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            }

            /// Takes one job, and says whether one was due. Nobody else has it while it is taken.
            pub(super) async fn turn(
                pool: &$pool,
                envelopes: &Envelopes,
                is_naive: bool,
            ) -> Result<bool, AnyError> {
                let taken: Option<(Vec<u8>, String, i64)> = sqlx::query_as(concat!(
                    "UPDATE jobs SET due_ms = $1, attempts = attempts + 1 WHERE id = (
                         SELECT id FROM jobs WHERE due_ms < $2 ORDER BY id LIMIT 1",
                    $lock,
                    ") RETURNING job, id, attempts"
                ))
                .bind(now() + i64::try_from(INVISIBLE.as_millis())?)
                .bind(now())
                .fetch_optional(pool)
                .await?;
                let Some((job, id, attempts)) = taken else {
                    return Ok(false);
                };
                if is_naive {
                    ship(pool, &serde_json::from_slice(&job)?).await?;
                    sleep(SHIPPING).await;
                } else {
                    match used(pool, envelopes, &job).await {
                        Ok(()) => {}
                        // Done by an earlier delivery, or not ours: only the job is left.
                        Err(Error::Refused(refused)) if is_final(refused.kind()) => {}
                        // Nobody has done it, as far as is known: it comes again, and later each time.
                        Err(error) => {
                            eprintln!("  {error}");
                            sqlx::query("UPDATE jobs SET due_ms = $1 WHERE id = $2")
                                .bind(now() + pause_ms(attempts))
                                .bind(id)
                                .execute(pool)
                                .await?;
                            return Ok(true);
                        }
                    }
                }
                // Apart from the effect, as with every queue that is not in the database.
                sqlx::query("DELETE FROM jobs WHERE id = $1")
                    .bind(id)
                    .execute(pool)
                    .await?;
                Ok(true)
            }

            /// The use of the envelope and the shipment are recorded together, or neither.
            async fn used(pool: &$pool, envelopes: &Envelopes, job: &[u8]) -> Result<(), Error> {
                let envelope = envelopes.open(job)?;
                envelope
                    .transact(pool, async |tx, payload| {
                        let order = payload.json().map_err(Box::new)?;
                        ship(tx, &order).await?;
                        sleep(SHIPPING).await;
                        Ok(())
                    })
                    .await
            }

            async fn ship(
                tx: impl sqlx::Executor<'_, Database = <$pool as OfDatabase>::Database>,
                order: &Order,
            ) -> Result<(), sqlx::Error> {
                let shipped = sqlx::query("INSERT INTO shipments VALUES ($1)").bind(order.id);
                shipped.execute(tx).await.map(drop)
            }

            pub(super) async fn jobs(pool: &$pool) -> Result<i64, sqlx::Error> {
                sqlx::query_scalar("SELECT count(*) FROM jobs")
                    .fetch_one(pool)
                    .await
            }

            /// Returns how often each order was shipped.
            pub(super) async fn shipments(pool: &$pool) -> Result<Vec<(i64, i64)>, sqlx::Error> {
                let counts = "SELECT order_id, count(*) FROM shipments GROUP BY order_id";
                sqlx::query_as(counts).fetch_all(pool).await
            }
        }
    };
}

/// Names the database of a pool.
trait OfDatabase {
    type Database: sqlx::Database;
}

impl<D: sqlx::Database> OfDatabase for sqlx::Pool<D> {
    type Database = D;
}

// One statement locks the whole database.
queue!(sqlite, sqlx::SqlitePool, "blob", "");
#[cfg(feature = "postgres")]
queue!(postgres, sqlx::PgPool, "bytea", " FOR UPDATE SKIP LOCKED");

/// After how long a job comes again that was not done: after a quarter of a second, twice that, and at
/// last every four minutes. A job that a worker can open ends at its deadline.
fn pause_ms(attempts: i64) -> i64 {
    250 << attempts.clamp(1, 11).saturating_sub(1)
}

/// Returns whether no later delivery of the job can end otherwise.
fn is_final(kind: RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::EnvelopeUsed
            | RejectionKind::EnvelopeAltered
            | RejectionKind::EnvelopeOfOtherPurpose
            | RejectionKind::EnvelopeExpired
    )
}

fn random() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// The outcome of all orders.
struct Outcome {
    accepted: usize,
    killed: usize,
    once: usize,
    more: usize,
    forged: usize,
}

/// Runs one phase: the orders are sent, a job is forged, and workers come and go until all is done.
macro_rules! phase {
    ($name:ident, $pool:expr, $database:expr, $layer:expr, $is_naive:expr) => {{
        let (pool, is_naive) = ($pool, $is_naive);
        $name::tables(pool).await?;
        let app = $name::web(pool, envelopes()?, is_naive).layer($layer);
        let accepted = send(&app).await?;
        $name::forge(pool).await?;
        let mut workers = Workers::start($database, is_naive)?;
        loop {
            let left = $name::jobs(pool).await?;
            if left == 0 {
                break;
            }
            sleep(Duration::from_millis(10)).await;
            workers.kill_who_has_lived(left)?;
        }
        let killed = workers.end()?;
        let shipments = $name::shipments(pool).await?;
        let genuine = |order: &&(i64, i64)| order.0 < ORDERS;
        let once = shipments
            .iter()
            .filter(genuine)
            .filter(|(_, count)| *count == 1)
            .count();
        let all = shipments.iter().filter(genuine).count();
        Outcome {
            accepted,
            killed,
            once,
            more: all - once,
            forged: shipments.len() - all,
        }
    }};
}

/// Two processes, each of which is killed at a random moment and started again.
struct Workers {
    arguments: [String; 2],
    running: Vec<(Child, Instant)>,
    killed: usize,
    life: Duration,
    /// How many jobs were left when a worker was killed last.
    left: i64,
}

impl Workers {
    fn start(database: &str, is_naive: bool) -> Result<Self, AnyError> {
        let how = if is_naive { "naive-worker" } else { "worker" };
        let mut workers = Self {
            arguments: [how.to_owned(), database.to_owned()],
            running: Vec::new(),
            killed: 0,
            life: LIFE,
            left: i64::MAX,
        };
        for _ in 0..2 {
            let worker = workers.spawn()?;
            workers.running.push(worker);
        }
        Ok(workers)
    }

    fn spawn(&self) -> Result<(Child, Instant), AnyError> {
        let child = Command::new(env::current_exe()?)
            .args(&self.arguments)
            .spawn()?;
        let part = u32::try_from(random() % 75)?;
        let life = self.life / 4 + self.life * part / 100;
        Ok((child, Instant::now() + life))
    }

    fn kill_who_has_lived(&mut self, left: i64) -> Result<(), AnyError> {
        for place in 0..self.running.len() {
            let Some((child, end)) = self.running.get_mut(place) else {
                continue;
            };
            if let Some(status) = child.try_wait()? {
                return Err(format!("a worker has ended by itself: {status}").into());
            }
            if *end > Instant::now() {
                continue;
            }
            child.kill()?;
            child.wait()?;
            self.killed += 1;
            // On a busy machine, a worker may not live long enough to do anything.
            self.life = if left < self.left {
                LIFE
            } else {
                self.life * 2
            };
            self.left = left;
            let next = self.spawn()?;
            if let Some(worker) = self.running.get_mut(place) {
                *worker = next;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<usize, AnyError> {
        for (child, _) in &mut self.running {
            child.kill()?;
            child.wait()?;
        }
        Ok(self.killed)
    }
}

/// Signs each order once, and sends it several times at once. Returns how many were accepted.
async fn send(app: &Router) -> Result<usize, AnyError> {
    let signer = Signer::new(HttpMessageSignatures::default(), KEY, SECRET)?;
    let mut accepted = 0;
    for id in 0..ORDERS {
        let order = Request::post(format!("{ORIGIN}/orders"))
            .header("content-type", "application/json")
            .body(serde_json::to_string(&Order { id })?)?;
        let signed = signer.sign(order)?;
        let mut copies = JoinSet::new();
        for _ in 0..COPIES {
            copies.spawn(app.clone().oneshot(signed.clone().map(Body::from)));
        }
        while let Some(answer) = copies.join_next().await {
            match answer??.status() {
                StatusCode::ACCEPTED => accepted += 1,
                StatusCode::CONFLICT => {}
                other => return Err(format!("answered with {other}").into()),
            }
        }
    }
    Ok(accepted)
}

/// In front of the queue: the nonce is recorded with the job, or before the handler, as a middleware
/// does.
fn layer(is_naive: bool) -> Result<VerifyLayer, ConfigError> {
    let layer = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET)?)
        .store_timeout(Duration::from_secs(30));
    if is_naive {
        // The example starts once, and nothing was accepted before.
        let store = countersign::MemoryStore::new().danger_assume_no_history();
        layer.namespace("naive").store(store).build()
    } else {
        layer.processing(Processing::InTransaction).build()
    }
}

async fn sqlite_pool(file: &str) -> Result<sqlx::SqlitePool, sqlx::Error> {
    use sqlx::sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    };
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Below the `store_timeout`.
        .busy_timeout(Duration::from_secs(20));
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await
}

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [how, database] if how.ends_with("worker") => {
            let is_naive = how == "naive-worker";
            #[cfg(feature = "postgres")]
            if database.starts_with("postgres") {
                postgres::work(&sqlx::PgPool::connect(database).await?, is_naive).await?;
            }
            sqlite::work(&sqlite_pool(database).await?, is_naive).await?;
            Ok(ExitCode::SUCCESS)
        }
        [] => {
            let name = format!("queue-{}.db", std::process::id());
            let file = env::temp_dir().join(name).display().to_string();
            println!("  On SQLite, in {file}.");
            let outcomes = on_sqlite(&file).await;
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{file}{end}"));
            }
            let (guarded, naive) = outcomes?;
            Ok(report(&guarded, &naive))
        }
        #[cfg(feature = "postgres")]
        [url] => {
            println!("  On PostgreSQL.");
            let pool = sqlx::PgPool::connect(url).await?;
            countersign::store::PostgresStore::migrate(&pool).await?;
            // The first start of a service that has used nothing else before.
            countersign::store::PostgresStore::danger_assume_no_history(&pool).await?;
            let guarded = phase!(postgres, &pool, url, layer(false)?, false);
            let naive = phase!(postgres, &pool, url, layer(true)?, true);
            Ok(report(&guarded, &naive))
        }
        _ => Err("for PostgreSQL, add `--features sqlite,postgres` and a URL".into()),
    }
}

async fn on_sqlite(file: &str) -> Result<(Outcome, Outcome), AnyError> {
    use countersign::store::SqliteStore;

    let pool = sqlite_pool(file).await?;
    SqliteStore::migrate(&pool).await?;
    // The first start of a service that has used nothing else before.
    SqliteStore::danger_assume_no_history(&pool).await?;
    let guarded = phase!(sqlite, &pool, file, layer(false)?, false);
    let naive = phase!(sqlite, &pool, file, layer(true)?, true);
    pool.close().await;
    Ok((guarded, naive))
}

fn report(guarded: &Outcome, naive: &Outcome) -> ExitCode {
    println!(
        "\n  {ORDERS} orders, each sent {COPIES} times at once; one job is copied and altered.\n"
    );
    println!("  {:<28}{:>12}{:>12}", "", "envelopes", "plain JSON");
    for (what, [guarded, naive]) in [
        ("accepted at the door", [guarded.accepted, naive.accepted]),
        ("workers killed", [guarded.killed, naive.killed]),
        ("orders shipped once", [guarded.once, naive.once]),
        ("orders shipped again", [guarded.more, naive.more]),
        ("forged orders shipped", [guarded.forged, naive.forged]),
    ] {
        println!("  {what:<28}{guarded:>12}{naive:>12}");
    }
    let all = usize::try_from(ORDERS).unwrap_or_default();
    let is_right = guarded.once == all && guarded.more == 0 && guarded.forged == 0;
    let is_wrong = naive.more > 0 && naive.forged > 0;
    println!(
        "\n  Each order was shipped once: {}.",
        match (is_right, is_wrong) {
            (true, true) => "with envelopes yes, with plain JSON no",
            (true, false) => "with envelopes yes, with plain JSON by luck",
            (false, _) => "no",
        }
    );
    match is_right && is_wrong && guarded.killed > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn database() -> (tempfile::TempDir, sqlx::SqlitePool) {
        use countersign::store::SqliteStore;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("queue.db").display().to_string();
        let pool = sqlite_pool(&file).await.unwrap();
        SqliteStore::migrate(&pool).await.unwrap();
        SqliteStore::danger_assume_no_history(&pool).await.unwrap();
        sqlite::tables(&pool).await.unwrap();
        (folder, pool)
    }

    async fn sent(pool: &sqlx::SqlitePool, body: &str) -> StatusCode {
        let app = sqlite::web(pool, envelopes().unwrap(), false).layer(layer(false).unwrap());
        let signer = Signer::new(HttpMessageSignatures::default(), KEY, SECRET).unwrap();
        let order = Request::post(format!("{ORIGIN}/orders")).body(body.to_owned());
        let signed = signer.sign(order.unwrap()).unwrap();
        app.oneshot(signed.map(Body::from)).await.unwrap().status()
    }

    /// A worker that does not have the new key yet leaves the job to others.
    #[tokio::test]
    async fn a_job_that_is_refused_for_now_stays_and_is_done_later() {
        let (_folder, pool) = database().await;
        assert_eq!(sent(&pool, r#"{"id":7}"#).await, StatusCode::ACCEPTED);
        let late = KeyRing::new().with("2026-11", "a secret of this service alone");
        let late = late.unwrap();
        let worker = envelopes_with(late.clone()).unwrap();
        late.remove("2026-11");
        assert!(sqlite::turn(&pool, &worker, false).await.unwrap());
        assert_eq!(sqlite::jobs(&pool).await.unwrap(), 1);
        let (due_ms, attempts): (i64, i64) = sqlx::query_as("SELECT due_ms, attempts FROM jobs")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(attempts, 1);
        assert!(due_ms > 0);
        let due = sqlx::query("UPDATE jobs SET due_ms = 0").execute(&pool);
        due.await.unwrap();
        let other = envelopes().unwrap();
        assert!(sqlite::turn(&pool, &other, false).await.unwrap());
        assert_eq!(sqlite::jobs(&pool).await.unwrap(), 0);
        assert_eq!(sqlite::shipments(&pool).await.unwrap(), [(7, 1)]);
        assert!(!sqlite::turn(&pool, &other, false).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_no_order_becomes_no_job() {
        let (_folder, pool) = database().await;
        let answer = sent(&pool, r#"{"number":7}"#).await;
        assert_eq!(answer, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(sqlite::jobs(&pool).await.unwrap(), 0);
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        assert_eq!([1, 2, 3].map(pause_ms), [250, 500, 1000]);
        assert_eq!(pause_ms(i64::MAX), 256_000);
    }
}
