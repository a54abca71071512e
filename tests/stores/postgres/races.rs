//! Copies at once: from several processes, directly and through PgBouncer.

use std::{path::Path, sync::Arc, time::Duration};

use countersign::store::NonceStore;

use super::{
    claim,
    server::{Server, open},
};
use crate::race::{self, check, claim_all, copies, of_processes};

const PATIENCE: Duration = Duration::from_secs(30);
const SOCKET: &str = "COUNTERSIGN_TEST_SOCKET";

/// Not a test: what this program does as a child of one.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some((number, folder)) = race::part() else {
        return;
    };
    let store = open(Path::new(&std::env::var(SOCKET).unwrap()), PATIENCE).await;
    race::child(&folder, number, Arc::new(store), claim).await;
}

#[tokio::test]
async fn a20_each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes() {
    let Some(server) = Server::migrated("races of processes").await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let process = |number: u64| {
        let mut command = race::process("postgres::races::child", number, folder.path());
        command.env(SOCKET, &server.folder);
        command
    };
    of_processes(folder.path(), process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a24_of_n_copies_over_several_servers_behind_pgbouncer_exactly_one_is_accepted() {
    let Some(server) = Server::migrated("copies behind PgBouncer").await else {
        return;
    };
    let bouncer = server.bouncer();
    let mut stores: Vec<Arc<dyn NonceStore>> = Vec::new();
    for _ in 0..4 {
        stores.push(Arc::new(open(&bouncer.folder, PATIENCE).await));
    }
    for round in 0..3 {
        let events = claim_all(&stores, claim, copies(round), usize::MAX).await;
        check(&events, copies(round).count());
    }
}
