//! Bounds of `countersign proxy`: whatever clients, or those who read what it prints, do or leave.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    proxied::{configure, edit, send},
    session::Session,
};

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How much memory a process holds, in KiB.
fn memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
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
    let url = line()["listening"].as_str().unwrap().to_owned();
    let address = url.strip_prefix("http://").unwrap();
    // Longer than what is logged of it.
    let path = "a".repeat(8000);
    let batch = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n").repeat(PIPELINED - 1);
    let last = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let load = || {
        let answer = send(address, format!("{batch}{}", last("/")).as_bytes());
        assert_eq!(answer.statuses(), [502; PIPELINED]);
    };
    // The pipes and the lines that wait are full by then.
    (0..ROUNDS / 2).for_each(|_| load());
    let before = memory(&child.0);
    (0..ROUNDS / 2).for_each(|_| load());
    let grown = memory(&child.0).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
    // Somebody reads again: each line is there, or counted in the next that is.
    let (mut known, mut left_out) = (0, 0);
    let mut read = || {
        let line = line();
        let request = &line["request"];
        let path = request["path"].as_str().unwrap();
        assert!(path.len() < 2100);
        known += 1;
        left_out += request["left_out"].as_u64().unwrap();
        path == "/next"
    };
    for _ in 0..1024 {
        read();
    }
    assert_eq!(send(address, last("/next").as_bytes()).statuses(), [502]);
    while !read() {}
    assert_eq!(known + left_out, 1 + (ROUNDS * PIPELINED) as u64);
    assert!(left_out > 1000, "{left_out}");
    // Standard error is still full, and the end waits for it for a moment only.
    let started = Instant::now();
    let pid = child.0.id().to_string();
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
