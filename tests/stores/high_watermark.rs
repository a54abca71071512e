//! The memory store's high watermark: what a restart must refuse, what it must serve, and what
//! becomes of the file.
#[cfg(target_os = "linux")]
mod order;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign::{
    Clock as _, ConfigError, KeyId, MemoryStore, Timestamp,
    error::{ConfigErrorKind, StoreErrorKind},
    store::{Claim, ClaimOutcome, LeaseStore as _, Nonce, NonceKind, NonceStore as _},
    testing::ManualClock,
};

use crate::common::log;

const SKEW: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(300);

/// Returns what the first store of a test was started at.
fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).unwrap()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn open(file: &Path, clock: &ManualClock) -> Result<MemoryStore, ConfigError> {
    log::listen();
    let store = MemoryStore::builder().clock(clock.clone());
    store.high_watermark(file).build()
}

/// As at the first start of a service.
fn open_first(file: &Path, clock: &ManualClock) -> MemoryStore {
    let store = MemoryStore::builder().clock(clock.clone());
    let store = store.danger_assume_no_history().high_watermark(file);
    store.build().unwrap()
}

fn unsigned_time(nonce: u64) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_be_bytes());
    let key = KeyId::new("k").unwrap();
    Claim::new(
        "tests".into(),
        key,
        nonce,
        start().saturating_add(10 * WINDOW),
    )
}

fn claim(nonce: u64, signed_at: Timestamp) -> Claim {
    unsigned_time(nonce).signed(signed_at, SKEW)
}

async fn ask(store: &MemoryStore, claim: &Claim) -> Result<ClaimOutcome, StoreErrorKind> {
    store.claim(claim).await.map_err(|error| error.kind())
}

struct Place {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(start()),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("watermark")
    }

    /// Returns where a new file is written, before it is put in the place of the old one.
    fn new_file(&self) -> PathBuf {
        self.folder.path().join("watermark.new")
    }
}

#[tokio::test]
async fn after_a_restart_what_may_have_been_accepted_is_refused_and_what_is_later_is_served() {
    let place = Place::new();
    let accepted = claim(1, start());
    let store = open_first(&place.file(), &place.clock);
    assert_eq!(ask(&store, &accepted).await, Ok(ClaimOutcome::New));
    let mark = store.statistics().high_watermark.unwrap();
    assert!(
        start() < mark && mark <= start().saturating_add(secs(1)),
        "{mark}"
    );
    drop(store);

    let store = open(&place.file(), &place.clock).unwrap();
    let again = StoreErrorKind::SignAgain;
    assert_eq!(ask(&store, &accepted).await, Err(again));
    assert_eq!(ask(&store, &claim(2, mark)).await, Err(again));
    let lease = store.lease(&accepted, secs(1)).await;
    assert_eq!(lease.unwrap_err().kind(), again);
    // Without the file, this one would have been refused, too.
    let later = claim(3, mark.saturating_add(Duration::from_millis(1)));
    assert!(later.signed_at().unwrap() < start().saturating_add(SKEW));
    assert_eq!(ask(&store, &later).await, Ok(ClaimOutcome::New));

    // The twin: a store that forgets, and says that there is nothing to forget, accepts it again.
    let naive = MemoryStore::builder().clock(place.clock.clone());
    let naive = naive.danger_assume_no_history().build().unwrap();
    assert_eq!(ask(&naive, &accepted).await, Ok(ClaimOutcome::New));
}

#[tokio::test]
async fn the_refusal_of_the_first_start_outlasts_the_next_ones() {
    let place = Place::new();
    drop(open(&place.file(), &place.clock).unwrap());
    // Nothing was accepted; but what was before the file is as unknown as it was.
    place.clock.advance(secs(60));
    let store = open(&place.file(), &place.clock).unwrap();
    let (before, after) = (
        start().saturating_add(SKEW),
        start().saturating_add(SKEW + secs(1)),
    );
    let again = Err(StoreErrorKind::SignAgain);
    assert_eq!(ask(&store, &claim(1, before)).await, again);
    assert_eq!(ask(&store, &claim(2, after)).await, Ok(ClaimOutcome::New));
    // Nor does it matter what a later start says about it.
    drop(store);
    let store = open_first(&place.file(), &place.clock).danger_assume_no_history();
    assert_eq!(ask(&store, &claim(1, before)).await, again);
}

#[tokio::test]
async fn a_clock_that_steps_back_over_a_restart_reopens_nothing() {
    let place = Place::new();
    let accepted = claim(1, start());
    let store = open_first(&place.file(), &place.clock);
    assert_eq!(ask(&store, &accepted).await, Ok(ClaimOutcome::New));
    // While it lives, the watermark never falls.
    let mark = store.statistics().high_watermark;
    place.clock.step_back(secs(100));
    let earlier = claim(2, place.clock.now());
    assert_eq!(ask(&store, &earlier).await, Ok(ClaimOutcome::New));
    assert_eq!(store.statistics().high_watermark, mark);
    drop(store);
    let store = open(&place.file(), &place.clock).unwrap();
    for claim in [&accepted, &earlier] {
        assert_eq!(ask(&store, claim).await, Err(StoreErrorKind::SignAgain));
    }
}

#[tokio::test]
async fn a_file_from_the_future_refuses_until_then() {
    let place = Place::new();
    let ahead = start().saturating_add(secs(200));
    let store = open_first(&place.file(), &place.clock);
    assert_eq!(ask(&store, &claim(1, ahead)).await, Ok(ClaimOutcome::New));
    drop(store);
    let store = open(&place.file(), &place.clock).unwrap();
    let again = Err(StoreErrorKind::SignAgain);
    assert_eq!(ask(&store, &claim(2, start())).await, again);
    assert_eq!(ask(&store, &claim(1, ahead)).await, again);
    let later = claim(3, ahead.saturating_add(secs(2)));
    assert_eq!(ask(&store, &later).await, Ok(ClaimOutcome::New));
}

/// A limit that is documented: no watermark tells such claims apart.
#[tokio::test]
async fn a_claim_without_a_signed_time_may_be_accepted_again_after_a_restart() {
    let place = Place::new();
    for _ in 0..2 {
        let store = open_first(&place.file(), &place.clock);
        assert_eq!(ask(&store, &unsigned_time(1)).await, Ok(ClaimOutcome::New));
        assert!(!store.survives_restart());
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_or_foreign_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let store = open_first(&place.file(), &place.clock);
    assert_eq!(ask(&store, &claim(1, start())).await, Ok(ClaimOutcome::New));
    drop(store);
    let whole = fs::read(place.file()).unwrap();
    let mut changed = whole.clone();
    *changed.get_mut(20).unwrap() ^= 0x80;
    for bytes in [
        &changed[..],
        &whole[..30],
        b"",
        b"#!/bin/sh\necho not ours\n",
    ] {
        fs::write(place.file(), bytes).unwrap();
        let error = open(&place.file(), &place.clock).unwrap_err();
        let kind = error.kind();
        assert!(
            matches!(kind, ConfigErrorKind::HighWatermark(_)),
            "{kind:?}"
        );
        assert!(
            error.to_string().contains("watermark: it is damaged"),
            "{error}"
        );
        assert_eq!(fs::read(place.file()).unwrap(), bytes);
    }
    // The twin: the same bytes, whole.
    fs::write(place.file(), whole).unwrap();
    open(&place.file(), &place.clock).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_at_the_start() {
    let place = Place::new();
    let nowhere = place.folder.path().join("missing/watermark");
    open(&nowhere, &place.clock).unwrap_err();
    fs::create_dir(place.new_file()).unwrap();
    open(&place.file(), &place.clock).unwrap_err();
    fs::remove_dir(place.new_file()).unwrap();
    open(&place.file(), &place.clock).unwrap();
}

/// The obstacle of the new file, and how it is taken away.
async fn refuses_beyond_and_recovers(block: fn(&Path), unblock: fn(&Path)) {
    let place = Place::new();
    let store = open_first(&place.file(), &place.clock);
    assert_eq!(ask(&store, &claim(1, start())).await, Ok(ClaimOutcome::New));
    let mark = store.statistics().high_watermark.unwrap();
    let file = fs::read(place.file()).unwrap();

    block(&place.new_file());
    let beyond = claim(2, mark.saturating_add(Duration::from_millis(1)));
    for _ in 0..3 {
        let refused = store.claim(&beyond).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
        assert_eq!(fs::read(place.file()).unwrap(), file);
    }
    let within = claim(3, start().saturating_add(Duration::from_millis(1)));
    assert_eq!(ask(&store, &within).await, Ok(ClaimOutcome::New));
    assert_eq!(
        ask(&store, &claim(1, start())).await,
        Ok(ClaimOutcome::Replayed)
    );

    unblock(&place.new_file());
    assert_eq!(ask(&store, &beyond).await, Ok(ClaimOutcome::New));
    drop(store);
    let store = open(&place.file(), &place.clock).unwrap();
    assert_eq!(ask(&store, &beyond).await, Err(StoreErrorKind::SignAgain));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_refuses_what_is_beyond_and_recovers() {
    let block = |new: &Path| fs::create_dir(new).unwrap();
    refuses_beyond_and_recovers(block, |new| fs::remove_dir(new).unwrap()).await;
}

const SMALL_DISK: &str = "COUNTERSIGN_TEST_SMALL_DISK";

/// Runs itself on a disk of 64 KiB, in a namespace of its own: nothing is left of it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_what_is_beyond_and_recovers() {
    const NAME: &str = "high_watermark::a_full_disk_refuses_what_is_beyond_and_recovers";
    if std::env::var_os(SMALL_DISK).is_some() {
        fn filler(new: &Path) -> PathBuf {
            new.with_file_name("filler")
        }
        let block = |new: &Path| drop(fs::write(filler(new), [1; 1 << 17]).unwrap_err());
        let unblock = |new: &Path| fs::remove_file(filler(new)).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(refuses_beyond_and_recovers(block, unblock));
    }
    let folder = tempfile::tempdir().unwrap();
    let in_namespace = |run: &str| {
        let script = format!("mount -t tmpfs -o size=64k tmpfs \"$TMPDIR\" && {run}");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        command.env("TMPDIR", folder.path()).env(SMALL_DISK, "yes");
        command
    };
    let probe = in_namespace("exit 42").status();
    if probe.ok().and_then(|status| status.code()) != Some(42) {
        log::missing(NAME, "no disk can be mounted in a namespace of its own");
        return;
    }
    let mut command = in_namespace("exec \"$0\" \"$@\"");
    let command = command.arg(std::env::current_exe().unwrap());
    let output = command.args(["--exact", NAME]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

const CHILD: &str = "COUNTERSIGN_TEST_WATERMARK";
const CLAIMS: &str = "COUNTERSIGN_TEST_WATERMARK_CLAIMS";

/// Not a test by itself: the process that is watched, or killed. It claims until then, and says what
/// was accepted.
#[tokio::test]
async fn child() {
    let Some(file) = std::env::var_os(CHILD) else {
        return;
    };
    let clock = ManualClock::at(start());
    let store = open_first(Path::new(&file), &clock);
    let claims = std::env::var(CLAIMS).map_or(100_000, |claims| claims.parse().unwrap());
    for nonce in 0..claims {
        clock.advance(Duration::from_millis(7));
        let signed_at = clock.now();
        assert_eq!(
            ask(&store, &claim(nonce, signed_at)).await,
            Ok(ClaimOutcome::New)
        );
        let mut out = std::io::stdout().lock();
        writeln!(out, "accepted {nonce} {}", signed_at.as_millis()).unwrap();
        out.flush().unwrap();
    }
}

fn spawn_child(file: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", "high_watermark::child", "--nocapture"]);
    let child = child.env(CHILD, file).stdout(Stdio::piped());
    child.spawn().unwrap()
}

/// Returns what it says that it accepted until it is killed, after this many.
fn kill_after(child: &mut Child, many: usize) -> Vec<Claim> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut accepted = Vec::new();
    for line in lines {
        // The line that it is killed in may be cut off.
        let Ok(line) = line else { break };
        let words: Vec<_> = line.split(' ').collect();
        if let ["accepted", nonce, millis] = words[..]
            && let (Ok(nonce), Some(millis)) = (nonce.parse(), millis.parse().ok())
            && let Some(signed_at) = Timestamp::from_millis(millis)
            && signed_at > start()
        {
            accepted.push(claim(nonce, signed_at));
        }
        if accepted.len() == many {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(accepted.len() >= many, "it ended by itself");
    accepted
}

async fn reopened(file: &Path, accepted: &[Claim]) -> usize {
    let store = open(file, &ManualClock::at(start())).unwrap();
    let mut reopened = 0;
    for claim in accepted {
        match ask(&store, claim).await {
            Ok(ClaimOutcome::New) => reopened += 1,
            answer => assert_eq!(answer, Err(StoreErrorKind::SignAgain)),
        }
    }
    reopened
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_moment_leaves_a_file_that_covers_what_it_accepted() {
    for round in 0..10 {
        let place = Place::new();
        let mut child = spawn_child(&place.file());
        // At another moment of a write each time.
        let accepted = kill_after(&mut child, 150 + 71 * round);
        let last = accepted.iter().filter_map(Claim::signed_at).max().unwrap();
        assert_eq!(reopened(&place.file(), &accepted).await, 0, "{round}");
        let store = open(&place.file(), &ManualClock::at(start())).unwrap();
        // Some claims, whose lines were lost, and the second that it is written ahead.
        let later = claim(u64::MAX, last.saturating_add(secs(60)));
        assert_eq!(ask(&store, &later).await, Ok(ClaimOutcome::New));
    }
}

/// The twin of the test before: a file that was not kept up is noticed there.
#[tokio::test]
async fn an_older_copy_of_the_file_would_be_noticed() {
    let place = Place::new();
    let store = open_first(&place.file(), &place.clock);
    let early = fs::read(place.file()).unwrap();
    drop(store);
    let mut child = spawn_child(&place.file());
    let accepted = kill_after(&mut child, 500);
    fs::write(place.file(), early).unwrap();
    assert_eq!(reopened(&place.file(), &accepted).await, accepted.len());
}

#[tokio::test]
async fn a_second_process_with_the_same_file_is_refused_while_the_first_lives() {
    let place = Place::new();
    let mut child = spawn_child(&place.file());
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("accepted ")));
    let error = open(&place.file(), &place.clock).unwrap_err();
    assert!(
        error.to_string().contains("another store has it"),
        "{error}"
    );
    // The twin: a file of its own.
    open(&place.folder.path().join("other"), &place.clock).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    open(&place.file(), &place.clock).unwrap();
}

/// A file on a volume, and a container that has a link to it.
#[cfg(unix)]
struct Linked {
    volume: Place,
    container: tempfile::TempDir,
}

#[cfg(unix)]
impl Linked {
    fn new() -> Self {
        let linked = Self {
            volume: Place::new(),
            container: tempfile::tempdir().unwrap(),
        };
        linked.link(&linked.volume.file());
        linked
    }

    fn path(&self) -> PathBuf {
        self.container.path().join("watermark")
    }

    fn link(&self, target: &Path) {
        std::os::unix::fs::symlink(target, self.path()).unwrap();
    }

    /// A new container, with a link of its own, is asked for what the first one accepted.
    async fn asked_in_a_new_container(
        &self,
        accepted: &Claim,
    ) -> Result<ClaimOutcome, StoreErrorKind> {
        let next = Self {
            volume: Place::new(),
            container: tempfile::tempdir().unwrap(),
        };
        next.link(&self.volume.file());
        let store = open_first(&next.path(), &self.volume.clock);
        ask(&store, accepted).await
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a62_the_file_behind_a_link_is_written_and_the_link_stays() {
    // Once the link is there before the file, once after it, once to another link.
    for round in 0..3 {
        let linked = Linked::new();
        if round == 1 {
            drop(open_first(&linked.volume.file(), &linked.volume.clock));
        }
        if round == 2 {
            let between = linked.volume.folder.path().join("between");
            std::os::unix::fs::symlink("watermark", &between).unwrap();
            fs::remove_file(linked.path()).unwrap();
            linked.link(&between);
        }
        let accepted = claim(1, start());
        let store = open_first(&linked.path(), &linked.volume.clock);
        assert_eq!(ask(&store, &accepted).await, Ok(ClaimOutcome::New));
        let is_link = fs::symlink_metadata(linked.path()).unwrap().is_symlink();
        assert!(is_link, "{round}");
        // The lock is that of the file, by whichever name.
        open(&linked.volume.file(), &linked.volume.clock).unwrap_err();
        drop(store);
        let again = linked.asked_in_a_new_container(&accepted).await;
        assert_eq!(again, Err(StoreErrorKind::SignAgain), "{round}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a62_twin_a_link_that_is_replaced_by_a_file_leaves_the_volume_behind() {
    let linked = Linked::new();
    drop(open_first(&linked.path(), &linked.volume.clock));
    // A store that renames over the link.
    let written = fs::read(linked.volume.file()).unwrap();
    fs::remove_file(linked.path()).unwrap();
    fs::write(linked.path(), written).unwrap();
    let accepted = claim(1, start());
    let store = open_first(&linked.path(), &linked.volume.clock);
    assert_eq!(ask(&store, &accepted).await, Ok(ClaimOutcome::New));
    drop(store);
    let again = linked.asked_in_a_new_container(&accepted).await;
    assert_eq!(again, Ok(ClaimOutcome::New));
}

#[cfg(unix)]
#[test]
fn a62_only_a_regular_file_is_accepted_and_nothing_waits_for_another() {
    let refused = |place: &Place, wanted: &str| {
        let error = open(&place.file(), &place.clock).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    for name in ["watermark", "watermark.lock"] {
        let place = Place::new();
        let path = place.folder.path().join(name);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        refused(&place, "it is not a regular file");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused(&place, "it is not a regular file");
        fs::remove_dir(&path).unwrap();
        open(&place.file(), &place.clock).unwrap();
    }
    let place = Place::new();
    std::os::unix::fs::symlink("/dev/zero", place.file()).unwrap();
    refused(&place, "it is not a regular file");
    fs::remove_file(place.file()).unwrap();
    std::os::unix::fs::symlink("watermark", place.file()).unwrap();
    open(&place.file(), &place.clock).unwrap_err();
}

#[cfg(unix)]
#[test]
fn a62_what_is_in_the_place_of_the_new_file_is_not_written_through() {
    let place = Place::new();
    let other = place.folder.path().join("other");
    fs::write(&other, "of somebody else").unwrap();
    std::os::unix::fs::symlink(&other, place.new_file()).unwrap();
    open(&place.file(), &place.clock).unwrap();
    assert_eq!(fs::read(&other).unwrap(), b"of somebody else");
    assert!(!fs::symlink_metadata(place.file()).unwrap().is_symlink());
    let made = Command::new("mkfifo").arg(place.new_file()).status();
    assert!(made.unwrap().success());
    open(&place.file(), &place.clock).unwrap();
}

#[tokio::test]
async fn statistics_agree_with_what_is_held() {
    let clock = ManualClock::at(start());
    let store = MemoryStore::builder().clock(clock.clone());
    let store = store.capacity_bytes(1 << 20).danger_assume_no_history();
    let store = store.build().unwrap();
    for nonce in 0..1000 {
        assert_eq!(
            ask(&store, &claim(nonce, start())).await,
            Ok(ClaimOutcome::New)
        );
    }
    let leased = claim(1000, start());
    store.lease(&leased, secs(60)).await.unwrap();
    let held = store.statistics();
    assert_eq!((held.nonces, held.leases), (1001, 1));
    assert_eq!(Some(held.nonces), store.live());
    assert_eq!(held.allocated_bytes, store.allocated_bytes());
    assert!(held.allocated_bytes >= 1001 * 17);
    assert_eq!(held.capacity_bytes, 1 << 20);
    assert_eq!(held.high_watermark, None);
    store.complete(&leased).await.unwrap();
    assert_eq!(store.statistics().leases, 0);
}
