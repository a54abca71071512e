//! The SQLite store under attack: copies from several connections and processes, crashes, damaged
//! and full disks; nonces that are consumed in a transaction.
mod consume;
mod copies;
mod crash;
mod damage;
mod limits;
mod races;

use std::{path::Path, process::Command, time::Duration};

use countersign::{
    error::StoreErrorKind,
    store::{Claim, ClaimOutcome, NonceStore, SqliteStore},
};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use crate::{
    claims::{HOUR, SKEW, claim_by, now},
    common::log,
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn open(path: impl AsRef<Path>) -> SqliteStore {
    log::listen();
    let builder = SqliteStore::builder()
        .danger_assume_no_history()
        .key_share(100);
    // Machines that build are slow at times.
    builder
        .timeout(Duration::from_secs(60))
        .open(path)
        .await
        .unwrap()
}

/// An attempt of its own, signed a moment ago.
fn claim(nonce: u64) -> Claim {
    claim_of("k", nonce)
}

fn claim_of(key: &str, nonce: u64) -> Claim {
    claim_by(key, nonce, now().saturating_add(HOUR)).signed(now(), SKEW)
}

async fn ask(store: &SqliteStore, nonce: u64) -> Result<ClaimOutcome, StoreErrorKind> {
    store
        .claim(&claim(nonce))
        .await
        .map_err(|error| error.kind())
}

/// A connection of somebody else's.
async fn stranger(path: impl AsRef<Path>) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.unwrap()
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> i64 {
    let query = sqlx::query_scalar(sql);
    query.fetch_one(connection).await.unwrap()
}

/// This very program, to play a part of `child` in a process of its own.
fn process(part: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "sqlite::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("COUNTERSIGN_TEST_PART", part)
        .env("COUNTERSIGN_TEST_FOLDER", folder);
    command
}

/// Not a test: what this program does as a child of a test.
#[test]
fn child() {
    let Ok(part) = std::env::var("COUNTERSIGN_TEST_PART") else {
        return;
    };
    let folder = std::env::var_os("COUNTERSIGN_TEST_FOLDER").unwrap();
    let folder = Path::new(&folder);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (part, argument) = part.split_once(' ').unwrap_or((&part, ""));
    runtime.block_on(async {
        match part {
            "race" => races::child(folder, argument.parse().unwrap()).await,
            "claim" => crash::child(folder, argument.parse().unwrap()).await,
            "fill" => damage::child_on_a_full_disk(folder).await,
            part => panic!("there is no part `{part}`"),
        }
    });
}
