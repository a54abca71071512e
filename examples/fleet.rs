//! Several server processes that share one Redis or PostgreSQL, and the same signed requests sent to
//! all of them at once: each request has one effect, whichever process wins, also while one of them
//! is killed and started again.
//!
//! On a `redis-server` of its own:
//! `cargo run --example fleet --features redis,postgres`
//!
//! On yours, of which it assumes that it has no history:
//! `cargo run --example fleet --features redis,postgres -- redis://…`, or `postgres://…`

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example for people to read"
)]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io,
    net::SocketAddr,
    ops::Range,
    process::{ExitCode, Stdio},
    str::FromStr as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use countersign::{
    HttpMessageSignatures, KeyRing, Signer, VerifiedPayload, VerifyLayer,
    store::{NonceStore, PostgresStore, RedisStore},
};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// The URL that clients call, whichever process a load balancer gives them.
const ORIGIN: &str = "https://api.example.com";
const KEY: &str = "partner-1";
const SECRET: &str = "a secret that only the partner and we know";

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const REQUESTS: usize = 100;
/// The duplicates of each request, to each process.
const COPIES: usize = 2;

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [serve, name, url] if serve == "serve" => {
            self::serve(name.clone(), url).await?;
            Ok(ExitCode::SUCCESS)
        }
        [url] => show(url).await,
        _ => {
            let Some(redis) = OwnRedis::start().await? else {
                eprintln!(
                    "There is no `redis-server` here. Install one (Debian: `apt install \
                     redis-server`), or give the URL of a Redis or PostgreSQL to try this with."
                );
                return Ok(ExitCode::FAILURE);
            };
            show(&redis.url).await
        }
    }
}

/// Runs a server of the fleet: says where it listens, does what is asked, and ends with its
/// standard input.
async fn serve(name: String, url: &str) -> Result<(), AnyError> {
    let store: Arc<dyn NonceStore> = if url.starts_with("postgres") {
        Arc::new(PostgresStore::open(PgConnectOptions::from_str(url)?).await?)
    } else {
        Arc::new(
            RedisStore::builder()
                // Nothing was accepted before: the example starts with an empty database.
                .danger_assume_no_history()
                .open(url)
                .await?,
        )
    };
    let layer = VerifyLayer::builder(HttpMessageSignatures::default())
        .public_origin(ORIGIN)
        .keys(KeyRing::new().with(KEY, SECRET)?)
        .namespace("fleet")
        .store(store)
        .build()?;
    // The effect is a line, which outlives the process that wrote it.
    let act = async |State(name): State<String>, order: VerifiedPayload| {
        println!("{}", String::from_utf8_lossy(order.bytes()));
        name
    };
    let app = Router::new()
        .route("/orders", post(act))
        .layer(layer)
        .with_state(name);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let parent_is_gone = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(parent_is_gone)
        .await?;
    Ok(())
}

async fn show(url: &str) -> Result<ExitCode, AnyError> {
    if url.starts_with("postgres") {
        let pool = PgPool::connect(url).await?;
        PostgresStore::migrate(&pool).await?;
        // Nothing was accepted before: the example makes its tables here.
        PostgresStore::danger_assume_no_history(&pool).await?;
    }
    let kind = url.split_once(':').map_or(url, |(kind, _)| kind);
    println!("  {} server processes share one {kind}.", NAMES.len());

    let effects = Effects::default();
    let mut fleet = Vec::new();
    for name in NAMES {
        fleet.push(Process::start(name, url, &effects).await?);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();

    let first = orders(0..REQUESTS)?;
    let at_once = send(client.clone(), first.clone(), places(&fleet), None).await;
    at_once.print(&format!(
        "{REQUESTS} signed requests, each sent {COPIES} times to every process, all at once"
    ));
    let later = send(client.clone(), first.clone(), places(&fleet), None).await;
    later.print("The same requests again");

    let more = orders(REQUESTS..2 * REQUESTS)?;
    let (answered, mut answers) = mpsc::unbounded_channel();
    let running = tokio::spawn(send(
        client.clone(),
        more.clone(),
        places(&fleet),
        Some(answered),
    ));
    for _ in 0..REQUESTS {
        answers.recv().await;
    }
    fleet[2].child.start_kill()?;
    let during = running.await?;
    during.print(&format!(
        "{REQUESTS} other requests, and `c` is killed meanwhile"
    ));
    fleet[2] = Process::start(NAMES[2], url, &effects).await?;
    let after = send(client, more, places(&fleet), None).await;
    after.print("The same requests again, and `c` was started again");

    for process in fleet {
        process.end().await?;
    }
    let effects = effects.counted();
    let had = |wanted: fn(usize) -> bool, orders: Range<usize>| {
        let of = |n| effects.get(&order(n)).copied().unwrap_or(0);
        orders.filter(|&n| wanted(of(n))).count()
    };
    let none = had(|n| n == 0, REQUESTS..2 * REQUESTS);
    println!(
        "\n  Of {} requests, {} had one effect, and {} had two.",
        2 * REQUESTS,
        had(|n| n == 1, 0..2 * REQUESTS),
        had(|n| n > 1, 0..2 * REQUESTS),
    );
    if none > 0 {
        println!(
            "  {none} had none: `c` had claimed them when it was killed. At most once is what was \
             asked for;\n  `Processing` has the others."
        );
    }
    let passed = had(|n| n > 1, 0..2 * REQUESTS) == 0
        && had(|n| n == 1, 0..REQUESTS) == REQUESTS
        && at_once.won() == REQUESTS
        && later.won() + after.won() == 0;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        println!("  That is not what was expected.");
        ExitCode::FAILURE
    })
}

fn order(n: usize) -> String {
    format!("order {n}")
}

type Signed = Request<Full<Bytes>>;

fn orders(numbers: Range<usize>) -> Result<Vec<Signed>, AnyError> {
    let signer = Signer::new(HttpMessageSignatures::default(), KEY, SECRET)?;
    numbers
        .map(|n| {
            let request = Request::post(format!("{ORIGIN}/orders"))
                .header(header::HOST, "api.example.com")
                .body(order(n))?;
            Ok(signer.sign(request)?.map(Full::from))
        })
        .collect()
}

/// How often each process gave each answer.
#[derive(Default)]
struct Answers(BTreeMap<&'static str, BTreeMap<String, usize>>);

const ACCEPTED: &str = "accepted";

impl Answers {
    fn won(&self) -> usize {
        let accepted = self.0.values().filter_map(|of| of.get(ACCEPTED));
        accepted.sum()
    }

    fn print(&self, title: &str) {
        println!("\n  {title}:");
        for (name, answers) in &self.0 {
            let won = answers.get(ACCEPTED).copied().unwrap_or(0);
            let refused: Vec<_> = answers
                .iter()
                .filter(|(answer, _)| *answer != ACCEPTED)
                .map(|(answer, times)| format!("{times} {answer}"))
                .collect();
            println!("    {name}   {won:>3} accepted   {}", refused.join(", "));
        }
    }
}

/// Sends copies of each request to each process, all at once, and says so at each answer.
async fn send(
    client: Client<HttpConnector, Full<Bytes>>,
    orders: Vec<Signed>,
    fleet: Vec<Place>,
    answered: Option<mpsc::UnboundedSender<()>>,
) -> Answers {
    let mut sending = JoinSet::new();
    for order in orders {
        for &(name, address) in fleet.iter().cycle().take(COPIES * fleet.len()) {
            let (client, order, answered) = (client.clone(), order.clone(), answered.clone());
            sending.spawn(async move {
                let answer = send_one(&client, order, address).await;
                if let Some(answered) = answered {
                    // The receiver may have counted enough and gone.
                    let _ = answered.send(());
                }
                (
                    name,
                    answer.unwrap_or_else(|_| "without an answer".to_owned()),
                )
            });
        }
    }
    let mut answers = Answers::default();
    for (name, answer) in sending.join_all().await {
        *answers
            .0
            .entry(name)
            .or_default()
            .entry(answer)
            .or_default() += 1;
    }
    answers
}

/// As a load balancer would: to one of the processes, with the host that was signed.
async fn send_one(
    client: &Client<HttpConnector, Full<Bytes>>,
    mut order: Signed,
    process: SocketAddr,
) -> Result<String, AnyError> {
    *order.uri_mut() = format!("http://{process}/orders").parse()?;
    let response = client.request(order).await?;
    if response.status() == StatusCode::OK {
        return Ok(ACCEPTED.to_owned());
    }
    let body = response.into_body().collect().await?.to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body)?;
    Ok(problem["code"].as_str().unwrap_or("?").to_owned())
}

/// How often each order was carried out.
#[derive(Clone, Default)]
struct Effects(Arc<Mutex<BTreeMap<String, usize>>>);

impl Effects {
    fn add(&self, order: String) {
        *self.0.lock().expect("no panic").entry(order).or_default() += 1;
    }

    fn counted(&self) -> BTreeMap<String, usize> {
        self.0.lock().expect("no panic").clone()
    }
}

type Place = (&'static str, SocketAddr);

fn places(fleet: &[Process]) -> Vec<Place> {
    fleet.iter().map(|process| process.place).collect()
}

/// A server of the fleet, as its parent sees it. Killed when this is dropped.
struct Process {
    place: Place,
    child: Child,
    reading: JoinHandle<()>,
}

impl Process {
    async fn start(name: &'static str, url: &str, effects: &Effects) -> Result<Self, AnyError> {
        let mut child = Command::new(env::current_exe()?)
            .args(["serve", name, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines();
        let address = lines.next_line().await?;
        let address = address.ok_or("a process ended before it served")?.parse()?;
        let effects = effects.clone();
        let reading = tokio::spawn(async move {
            while let Ok(Some(order)) = lines.next_line().await {
                effects.add(order);
            }
        });
        Ok(Self {
            place: (name, address),
            child,
            reading,
        })
    }

    /// Ends it, and waits for the last of its effects.
    async fn end(mut self) -> Result<(), AnyError> {
        drop(self.child.stdin.take());
        self.reading.await?;
        Ok(())
    }
}

/// A Redis on a free port, that ends with this.
struct OwnRedis {
    url: String,
    _child: Child,
}

impl OwnRedis {
    /// `None` where there is no program for it.
    async fn start() -> Result<Option<Self>, AnyError> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let child = match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(60), listens).await?;
        Ok(Some(Self {
            url: format!("redis://127.0.0.1:{port}"),
            _child: child,
        }))
    }
}
