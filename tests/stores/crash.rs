//! A process that is killed (`kill -9`) at every point between claim and response, for every
//! processing: what a sender finds who sends the same request again to its successor.
//!
//! The application is this program, started again as a child. If it dies is its own affair: the
//! points are in its handlers here, and nothing of them is in the crate.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request as AxumRequest,
    middleware::{Next, from_fn},
    response::IntoResponse as _,
    routing::post,
};
use countersign::{
    MemoryStore, PendingPayload, Processing, Rejection, Signer, VerifiedPayload, VerifyLayer,
    store::{SqliteStore, TransactIn},
};
use http::Request;
use sqlx::{PgConnection, SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::common::{
    self, KEY, ORIGIN, SECRET, database, exchange, exchange_over, keys, request, scheme, to_wire,
};

const POINT: &str = "CRASH_POINT";
const APPLICATION: &str = "CRASH_APPLICATION";
const FOLDER: &str = "CRASH_FOLDER";
const SCHEMA: &str = "CRASH_SCHEMA";
const LEASE: Duration = Duration::from_secs(1);

// ---- the application

/// Dies here, if this is where it was told to.
fn point(name: &str) {
    if env::var(POINT).is_ok_and(|point| point == name) {
        let id = std::process::id().to_string();
        Command::new("kill").args(["-9", &id]).status().unwrap();
        loop {
            thread::park();
        }
    }
}

/// Not a test but the child: without a word of its parent it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn the_application() {
    let Ok(application) = env::var(APPLICATION) else {
        return;
    };
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let layer = VerifyLayer::builder(scheme())
        .public_origin(ORIGIN)
        // A machine that is busy with other tests is not what is looked at.
        .store_timeout(Duration::from_secs(10))
        .keys(keys());
    let router = match application.as_str() {
        "memory, at most once" => acting(&folder, layer.store(memory()).build().unwrap()),
        "memory, retryable" => {
            let layer = layer.processing(Processing::Retryable { lease: LEASE });
            acting(&folder, layer.store(memory()).build().unwrap())
        }
        "memory with a watermark" => {
            let store = MemoryStore::builder().danger_assume_no_history();
            let store = store.high_watermark(folder.join("watermark"));
            acting(
                &folder,
                layer.store(store.build().unwrap()).build().unwrap(),
            )
        }
        "memory that says it has no history" => {
            let store = MemoryStore::new().danger_assume_no_history();
            acting(&folder, layer.store(store).build().unwrap())
        }
        "sqlite, at most once" => {
            let store = nonces(&folder).await;
            acting(&folder, layer.store(store).build().unwrap())
        }
        "sqlite, retryable" => {
            let layer = layer.processing(Processing::Retryable { lease: LEASE });
            let store = nonces(&folder).await;
            acting(&folder, layer.store(store).build().unwrap())
        }
        "sqlite, in transaction" => {
            let layer = layer.processing(Processing::InTransaction).build().unwrap();
            in_transaction(layer, ledger(&folder).await, record_in_sqlite)
        }
        "postgres, in transaction" => {
            let layer = layer.processing(Processing::InTransaction).build().unwrap();
            let (url, schema) = (env::var(database::URL), env::var(SCHEMA));
            let pool = database::pool_of(&url.unwrap(), &schema.unwrap(), 4).await;
            in_transaction(layer, pool, record_in_postgres)
        }
        other => panic!("{other}"),
    };
    let answered = from_fn(async |request: AxumRequest, next: Next| {
        point("before the request");
        let response = next.run(request).await;
        point("before the response");
        response
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    axum::serve(listener, router.layer(answered)).await.unwrap();
}

/// The first start has no history; its successor has, and has forgotten it.
fn memory() -> MemoryStore {
    let store = MemoryStore::new();
    if env::var_os(POINT).is_some() {
        store.danger_assume_no_history()
    } else {
        store
    }
}

async fn nonces(folder: &Path) -> SqliteStore {
    let store = SqliteStore::builder().danger_assume_no_history();
    store.open(folder.join("nonces.db")).await.unwrap()
}

/// Its effect is a line in a file: the body.
fn acting(folder: &Path, layer: VerifyLayer) -> Router {
    let file = folder.join("effects");
    let handler = async move |payload: VerifiedPayload| {
        point("before the effect");
        let mut file = File::options().append(true).open(&file).unwrap();
        file.write_all(&[payload.bytes(), &b"\n"[..]].concat())
            .unwrap();
        point("after the effect");
        "done"
    };
    Router::new().route("/orders", post(handler)).layer(layer)
}

type Recording<'c> = Pin<Box<dyn Future<Output = ()> + Send + 'c>>;

fn in_transaction<D: TransactIn + Clone + 'static>(
    layer: VerifyLayer,
    database: D,
    record: for<'c> fn(&'c mut D::Connection) -> Recording<'c>,
) -> Router {
    let handler = async move |pending: PendingPayload| {
        point("before the nonce");
        let answer: Result<&str, Rejection> = pending
            .transact(&database, async |tx, _| {
                point("before the effect");
                record(tx).await;
                point("after the effect");
                Ok("done")
            })
            .await;
        point("after COMMIT");
        answer.into_response()
    };
    Router::new().route("/orders", post(handler)).layer(layer)
}

const RECORD: &str = "INSERT INTO effects VALUES ('happened')";

fn record_in_sqlite(connection: &mut SqliteConnection) -> Recording<'_> {
    Box::pin(async {
        sqlx::query(RECORD).execute(connection).await.unwrap();
    })
}

fn record_in_postgres(connection: &mut PgConnection) -> Recording<'_> {
    Box::pin(async {
        sqlx::query(RECORD).execute(connection).await.unwrap();
    })
}

async fn ledger(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("ledger.db"))
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

// ---- its parent

struct Application {
    child: Child,
    addr: SocketAddr,
}

impl Application {
    fn start(scene: &Scene, point: Option<&str>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["crash::the_application", "--exact", "--nocapture"])
            .env(APPLICATION, scene.application)
            .env(FOLDER, &scene.folder)
            .env(SCHEMA, &scene.schema)
            .env_remove(POINT)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(point) = point {
            command.env(POINT, point);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines
            .find_map(|line| line.unwrap().strip_prefix("listening on ")?.parse().ok())
            .expect("the application listens");
        // Its other output must not block it.
        thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    async fn send(&self, order: &Request<String>) -> (u16, String) {
        exchange(self.addr, &to_wire(order)).await
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn order(body: &str) -> Request<String> {
    let signer = Signer::new(scheme(), KEY, SECRET).unwrap();
    signer.sign(request("POST", "/orders", body)).unwrap()
}

struct Scene {
    application: &'static str,
    /// Made again for each start from nothing.
    folder: PathBuf,
    _place: TempDir,
    schema: String,
    pool: Option<sqlx::PgPool>,
}

impl Scene {
    async fn new(application: &'static str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let (mut schema, mut pool) = (String::new(), None);
        if application.starts_with("postgres") {
            let (pool_of_it, its_schema) = database::pool_and_schema(application).await?;
            (schema, pool) = (its_schema, Some(pool_of_it));
        }
        Some(Self {
            application,
            folder: place.path().join("application"),
            _place: place,
            schema,
            pool,
        })
    }

    /// Nothing has happened yet.
    async fn reset(&self) {
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).unwrap();
        File::create(self.folder.join("effects")).unwrap();
        if let Some(pool) = &self.pool {
            let empty = sqlx::raw_sql("TRUNCATE effects, countersign_nonces");
            empty.execute(pool).await.unwrap();
        } else if self.application == "sqlite, in transaction" {
            let pool = ledger(&self.folder).await;
            SqliteStore::migrate(&pool).await.unwrap();
            let table = "CREATE TABLE effects (request text NOT NULL);
                         UPDATE countersign_store SET since = 0";
            sqlx::raw_sql(table).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }

    async fn effects(&self) -> i64 {
        if let Some(pool) = &self.pool {
            return database::effects(pool).await;
        }
        if self.application == "sqlite, in transaction" {
            let pool = ledger(&self.folder).await;
            let count = sqlx::query_scalar("SELECT count(*) FROM effects");
            return count.fetch_one(&pool).await.unwrap();
        }
        let effects = fs::read_to_string(self.folder.join("effects")).unwrap();
        effects.lines().count().try_into().unwrap()
    }

    /// Sends a request to an application that dies at this point, and once more to its successor:
    /// how many effects there were by then, the second answer, and how many effects there are.
    async fn killed(&self, point: &str) -> (i64, (u16, String), i64) {
        self.reset().await;
        let order = order("{}");
        let mut first = Application::start(self, Some(point));
        let answer = first.send(&order).await;
        assert_eq!(answer, (0, String::new()), "{}: {point}", self.application);
        let status = first.child.wait().unwrap();
        assert_eq!(status.code(), None, "it was killed");
        let before = self.effects().await;

        let second = Application::start(self, None);
        let answer = second.send(&order).await;
        if answer.1 != "request_in_flight" {
            return (before, answer, self.effects().await);
        }
        // The lease of the dead goes on for a while.
        let start = Instant::now();
        loop {
            let answer = second.send(&order).await;
            assert!(start.elapsed() < Duration::from_secs(30));
            if answer.1 != "request_in_flight" {
                return (before, answer, self.effects().await);
            }
        }
    }

    async fn expect(&self, table: &[(&str, i64, (u16, &str), i64)]) {
        for (point, before, answer, after) in table {
            let expected = (*before, (answer.0, answer.1.to_owned()), *after);
            assert_eq!(
                self.killed(point).await,
                expected,
                "{}, killed {point}",
                self.application
            );
        }
    }
}

const DONE: (u16, &str) = (200, "done");
const REPLAYED: (u16, &str) = (409, "request_replayed");
const SIGN_AGAIN: (u16, &str) = (503, "sign_again");

/// Effects before COMMIT are gone, and the duplicate has them; effects after it stay, and
/// the copy is refused. In the end it is always one effect.
const EXACTLY_ONCE: [(&str, i64, (u16, &str), i64); 6] = [
    ("before the request", 0, DONE, 1),
    ("before the nonce", 0, DONE, 1),
    ("before the effect", 0, DONE, 1),
    ("after the effect", 0, DONE, 1),
    ("after COMMIT", 1, REPLAYED, 1),
    ("before the response", 1, REPLAYED, 1),
];

#[tokio::test]
async fn in_a_transaction_of_postgresql_no_effect_is_doubled_or_lost() {
    let Some(scene) = Scene::new("postgres, in transaction").await else {
        return;
    };
    scene.expect(&EXACTLY_ONCE).await;
}

#[tokio::test]
async fn in_a_transaction_of_sqlite_no_effect_is_doubled_or_lost() {
    let scene = Scene::new("sqlite, in transaction").await.unwrap();
    scene.expect(&EXACTLY_ONCE).await;
}

/// Never a second effect; but one that was not begun is lost, for the request is burned.
#[tokio::test]
async fn at_most_once_burns_the_request() {
    let scene = Scene::new("sqlite, at most once").await.unwrap();
    let table = [
        ("before the request", 0, DONE, 1),
        ("before the effect", 0, REPLAYED, 0),
        ("after the effect", 1, REPLAYED, 1),
        ("before the response", 1, REPLAYED, 1),
    ];
    scene.expect(&table).await;
}

/// Never lost; but what was not completed is done again once the lease of the dead has ended. Also
/// the twin of the exact ones: that an effect can be doubled is found.
#[tokio::test]
async fn retryable_may_run_again_until_it_was_completed() {
    let scene = Scene::new("sqlite, retryable").await.unwrap();
    let table = [
        ("before the request", 0, DONE, 1),
        ("before the effect", 0, DONE, 1),
        ("after the effect", 1, DONE, 2),
        ("before the response", 1, REPLAYED, 1),
    ];
    scene.expect(&table).await;
}

/// A store that has forgotten refuses: the sender signs again, and only it knows whether it may.
#[tokio::test]
async fn with_a_store_that_forgets_nothing_of_before_is_accepted() {
    for application in ["memory, at most once", "memory, retryable"] {
        let scene = Scene::new(application).await.unwrap();
        let table = [
            ("before the request", 0, SIGN_AGAIN, 0),
            ("before the effect", 0, SIGN_AGAIN, 0),
            ("after the effect", 1, SIGN_AGAIN, 1),
            ("before the response", 1, SIGN_AGAIN, 1),
        ];
        scene.expect(&table).await;
    }
}

/// The file says how far it had accepted: what had not reached the layer is served, and all else
/// refused.
#[tokio::test]
async fn with_a_watermark_what_may_have_been_accepted_is_refused() {
    let scene = Scene::new("memory with a watermark").await.unwrap();
    let table = [
        ("before the request", 0, DONE, 1),
        ("before the effect", 0, SIGN_AGAIN, 0),
        ("after the effect", 1, SIGN_AGAIN, 1),
        ("before the response", 1, SIGN_AGAIN, 1),
    ];
    scene.expect(&table).await;
}

/// The twin of the test before: without the file, what is accepted again is found.
#[tokio::test]
async fn a_store_that_says_it_has_no_history_doubles_effects() {
    let application = "memory that says it has no history";
    let scene = Scene::new(application).await.unwrap();
    let table = [
        ("before the request", 0, DONE, 1),
        ("after the effect", 1, DONE, 2),
        ("before the response", 1, DONE, 2),
    ];
    scene.expect(&table).await;
}

/// Killed while it is busy, after this many answers, and all is sent to its successor once more:
/// how many orders these were, and how many effects were doubled. Later requests are served.
async fn killed_under_load(application: &'static str, answers: usize) -> (usize, usize) {
    const ORDERS: usize = 400;
    const AT_ONCE: usize = 8;
    let scene = Scene::new(application).await.unwrap();
    scene.reset().await;
    let first = Application::start(&scene, None);
    let addr = first.addr;
    let (answered, mut answers_seen) = mpsc::channel(ORDERS);
    let senders: Vec<_> = (0..AT_ONCE)
        .map(|sender| {
            let answered = answered.clone();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for n in 0..ORDERS / AT_ONCE {
                    let order = order(&format!("{sender} {n}"));
                    let Ok(stream) = TcpStream::connect(addr).await else {
                        break;
                    };
                    let answer = exchange_over(stream, &to_wire(&order)).await;
                    sent.push(order);
                    match answer.0 {
                        200 => answered.send(()).await.unwrap(),
                        // It has died.
                        0 => break,
                        _ => panic!("{answer:?}"),
                    }
                }
                sent
            })
        })
        .collect();
    for _ in 0..answers {
        answers_seen.recv().await.unwrap();
    }
    drop(first);
    let second = Application::start(&scene, None);
    let mut sent = 0;
    for sender in senders {
        for order in sender.await.unwrap() {
            second.send(&order).await;
            sent += 1;
        }
    }
    assert!((answers..ORDERS).contains(&sent), "killed in the middle");
    let later = loop {
        let answer = second.send(&order("later")).await;
        // Within the second that the file is ahead.
        if answer.1 != SIGN_AGAIN.1 {
            break answer;
        }
    };
    assert_eq!(later, (DONE.0, DONE.1.to_owned()));
    let effects = fs::read_to_string(scene.folder.join("effects")).unwrap();
    let mut lines: Vec<_> = effects.lines().collect();
    let happened = lines.len();
    lines.sort_unstable();
    lines.dedup();
    (sent, happened - lines.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_with_a_watermark_no_effect_is_doubled() {
    for kill in 0..usize::try_from(common::cases(4)).unwrap() {
        let answers = [1, 20, 57, 120][kill % 4] + kill / 4 % 100;
        let (sent, doubled) = killed_under_load("memory with a watermark", answers).await;
        assert_eq!(doubled, 0, "of {sent} orders");
    }
}

/// The twin of the test before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_without_a_watermark_effects_are_doubled() {
    let application = "memory that says it has no history";
    let (_, doubled) = killed_under_load(application, 57).await;
    assert!(doubled >= 57, "{doubled}");
}
