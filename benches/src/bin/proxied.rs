//! `countersign proxy` beside nginx, over 64 connections that are kept: each proxy is one process on
//! one processor, and forwards to the same server on a Unix socket. The server and the load have the
//! other processor. No proxy writes a log. Rows are the best of several rounds, in which the proxies
//! take turns; each gets the same requests of 1 KiB, signed by RFC 9421. `proxied [rounds]`.

use std::{
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use countersign_benches::{
    Must, a_second,
    load::{Connections, Load},
    memory::cpu_time_of_process,
    micros,
    proxied::{Proxied, Proxy, upstream},
    row, row_in,
    served::{Requests, Signed, on_processor},
};

const LEN: usize = 1024;
const REQUESTS: usize = 40_000;
const KEPT: usize = 64;
const MANY: usize = 1000;

/// Our proxy takes this many connections.
const CONNECTIONS: usize = 1100;

/// A store that was just made refuses what was signed before, by a clock that may be ahead.
const STORE_BEGINS: Duration = Duration::from_secs(7);

const NGINX: Proxied = Proxied::Nginx;
const LUA: Proxied = Proxied::NginxWithLua;
const MEMORY: Proxied = Proxied::Ours("memory");
const FILE: Proxied = Proxied::Ours("sqlite:used.db");

fn main() {
    if available_parallelism().is_ok_and(|count| count.get() < 2) {
        eprintln!("proxied: not measured, for there is one processor alone");
        return;
    }
    for proxied in [MEMORY, NGINX] {
        if let Some(why) = proxied.missing() {
            eprintln!("proxied: not measured, for {why}");
            return;
        }
    }
    let rounds = std::env::args().nth(1);
    let rounds = rounds.map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    on_processor(0);
    let upstream = upstream(folder.path(), LEN);
    let load = Load::new();
    let mut proxied = vec![NGINX, MEMORY, FILE];
    match LUA.missing() {
        None => proxied.push(LUA),
        Some(why) => eprintln!("{}: not measured, for {why}", LUA.name()),
    }
    let all: Vec<_> = proxied
        .iter()
        .map(|proxied| {
            let folder = folder.path().join(proxied.name());
            Proxy::start(*proxied, &folder, &upstream, CONNECTIONS)
        })
        .collect();
    sleep(STORE_BEGINS);
    let mut requests = Requests::new(Signed::Rfc9421, LEN);
    let mut best = vec![Figures::default(); all.len()];
    // The first round warms up.
    for round in 0..=rounds {
        let requests = requests.take(REQUESTS);
        for ((proxy, proxied), best) in all.iter().zip(&proxied).zip(&mut best) {
            let (before, own_before, start) =
                (proxy.cpu_time(), cpu_time_of_process(), Instant::now());
            let outcome = load.run(proxy.address, Connections::Kept(KEPT), &requests);
            let own =
                (cpu_time_of_process() - own_before).as_secs_f64() / start.elapsed().as_secs_f64();
            let cpu = (proxy.cpu_time() - before).as_nanos() as f64 / requests.len() as f64;
            let rate = outcome.requests_a_second();
            eprintln!(
                "{}: {}, {} of processor time, wait {:?} in the median, {:?} at 99 %; server and load \
                 took {:.0} % of their processor",
                proxied.name(),
                a_second(rate),
                micros(cpu),
                outcome.wait(50),
                outcome.wait(99),
                own * 100.0,
            );
            if round > 0 {
                best.take(rate, outcome.wait(99));
            }
        }
    }
    let of = |wanted| {
        let at = proxied.iter().position(|proxied| *proxied == wanted);
        at.map(|at| best[at])
    };
    let [Some(nginx), Some(memory), Some(file)] = [NGINX, MEMORY, FILE].map(of) else {
        return;
    };
    compare(
        "proxy, 1 KiB, RFC 9421, store in memory",
        &memory,
        (NGINX, nginx),
        0.55,
    );
    if let Some(lua) = of(LUA) {
        compare("the same", &memory, (LUA, lua), 1.0);
    }
    compare(
        "proxy, 1 KiB, RFC 9421, store in a file",
        &file,
        (NGINX, nginx),
        0.3,
    );
    row(
        "proxy, 1 KiB, RFC 9421, store in memory, wait at 99 %",
        memory.wait,
        (NGINX.name(), nginx.wait),
        Must::AtMost(2.0),
    );
    drop(all);
    let folder = folder.path().join("many");
    let proxy = Proxy::start(MEMORY, &folder, &upstream, CONNECTIONS);
    sleep(STORE_BEGINS);
    load.run(
        proxy.address,
        Connections::Kept(MANY),
        &requests.take(REQUESTS),
    );
    row_in(
        |bytes| format!("{:.1} MiB", bytes / (1 << 20) as f64),
        format!("proxy, store in memory, {MANY} connections, memory at its peak"),
        proxy.peak_memory() as f64,
        ("limit", (64 << 20) as f64),
        Must::AtMost(1.0),
    );
}

/// The best of all rounds.
#[derive(Clone, Copy)]
struct Figures {
    /// Requests a second.
    rate: f64,
    /// How long 99 % of the requests waited at most, in nanoseconds.
    wait: f64,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            rate: 0.0,
            wait: f64::MAX,
        }
    }
}

impl Figures {
    fn take(&mut self, rate: f64, wait: Duration) {
        self.rate = self.rate.max(rate);
        self.wait = self.wait.min(wait.as_nanos() as f64);
    }
}

fn compare(what: &str, ours: &Figures, (peer, theirs): (Proxied, Figures), least: f64) {
    row_in(
        a_second,
        format!("{what}, requests a second"),
        ours.rate,
        (peer.name(), theirs.rate),
        Must::AtLeast(least),
    );
}
