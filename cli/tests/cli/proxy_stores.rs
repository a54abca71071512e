//! Each store behind `countersign proxy`: a replay across a restart, and a store that is away.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{
    ports::free_port,
    proxied::{DONE, KEYS, Proxied, administered, configure, edit, get, send, transfer},
    session::Session,
    upstream::Upstream,
};

/// Starts with this store, which has no history.
fn configured(session: &Session, upstream: &Upstream, store: &str) {
    configure(session, &upstream.url, KEYS);
    edit(session, "sqlite:used.db", store);
    edit(session, "listen =", "admin = \"127.0.0.1:0\"\nlisten =");
    if !store.starts_with("memory") {
        session.file("store", store);
        session.stdout(
            "STORE=$(cat store) countersign store migrate env:STORE --danger-assume-no-history",
        );
    }
}

/// A request is accepted once, also by the next process, and a store that is away refuses.
fn remembers<G>(store: &str, go_away: impl FnOnce() -> G) {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configured(&session, &upstream, store);
    let (proxied, _) = administered(&session);
    let signed = transfer(&session);
    assert_eq!(proxied.send(&signed).status(), 200, "{store}");
    let replayed = |proxied: &Proxied<'_>| {
        let again = proxied.send(&signed);
        assert_eq!((again.status(), again.code()), (409, "request_replayed"));
    };
    replayed(&proxied);
    let (said, code) = proxied.listening.stop();
    assert_eq!(code, Some(0), "{said}");
    let (proxied, admin) = administered(&session);
    replayed(&proxied);
    assert_eq!(upstream.seen().len(), 1, "{store}");
    let ready = || send(&admin, get("/readyz").as_bytes());
    assert_eq!(proxied.send(transfer(&session)).status(), 200, "{store}");
    assert_eq!(ready().status(), 200, "{store}");
    // Once it is forgotten on purpose, the same request is accepted once more.
    session.file("store", store);
    let of_store = |command: &str| {
        let said = session.stdout(&format!(
            "STORE=$(cat store) countersign --json store {command}"
        ));
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    of_store("status env:STORE");
    let nonce = upstream.seen()[0].head.clone();
    let nonce = nonce.split("countersign-nonce: \"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let forgotten = of_store(&format!(
        "forget env:STORE --namespace all --key partner-1 --nonce {nonce} --danger-accept-again"
    ));
    assert_eq!(forgotten["forgotten"], true, "{store}: {forgotten}");
    assert_eq!(proxied.send(&signed).status(), 200, "{store}");
    replayed(&proxied);
    let _away = go_away();
    let refused = proxied.send(transfer(&session));
    assert_eq!(
        (refused.status(), refused.code()),
        (503, "store_unavailable"),
        "{store}: {refused:?}"
    );
    let ready = ready();
    assert_eq!(ready.status(), 503, "{store}");
    assert!(ready.0.contains("store: "), "{store}: {ready:?}");
    assert_eq!(upstream.seen().len(), 3, "{store}");
}

#[test]
fn sqlite_remembers_over_a_restart_and_refuses_while_it_is_locked() {
    use sqlx::Connection as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("used.db").display().to_string();
    remembers(&format!("sqlite:{file}"), || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let other = runtime.block_on(async {
            let mut other = sqlx::SqliteConnection::connect(&file).await.unwrap();
            let lock = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await;
            lock.unwrap();
            other
        });
        (other, runtime)
    });
}

/// Sends requests that are signed again until one is accepted.
fn accepted(session: &Session, proxied: &Proxied<'_>) -> String {
    let started = Instant::now();
    loop {
        let signed = transfer(session);
        let answer = proxied.send(&signed);
        if answer.status() == 200 {
            return signed;
        }
        assert_eq!((answer.status(), answer.code()), (503, "sign_again"));
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}

/// The default needs no key of the file, and nothing that was made before.
#[test]
fn without_a_store_in_the_file_there_is_one_beside_it_that_remembers() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, KEYS);
    edit(&session, "store = \"sqlite:used.db\"\n", "");
    let proxied = Proxied::of(&session);
    let signed = accepted(&session, &proxied);
    assert!(session.path().join("countersign.db").exists());
    assert_eq!(proxied.send(&signed).status(), 409);
    proxied.listening.kill();
    let proxied = Proxied::of(&session);
    let again = proxied.send(&signed);
    assert_eq!((again.status(), again.code()), (409, "request_replayed"));
    assert_eq!(proxied.send(transfer(&session)).status(), 200);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_store_in_memory_with_a_watermark_refuses_what_was_signed_before_a_restart() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configured(&session, &upstream, "memory:mark");
    let (proxied, _) = administered(&session);
    let signed = accepted(&session, &proxied);
    let again = proxied.send(&signed);
    assert_eq!((again.status(), again.code()), (409, "request_replayed"));
    proxied.listening.kill();
    let (proxied, _) = administered(&session);
    let again = proxied.send(&signed);
    assert_eq!((again.status(), again.code()), (503, "sign_again"));
    assert_eq!(upstream.seen().len(), 1);
    accepted(&session, &proxied);
    assert_eq!(upstream.seen().len(), 2);
    // The advice names what a configuration can say.
    let (said, _) = proxied.listening.stop();
    assert!(said.contains("`memory:FILE`"), "{said}");
    assert!(!said.contains("`high_watermark`"), "{said}");
}

/// A server of this test, which ends with it.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Redis {
    /// Starts each server that is there, with its port.
    fn each() -> impl Iterator<Item = (Self, u16)> {
        let programs = ["redis-server".to_owned()].into_iter();
        let programs = programs.chain(env::var("COUNTERSIGN_VALKEY").ok());
        programs.filter_map(|program| Self::start(&program))
    }

    fn start(program: &str) -> Option<(Self, u16)> {
        let port = free_port();
        let child = Command::new(program)
            .args([
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--bind",
                "127.0.0.1",
            ])
            .current_dir(env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.ok()?);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "{program}");
            thread::sleep(Duration::from_millis(10));
        }
        Some((server, port))
    }
}

#[test]
fn redis_remembers_over_a_restart_and_refuses_while_it_is_away() {
    let mut tested = 0;
    for (server, port) in Redis::each() {
        let store = format!("redis://127.0.0.1:{port}");
        remembers(&store, move || drop(server));
        tested += 1;
    }
    missing(tested > 0, "a Redis server");
}

/// Passes on what a client says to a server, up to the second time that it forgets a record: then it
/// says nothing more.
fn forgetting_once(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let forgotten = Arc::new(Mutex::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let forgotten = Arc::clone(&forgotten);
            thread::spawn(move || {
                let (mut from, mut to) = (client, server);
                let mut read = [0; 65536];
                while let Ok(n @ 1..) = from.read(&mut read) {
                    let mut forgotten = forgotten.lock().unwrap();
                    let says = read[..n].windows(6).filter(|said| said == b"forget");
                    // The script has the word too, and is sent in whole once at most.
                    *forgotten += usize::from(n < 1024 && says.count() > 0);
                    if *forgotten < 2 {
                        to.write_all(&read[..n]).unwrap();
                    }
                }
            });
        }
    });
    port
}

/// A message is recorded at one of several places, each a record of its own.
#[test]
fn records_of_redis_that_are_forgotten_in_part_are_told() {
    let mut tested = 0;
    for (_server, port) in Redis::each() {
        let session = Session::new();
        let upstream = Upstream::start(DONE);
        configured(&session, &upstream, &format!("redis://127.0.0.1:{port}"));
        let (proxied, _) = administered(&session);
        let signed = transfer(&session);
        assert_eq!(proxied.send(&signed).status(), 200);
        let nonce = upstream.seen()[0].head.clone();
        let nonce = nonce.split("countersign-nonce: \"").nth(1).unwrap();
        let nonce = nonce.split('"').next().unwrap();
        let forget = format!(
            "countersign store forget redis://127.0.0.1:{} --namespace all --key partner-1 \
             --nonce {nonce} --danger-accept-again --json",
            forgetting_once(port)
        );
        let output = session.output(&forget);
        let said = String::from_utf8_lossy(&output.stderr);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("it tells nothing: {said}"));
        assert_eq!(
            (&told["recorded"], &told["forgotten"], &told["complete"]),
            (&1.into(), &true.into(), &false.into()),
            "{told}"
        );
        assert!(said.contains("may not have been forgotten"), "{said}");
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert_eq!(proxied.send(&signed).status(), 200);
        tested += 1;
    }
    missing(tested > 0, "a Redis server");
}

fn missing(is_there: bool, what: &str) {
    let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
    assert!(is_there || may_skip, "{what} is not there");
    if !is_there {
        eprintln!("skipped: {what} is not there");
    }
}

/// A hop between the proxy and PostgreSQL, which can go away.
struct Between {
    folder: tempfile::TempDir,
    streams: Arc<Mutex<Option<Vec<UnixStream>>>>,
}

impl Between {
    fn start(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let streams = Arc::new(Mutex::new(Some(Vec::new())));
        let of_thread = Arc::clone(&streams);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(streams) = &mut *of_thread.lock().unwrap() else {
                    break;
                };
                let server = UnixStream::connect(server.join(".s.PGSQL.5432")).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
                streams.extend([client, server]);
            }
        });
        Self { folder, streams }
    }

    fn go_away(&self) {
        for stream in self.streams.lock().unwrap().take().unwrap() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        std::fs::remove_file(self.folder.path().join(".s.PGSQL.5432")).unwrap();
    }
}

#[test]
fn postgres_remembers_over_a_restart_and_refuses_while_it_is_away() {
    let url = env::var("COUNTERSIGN_POSTGRES_URL").ok();
    let folder = url.as_deref().and_then(|url| url.split("host=").nth(1));
    missing(
        folder.is_some(),
        "COUNTERSIGN_POSTGRES_URL with the folder of a socket",
    );
    let (Some(url), Some(folder)) = (&url, folder) else {
        return;
    };
    let schema = format!("proxy_{}", std::process::id());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use sqlx::Connection as _;
        let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::raw_sql(create).execute(&mut admin).await.unwrap();
        admin.close().await.unwrap();
    });
    let between = Between::start(PathBuf::from(folder));
    let through = url.replace(folder, between.folder.path().to_str().unwrap());
    let store = format!("{through}&options=-c%20search_path%3D{schema}");
    remembers(&store, || between.go_away());
}

/// The address of the store has a password, which nobody is shown.
#[test]
fn the_password_of_a_store_is_in_no_line() {
    const PASSWORD: &str = "the-password-of-the-store-of-this-test";
    let session = Session::new();
    session.hide(PASSWORD.as_bytes());
    let upstream = Upstream::start(DONE);
    // This server takes connections, and answers as no store does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"-ERR no\r\n");
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    configure(&session, &upstream.url, KEYS);
    for store in [
        format!("redis://:{PASSWORD}@127.0.0.1:{port}"),
        format!("postgres://me:{PASSWORD}@127.0.0.1:{port}/db"),
    ] {
        let text = std::fs::read_to_string(session.path().join("proxy.toml")).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("store = "))
            .unwrap();
        session.file(
            "proxy.toml",
            text.replace(line, &format!("store = \"{store}\"")),
        );
        // The session looks for the password in what is printed.
        let said = session.run("countersign proxy --config proxy.toml");
        assert!(said.contains("cannot open the store"), "{said}");
    }
}
