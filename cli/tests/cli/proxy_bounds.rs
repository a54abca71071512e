//! Bounds of `countersign proxy`: whatever clients, or those who read what it prints, do or leave.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    proxied::{DONE, Proxied, add, configure, edit, get, send},
    session::Session,
    upstream::Upstream,
};

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns how much memory a process holds, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// Nobody reads standard output and standard error: lines are left out and counted, and nothing waits
/// for them.
#[test]
fn outputs_that_nobody_reads_stop_nothing_and_take_no_memory() {
    const ROUNDS: usize = 40;
    const PIPELINED: usize = 100;

    let session = Session::new();
    // Nobody listens there, so that each request is a message on standard error too.
    configure(&session, "unix:missing.sock", "danger-open = true\n");
    edit(&session, "access-log = false", "access-log = true");
    edit(&session, "listen =", "admin = \"127.0.0.1:0\"\nlisten =");
    let child = session
        .shell("exec countersign proxy --json --config proxy.toml")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut output = BufReader::with_capacity(1, child.0.stdout.take().unwrap()).lines();
    let mut line = || -> Value {
        let line = output.next().unwrap().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    };
    let [url, admin] = ["listening", "admin"].map(|at| line()[at].as_str().unwrap().to_owned());
    let address = url.strip_prefix("http://").unwrap();
    let admin = admin.strip_prefix("http://").unwrap();
    // Longer than what is logged of it.
    let path = "a".repeat(8000);
    let method = "M".repeat(8000);
    let batch = format!("{method} /{path} HTTP/1.1\r\nhost: a\r\n\r\n").repeat(PIPELINED - 1);
    let load = || {
        let answer = send(address, format!("{batch}{}", get("/")).as_bytes());
        assert_eq!(answer.statuses(), [502; PIPELINED]);
    };
    // The pipes and the lines that wait are full by then.
    (0..ROUNDS / 2).for_each(|_| load());
    let before = memory(child.0.id());
    (0..ROUNDS / 2).for_each(|_| load());
    let grown = memory(child.0.id()).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
    let metrics = send(admin, get("/metrics").as_bytes()).0;
    let mut measured = metrics.lines();
    let dropped =
        measured.find_map(|line| line.strip_prefix("countersign_proxy_log_lines_dropped_total "));
    let dropped: u64 = dropped.unwrap().parse().unwrap();
    // Somebody reads again: each line is there, or counted in the next that is.
    let (mut known, mut left_out) = (0, 0);
    let mut read = || -> Option<String> {
        let line = line();
        let request = &line["request"];
        let path = request["path"].as_str()?;
        let method = request["method"].as_str().unwrap();
        assert!(path.len() < 2100 && method.len() < 2100);
        known += 1;
        left_out += request["left_out"].as_u64().unwrap();
        Some(path.to_owned())
    };
    for _ in 0..1024 {
        read();
    }
    // A line that has no place for the number keeps it for the next that has.
    let pid = child.0.id().to_string();
    let told = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(told.success());
    while read().is_some() {}
    assert_eq!(send(address, get("/next").as_bytes()).statuses(), [502]);
    while read().as_deref() != Some("/next") {}
    assert_eq!(known + left_out, 1 + (ROUNDS * PIPELINED) as u64);
    assert!(left_out > 1000, "{left_out}");
    // Messages are left out too.
    assert!(dropped > left_out, "{dropped}");
    // Standard error is still full, and the end waits for it for a moment only.
    let started = Instant::now();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    let ended = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(ended.code(), Some(0));
}

/// Connections that send nothing, half of a head, or half of a body.
#[test]
fn slow_connections_take_a_bounded_and_flat_memory() {
    const ROUNDS: usize = 4;
    /// The memory of each connection, in KiB. Most of it holds the part of the head or body that
    /// was read.
    const EACH: u64 = 48;

    let count: usize = env::var("COUNTERSIGN_CASES").map_or(256, |cases| cases.parse().unwrap());
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, "danger-open = true\n");
    let most = count + 8;
    add(
        &session,
        &format!("[limits]\nconnections = {most}\nper-client = {most}\n"),
    );
    let proxied = Proxied::of(&session);
    let address = proxied.listening.address();
    let pid = proxied.listening.pid();
    let files = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    let filler = "a".repeat(6000);
    let begun = [
        String::new(),
        format!("GET / HTTP/1.1\r\nx-slow: {filler}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000\r\n\r\n{filler}"),
    ];
    let ask = || send(address, get("/").as_bytes()).status();
    assert_eq!(ask(), 200);
    let (before, own) = (files(), memory(pid));
    let peaks = [(); ROUNDS].map(|()| {
        let slow: Vec<_> = (0..count)
            .map(|number| {
                let mut stream = TcpStream::connect(address).unwrap();
                let _ = stream.write_all(begun[number % begun.len()].as_bytes());
                stream
            })
            .collect();
        // Other clients are answered all the while.
        assert_eq!(ask(), 200);
        let peak = (0..10).map(|_| memory(pid)).max().unwrap();
        drop(slow);
        let started = Instant::now();
        while files() > before + 4 {
            assert!(started.elapsed() < Duration::from_secs(60), "{}", files());
            std::thread::sleep(Duration::from_millis(10));
        }
        peak
    });
    println!("{count} slow connections: {peaks:?} KiB, and {own} KiB without");
    let most = own + EACH * u64::try_from(count).unwrap();
    assert!(peaks.iter().all(|peak| *peak < most), "{own}, {peaks:?}");
    let [_, second, .., last] = peaks;
    assert!(last < second + 4096, "{peaks:?}");
}

#[test]
fn a_connection_of_http1_without_a_request_is_closed() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    configure(&session, &upstream.url, "danger-open = true\n");
    add(&session, "[limits]\nhead-deadline = 1\n");
    let proxied = Proxied::of(&session);
    let mut stream = TcpStream::connect(proxied.listening.address()).unwrap();
    let limit = Some(Duration::from_secs(30));
    stream.set_read_timeout(limit).unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
    }
    let mut read = String::new();
    stream.read_to_string(&mut read).unwrap();
    assert_eq!(read.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{read}");
}
