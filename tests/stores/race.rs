//! Copies of nonces, claimed at once by several who write down what they were answered.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign::store::{Claim, ClaimOutcome, NonceStore};
use tokio::task::JoinSet;

use crate::history::{Answer, Event, faults};

pub const NONCES: u64 = 100_000;
pub const PROCESSES: u64 = 3;
pub const IN_FLIGHT: usize = 512;

const PROCESS: &str = "COUNTERSIGN_TEST_PROCESS";
const FOLDER: &str = "COUNTERSIGN_TEST_FOLDER";

/// From here on, nonces of which there are many copies: as many as the number says.
const MANY_COPIES: u64 = 1 << 32;
const COPIES: [u64; 5] = [2, 3, 10, 100, 1000];

pub fn nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

/// An attempt of its own.
pub async fn ask(store: &dyn NonceStore, nonce: u64, claim: &Claim) -> Event {
    let asked = nanos();
    let answer = match store.claim(claim).await {
        Ok(ClaimOutcome::New) => Answer::New,
        Ok(_) => Answer::Replayed,
        Err(error) => {
            println!("{error:?}");
            Answer::Unknown
        }
    };
    Event {
        nonce,
        asked,
        answered: nanos(),
        answer,
    }
}

/// Claims all of them, so many at a time, from all stores in turn.
pub async fn claim_all(
    stores: &[Arc<dyn NonceStore>],
    claim: fn(u64) -> Claim,
    nonces: impl Iterator<Item = u64>,
    in_flight: usize,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tasks = JoinSet::new();
    for (nonce, store) in nonces.zip(stores.iter().cycle()) {
        let store = Arc::clone(store);
        tasks.spawn(async move { ask(&*store, nonce, &claim(nonce)).await });
        if tasks.len() == in_flight {
            events.extend(tasks.join_next().await.map(Result::unwrap));
        }
    }
    while let Some(event) = tasks.join_next().await {
        events.push(event.unwrap());
    }
    events
}

/// Copies of new nonces, of each as many as it says.
pub fn copies(round: u64) -> impl Iterator<Item = u64> {
    let nonce = move |copies| MANY_COPIES + round * 10_000 + copies;
    COPIES
        .into_iter()
        .flat_map(move |copies| (0..copies).map(move |_| nonce(copies)))
}

/// Each nonce was accepted once, and each claim answered.
pub fn check(events: &[Event], expected: usize) {
    assert_eq!(events.len(), expected);
    let unknown = events
        .iter()
        .filter(|event| event.answer == Answer::Unknown);
    assert_eq!(unknown.count(), 0, "not every claim was answered");
    let faults = faults(events);
    assert!(
        faults.is_empty(),
        "{} faults: {:?}",
        faults.len(),
        faults.iter().take(10).collect::<Vec<_>>()
    );
}

/// In an order of its own: `process` begins at another place than the others do.
pub fn nonces(process: u64) -> impl Iterator<Item = u64> {
    let start = NONCES / PROCESSES * process;
    let forward = (0..NONCES).map(move |nonce| (start + nonce) % NONCES);
    forward.chain(copies(0))
}

/// This very program, to run its test `child` in a process of its own, which [`part`] tells its
/// number and folder.
pub fn process(child: &str, number: u64, folder: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", child, "--nocapture"])
        .env(PROCESS, number.to_string())
        .env(FOLDER, folder);
    command
}

/// In a [`process`]: its number and folder.
pub fn part() -> Option<(u64, PathBuf)> {
    let number = env::var(PROCESS).ok()?;
    Some((number.parse().unwrap(), env::var_os(FOLDER)?.into()))
}

/// Returns what a child does: waits for the others, claims, and writes down what it was answered.
pub async fn child(
    folder: &Path,
    process: u64,
    store: Arc<dyn NonceStore>,
    claim: fn(u64) -> Claim,
) {
    fs::write(folder.join(format!("ready-{process}")), "").unwrap();
    while !folder.join("go").exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let events = claim_all(&[store], claim, nonces(process), IN_FLIGHT).await;
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    fs::write(folder.join(format!("history-{process}")), lines).unwrap();
}

/// Runs the children, and checks what they wrote down together.
pub async fn of_processes(folder: &Path, process: impl Fn(u64) -> Command) {
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|number| process(number).spawn().unwrap())
        .collect();
    let ready = |process: u64| folder.join(format!("ready-{process}")).exists();
    while !(0..PROCESSES).all(ready) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fs::write(folder.join("go"), "").unwrap();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let history = |process: u64| {
        let history = fs::read_to_string(folder.join(format!("history-{process}"))).unwrap();
        let lines = history.lines().map(|line| line.parse().unwrap());
        lines.collect::<Vec<Event>>()
    };
    let histories: Vec<_> = (0..PROCESSES).map(history).collect();
    check(
        &histories.concat(),
        (0..PROCESSES).map(|process| nonces(process).count()).sum(),
    );
    let winners = |history: &Vec<Event>| {
        let won = history.iter().filter(|event| event.answer == Answer::New);
        won.count()
    };
    let winners: Vec<_> = histories.iter().map(winners).collect();
    println!("accepted by each: {winners:?}");
    assert!(winners.iter().all(|won| *won > 0), "one was shut out");
}
