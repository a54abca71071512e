//! Effects that come after the answer, and states that are slow to read: `countersign probe` sees all of
//! them, and sends no more for it.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde_json::Value;
use tokio::{net::TcpListener, time::sleep};

use crate::{
    probe::{ids, probe, request, write_schemes},
    session::Session,
};

/// Milliseconds from the answer to its effect, of the request of this number.
type Late = fn(usize) -> u64;

/// Milliseconds that the reading of this number takes before it looks, and after.
type Slow = fn(usize) -> (u64, u64);

#[derive(Clone)]
struct World {
    late: Late,
    slow: Slow,
    acted: Arc<AtomicUsize>,
    read: Arc<AtomicUsize>,
    effects: Arc<Mutex<HashMap<String, u32>>>,
    seen: Arc<Mutex<HashSet<String>>>,
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl World {
    fn act(&self, body: &[u8]) {
        let order: Value = serde_json::from_slice(body).unwrap();
        let id = order["id"].as_str().unwrap().to_owned();
        let late = (self.late)(self.acted.fetch_add(1, Ordering::SeqCst));
        let effects = Arc::clone(&self.effects);
        let act = move || *effects.lock().unwrap().entry(id).or_default() += 1;
        if late == 0 {
            return act();
        }
        tokio::spawn(async move {
            sleep(millis(late)).await;
            act();
        });
    }
}

async fn forgetful(State(world): State<World>, body: Bytes) {
    world.act(&body);
}

async fn mended(State(world): State<World>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let nonce = headers["x-nonce"].to_str().unwrap().to_owned();
    if !world.seen.lock().unwrap().insert(nonce) {
        return StatusCode::CONFLICT;
    }
    world.act(&body);
    StatusCode::OK
}

/// Refuses a replay. At that moment, somebody else's order is acted on.
async fn busy(state: State<World>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let world = state.0.clone();
    let status = mended(state, headers, body).await;
    if status == StatusCode::CONFLICT {
        world.act(br#"{"id":"of somebody else"}"#);
    }
    status
}

async fn count_all(State(world): State<World>) -> String {
    let effects = world.effects.lock().unwrap();
    effects.values().sum::<u32>().to_string()
}

async fn count(State(world): State<World>, Path(of): Path<String>) -> String {
    let (before, after) = (world.slow)(world.read.fetch_add(1, Ordering::SeqCst));
    sleep(millis(before)).await;
    let effects = world.effects.lock().unwrap().get(&of).copied();
    sleep(millis(after)).await;
    effects.unwrap_or_default().to_string()
}

/// Starts a server on a thread of its own: where it is, and how often it has acted.
fn start(late: Late, slow: Slow) -> (SocketAddr, Arc<AtomicUsize>) {
    let world = World {
        late,
        slow,
        acted: Arc::default(),
        read: Arc::default(),
        effects: Arc::default(),
        seen: Arc::default(),
    };
    let acted = Arc::clone(&world.acted);
    let (sender, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let app = Router::new()
                .route("/fault/late", post(forgetful))
                .route("/mended/late", post(mended))
                .route("/mended/busy", post(busy))
                .route("/effects/{of}", get(count))
                .route("/effects", get(count_all))
                .with_state(world);
            axum::serve(listener, app).await.unwrap();
        });
    });
    (address.recv().unwrap(), acted)
}

/// States that are read fast, slowly, and both.
const READINGS: [(&str, Slow); 7] = [
    ("fast", |_| (0, 0)),
    ("slow before it looks", |_| (300, 0)),
    ("slow once", |at| (if at == 1 { 350 } else { 0 }, 0)),
    ("slow after it looked", |_| (0, 300)),
    (
        "slow at first",
        |at| if at < 12 { (300, 0) } else { (0, 0) },
    ),
    (
        "fast in turn",
        |at| if at % 2 == 0 { (0, 0) } else { (300, 0) },
    ),
    (
        "slow in turn",
        |at| if at % 2 == 0 { (0, 300) } else { (0, 0) },
    ),
];

const LATE: [(&str, Late); 3] = [
    ("150 ms", |_| 150),
    ("400 ms", |_| 400),
    // The first ones are no measure for the others.
    (
        "at once twice",
        |at| if matches!(at, 1 | 2) { 0 } else { 300 },
    ),
];

/// The replays act, and their effects are counted; the twin is clean.
#[test]
fn late_effects_are_seen_however_slow_the_state_is_to_read() {
    let session = Session::new();
    write_schemes(&session);
    let all: Vec<_> = READINGS
        .into_iter()
        .flat_map(|reading| LATE.map(|late| (reading, late)))
        .collect();
    thread::scope(|scope| {
        for ((reading, slow), (lateness, late)) in all {
            let session = &session;
            scope.spawn(move || {
                let of = format!("effects after {lateness}, readings {reading}");
                let probed = |route: &str| {
                    let (address, _) = start(late, slow);
                    let command = request(address, route, "--check replay");
                    probe(session, &format!("no-path.toml {command}"))
                };
                let report = probed("/fault/late");
                let finding = &report["findings"][0];
                assert_eq!(finding["verdict"], "proven", "{of}: {report:#}");
                assert_eq!(finding["effects"], 4, "{of}: {report:#}");
                let report = probed("/mended/late");
                assert_eq!(ids(&report), Vec::<String>::new(), "{of}: {report:#}");
                assert_eq!(report["checks"][0]["outcome"], "clean", "{of}: {report:#}");
            });
        }
    });
}

/// The readings that tell the probe how late effects are end after the effect. Later readings are
/// faster: of two, one comes before the effect and one after it.
#[test]
fn an_effect_that_a_reading_was_too_slow_to_call_late_is_not_taken_for_that_of_a_replay() {
    let session = Session::new();
    write_schemes(&session);
    let slow_at_first: [Slow; 2] = [
        |at| (if at < 10 || at % 2 == 0 { 25 } else { 0 }, 0),
        |at| (if at < 10 || at % 2 == 1 { 25 } else { 0 }, 0),
    ];
    for slow in slow_at_first {
        let (address, _) = start(|_| 15, slow);
        let command = request(address, "/mended/late", "--check replay");
        let report = probe(&session, &format!("no-path.toml {command}"));
        assert_eq!(report["checks"][0]["outcome"], "clean", "{report:#}");
    }
}

/// Two valid requests tell the effect of one, as the help says.
#[test]
fn a_slow_state_costs_no_more_requests() {
    let session = Session::new();
    write_schemes(&session);
    thread::scope(|scope| {
        for (reading, slow) in READINGS {
            let session = &session;
            scope.spawn(move || {
                let (address, acted) = start(|_| 0, slow);
                let command = request(address, "/mended/late", "--check uncovered-time");
                let report = probe(session, &format!("no-path.toml {command}"));
                assert_eq!(report["checks"][0]["outcome"], "clean", "{report:#}");
                assert_eq!(acted.load(Ordering::SeqCst), 2, "{reading}");
            });
        }
    });
    let help = session.run("countersign probe --help");
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("first sends two valid requests"), "{help}");
}

/// The last moment of the window is met, although the state is slow to read.
#[test]
fn a_slow_state_is_read_before_the_window_ends() {
    let session = Session::new();
    write_schemes(&session);
    let (address, _) = start(|_| 0, |_| (700, 0));
    let more = "--check window-memory --wait --max-age 6";
    let command = request(address, "/fault/late", more);
    let report = probe(&session, &format!("no-path.toml {command}"));
    assert_eq!(ids(&report), ["window-memory"], "{report:#}");
    assert_eq!(report["findings"][0]["verdict"], "proven", "{report:#}");
}

/// A check that waits is not repeated: one change of a state that others change, too, proves nothing.
#[test]
fn a_shared_state_that_somebody_else_changes_proves_nothing_after_a_wait() {
    let session = Session::new();
    write_schemes(&session);
    let (address, _) = start(|_| 0, |_| (0, 0));
    let more = "--check window-memory --wait --max-age 6";
    let command = request(address, "/mended/busy", more).replace("/effects/{uuid}", "/effects");
    let report = probe(&session, &format!("no-path.toml {command}"));
    let finding = &report["findings"][0];
    assert_eq!(finding["effects"], 1, "{report:#}");
    assert_eq!(finding["verdict"], "suspect", "{report:#}");
    let note = finding["note"].as_str().unwrap();
    assert!(note.contains("somebody else may have changed"), "{note}");
}
