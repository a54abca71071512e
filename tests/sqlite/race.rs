//! Copies at once: from several connections, and from several processes.

use std::{
    fs,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign::{Claimed, MemoryStore, NonceStore};
use tokio::task::JoinSet;

use super::{
    claim, folder,
    history::{Answer, Event, faults},
    open,
};

const NONCES: u64 = 100_000;
const PROCESSES: u64 = 3;
const IN_FLIGHT: usize = 512;

/// From here on, nonces of which there are many copies: as many as the number says.
const MANY_COPIES: u64 = 1 << 32;
const COPIES: [u64; 5] = [2, 3, 10, 100, 1000];

fn nanos() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

async fn ask(store: &dyn NonceStore, nonce: u64) -> Event {
    let claim = claim(nonce);
    let asked = nanos();
    let answer = match store.claim(&claim).await {
        Ok(Claimed::New) => Answer::New,
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
async fn claim_all(
    stores: &[Arc<dyn NonceStore>],
    nonces: impl Iterator<Item = u64>,
    in_flight: usize,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut tasks = JoinSet::new();
    for (nonce, store) in nonces.zip(stores.iter().cycle()) {
        let store = Arc::clone(store);
        tasks.spawn(async move { ask(&*store, nonce).await });
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
fn copies(round: u64) -> impl Iterator<Item = u64> {
    let nonce = move |copies| MANY_COPIES + round * 10_000 + copies;
    COPIES
        .into_iter()
        .flat_map(move |copies| (0..copies).map(move |_| nonce(copies)))
}

/// Each nonce was accepted once, and each claim answered.
fn check(events: &[Event], expected: usize) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_n_copies_over_several_connections_exactly_one_is_accepted() {
    let folder = folder();
    let mut stores: Vec<Arc<dyn NonceStore>> = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(open(folder.path().join("nonces.db")).await));
    }
    for round in 0..5 {
        let events = claim_all(&stores, copies(round), usize::MAX).await;
        check(&events, copies(round).count());
    }
}

/// In an order of its own: `process` begins at another place than the others do.
fn nonces(process: u64) -> impl Iterator<Item = u64> {
    let start = NONCES / PROCESSES * process;
    let forward = (0..NONCES).map(move |nonce| (start + nonce) % NONCES);
    forward.chain(copies(0))
}

/// What a child does: writes down what it was answered.
pub(crate) async fn child(folder: &Path, process: u64) {
    let store: Arc<dyn NonceStore> = Arc::new(open(folder.join("nonces.db")).await);
    // All together.
    fs::write(folder.join(format!("ready-{process}")), "").unwrap();
    while !folder.join("go").exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let events = claim_all(&[store], nonces(process), IN_FLIGHT).await;
    let mut file = fs::File::create(folder.join(format!("history-{process}"))).unwrap();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    file.write_all(lines.as_bytes()).unwrap();
}

#[tokio::test]
async fn each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes() {
    let folder = folder();
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|process| {
            super::process(&format!("race {process}"), folder.path())
                .spawn()
                .unwrap()
        })
        .collect();
    let ready = |process: u64| folder.path().join(format!("ready-{process}")).exists();
    while !(0..PROCESSES).all(ready) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fs::write(folder.path().join("go"), "").unwrap();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let history = |process: u64| {
        let history = folder.path().join(format!("history-{process}"));
        fs::read_to_string(history).unwrap()
    };
    let events: Vec<Event> = (0..PROCESSES)
        .flat_map(|process| {
            let history = history(process);
            history
                .lines()
                .map(|line| line.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    check(
        &events,
        (0..PROCESSES).map(|process| nonces(process).count()).sum(),
    );
    let winners = |process| {
        let history = history(process);
        history.lines().filter(|line| line.ends_with("new")).count()
    };
    println!(
        "accepted by each: {:?}",
        (0..PROCESSES).map(winners).collect::<Vec<_>>()
    );
    assert!(
        (0..PROCESSES).all(|process| winners(process) > 0),
        "one was shut out"
    );
}

/// The same history, of a store in one process.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_a_hundred_thousand_nonces_is_accepted_once_in_memory() {
    let store: Arc<dyn NonceStore> = Arc::new(MemoryStore::new().assume_no_history());
    let mut tasks = JoinSet::new();
    for process in 0..PROCESSES {
        let stores = [Arc::clone(&store)];
        tasks.spawn(async move { claim_all(&stores, nonces(process), IN_FLIGHT).await });
    }
    let events = tasks.join_all().await.concat();
    check(
        &events,
        (0..PROCESSES).map(|process| nonces(process).count()).sum(),
    );
}

mod checker {
    use super::{Answer, Event, faults};

    fn event(nonce: u64, asked: u128, answered: u128, answer: Answer) -> Event {
        Event {
            nonce,
            asked,
            answered,
            answer,
        }
    }

    #[test]
    fn a_history_that_can_be_true_has_no_fault() {
        let events = [
            event(1, 0, 5, Answer::New),
            // Answered before the first one was, and asked later: the first one was recorded by then.
            event(1, 1, 2, Answer::Replayed),
            event(1, 6, 7, Answer::Replayed),
            event(2, 0, 1, Answer::New),
            event(3, 0, 9, Answer::Unknown),
            event(3, 1, 2, Answer::Replayed),
        ];
        assert_eq!(faults(&events), [""; 0]);
    }

    #[test]
    fn every_fault_of_a_history_is_seen() {
        for events in [
            vec![event(1, 0, 1, Answer::New), event(1, 2, 3, Answer::New)],
            vec![
                event(1, 0, 1, Answer::Replayed),
                event(1, 2, 3, Answer::Replayed),
            ],
            vec![
                event(1, 0, 1, Answer::Replayed),
                event(1, 2, 3, Answer::New),
            ],
            vec![
                event(1, 0, 1, Answer::Replayed),
                event(1, 2, 3, Answer::Unknown),
            ],
        ] {
            assert!(!faults(&events).is_empty(), "{events:?}");
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        for answer in [Answer::New, Answer::Replayed, Answer::Unknown] {
            let event = event(u64::MAX, 1, u128::MAX, answer);
            assert_eq!(event.to_string().parse(), Ok(event));
        }
    }
}
