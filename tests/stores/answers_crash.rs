//! A process that is killed (`kill -9`) between an effect and its answer: what a sender finds who
//! sends the same order again, signed again, to its successor.
//!
//! The application is this program, started again as a child, as in `crash.rs`.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request as AxumRequest,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::post,
};
use countersign::{
    HttpMessageSignatures, MemoryStore, Signer, VerifyLayer,
    idempotency::{IdempotencyLayer, IdempotencyLayerBuilder, PendingAnswer},
    rfc9421::Component,
    store::{PostgresAnswers, SqliteAnswers},
};
use http::Request;
use sqlx::{
    AssertSqlSafe, PgPool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::net::TcpListener;

use crate::common::{HOST, KEY, ORIGIN, SECRET, cases, database, exchange, keys, to_wire};

const POINT: &str = "ANSWERS_POINT";
const MODE: &str = "ANSWERS_MODE";
const FOLDER: &str = "ANSWERS_FOLDER";
const SCHEMA: &str = "ANSWERS_SCHEMA";

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

/// How the answer is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    ByTheLayer,
    InTransaction,
    /// The twin: what was cut off runs again, whatever it did.
    RunsAgain,
}

impl Mode {
    const ALL: [Self; 3] = [Self::ByTheLayer, Self::InTransaction, Self::RunsAgain];

    fn layer(self, builder: IdempotencyLayerBuilder) -> IdempotencyLayer {
        // A busy machine may take a third of it for one step.
        let builder = builder.lease(Duration::from_secs(1));
        let builder = match self {
            Self::ByTheLayer => builder,
            Self::InTransaction => builder.in_transaction(),
            Self::RunsAgain => builder.danger_run_again_after_crash(),
        };
        builder.build().unwrap()
    }
}

const EFFECT: &str = "INSERT INTO effects VALUES ('happened')";

fn made() -> http::Response<&'static str> {
    http::Response::builder().status(201).body("made").unwrap()
}

/// Not a test but the child: without a word of its parent it has nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn the_application_that_answers() {
    let Ok(mode) = env::var(MODE) else {
        return;
    };
    let mode = Mode::ALL
        .into_iter()
        .find(|m| format!("{m:?}") == mode)
        .unwrap();
    let router = match env::var(SCHEMA) {
        Ok(schema) => {
            let url = env::var(database::URL).unwrap();
            in_postgres(mode, database::pool_of(&url, &schema, 4).await).await
        }
        Err(_) => {
            let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
            in_sqlite(mode, ledger(&folder).await).await
        }
    };
    let answered = from_fn(async |request: AxumRequest, next: Next| {
        let response = next.run(request).await;
        point("before the response");
        response
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    axum::serve(listener, router.layer(answered)).await.unwrap();
}

macro_rules! application {
    ($name:ident, $pool:ty, $answers:ty) => {
        async fn $name(mode: Mode, pool: $pool) -> Router {
            let answers = <$answers>::open(pool.clone()).await.unwrap();
            let layer = mode.layer(IdempotencyLayer::builder(answers));
            let by_the_layer = {
                let pool = pool.clone();
                async move || -> Response {
                    point("before the effect");
                    sqlx::query(EFFECT).execute(&pool).await.unwrap();
                    point("after the effect");
                    made().map(axum::body::Body::from)
                }
            };
            let in_transaction = async move |answer: PendingAnswer| -> Response {
                let mut tx = pool.begin().await.unwrap();
                point("before the effect");
                sqlx::query(EFFECT).execute(&mut *tx).await.unwrap();
                point("after the effect");
                let response = answer.record(&mut tx, made()).await.unwrap();
                point("after the answer");
                tx.commit().await.unwrap();
                point("after COMMIT");
                response.into_response()
            };
            let handler = match mode {
                Mode::InTransaction => post(in_transaction),
                _ => post(by_the_layer),
            };
            let verify = VerifyLayer::builder(HttpMessageSignatures::default())
                .public_origin(ORIGIN)
                .keys(keys())
                .store(MemoryStore::new().danger_assume_no_history())
                .build();
            Router::new()
                .route("/orders", handler)
                .layer(layer)
                .layer(verify.unwrap())
        }
    };
}

application!(in_sqlite, SqlitePool, SqliteAnswers);
application!(in_postgres, PgPool, PostgresAnswers);

async fn ledger(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("ledger.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

// ---- its parent

struct Application {
    child: Child,
    addr: SocketAddr,
}

impl Application {
    fn start(scene: &Scene, mode: Mode, point: Option<&str>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args([
                "answers_crash::the_application_that_answers",
                "--exact",
                "--nocapture",
            ])
            .env(MODE, format!("{mode:?}"))
            .env(FOLDER, scene.folder.path())
            .env_remove(POINT)
            .env_remove(SCHEMA)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some((schema, _)) = &scene.postgres {
            command.env(SCHEMA, schema);
        }
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

    /// One order, signed again each time it is sent.
    async fn send(&self, key: &str) -> (u16, String) {
        let scheme = HttpMessageSignatures::builder()
            .covers(Component::header("idempotency-key").unwrap())
            .build();
        let signer = Signer::new(scheme.unwrap(), KEY, SECRET).unwrap();
        let order = Request::post("/orders")
            .header("host", HOST)
            .header("idempotency-key", format!("\"{key}\""))
            .body("{}".to_owned());
        exchange(self.addr, &to_wire(&signer.sign(order.unwrap()).unwrap())).await
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Scene {
    folder: tempfile::TempDir,
    postgres: Option<(String, PgPool)>,
}

impl Scene {
    async fn in_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = ledger(folder.path()).await;
        SqliteAnswers::migrate(&pool).await.unwrap();
        let table = "CREATE TABLE effects (request text NOT NULL)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        pool.close().await;
        Self {
            folder,
            postgres: None,
        }
    }

    async fn in_postgres(name: &str) -> Option<Self> {
        let (pool, schema) = database::pool_and_schema(name).await?;
        PostgresAnswers::migrate(&pool).await.unwrap();
        Some(Self {
            folder: tempfile::tempdir().unwrap(),
            postgres: Some((schema, pool)),
        })
    }

    async fn effects(&self) -> i64 {
        let count = "SELECT count(*) FROM effects";
        match &self.postgres {
            Some((_, pool)) => {
                let counted = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(pool);
                counted.await.unwrap()
            }
            None => {
                let pool = ledger(self.folder.path()).await;
                sqlx::query_scalar(count).fetch_one(&pool).await.unwrap()
            }
        }
    }

    /// Sends an order to an application that dies at each point, and once more to its successor:
    /// how many effects there were by then, the second answer, and how many effects there are.
    async fn expect(&self, mode: Mode, table: &[(&str, i64, (u16, &str), i64)]) {
        let rounds = (0..cases(1)).flat_map(|round| table.iter().map(move |case| (round, case)));
        for (round, (point, before, answer, after)) in rounds {
            let from = self.effects().await;
            let key = format!("{mode:?}, {point}, {round}");
            let mut first = Application::start(self, mode, Some(point));
            assert_eq!(first.send(&key).await, (0, String::new()), "{key}");
            assert_eq!(first.child.wait().unwrap().code(), None, "it was killed");
            assert_eq!(self.effects().await - from, *before, "{key}");
            let second = Application::start(self, mode, None);
            let start = Instant::now();
            let found = loop {
                // The lease of the dead goes on for a while.
                let found = second.send(&key).await;
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "{key}: {found:?}"
                );
                if found.1 != "request_in_flight" {
                    break found;
                }
            };
            assert_eq!(found, (answer.0, answer.1.to_owned()), "{key}");
            assert_eq!(self.effects().await - from, *after, "{key}");
            // It stays so.
            assert_eq!(second.send(&key).await, found, "{key}");
            assert_eq!(self.effects().await - from, *after, "{key}");
        }
    }
}

const MADE: (u16, &str) = (201, "made");
const UNKNOWN: (u16, &str) = (409, "outcome_unknown");

/// In the end it is always one effect, and its answer.
const NOTHING_IS_UNKNOWN: [(&str, i64, (u16, &str), i64); 5] = [
    ("before the effect", 0, MADE, 1),
    ("after the effect", 0, MADE, 1),
    ("after the answer", 0, MADE, 1),
    ("after COMMIT", 1, MADE, 1),
    ("before the response", 1, MADE, 1),
];

/// Never a second effect; nobody knows whether there was a first.
const UNKNOWN_IN_BETWEEN: [(&str, i64, (u16, &str), i64); 3] = [
    ("before the effect", 0, UNKNOWN, 0),
    ("after the effect", 1, UNKNOWN, 1),
    ("before the response", 1, MADE, 1),
];

/// The twin: an effect is doubled, and that is found.
const DOUBLED: [(&str, i64, (u16, &str), i64); 1] = [("after the effect", 1, MADE, 2)];

#[tokio::test]
async fn killed_beside_sqlite_no_effect_is_doubled() {
    let scene = Scene::in_sqlite().await;
    scene.expect(Mode::InTransaction, &NOTHING_IS_UNKNOWN).await;
    scene.expect(Mode::ByTheLayer, &UNKNOWN_IN_BETWEEN).await;
    scene.expect(Mode::RunsAgain, &DOUBLED).await;
}

#[tokio::test]
async fn killed_beside_postgresql_no_effect_is_doubled() {
    let Some(scene) = Scene::in_postgres("answers, killed").await else {
        return;
    };
    scene.expect(Mode::InTransaction, &NOTHING_IS_UNKNOWN).await;
    scene.expect(Mode::ByTheLayer, &UNKNOWN_IN_BETWEEN).await;
    scene.expect(Mode::RunsAgain, &DOUBLED).await;
}
