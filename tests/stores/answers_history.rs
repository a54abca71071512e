//! Histories of claims on the keys of answers, from several clients and several servers, through the
//! checker of histories; each that is told an answer is told the one that was recorded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use countersign::{
    KeyId,
    store::{AnswerClaim, AnswerOutcome, AnswerStore, MemoryAnswers, StepOutcome},
};
use tokio::task::JoinSet;

use crate::{
    answers_faulty::{Fault, Faulty},
    common::{cases, log},
    history::{Answer, Event, faults},
};

const CLIENTS: u64 = 16;

/// Each client claims every key, in an order of its own, on the server that it is sent to. The holder of a
/// key records its answer.
async fn run<S: AnswerStore>(servers: Vec<Arc<S>>, keys: u64) -> Vec<Event> {
    log::listen();
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let servers = servers.clone();
        clients.spawn(async move {
            let mut events = Vec::new();
            for turn in 0..keys {
                // So that several are at one key at one time, and others are late.
                let key = (turn + client % 4) % keys;
                let server = usize::try_from(client + turn).unwrap() % servers.len();
                events.push(ask(&*servers[server], key, start).await);
            }
            events
        });
    }
    let events: Vec<Vec<Event>> = clients.join_all().await;
    events.into_iter().flatten().collect()
}

async fn ask<S: AnswerStore>(store: &S, key: u64, start: Instant) -> Event {
    let mut digest = [7; 32];
    digest[..8].copy_from_slice(&key.to_be_bytes());
    let id = KeyId::new("partner").unwrap();
    let claim = AnswerClaim::new("histories".into(), id, digest, [0; 32])
        .with_lease(Duration::from_secs(600));
    let recorded = Bytes::from(format!("the answer to {key}"));
    let asked = start.elapsed().as_nanos();
    let outcome = store.claim(&claim).await;
    let answered = start.elapsed().as_nanos();
    let answer = match outcome {
        Ok(AnswerOutcome::Claimed) => {
            tokio::task::yield_now().await;
            // In a store that lets several have a key, one is too late.
            let step = store.record(&claim, &recorded).await;
            assert!(matches!(
                step,
                Ok(StepOutcome::Done | StepOutcome::Lost) | Err(_)
            ));
            Answer::New
        }
        Ok(AnswerOutcome::InFlight { .. }) => Answer::Replayed,
        Ok(AnswerOutcome::Answered(answer)) => {
            assert_eq!(answer, recorded, "the answer to another key");
            Answer::Replayed
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => Answer::Unknown,
    };
    Event {
        nonce: key,
        asked,
        answered,
        answer,
    }
}

fn check(events: &[Event], keys: u64) {
    assert_eq!(events.len() as u64, CLIENTS * keys);
    assert_eq!(faults(events), [""; 0]);
    let unanswered = events
        .iter()
        .filter(|e| e.answer == Answer::Unknown)
        .count();
    assert!(
        unanswered * 10 < events.len(),
        "{unanswered} have no answer"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_history_of_the_memory_store_of_answers_has_no_fault() {
    let keys = cases(2000).into();
    let events = run(vec![Arc::new(MemoryAnswers::new())], keys).await;
    check(&events, keys);
}

/// The twin: that a key was given to two is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twin_a_store_that_checks_and_then_sets_is_found_by_its_history() {
    let store = Faulty::new(Fault::ChecksAndThenSets);
    let events = run(vec![Arc::new(store)], 500).await;
    assert!(!faults(&events).is_empty());
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_history_of_sqlite_answers_on_two_servers_has_no_fault() {
    use countersign::store::SqliteAnswers;
    use sqlx::{
        SqlitePool,
        sqlite::{SqliteConnectOptions, SqliteJournalMode},
    };

    let folder = tempfile::tempdir().unwrap();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("answers.db"))
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(30))
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        SqliteAnswers::migrate(&pool).await.unwrap();
        servers.push(Arc::new(SqliteAnswers::open(pool).await.unwrap()));
    }
    let keys = cases(30).into();
    check(&run(servers, keys).await, keys);
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_history_of_postgresql_answers_on_two_servers_has_no_fault() {
    use countersign::store::PostgresAnswers;

    use crate::common::database;

    let Some((pool, schema)) = database::pool_and_schema("history of answers").await else {
        return;
    };
    PostgresAnswers::migrate(&pool).await.unwrap();
    let url = database::url("history of answers").unwrap();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let pool = database::pool_of(&url, &schema, 10).await;
        let patient = PostgresAnswers::builder().timeout(Duration::from_secs(20));
        servers.push(Arc::new(patient.open(pool).await.unwrap()));
    }
    let keys = cases(50).into();
    check(&run(servers, keys).await, keys);
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_history_of_redis_answers_on_two_servers_has_no_fault() {
    use countersign::store::{RedisAnswers, RedisStore};

    use crate::common::redis_server::{Server, programs};

    for program in programs() {
        let server = Server::start(&program, &[]);
        let mut servers = Vec::new();
        for _ in 0..2 {
            let store = RedisStore::builder().timeout(Duration::from_secs(20));
            let store = store.open(&server.url()).await.unwrap();
            servers.push(Arc::new(RedisAnswers::of(&store)));
        }
        let keys = cases(200).into();
        check(&run(servers, keys).await, keys);
    }
}
