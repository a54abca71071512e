//! Claims on the SQLite store, on the disk of the folder for temporary files: beside one transaction
//! for each claim, and at 10 million live nonces beside 10 thousand. `sqlite [peer | scale] [thousands
//! live]`; both without an argument.
//!
//! The peer has the same table and the same settings, and does what is written everywhere: `BEGIN
//! IMMEDIATE`, one `INSERT`, `COMMIT`. Every round measures all contenders.

use std::{
    env,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    Clock,
    clock::SystemClock,
    store::{NonceStore, SqliteStore},
};
use countersign_benches::{
    Must,
    claims::{claim, median, ours, summary, time},
    row,
};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;

const ROUNDS: u64 = 5;
const IN_FLIGHT: u64 = 64;
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() {
    let part = env::args().nth(1);
    let live = env::args()
        .nth(2)
        .map_or(10_000, |n| n.parse().expect("a number of thousands"));
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("peer") {
        peer(folder.path()).await;
    }
    if wanted("scale") {
        scale(folder.path(), live * 1000).await;
    }
}

async fn open(path: &Path) -> Arc<SqliteStore> {
    let builder = SqliteStore::builder()
        .danger_assume_no_history()
        .capacity(u64::MAX / 100);
    Arc::new(builder.key_share(100).open(path).await.unwrap())
}

async fn peer(folder: &Path) {
    let store = open(&folder.join("ours.db")).await;
    drop(open(&folder.join("peer.db")).await);
    let connection = settings(&folder.join("peer.db")).connect().await.unwrap();
    let connection = Arc::new(Mutex::new(connection));
    let one_by_one = move |n| {
        let connection = Arc::clone(&connection);
        async move {
            let claim = claim(n);
            let mut connection = connection.lock().await;
            let connection = &mut *connection;
            execute(connection, "BEGIN IMMEDIATE").await;
            let inserted =
                sqlx::query("INSERT OR IGNORE INTO countersign_nonce VALUES (?, ?, 1, NULL, NULL)")
                    .bind(claim.digest().to_vec())
                    .bind(claim.deadline().as_millis().cast_signed())
                    .execute(&mut *connection)
                    .await
                    .unwrap();
            assert_eq!(inserted.rows_affected(), 1);
            execute(connection, "COMMIT").await;
        }
    };
    let (mut ours_each, mut peer_each) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (each, waited) = ours(&store, IN_FLIGHT, round << 32, 20_000).await;
        ours_each.push(each);
        let (peer, peer_waited) = time(IN_FLIGHT, round << 32, 3_000, one_by_one.clone()).await;
        peer_each.push(peer);
        eprintln!(
            "ours {}; one by one {}",
            summary(each, &waited),
            summary(peer, &peer_waited)
        );
    }
    row(
        "SQLite durable, 64 in flight",
        median(&mut ours_each),
        ("one transaction per claim", median(&mut peer_each)),
        Must::AtMost(1.0 / 15.0),
    );
}

/// Returns what the store sets, as far as it matters here.
fn settings(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .pragma("synchronous", "FULL")
        .pragma("wal_autocheckpoint", "16000")
        .pragma("cache_size", "-16384")
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.unwrap();
}

async fn scale(folder: &Path, live: u64) {
    let (small, large) = (folder.join("small.db"), folder.join("large.db"));
    fill(&small, 10_000).await;
    fill(&large, live).await;
    let (small, large) = (open(&small).await, open(&large).await);
    for (in_flight, count) in [(1, 3_000), (IN_FLIGHT, 50_000)] {
        let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let first = (round * 2 + in_flight) << 32;
            for (store, means) in [(&small, &mut of_small), (&large, &mut of_large)] {
                let (each, waited) = ours(store, in_flight, first, count).await;
                let mean = waited.iter().sum::<f64>() / waited.len() as f64;
                means.push(mean);
                eprintln!("{in_flight} in flight: {}", summary(each, &waited));
            }
        }
        row(
            format!("SQLite at {live} live, {in_flight} in flight, mean wait of a claim"),
            median(&mut of_large),
            ("at 10 thousand", median(&mut of_small)),
            Must::AtMost(1.3),
        );
    }
}

/// A database with this many live nonces, as they lie there when they have come in one by one.
async fn fill(path: &Path, live: u64) {
    let store = open(path).await;
    store.claim(&claim(u64::MAX)).await.unwrap();
    drop(store);
    let settings = settings(path)
        .pragma("synchronous", "OFF")
        .pragma("cache_size", "-2000000");
    let mut connection = settings.connect().await.unwrap();
    let start = Instant::now();
    let deadline = SystemClock::default()
        .now()
        .saturating_add(HOUR)
        .as_millis()
        .cast_signed();
    let mut rest = live;
    while rest > 0 {
        let part = rest.min(100_000);
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
            INSERT INTO countersign_nonce
                SELECT digest, ?, 1, NULL, NULL FROM (SELECT randomblob(32) AS digest FROM n)
                ORDER BY digest",
        )
        .bind(part.cast_signed())
        .bind(deadline)
        .execute(&mut connection)
        .await
        .unwrap();
        rest -= part;
    }
    for sql in [
        "UPDATE countersign_key SET records = (SELECT count(*) FROM countersign_nonce)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        execute(&mut connection, sql).await;
    }
    let count = sqlx::query("SELECT count(*) FROM countersign_nonce");
    let count: i64 = count.fetch_one(&mut connection).await.unwrap().get(0);
    let bytes = std::fs::metadata(path).unwrap().len();
    eprintln!(
        "{count} live in {:?}, {:.1} bytes each",
        start.elapsed(),
        bytes as f64 / count as f64
    );
}
