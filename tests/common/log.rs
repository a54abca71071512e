//! The log of the tests, and the texts that must not be in it.
//!
//! A test reads what is logged on its thread by [`Log`]. Beside that, whatever is logged by any test
//! is kept in the folder that `COUNTERSIGN_SAID` names, with what must stay hidden: `house/said.rs`
//! looks
//! for the one in the other, once all tests have run.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    env, fmt,
    fs::File,
    io::{self, Write as _},
    path::Path,
    process,
    sync::{Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError},
};

use tracing_subscriber::{
    Layer as _, filter::dynamic_filter_fn, fmt::format::FmtSpan, layer::SubscriberExt as _,
};

/// The folder in which it is kept what the tests say. Without it, nothing is.
pub const SAID: &str = "COUNTERSIGN_SAID";

/// From now on, all that this process logs is kept, and can be read by [`Log`].
pub fn listen() {
    // One subscriber for the whole process: those that come and go with each test race with the
    // first use of a place that logs.
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(|| ToThisThread)
            .with_ansi(false)
            .with_span_events(FmtSpan::CLOSE)
            .with_filter(dynamic_filter_fn(|_, _| !QUIET.get()));
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
    });
}

/// While it lives, nothing is logged on this thread: for a test that is refused a million times
/// alike.
#[must_use]
pub struct Quiet(());

pub fn quiet() -> Quiet {
    QUIET.set(true);
    Quiet(())
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Says that these bytes, a secret or a MAC that no request has, must not be in anything that is
/// said.
pub fn hide(what: &str, bytes: &[u8]) {
    static FILE: LazyLock<Option<File>> = LazyLock::new(|| file("hidden"));
    static HIDDEN: Mutex<BTreeSet<Vec<u8>>> = Mutex::new(BTreeSet::new());
    let Some(mut file) = FILE.as_ref() else {
        return;
    };
    assert!(bytes.len() >= 16, "{what} could be there by chance");
    if lock(&HIDDEN).insert(bytes.to_vec()) {
        let line = format!("{}\t{what}\n", base16ct::lower::encode_string(bytes));
        file.write_all(line.as_bytes()).expect("there is room");
    }
}

/// Writes past the capture of the test harness, which hides what a passing test prints.
pub fn say(what: &str) {
    let line = format!("{what}\n");
    io::stderr().write_all(line.as_bytes()).expect("a terminal");
}

/// Says what is skipped, and why.
pub fn skipped(what: &str, why: &str) {
    say(&format!("skipped: {what}: {why}"));
}

/// As [`skipped`], because something is missing that `tests/run.sh` installs: there, it is a failure.
pub fn missing(what: &str, why: &str) {
    let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
    assert!(may_skip, "{what}: {why}");
    skipped(what, why);
}

fn file(kind: &str) -> Option<File> {
    let folder = env::var_os(SAID)?;
    let name = format!("{}.{kind}", process::id());
    let file = File::options()
        .create(true)
        .append(true)
        .open(Path::new(&folder).join(name));
    Some(file.expect("a folder that can be written to"))
}

/// The lines that are logged on this thread while it lives.
pub struct Log(Lines);

type Lines = Arc<Mutex<Vec<u8>>>;

thread_local! {
    static CAPTURED: RefCell<Option<Lines>> = const { RefCell::new(None) };
    static LEAKS: Cell<bool> = const { Cell::new(false) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

impl Log {
    pub fn captured() -> Self {
        listen();
        tracing::callsite::rebuild_interest_cache();
        let lines = Lines::default();
        CAPTURED.set(Some(Arc::clone(&lines)));
        Self(lines)
    }

    /// For a twin that leaks on purpose: its log is not kept.
    pub fn of_a_leak() -> Self {
        LEAKS.set(true);
        Self::captured()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.0)).into_owned()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        CAPTURED.set(None);
        LEAKS.set(false);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

struct ToThisThread;

impl io::Write for ToThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        static LOGGED: LazyLock<Option<File>> = LazyLock::new(|| file("log"));
        if let Some(mut file) = LOGGED.as_ref().filter(|_| !LEAKS.get()) {
            file.write_all(bytes)?;
        }
        CAPTURED.with_borrow(|lines| {
            if let Some(lines) = lines {
                lock(lines).extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
