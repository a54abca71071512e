//! Row 59: an older copy of the database is put in the place of the one that was used last, with and
//! without the file that marks it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use countersign::{
    error::StoreErrorKind,
    store::{Claim, ClaimOutcome, NonceStore as _, SqliteStore},
};
use tempfile::TempDir;

use super::{claim, folder, open};
use crate::common::of_store;

/// A database, a copy of it without its mark, and a claim that was accepted after the copy was made.
struct Copied {
    folder: TempDir,
    accepted: Claim,
}

impl Copied {
    async fn new() -> Self {
        let folder = folder();
        let copied = Self {
            folder,
            accepted: claim(2),
        };
        let store = open(copied.database()).await;
        assert_eq!(answer(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        close(store, &copied.database()).await;
        fs::copy(copied.database(), copied.copy()).unwrap();
        let mark = copied.folder.path().join("copy-of-mark");
        fs::copy(copied.mark(), mark).unwrap();

        let store = open(copied.database()).await;
        let accepted = answer(&store, &copied.accepted).await;
        assert_eq!(accepted, Ok(ClaimOutcome::New));
        close(store, &copied.database()).await;
        copied
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("nonces.db")
    }

    fn mark(&self) -> PathBuf {
        self.folder.path().join("nonces.db-mark")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("copy.db")
    }

    async fn replayed(&self) -> Result<ClaimOutcome, StoreErrorKind> {
        let store = open(self.database()).await;
        answer(&store, &self.accepted).await
    }
}

async fn answer(store: &SqliteStore, claim: &Claim) -> Result<ClaimOutcome, StoreErrorKind> {
    store.claim(claim).await.map_err(|error| error.kind())
}

/// The store's own task closes the database, and moves the log to it, after the last handle is gone.
async fn close(store: SqliteStore, path: &Path) {
    drop(store);
    while path.with_extension("db-wal").exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const FENCED: Result<ClaimOutcome, StoreErrorKind> = Err(StoreErrorKind::SignAgain);

#[tokio::test]
async fn a59_an_older_copy_beside_the_mark_is_found() {
    let copied = Copied::new().await;
    fs::copy(copied.copy(), copied.database()).unwrap();
    assert_eq!(copied.replayed().await, FENCED);
}

#[tokio::test]
async fn a59_an_older_copy_without_a_mark_is_found() {
    // On another host, or after `rm nonces.db*`.
    let copied = Copied::new().await;
    fs::copy(copied.copy(), copied.database()).unwrap();
    fs::remove_file(copied.mark()).unwrap();
    assert_eq!(copied.replayed().await, FENCED);
    // It is the one that is used from now on, and the fence stays.
    assert_eq!(copied.replayed().await, FENCED);
}

#[tokio::test]
async fn a59_a_mark_that_is_foreign_or_unreadable_is_found() {
    for foreign in [Some(vec![]), Some(vec![0; 8]), Some(vec![7; 25]), None] {
        let copied = Copied::new().await;
        let other = Copied::new().await;
        let foreign = foreign.unwrap_or_else(|| fs::read(other.mark()).unwrap());
        fs::copy(copied.copy(), copied.database()).unwrap();
        fs::write(copied.mark(), foreign).unwrap();
        assert_eq!(copied.replayed().await, FENCED);
    }
}

#[tokio::test]
async fn a59_a_database_that_is_gone_while_its_mark_is_there_is_found() {
    // `open` says that there is no history; the mark knows better.
    let copied = Copied::new().await;
    fs::remove_file(copied.database()).unwrap();
    assert_eq!(copied.replayed().await, FENCED);
}

#[tokio::test]
async fn a59_the_mark_is_beside_the_database_and_not_beside_a_link_to_it() {
    let copied = Copied::new().await;
    let links = folder();
    let link = links.path().join("nonces.db");
    std::os::unix::fs::symlink(copied.database(), &link).unwrap();
    let store = open(&link).await;
    let replayed = answer(&store, &copied.accepted).await;
    assert_eq!(
        replayed,
        Ok(ClaimOutcome::Replayed),
        "it is the same database"
    );
    assert!(!links.path().join("nonces.db-mark").exists());
    close(store, &copied.database()).await;

    // A new container has the volume, and a link of its own.
    fs::copy(copied.copy(), copied.database()).unwrap();
    let store = open(&link).await;
    assert_eq!(answer(&store, &copied.accepted).await, FENCED);
}

#[tokio::test]
async fn a_mark_that_is_no_file_is_refused_at_once() {
    let copied = Copied::new().await;
    fs::remove_file(copied.mark()).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(copied.mark())
        .status();
    assert!(made.unwrap().success());
    let error = of_store(SqliteStore::open(copied.database()).await.unwrap_err());
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it is not a regular file");
}

#[tokio::test]
async fn a59_twin_a_copy_with_the_mark_of_its_time_is_not_found() {
    // A limit that is documented. It also shows that each test above would notice an open copy.
    let copied = Copied::new().await;
    fs::copy(copied.copy(), copied.database()).unwrap();
    fs::copy(copied.folder.path().join("copy-of-mark"), copied.mark()).unwrap();
    assert_eq!(copied.replayed().await, Ok(ClaimOutcome::New));
}

#[tokio::test]
async fn a59_twin_the_database_that_was_used_last_is_not_fenced() {
    let copied = Copied::new().await;
    assert_eq!(copied.replayed().await, Ok(ClaimOutcome::Replayed));
    let store = open(copied.database()).await;
    assert_eq!(answer(&store, &claim(3)).await, Ok(ClaimOutcome::New));
}

/// The second one finds the tables of the first, and its mark. The mark came after the tables, which was
/// found in one of some fifty rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a59_stores_that_are_opened_at_once_for_the_first_time_find_no_copy() {
    for _ in 0..30 {
        let folder = folder();
        let path = folder.path().join("nonces.db");
        let opening: Vec<_> = (0..6).map(|_| tokio::spawn(open(path.clone()))).collect();
        let mut stores = Vec::new();
        for store in opening {
            stores.push(store.await.unwrap());
        }
        // A store that took the tables for a copy has fenced them for all.
        assert_eq!(answer(&stores[0], &claim(1)).await, Ok(ClaimOutcome::New));
    }
}
