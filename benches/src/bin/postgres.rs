//! Claims on the PostgreSQL store, on a server of its own with the settings that Debian gives it:
//! beside one `INSERT` for each claim over the same number of connections, at 10 million live
//! nonces beside 10 thousand, and while what has expired is dropped.
//! `postgres [peer | scale | expiry] [thousands live]`; all three without an argument.
//!
//! The peer does what is written everywhere: a pool, and one prepared `INSERT … ON CONFLICT DO
//! NOTHING` that commits by itself. Every round measures all contenders.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::store::PostgresStore;
use countersign_benches::{
    Must,
    claims::{claim, median, ours, summary, time},
    row,
};
use sqlx::{
    AssertSqlSafe, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

const ROUNDS: u64 = 5;
const IN_FLIGHT: u64 = 64;
/// As many as the store has by default.
const CONNECTIONS: u16 = 2;

#[tokio::main]
async fn main() {
    let part = env::args().nth(1);
    let live = env::args()
        .nth(2)
        .map_or(10_000, |n| n.parse().expect("a number of thousands"));
    let Some(server) = Server::start() else {
        eprintln!("postgres: not measured, for there is no PostgreSQL server program");
        return;
    };
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("peer") {
        for connections in [1, CONNECTIONS] {
            peer(&server, connections).await;
        }
    }
    if wanted("scale") {
        scale(&server, live * 1000).await;
    }
    if wanted("expiry") {
        expiry(&server).await;
    }
}

struct Server {
    folder: PathBuf,
    url: String,
}

impl Server {
    fn start() -> Option<Self> {
        let folder = env::temp_dir().join(format!("countersign-bench.{}", std::process::id()));
        let output = script("start", &folder);
        let url = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(Self { folder, url })
    }

    /// A database with the tables, and a store in it.
    async fn database(&self, name: &str, connections: u16) -> (PgPool, Arc<PostgresStore>) {
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        let admin = PgPool::connect_with(options.clone()).await.unwrap();
        execute(&admin, format!("CREATE DATABASE {name}")).await;
        let options = options.database(name);
        let pool = PgPoolOptions::new()
            .max_connections(connections.into())
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await
            .unwrap();
        PostgresStore::migrate(&pool).await.unwrap();
        PostgresStore::danger_assume_no_history(&pool)
            .await
            .unwrap();
        let builder = PostgresStore::builder()
            .connections(connections)
            .timeout(Duration::from_secs(30));
        (pool, Arc::new(builder.open(options).await.unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("stop", &self.folder);
    }
}

fn script(action: &str, folder: &Path) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres.sh");
    let mut command = Command::new(script);
    command.arg(action).arg(folder).output().unwrap()
}

async fn execute(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .unwrap();
}

async fn peer(server: &Server, connections: u16) {
    let database = async |whose| {
        server
            .database(&format!("{whose}_{connections}"), connections)
            .await
    };
    let (_, store) = database("ours").await;
    let (pool, _) = database("peer").await;
    let one_by_one = move |n| {
        let pool = pool.clone();
        async move {
            let claim = claim(n);
            let inserted = sqlx::query(
                "INSERT INTO countersign_nonces VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(claim.digest().to_vec())
            .bind(claim.attempt().to_bytes().to_vec())
            .bind(claim.deadline().as_millis().cast_signed())
            .execute(&pool)
            .await
            .unwrap();
            assert_eq!(inserted.rows_affected(), 1);
        }
    };
    let (mut ours_each, mut peer_each) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (each, waited) = ours(&store, IN_FLIGHT, round << 32, 20_000).await;
        ours_each.push(each);
        let (peer, peer_waited) = time(IN_FLIGHT, round << 32, 2_000, one_by_one.clone()).await;
        peer_each.push(peer);
        eprintln!(
            "ours {}; one by one {}",
            summary(each, &waited),
            summary(peer, &peer_waited)
        );
    }
    row(
        format!("PostgreSQL, 64 in flight, {connections} connections"),
        median(&mut ours_each),
        ("one INSERT per claim", median(&mut peer_each)),
        Must::AtMost(1.0 / 8.0),
    );
}

async fn scale(server: &Server, live: u64) {
    let (small_pool, small) = server.database("small", CONNECTIONS).await;
    let (large_pool, large) = server.database("large", CONNECTIONS).await;
    fill(&small_pool, 10_000).await;
    fill(&large_pool, live).await;
    for (in_flight, count) in [(1, 1_000), (IN_FLIGHT, 200_000)] {
        let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let first = (round * 2 + in_flight) << 32;
            for (store, means) in [(&small, &mut of_small), (&large, &mut of_large)] {
                let (each, waited) = ours(store, in_flight, first, count).await;
                means.push(waited.iter().sum::<f64>() / waited.len() as f64);
                eprintln!("{in_flight} in flight: {}", summary(each, &waited));
            }
        }
        row(
            format!("PostgreSQL at {live} live, {in_flight} in flight, mean wait of a claim"),
            median(&mut of_large),
            ("at 10 thousand", median(&mut of_small)),
            Must::AtMost(1.3),
        );
    }
}

/// This many live nonces, as they lie there when they have come in one by one.
async fn fill(pool: &PgPool, live: u64) {
    let start = Instant::now();
    let mut rest = live;
    while rest > 0 {
        let part = rest.min(500_000);
        execute(
            pool,
            format!(
                "INSERT INTO countersign_nonces
                    SELECT sha256((random()::text || i)::bytea), decode(md5(i::text), 'hex'),
                           (extract(epoch FROM now()) * 1000)::bigint + 3600000 + i / 1000
                    FROM generate_series(1, {part}) AS i"
            ),
        )
        .await;
        rest -= part;
    }
    execute(pool, "VACUUM ANALYZE countersign_nonces".to_owned()).await;
    execute(pool, "CHECKPOINT".to_owned()).await;
    let bytes = "SELECT pg_total_relation_size('countersign_nonces')";
    let bytes: i64 = sqlx::query_scalar(bytes).fetch_one(pool).await.unwrap();
    eprintln!(
        "{live} live in {:?}, {:.1} bytes each",
        start.elapsed(),
        bytes as f64 / live as f64
    );
}

/// The records that are dropped in the time of a claim, while claims go on as fast as they can: a store's own
/// sweep, of which there is one however many servers there are.
async fn expiry(server: &Server) {
    let (pool, store) = server.database("expiry", CONNECTIONS).await;
    let expired: u64 = 400_000;
    execute(
        &pool,
        format!(
            "INSERT INTO countersign_nonces SELECT sha256(i::text::bytea), '', i
             FROM generate_series(1, {expired}) AS i"
        ),
    )
    .await;
    let left = "SELECT count(*) FROM countersign_nonces WHERE deadline_ms <= 400000";
    let start = Instant::now();
    let mut claims = Vec::new();
    let mut round = 0;
    let (mut before, mut dropping) = (expired, Duration::ZERO);
    while before > 0 && start.elapsed() < Duration::from_secs(120) {
        let (each, _) = ours(&store, IN_FLIGHT, round << 32, 20_000).await;
        claims.push(each);
        round += 1;
        let now: i64 = sqlx::query_scalar(left).fetch_one(&pool).await.unwrap();
        before = now.cast_unsigned();
        dropping = start.elapsed();
    }
    let each = dropping.as_nanos() as f64 / (expired - before).max(1) as f64;
    row(
        "PostgreSQL, dropping one that has expired, under load",
        each,
        ("one claim", median(&mut claims)),
        Must::AtMost(1.0),
    );
}
