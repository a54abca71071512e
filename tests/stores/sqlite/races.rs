//! Copies at once: from several connections, and from several processes.

use std::{path::Path, sync::Arc};

use countersign::{MemoryStore, store::NonceStore};
use tokio::task::JoinSet;

use super::{claim, folder, open};
use crate::{
    history::{Answer, Event, faults},
    race::{
        IN_FLIGHT, PROCESSES, check, child as claimant, claim_all, copies, nonces, of_processes,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_n_copies_over_several_connections_exactly_one_is_accepted() {
    let folder = folder();
    let mut stores: Vec<Arc<dyn NonceStore>> = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(open(folder.path().join("nonces.db")).await));
    }
    for round in 0..5 {
        let events = claim_all(&stores, claim, copies(round), usize::MAX).await;
        check(&events, copies(round).count());
    }
}

pub(crate) async fn child(folder: &Path, process: u64) {
    let store: Arc<dyn NonceStore> = Arc::new(open(folder.join("nonces.db")).await);
    claimant(folder, process, store, claim).await;
}

#[tokio::test]
async fn each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes() {
    let folder = folder();
    let process = |number| super::process(&format!("race {number}"), folder.path());
    of_processes(folder.path(), process).await;
}

/// The same history, of a store in one process.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_a_hundred_thousand_nonces_is_accepted_once_in_memory() {
    let store: Arc<dyn NonceStore> = Arc::new(MemoryStore::new().danger_assume_no_history());
    let mut tasks = JoinSet::new();
    for process in 0..PROCESSES {
        let stores = [Arc::clone(&store)];
        tasks.spawn(async move { claim_all(&stores, claim, nonces(process), IN_FLIGHT).await });
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
