//! Rows 28, 36 and 37 at random: copies of a few requests at once, each given up after this many
//! polls or not at all, whose handlers succeed, fail and panic. In each processing a request
//! succeeds at most once, and in the end the server answers as it did before: nothing waits
//! forever.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    routing::any,
};
use countersign::{Processing, testing::ManualClock};
use http::StatusCode;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tokio::{
    runtime,
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    common,
    handling::RETRYABLE,
    naive::{self, Fault},
    subject::{Frames, HOUSE, OK},
};

/// How the handlers of a request come to their end.
const ENDINGS: [&str; 3] = ["succeeds", "fails", "panics"];
/// This many handlers may run at once.
const AT_ONCE: usize = 2;

/// One of the requests, and after how many polls its sender gives up.
type Sent = (usize, Option<usize>);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let polls = prop_oneof![2 => (0..60_usize).prop_map(Some), 1 => Just(None)];
    prop::collection::vec((0..ENDINGS.len(), polls), 1..12)
}

/// How often each request succeeded, by its body.
type Successes = Arc<Mutex<BTreeMap<String, usize>>>;

/// Returns what a handler does; `effect` is what counts if it succeeds.
async fn handle(body: &str, effect: impl AsyncFnOnce()) -> StatusCode {
    yield_now().await;
    let ending = ENDINGS.iter().find(|ending| body.contains(*ending));
    match *ending.unwrap() {
        "panics" => panic!("as it is told"),
        "fails" => return StatusCode::IM_A_TEAPOT,
        _ => effect().await,
    }
    yield_now().await;
    StatusCode::OK
}

fn app(successes: &Successes) -> Router {
    let successes = Arc::clone(successes);
    let handler = async move |body: String| {
        handle(&body, async || {
            *successes.lock().unwrap().entry(body.clone()).or_default() += 1;
        })
        .await
    };
    Router::new().route("/transfer", any(handler))
}

fn most(successes: &Successes) -> usize {
    let successes = successes.lock().unwrap();
    successes.values().copied().max().unwrap_or_default()
}

struct Server {
    app: Router,
    clock: ManualClock,
}

impl Server {
    fn of(clock: ManualClock, make: impl FnOnce(&ManualClock) -> Router) -> Self {
        Self {
            app: make(&clock).layer(CatchPanicLayer::new()),
            clock,
        }
    }

    fn with(processing: Processing) -> (Self, Successes) {
        let successes = Successes::default();
        let server = Self::of(common::clock(), |clock| {
            let layer = HOUSE.layer(clock).store(common::store(clock));
            let layer = layer.processing(processing).max_running(AT_ONCE);
            app(&successes).layer(layer.build().unwrap())
        });
        (server, successes)
    }

    fn signed(&self, body: &str) -> http::Request<String> {
        HOUSE.sign(&self.clock, common::request("POST", "/transfer", body))
    }

    /// The answer, unless it is given up before.
    async fn send(
        app: Router,
        request: http::Request<String>,
        polls: Option<usize>,
    ) -> Option<(u16, String)> {
        let request = request.map(|body| {
            let (one, other) = body.split_at(body.len() / 2);
            Body::new(Frames::new([one.to_owned(), other.to_owned()], |_| {}))
        });
        let answering = async { common::verdict(app.oneshot(request).await.unwrap()).await };
        let (mut answering, mut left) = (Box::pin(answering), polls);
        poll_fn(|cx| match &mut left {
            Some(0) => Poll::Ready(None),
            left => {
                if let Some(left) = left {
                    *left -= 1;
                    cx.waker().wake_by_ref();
                }
                answering.as_mut().poll(cx).map(Some)
            }
        })
        .await
    }

    /// Asks again while a copy is in flight, or as many run as may.
    async fn settled(&self, request: &http::Request<String>) -> Result<(u16, String), String> {
        let mut last = None;
        for _ in 0..100 {
            let answer = Self::send(self.app.clone(), request.clone(), None).await;
            let answer = answer.unwrap();
            let is_busy = [
                "request_in_flight",
                "handlers_exhausted",
                "store_unavailable",
            ];
            if !is_busy.contains(&&*answer.1) {
                return Ok(answer);
            }
            last = Some(answer);
            sleep(Duration::from_millis(200)).await;
        }
        Err(format!("it is busy for ever: {last:?}"))
    }

    async fn course(&self, sent: &[Sent]) -> Result<(), String> {
        let requests = ENDINGS.map(|ending| self.signed(ending));
        let mut sending = JoinSet::new();
        for (which, polls) in sent {
            sending.spawn(Self::send(
                self.app.clone(),
                requests[*which].clone(),
                *polls,
            ));
        }
        while let Some(sent) = sending.join_next().await {
            sent.unwrap();
        }
        for request in &requests {
            self.settled(request).await?;
        }
        // Nobody's place is lost.
        let one_more = (0..AT_ONCE).map(|n| self.signed(&format!("succeeds {n}")));
        for request in one_more {
            let answer = self.settled(&request).await?;
            if answer.0 != OK {
                return Err(format!("{answer:?} to a new request"));
            }
        }
        Ok(())
    }
}

/// Each course on a server of its own. How often a request succeeded at most, or what was wrong.
fn at_random<S>(
    is_paused: bool,
    courses: u32,
    make: impl AsyncFn() -> (Server, S),
    most: impl AsyncFn(S) -> usize,
) -> Result<usize, String> {
    let mut runner = TestRunner::deterministic();
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime
        .enable_all()
        .start_paused(is_paused)
        .build()
        .unwrap();
    let mut overall = 0;
    for _ in 0..courses {
        let sent = sent().new_tree(&mut runner).unwrap().current();
        let outcome = runtime.block_on(async {
            let (server, successes) = make().await;
            let course = timeout(Duration::from_secs(120), server.course(&sent)).await;
            course.map_err(|_| "it hangs".to_owned())??;
            Ok::<_, String>(most(successes).await)
        });
        overall = overall.max(outcome.map_err(|what| format!("{sent:?}: {what}"))?);
    }
    Ok(overall)
}

/// On the memory store, where time passes at once when there is nothing to do.
fn in_memory(courses: u32, make: impl Fn() -> (Server, Successes)) -> Result<usize, String> {
    at_random(true, courses, async || make(), async |s| most(&s))
}

#[test]
fn a28_given_up_at_random_a_request_succeeds_at_most_once() {
    let make = || Server::with(Processing::AtMostOnce);
    assert_eq!(in_memory(common::cases(200), make), Ok(1));
}

#[test]
fn a36_given_up_at_random_a_request_succeeds_once() {
    let make = || Server::with(RETRYABLE);
    assert_eq!(in_memory(common::cases(200), make), Ok(1));
}

#[test]
fn a28_twin_a_server_that_gives_the_nonce_back_on_drop_is_found_at_random() {
    let make = |fault| {
        let successes = Successes::default();
        let server = Server::of(common::clock(), |clock| {
            naive::server(&HOUSE, clock, app(&successes), fault, || {})
        });
        (server, successes)
    };
    let found = |fault| in_memory(200, || make(fault));
    assert_eq!(found(Fault::None), Ok(1));
    assert!(found(Fault::GivesBackOnDrop).unwrap() > 1);
}

#[test]
fn a28_twin_a_place_that_is_lost_with_its_request_is_found() {
    let make = || {
        let (server, successes) = Server::with(RETRYABLE);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let limit = from_fn(move |request: Request, next: Next| {
            let places = Arc::clone(&places);
            async move {
                places.acquire().await.unwrap().forget();
                let response = next.run(request).await;
                places.add_permits(1);
                response
            }
        });
        let app = server.app.layer(limit);
        (Server { app, ..server }, successes)
    };
    let found = in_memory(200, make);
    assert!(found.is_err_and(|what| what.ends_with("it hangs")));
}

#[cfg(feature = "sqlite")]
mod in_transaction {
    use axum::response::{IntoResponse, Response};
    use countersign::{
        Clock as _, PendingPayload, Rejection, clock::SystemClock, store::SqliteStore,
    };
    use sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
    };
    use tempfile::TempDir;

    use super::*;

    /// The statement that rolls back.
    struct Failure(Response);

    impl From<Rejection> for Failure {
        fn from(rejection: Rejection) -> Self {
            Self(rejection.into_response())
        }
    }

    impl IntoResponse for Failure {
        fn into_response(self) -> Response {
            self.0
        }
    }

    /// In a file: sqlx closes a connection if its caller gives up, and a database in
    /// memory ends with its only connection.
    async fn database() -> (SqlitePool, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteConnectOptions::new()
            .filename(folder.path().join("effects.db"))
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(file).await.unwrap();
        SqliteStore::migrate(&pool).await.unwrap();
        let tables = "CREATE TABLE effects (body text NOT NULL);
                      UPDATE countersign_store SET since = 0";
        sqlx::raw_sql(tables).execute(&pool).await.unwrap();
        (pool, folder)
    }

    fn server(pool: SqlitePool) -> Server {
        // The database goes by its own clock.
        let clock = ManualClock::at(SystemClock::default().now());
        Server::of(clock, |clock| {
            let handler = async move |pending: PendingPayload| {
                pending
                    .transact(&pool, async |tx, payload| {
                        let body = str::from_utf8(payload.bytes()).unwrap();
                        let effect = async || {
                            let effect = sqlx::query("INSERT INTO effects VALUES ($1)");
                            effect.bind(body).execute(tx).await.unwrap();
                        };
                        match handle(body, effect).await {
                            StatusCode::OK => Ok("done"),
                            failed => Err(Failure(failed.into_response())),
                        }
                    })
                    .await
            };
            let layer = HOUSE.layer(clock).processing(Processing::InTransaction);
            let layer = layer.store_timeout(Duration::from_secs(60));
            Router::new()
                .route("/transfer", any(handler))
                .layer(layer.build().unwrap())
        })
    }

    #[test]
    fn a37_given_up_at_random_a_request_succeeds_once() {
        let make = async || {
            let (pool, folder) = database().await;
            (server(pool.clone()), (pool, folder))
        };
        let most = async |(pool, _folder): (SqlitePool, TempDir)| {
            let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM effects GROUP BY body)";
            let most: i64 = sqlx::query_scalar(most).fetch_one(&pool).await.unwrap();
            usize::try_from(most).unwrap()
        };
        assert_eq!(at_random(false, common::cases(40), make, most), Ok(1));
    }
}
