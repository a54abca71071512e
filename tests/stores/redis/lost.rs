//! Rows 56 and 60, and a server without memory: records that Redis drops while they live, by an
//! eviction or because its clock was ahead.

use std::{
    fs::{self, File, Permissions},
    os::unix::{fs::FileExt as _, fs::PermissionsExt as _},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use countersign::store::{Claim, LeaseOutcome, LeaseStore as _, NonceStore as _, StepOutcome};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{
    ClaimOutcome, Duration, HOUR, Instant, RedisStore, SKEW, Server, StoreErrorKind, Timestamp,
    ask, claim, claim_until, now, open, programs,
};

const NONE: &[&str] = &["--save", ""];
const COUNT: u64 = 300;
const SIGN_AGAIN: Result<ClaimOutcome, StoreErrorKind> = Err(StoreErrorKind::SignAgain);

/// With five minutes to live.
fn live(nonce: u64, signed: Timestamp) -> Claim {
    let deadline = signed.saturating_add(Duration::from_secs(300));
    claim_until(nonce, deadline).signed(signed, SKEW)
}

/// Accepts `COUNT` nonces.
async fn accept(store: &RedisStore, signed: Timestamp) {
    for nonce in 0..COUNT {
        assert_eq!(
            ask(store, &live(nonce, signed)).await,
            Ok(ClaimOutcome::New)
        );
    }
}

/// Returns how many of them are accepted once more.
async fn replays(store: &RedisStore, signed: Timestamp) -> usize {
    let mut accepted = 0;
    for nonce in 0..COUNT {
        let answer = store.claim(&live(nonce, signed)).await;
        accepted += usize::from(matches!(answer, Ok(ClaimOutcome::New)));
    }
    accepted
}

fn records(server: &Server) -> u64 {
    server.ask::<Vec<Vec<u8>>>(&["KEYS", "cs:*"]).unwrap().len() as u64
}

/// Sets a policy for a moment, and allows less memory, until at least this many keys are evicted.
fn evict(server: &Server, policy: &str, keys: u64) {
    // One connection: a new one uses memory of its own.
    let mut connection = server.connection();
    let mut tell = |words: &str| -> redis::Value {
        let mut command = redis::Cmd::new();
        command.arg(words.split(' ').collect::<Vec<_>>());
        command.query(&mut connection).unwrap()
    };
    let info = |tell: &mut dyn FnMut(&str) -> redis::Value, section: &str, name: &str| {
        let info: String = redis::from_redis_value(tell(&format!("INFO {section}"))).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().parse::<u64>().unwrap()
    };
    let most = info(&mut tell, "memory", "used_memory:") + 100_000;
    let before = info(&mut tell, "stats", "evicted_keys:");
    tell(&format!("CONFIG SET maxmemory-policy {policy}"));
    let mut steps = (0..).map(|step| most - step * 300);
    while info(&mut tell, "stats", "evicted_keys:") < before + keys {
        tell(&format!("CONFIG SET maxmemory {}", steps.next().unwrap()));
    }
    tell("CONFIG SET maxmemory 0");
    tell("CONFIG SET maxmemory-policy noeviction");
    let left = records(server);
    assert!(left < COUNT, "{policy} evicted nothing");
    println!("{policy}: {left} of {COUNT} are left");
}

const MANY: u64 = COUNT / 2;
/// Hardly one of the store's own short-lived keys is among them.
const FEW: u64 = 5;

const POLICIES: [&str; 4] = [
    "volatile-ttl",
    "volatile-random",
    "allkeys-lru",
    "allkeys-random",
];

#[tokio::test]
async fn a56_a_policy_that_evicts_for_a_moment_reopens_nothing() {
    for program in programs() {
        for policy in POLICIES {
            let server = Server::start(&program, NONE);
            let store = open(&server.url()).await;
            let signed = now();
            accept(&store, signed).await;
            evict(&server, policy, MANY);
            assert_eq!(replays(&store, signed).await, 0, "{program}, {policy}");
            assert_eq!(ask(&store, &live(0, signed)).await, SIGN_AGAIN);
            // It is known to a process that begins later.
            let other = RedisStore::open(&server.url()).await.unwrap();
            assert_eq!(replays(&other, signed).await, 0, "{program}, {policy}");
            // It is served again, with what is signed from now on.
            assert_eq!(ask(&store, &claim(COUNT)).await, Ok(ClaimOutcome::New));
            assert_eq!(ask(&other, &claim(COUNT + 1)).await, Ok(ClaimOutcome::New));
        }
    }
}

/// Its own round trip tells of it, so there is nothing to be quick for.
#[tokio::test]
async fn a56_the_first_claim_after_an_eviction_is_told_of_it() {
    for program in programs() {
        for first in 0..5 {
            let server = Server::start(&program, NONE);
            let store = Arc::new(open(&server.url()).await);
            let signed = now();
            accept(&store, signed).await;
            evict(&server, "volatile-random", FEW);
            // All at once: none of them waits for the answer to another one.
            let mut copies = JoinSet::new();
            for nonce in first..COUNT {
                let store = Arc::clone(&store);
                copies.spawn(async move { ask(&store, &live(nonce, signed)).await });
            }
            let answers = copies.join_all().await;
            assert!(!answers.contains(&Ok(ClaimOutcome::New)));
            assert!(answers.contains(&SIGN_AGAIN));
        }
    }
}

#[tokio::test]
async fn a56_counters_that_are_reset_after_an_eviction_hide_nothing() {
    for program in programs() {
        for _ in 0..3 {
            let server = Server::start(&program, NONE);
            let store = open(&server.url()).await;
            let signed = now();
            accept(&store, signed).await;
            evict(&server, "volatile-random", FEW);
            server.tell(&["CONFIG", "RESETSTAT"]);
            assert_eq!(replays(&store, signed).await, 0, "{program}");
            assert_eq!(ask(&store, &claim(COUNT)).await, Ok(ClaimOutcome::New));
        }
    }
}

/// All records are elsewhere for a moment, and there again: those that were made meanwhile are gone
/// then.
#[tokio::test]
async fn a56_databases_that_are_swapped_and_swapped_back_reopen_nothing() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = open(&server.url()).await;
        let signed = now();
        accept(&store, signed).await;
        for round in 0..2 {
            server.tell(&["SWAPDB", "0", "1"]);
            assert_eq!(replays(&store, signed).await, 0, "{program}, {round}");
            let other = RedisStore::open(&server.url()).await.unwrap();
            assert_eq!(replays(&other, signed).await, 0, "{program}, {round}");
            assert_eq!(
                ask(&store, &claim(COUNT + round)).await,
                Ok(ClaimOutcome::New)
            );
        }
        // The twin: what was recorded in the one is not in the other.
        assert!(records(&server) > COUNT);
        server.tell(&["SWAPDB", "0", "1"]);
        assert!(records(&server) < COUNT);
    }
}

/// The watch asks a second before it is answered, and is answered by what was known then: few
/// commands. The steps keep what they have learned in that second.
#[tokio::test]
async fn a56_an_inspection_that_was_asked_for_before_hides_no_reset() {
    for program in programs() {
        let mut is_shown = false;
        // An inspection that comes too early, or misses a key of its own, shows nothing.
        for _ in 0..10 {
            let clocks = Clocks::new();
            let server = clocks.start(&program);
            let store = Arc::new(open(&server.url()).await);
            let signed = now();
            // All at once, so that the watch has not asked again by then.
            let mut claims = JoinSet::new();
            for nonce in 0..COUNT {
                let store = Arc::clone(&store);
                claims.spawn(async move { ask(&store, &live(nonce, signed)).await });
            }
            let new = claims.join_all().await;
            assert!(new.iter().all(|answer| *answer == Ok(ClaimOutcome::New)));
            is_shown = reset_while_the_watch_waits(&server, &clocks);
            if is_shown {
                // The answer to the watch is read before anything is claimed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert_eq!(replays(&store, signed).await, 0, "{program}");
                assert_eq!(ask(&store, &claim(COUNT)).await, Ok(ClaimOutcome::New));
                break;
            }
        }
        assert!(is_shown, "{program}");
    }
}

/// Evicts, resets, and waits until the server has answered the watch, all while this process reads
/// nothing. Tells whether the watch has seen nothing: it is the twin of what the steps must see.
fn reset_while_the_watch_waits(server: &Server, clocks: &Clocks) -> bool {
    // The second of the watch does not end before all is done.
    clocks.set(-60);
    let mut connection = server.connection();
    let mut tell = |words: &[&str]| -> redis::Value {
        let mut command = redis::Cmd::new();
        command.arg(words).query(&mut connection).unwrap()
    };
    let keys = tell(&["KEYS", "countersign:{*}"]);
    let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
    let [key] = &keys[..] else {
        panic!("one record of the server, and not {keys:?}");
    };
    let mut record = |field| -> u64 {
        let value = tell(&["HGET", key, field]);
        redis::from_redis_value(value).unwrap()
    };
    let (since, watched, known) = (record("since"), record("watched"), record("commands"));
    evict(server, "volatile-random", FEW);
    server.tell(&["CONFIG", "RESETSTAT"]);
    // As many commands as the watch knows of, and fewer than the steps do.
    if known > COUNT {
        return false;
    }
    for _ in 0..known {
        record("watched");
    }
    clocks.set(0);
    // A watch that had not asked before does not ask now, because this thread is its runtime's.
    let asked = Instant::now();
    while record("watched") == watched {
        if asked.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    record("since") == since
}

/// Nothing is counted as evicted here: that a server could have evicted is enough.
#[tokio::test]
async fn a56_a_policy_that_was_another_one_is_remembered() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = open(&server.url()).await;
        let signed = now();
        assert_eq!(ask(&store, &live(0, signed)).await, Ok(ClaimOutcome::New));
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
        store.check().await.unwrap_err();
        server.tell(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        for store in [store, open(&server.url()).await] {
            assert_eq!(ask(&store, &live(0, signed)).await, SIGN_AGAIN);
            assert_eq!(ask(&store, &live(1, signed)).await, SIGN_AGAIN);
        }
    }
}

/// The twin: what a store that asks for nothing but the record accepts.
#[tokio::test]
async fn a56_twin_a_store_that_looks_at_no_counter_accepts_what_was_evicted() {
    for program in programs() {
        for policy in POLICIES {
            let server = Server::start(&program, NONE);
            assert_eq!(naive(&server), COUNT);
            evict(&server, policy, MANY);
            assert!(naive(&server) > 0, "{program}, {policy}");
        }
    }
}

/// Returns how many of these a store would accept that sets a record where there is none, and no
/// more.
fn naive(server: &Server) -> u64 {
    let deadline = now()
        .saturating_add(Duration::from_secs(300))
        .as_millis()
        .to_string();
    let accepts = |nonce: &u64| {
        let key = format!("cs:{nonce}");
        let value = "f".repeat(40);
        let set = ["SET", &key, &value, "NX", "GET", "PXAT", &deadline];
        server.ask::<redis::Value>(&set).unwrap() == redis::Value::Nil
    };
    (0..COUNT).filter(accepts).count() as u64
}

/// Servers whose clock a test can set.
struct Clocks {
    folder: TempDir,
    /// How many seconds it is ahead.
    ahead: File,
}

impl Clocks {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stores/redis/clock.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("clock.so"))
            .arg(source)
            .status();
        assert!(built.unwrap().success());
        let clock = folder.path().join("clock");
        fs::write(&clock, 0i64.to_ne_bytes()).unwrap();
        let ahead = File::options().write(true).open(clock).unwrap();
        Self { folder, ahead }
    }

    fn set(&self, seconds: i64) {
        self.ahead.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// A jump, and back once records were dropped.
    async fn jump(&self, seconds: i64, server: &Server) {
        // With those that have expired and are not dropped yet.
        let kept = || server.ask::<u64>(&["DBSIZE"]).unwrap();
        let before = kept();
        self.set(seconds);
        let start = Instant::now();
        while kept() > before - COUNT / 2 {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "nothing was dropped"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.set(0);
    }

    fn start(&self, program: &str) -> Server {
        let script = self.folder.path().join("server");
        let folder = self.folder.path().display();
        let run = format!(
            "#!/bin/sh\nLD_PRELOAD={folder}/clock.so TEST_CLOCK={folder}/clock exec {program} \"$@\"\n"
        );
        fs::write(&script, run).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o700)).unwrap();
        Server::start(script.to_str().unwrap(), NONE)
    }
}

#[tokio::test]
async fn a60_a_clock_that_is_ahead_for_a_moment_reopens_nothing() {
    for program in programs() {
        for seconds in [600, 86_400] {
            let clocks = Clocks::new();
            let server = clocks.start(&program);
            let store = open(&server.url()).await;
            let signed = now();
            accept(&store, signed).await;
            clocks.jump(seconds, &server).await;
            assert!(records(&server) < COUNT, "nothing was dropped");
            assert_eq!(replays(&store, signed).await, 0, "{program}, {seconds} s");
            // It is known to a process that begins later, also to one that says there is no history.
            let other = RedisStore::open(&server.url()).await.unwrap();
            assert_eq!(replays(&other, signed).await, 0, "{program}, {seconds} s");
            let other = open(&server.url()).await;
            assert_eq!(replays(&other, signed).await, 0, "{program}, {seconds} s");
        }
    }
}

/// Nobody asks anything while the clock is ahead, and no process runs.
#[tokio::test]
async fn a60_a_jump_while_no_process_runs_reopens_nothing() {
    for program in programs() {
        for seconds in [30, 600] {
            let clocks = Clocks::new();
            let server = clocks.start(&program);
            let signed = now();
            let deadline = signed.saturating_add(Duration::from_secs(15));
            let claim = |nonce| claim_until(nonce, deadline).signed(signed, SKEW);
            let store = open(&server.url()).await;
            for nonce in 0..COUNT {
                assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::New));
            }
            drop(store);
            let clients = || server.ask::<String>(&["CLIENT", "LIST"]).unwrap();
            while clients().lines().count() > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            clocks.jump(seconds, &server).await;
            assert!(records(&server) < COUNT, "nothing was dropped");
            let store = open(&server.url()).await;
            for nonce in 0..COUNT {
                assert_eq!(ask(&store, &claim(nonce)).await, SIGN_AGAIN);
            }
        }
    }
}

/// A jump just beyond the deadline loses nothing: records stay longer.
#[tokio::test]
async fn a60_a_jump_of_a_few_seconds_loses_no_record() {
    for program in programs() {
        let clocks = Clocks::new();
        let server = clocks.start(&program);
        let store = open(&server.url()).await;
        let signed = now();
        let deadline = signed.saturating_add(Duration::from_secs(10));
        let claim = |nonce| claim_until(nonce, deadline).signed(signed, SKEW);
        for nonce in 0..COUNT {
            assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::New));
        }
        // Just beyond the deadline, however long the claims took.
        let beyond = Duration::from_secs(2) + deadline.saturating_since(now());
        clocks.set(beyond.as_secs().try_into().unwrap());
        tokio::time::sleep(Duration::from_millis(250)).await;
        clocks.set(0);
        assert_eq!(records(&server), COUNT);
        for nonce in 0..COUNT {
            assert_ne!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::New));
        }
    }
}

#[tokio::test]
async fn a60_twin_a_store_that_trusts_the_clock_accepts_what_was_dropped() {
    for program in programs() {
        let clocks = Clocks::new();
        let server = clocks.start(&program);
        assert_eq!(naive(&server), COUNT);
        clocks.jump(600, &server).await;
        assert!(naive(&server) > 0, "{program}");
    }
}

/// A handler that has run is not run again because its completion found no memory.
#[tokio::test]
async fn a_server_without_memory_completes_renews_and_releases() {
    for program in programs() {
        let server = Server::start(&program, NONE);
        let store = open(&server.url()).await;
        let leases: Vec<_> = (0..3).map(claim).collect();
        for lease in &leases {
            assert_eq!(store.lease(lease, HOUR).await.unwrap(), LeaseOutcome::Held);
        }
        server.tell(&["CONFIG", "SET", "maxmemory", "1"]);
        // The twin: a step that the server is not told to carry out nevertheless.
        let refused =
            server.ask::<redis::Value>(&["EVAL", "return redis.call('SET', 'x', 1)", "0"]);
        assert_eq!(refused.unwrap_err().code(), Some("OOM"));
        assert_eq!(ask(&store, &claim(9)).await, Err(StoreErrorKind::Full));
        let lease = store.lease(&claim(10), HOUR).await.unwrap_err();
        assert_eq!(lease.kind(), StoreErrorKind::Full);
        assert_eq!(
            store.check().await.unwrap_err().kind(),
            StoreErrorKind::Full
        );

        assert_eq!(store.complete(&leases[0]).await.unwrap(), StepOutcome::Done);
        assert_eq!(
            store.renew(&leases[1], HOUR).await.unwrap(),
            StepOutcome::Done
        );
        assert_eq!(store.release(&leases[2]).await.unwrap(), StepOutcome::Done);
        let again = async |nonce| store.lease(&claim(nonce), HOUR).await;
        assert_eq!(again(0).await.unwrap(), LeaseOutcome::Completed);
        assert!(matches!(
            again(1).await.unwrap(),
            LeaseOutcome::InFlight { .. }
        ));
        server.tell(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(again(2).await.unwrap(), LeaseOutcome::Held);
        assert_eq!(again(0).await.unwrap(), LeaseOutcome::Completed);
        store.check().await.unwrap();
    }
}
