//! Claims on the Redis store, beside `redis-benchmark` with the same `SET`, on a server of its own.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::store::RedisStore;
use countersign_benches::{
    Must,
    claims::{median, ours, summary},
    row,
};

const ROUNDS: u64 = 5;
const IN_FLIGHT: u64 = 64;
const CLAIMS: u64 = 200_000;

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else {
        eprintln!("redis: not measured, for there is no `redis-server`");
        return;
    };
    let store = RedisStore::builder()
        .danger_assume_no_history()
        .timeout(Duration::from_secs(30))
        .open(&format!("redis://127.0.0.1:{}", server.port))
        .await
        .unwrap();
    let store = Arc::new(store);
    let empty = server.memory();
    let (mut ours_each, mut peer_each) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (each, waited) = ours(&store, IN_FLIGHT, round << 32, CLAIMS).await;
        ours_each.push(each);
        if round == 0 {
            let bytes = (server.memory() - empty) as f64 / CLAIMS as f64;
            eprintln!("{bytes:.1} bytes for a nonce, of {CLAIMS}");
        }
        let peer = server.benchmark();
        peer_each.push(peer);
        eprintln!(
            "ours {}; redis-benchmark {:.1} µs",
            summary(each, &waited),
            peer / 1000.0
        );
    }
    row(
        "Redis, 64 in flight",
        median(&mut ours_each),
        ("redis-benchmark", median(&mut peer_each)),
        Must::AtMost(1.0 / 0.8),
    );
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = listener.local_addr().ok()?.port();
        drop(listener);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self { child, port };
        let start = Instant::now();
        while server.cli(&["PING"]).trim() != "PONG" {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "it did not start"
            );
        }
        Some(server)
    }

    fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    fn memory(&self) -> u64 {
        let info = self.cli(&["INFO", "memory"]);
        let used = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        used.unwrap().trim().parse().unwrap()
    }

    /// Nanoseconds for one of as many `SET`s, over as many connections as we have claims in flight.
    fn benchmark(&self) -> f64 {
        let deadline = "4102444800000";
        let output = Command::new("redis-benchmark")
            .args(["-p", &self.port.to_string(), "-c", &IN_FLIGHT.to_string()])
            .args(["-n", &CLAIMS.to_string(), "-r", "100000000000", "--csv"])
            .args(["SET", "cs:____the_digest___:__rand_int__", "f12345678"])
            .args(["NX", "GET", "PXAT", deadline])
            .output()
            .unwrap();
        let csv = String::from_utf8(output.stdout).unwrap();
        let rate = csv.lines().last().unwrap().rsplit("\",\"").nth(6);
        let rate: f64 = rate.unwrap().trim_matches('"').parse().unwrap();
        1e9 / rate
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
