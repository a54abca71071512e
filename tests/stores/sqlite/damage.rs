//! A database that is locked, cannot be written to, is damaged, or has no room: claims are refused,
//! and nothing that was accepted is accepted again.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use countersign::{
    Timestamp,
    error::{OpenError, StoreErrorKind},
    store::{ClaimOutcome, NonceStore, SqliteStore},
};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::{HOUR, SKEW, ask, claim, claim_by, folder, now, open, process, stranger};
use crate::common::{assert_place, log, of_store};

/// Some hundred pages.
const ACCEPTED: u64 = 3000;

/// A duplicate has the signed time of its original: a later one may be beyond the fence of a store that
/// knows that it has lost something.
async fn ask_at(
    store: Arc<SqliteStore>,
    nonce: u64,
    signed: Timestamp,
) -> Result<ClaimOutcome, StoreErrorKind> {
    let claim = claim_by("k", nonce, signed.saturating_add(HOUR)).signed(signed, SKEW);
    store.claim(&claim).await.map_err(|error| error.kind())
}

/// Returns when all of the claims were signed, too.
async fn fill(path: &Path) -> (SqliteStore, Timestamp) {
    let (store, signed) = (Arc::new(open(path).await), now());
    let mut tasks = JoinSet::new();
    for nonce in 0..ACCEPTED {
        tasks.spawn(ask_at(Arc::clone(&store), nonce, signed));
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer, Ok(ClaimOutcome::New));
    }
    (Arc::into_inner(store).unwrap(), signed)
}

/// Fills a store, and closes it.
async fn filled(path: &Path) -> Timestamp {
    let (store, signed) = fill(path).await;
    close(store, path).await;
    signed
}

/// Closed by the store itself, once the last handle on it is gone.
async fn close(store: SqliteStore, path: &Path) {
    drop(store);
    let log = path.with_extension("db-wal");
    while log.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// None of what was accepted is accepted again; how many were refused with an error.
async fn none_is_accepted_again(path: &Path, signed: Timestamp) -> u64 {
    let patient = SqliteStore::builder().timeout(Duration::from_secs(60));
    let Ok(store) = patient.open(path).await else {
        return ACCEPTED;
    };
    let store = Arc::new(store);
    let mut errors = 0;
    // Each transaction has some of the claims, so that a failing one does not hide the others.
    let nonces: Vec<u64> = (0..ACCEPTED).collect();
    for some in nonces.chunks(50) {
        let mut tasks = JoinSet::new();
        for nonce in some.iter().copied() {
            tasks.spawn(ask_at(Arc::clone(&store), nonce, signed));
        }
        for answer in tasks.join_all().await {
            match answer {
                Ok(answer) => assert_eq!(answer, ClaimOutcome::Replayed),
                Err(_) => errors += 1,
            }
        }
    }
    errors
}

#[tokio::test]
async fn a_locked_database_refuses_and_records_nothing() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let wait = Duration::from_secs(2);
    let builder = SqliteStore::builder()
        .danger_assume_no_history()
        .timeout(wait);
    let store = builder.open(&path).await.unwrap();
    assert_eq!(ask(&store, 1).await, Ok(ClaimOutcome::New));

    let mut stranger = stranger(&path).await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.unwrap();
    for nonce in [1, 2] {
        let start = std::time::Instant::now();
        assert_eq!(ask(&store, nonce).await, Err(StoreErrorKind::Unavailable));
        assert!(start.elapsed() < 10 * wait, "the wait has a bound");
    }
    // No mistake of the configuration: it may be opened later.
    let opened = SqliteStore::builder().timeout(wait).open(&path).await;
    let refused = of_store(opened.unwrap_err());
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    lock.rollback().await.unwrap();

    assert_eq!(ask(&store, 1).await, Ok(ClaimOutcome::Replayed));
    let mut second = ask(&store, 2).await;
    // A claim that had waited so long may have been given the lock in the end.
    while second == Err(StoreErrorKind::Unavailable) {
        second = ask(&store, 2).await;
    }
    assert_eq!(second, Ok(ClaimOutcome::New));
}

#[tokio::test]
async fn a_database_that_is_locked_for_a_while_is_waited_for() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let store = open(&path).await;
    let mut stranger = stranger(&path).await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let claim = claim(1);
    let mut waiting = Box::pin(store.claim(&claim));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    lock.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap(), ClaimOutcome::New);
}

#[tokio::test]
async fn what_is_no_database_is_not_opened() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    fs::write(&path, [0xaa; 10_000]).unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert_place(&refused, "file is not a database");
    assert!(SqliteStore::open(folder.path()).await.is_err(), "a folder");
    for path in [":memory:", ""] {
        let refused = SqliteStore::open(path).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
    }
    assert!(!Path::new("-mark").exists() && !Path::new(":memory:-mark").exists());
}

#[tokio::test]
async fn tables_of_another_version_are_not_opened() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    filled(&path).await;
    let mut stranger = stranger(&path).await;
    let later = "UPDATE countersign_store SET version = version + 1";
    sqlx::query(later).execute(&mut stranger).await.unwrap();
    stranger.close().await.unwrap();
    let refused = SqliteStore::open(&path).await.unwrap_err();
    assert_place(&refused, "the tables of version");
}

#[tokio::test]
async fn a_check_finds_a_database_that_cannot_be_used() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let wait = Duration::from_secs(2);
    let builder = SqliteStore::builder()
        .danger_assume_no_history()
        .timeout(wait);
    let store = builder.open(&path).await.unwrap();
    store.check().await.unwrap();

    let mut stranger = stranger(&path).await;
    let lock = stranger.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(store.check().await.is_err(), "locked");
    lock.rollback().await.unwrap();
    store.check().await.unwrap();

    let renamed = "ALTER TABLE countersign_nonce RENAME TO lost";
    sqlx::query(renamed).execute(&mut stranger).await.unwrap();
    assert!(store.check().await.is_err(), "a table is missing");
    let back = "ALTER TABLE lost RENAME TO countersign_nonce";
    sqlx::query(back).execute(&mut stranger).await.unwrap();
    store.check().await.unwrap();

    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    assert!(store.check().await.is_err(), "the file is gone");
    assert!(!path.exists(), "and is not made again");
}

/// The byte of the header that says which version may write: one of the future.
#[tokio::test]
async fn a_database_that_cannot_be_written_to_is_refused() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let signed = filled(&path).await;
    write_at(&path, 18, &[3]);
    let refused = match SqliteStore::open(&path).await {
        Ok(store) => store.claim(&claim(ACCEPTED)).await.unwrap_err(),
        Err(error) => of_store(error),
    };
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    println!("{refused}: {:?}", std::error::Error::source(&refused));
    none_is_accepted_again(&path, signed).await;
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_database_accepts_nothing_again() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let signed = filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let page = 4096;
    let pages = whole.len() / page;
    assert!(pages > 20, "{pages} pages");
    for from in 0..pages {
        let mut damaged = whole.clone();
        let bytes = if from % 2 == 0 { 0 } else { 0xff };
        damaged[from * page..(from + 1) * page].fill(bytes);
        fs::write(&path, damaged).unwrap();
        let errors = none_is_accepted_again(&path, signed).await;
        assert!(errors > 0, "page {from} of {pages}: nothing noticed");
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }
}

#[tokio::test]
async fn a_database_that_was_cut_off_accepts_nothing_again() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let signed = filled(&path).await;
    let whole = fs::read(&path).unwrap();
    for len in [whole.len() - 4096, whole.len() / 2, 4096, 100, 1, 0] {
        fs::write(&path, &whole[..len]).unwrap();
        let errors = none_is_accepted_again(&path, signed).await;
        assert!(
            errors > 0,
            "{len} of {} bytes: nothing noticed",
            whole.len()
        );
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }
}

/// The files after a crash: a database and a log, of which the last write was not finished.
#[tokio::test]
async fn a_write_that_was_torn_takes_nothing_along() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let (store, signed) = fill(&path).await;
    let log = path.with_extension("db-wal");
    let (database, log) = (fs::read(&path).unwrap(), fs::read(log).unwrap());
    assert!(
        log.len() > 100_000,
        "all is in the log still: {} bytes",
        log.len()
    );
    let last_frame = log[log.len() - 4096 - 24..].to_vec();
    for torn in [
        vec![],
        vec![0; 5000],
        vec![0xff; 5000],
        last_frame[..3000].to_vec(),
        last_frame,
    ] {
        let copy = super::folder();
        let path = copy.path().join("nonces.db");
        fs::write(&path, &database).unwrap();
        fs::write(path.with_extension("db-wal"), [log.clone(), torn].concat()).unwrap();
        let errors = none_is_accepted_again(&path, signed).await;
        assert_eq!(errors, 0, "all is known");
    }
    drop(store);
}

/// The log holds what was accepted, and is cut off at other places than a crash would: what is lost
/// was acknowledged.
#[tokio::test]
async fn a_log_that_lost_what_was_acknowledged_is_found_out() {
    let folder = folder();
    let path = folder.path().join("nonces.db");
    let (store, signed) = fill(&path).await;
    let (log, mark) = (
        path.with_extension("db-wal"),
        path.with_extension("db-mark"),
    );
    let (database, log) = (fs::read(&path).unwrap(), fs::read(log).unwrap());
    let mut damaged = log.clone();
    damaged[log.len() / 2] ^= 1;
    let older = &log[..log.len() - 100_000];
    for log in [&damaged, older, &log[..log.len() / 3], &log[..100], &[]] {
        for knows_mark in [true, false] {
            let copy = super::folder();
            let path = copy.path().join("nonces.db");
            fs::write(&path, &database).unwrap();
            fs::write(path.with_extension("db-wal"), log).unwrap();
            if knows_mark {
                fs::copy(&mark, path.with_extension("db-mark")).unwrap();
                assert!(
                    none_is_accepted_again(&path, signed).await > 0,
                    "{} bytes",
                    log.len()
                );
            } else {
                // The twin: a mark that knows of no record, or, where the tables are lost too, of no
                // database. Nothing else could tell.
                if log.len() > 4096 {
                    let mut nothing = fs::read(&mark).unwrap();
                    nothing[16..].fill(0);
                    fs::write(path.with_extension("db-mark"), nothing).unwrap();
                }
                let store = open(&path).await;
                assert_eq!(ask(&store, ACCEPTED - 1).await, Ok(ClaimOutcome::New));
            }
        }
    }
    drop(store);
}

/// The work of a child, on a disk of a few megabytes: it claims until there is no room, and then goes on.
pub(crate) async fn child_on_a_full_disk(folder: &Path) {
    let path = folder.join("nonces.db");
    let store = open(&path).await;
    let mut accepted = Vec::new();
    let mut refused = 0;
    for nonce in 0.. {
        match ask(&store, nonce).await {
            Ok(answer) => {
                assert_eq!(answer, ClaimOutcome::New);
                accepted.push(nonce);
            }
            Err(kind) => {
                assert!(matches!(
                    kind,
                    StoreErrorKind::Full | StoreErrorKind::Unavailable
                ));
                println!("refused after {}: {kind:?}", accepted.len());
                refused += 1;
            }
        }
        if refused == 3 {
            break;
        }
    }
    assert!(accepted.len() > 100);
    for nonce in &accepted {
        let answer = ask(&store, *nonce).await;
        assert_ne!(answer, Ok(ClaimOutcome::New), "{nonce}");
    }
    drop(store);
    let reopened = open_again(&path).await;
    if let Some(store) = reopened {
        for nonce in &accepted {
            let answer = ask(&store, *nonce).await;
            assert_ne!(answer, Ok(ClaimOutcome::New), "{nonce}");
        }
    }
    println!("the disk was full");
}

async fn open_again(path: &Path) -> Option<SqliteStore> {
    let builder = SqliteStore::builder()
        .danger_assume_no_history()
        .key_share(100);
    builder.open(path).await.ok()
}

#[test]
fn a_full_disk_refuses_and_forgets_nothing() {
    let folder = folder();
    let fill = process("fill", folder.path());
    // A small disk, in a namespace of its own: nothing is left of it.
    let mount = "mount -t tmpfs -o size=3m tmpfs \"$COUNTERSIGN_TEST_FOLDER\"";
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    if !in_namespace(&format!("{mount} && exit 42"), folder.path()) {
        log::missing(
            "a_full_disk_refuses_and_forgets_nothing",
            "no disk can be mounted in a namespace of its own",
        );
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    run(command, &fill);
}

fn in_namespace(script: &str, folder: &Path) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]);
    let status = command.env("COUNTERSIGN_TEST_FOLDER", folder).status();
    status.is_ok_and(|status| status.code() == Some(42))
}

/// Files that may not grow beyond some size: another error of the system than a full disk.
#[test]
fn a_file_that_may_not_grow_refuses_and_forgets_nothing() {
    let folder = folder();
    let fill = process("fill", folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]);
    run(command, &fill);
}

/// Runs what `inner` says, as the arguments of `outer`.
fn run(mut outer: Command, inner: &Command) {
    outer.arg(inner.get_program()).args(inner.get_args());
    let set = inner
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = outer.envs(set).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "{out}{error}");
    assert!(
        output.status.success() && out.contains("the disk was full"),
        "{out}{error}"
    );
    println!("{out}");
}
