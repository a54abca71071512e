//! Copies at once: over several connections, and from several processes.

use std::sync::Arc;

use countersign::store::NonceStore;

use super::{claim, open, programs};
use crate::{
    common::redis_server::Server,
    race::{self, check, claim_all, copies, of_processes},
};

const URL: &str = "COUNTERSIGN_TEST_REDIS";

/// Not a test: what this program does as a child of one.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some((number, folder)) = race::part() else {
        return;
    };
    let store = open(&std::env::var(URL).unwrap()).await;
    race::child(&folder, number, Arc::new(store), claim).await;
}

#[tokio::test]
async fn a20_each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes() {
    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let folder = tempfile::tempdir().unwrap();
        let process = |number: u64| {
            let mut command = race::process("redis::races::child", number, folder.path());
            command.env(URL, server.url());
            command
        };
        of_processes(folder.path(), process).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a24_of_n_copies_over_several_servers_exactly_one_is_accepted() {
    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let mut stores: Vec<Arc<dyn NonceStore>> = Vec::new();
        for _ in 0..4 {
            stores.push(Arc::new(open(&server.url()).await));
        }
        for round in 0..3 {
            let events = claim_all(&stores, claim, copies(round), usize::MAX).await;
            check(&events, copies(round).count());
        }
    }
}
