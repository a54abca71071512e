//! Real servers on sockets: one worker thread on one processor, this program on the other, and 32
//! connections that are kept. Each format with the layer is compared with the same server whose
//! handler does the bare hashing, and with the same server without both. Rows are the best of
//! several rounds, in which the servers take turns; each gets the same requests. `served [rounds]`.

use std::thread::available_parallelism;

use countersign_benches::{
    Must, a_second,
    load::{Connections, Load, Written},
    micros, row, row_in,
    served::{Requests, Served, Server, Signed, on_processor},
};

const KEPT: Connections = Connections::Kept(32);

fn main() {
    Served::serve_if_asked();
    if available_parallelism().is_ok_and(|count| count.get() < 2) {
        eprintln!("served: not measured, for there is one processor alone");
        return;
    }
    let rounds = std::env::args().nth(1);
    let rounds = rounds.map_or(3, |rounds| rounds.parse().expect("a number of rounds"));
    on_processor(0);
    let load = Load::new();
    for signed in Signed::ALL {
        small(&load, signed, rounds);
    }
    for signed in Signed::ALL {
        large(&load, signed, rounds);
    }
    connections(&load, rounds);
}

/// Bodies of 1 KiB: the processor time of the server, and the requests that it handles in a second.
fn small(load: &Load, signed: Signed, rounds: usize) {
    let (most, least) = match signed {
        Signed::GitHub => (2.5, 0.66),
        Signed::StandardWebhooks | Signed::House => (4.0, 0.66),
        Signed::Stripe => (5.0, 0.63),
        Signed::Rfc9421 => (4.6, 0.58),
    };
    let what = format!("server, 1 KiB, {}", signed.name());
    let served = [
        Served::Layer(signed),
        Served::Hashing(signed),
        Served::WithoutLayer,
    ];
    let mut requests = Requests::new(signed, 1024);
    let sets = |_| requests.take(40_000);
    let [layer, hashing, without] = compare(&what, load, KEPT, served, rounds, sets);
    let beyond = |figures: &Figures| figures.cpu - without.cpu;
    row(
        format!("{what}, processor time beyond no layer"),
        beyond(&layer),
        ("bare hashing", beyond(&hashing)),
        Must::AtMost(most),
    );
    row_in(
        a_second,
        format!("{what}, requests a second"),
        layer.rate,
        ("without the layer", without.rate),
        Must::AtLeast(least),
    );
}

fn large(load: &Load, signed: Signed, rounds: usize) {
    let what = format!("server, 64 KiB, {}", signed.name());
    let served = [Served::Layer(signed), Served::Hashing(signed)];
    let mut requests = Requests::new(signed, 64 * 1024);
    let sets = |_| requests.take(6_000);
    let [layer, hashing] = compare(&what, load, KEPT, served, rounds, sets);
    row_in(
        a_second,
        format!("{what}, requests a second"),
        layer.rate,
        ("bare hashing", hashing.rate),
        Must::AtLeast(0.9),
    );
}

/// 100 connections at a time, each for one request.
fn connections(load: &Load, rounds: usize) {
    let what = "server, a connection for each request, RFC 9421";
    let served = [Served::Layer(Signed::Rfc9421), Served::WithoutLayer];
    let mut requests = Requests::new(Signed::Rfc9421, 1024);
    let sets = |_| requests.take(4_000);
    let [layer, without] = compare(what, load, Connections::ForOne(100), served, rounds, sets);
    row_in(
        a_second,
        format!("{what}, a second"),
        layer.rate,
        ("without the layer", without.rate),
        Must::AtLeast(0.85),
    );
}

/// The best of all rounds.
#[derive(Clone, Copy)]
struct Figures {
    /// Requests a second.
    rate: f64,
    /// The processor time of the server for a request, in nanoseconds.
    cpu: f64,
}

fn compare<const N: usize>(
    what: &str,
    load: &Load,
    connections: Connections,
    served: [Served; N],
    rounds: usize,
    mut sets: impl FnMut(usize) -> Vec<Written>,
) -> [Figures; N] {
    let mut servers = served.map(Server::start);
    let mut best = [Figures {
        rate: 0.0,
        cpu: f64::MAX,
    }; N];
    // The first round warms up.
    for round in 0..=rounds {
        let requests = sets(round);
        for ((server, served), best) in servers.iter_mut().zip(served).zip(&mut best) {
            let before = server.cpu_time();
            let outcome = load.run(server.address, connections, &requests);
            let cpu = (server.cpu_time() - before).as_nanos() as f64 / requests.len() as f64;
            if round == 0 {
                continue;
            }
            let rate = outcome.requests_a_second();
            eprintln!(
                "{what}: {served}: {}, {} of processor time, wait {:?} in the median, {:?} at 99 %",
                a_second(rate),
                micros(cpu),
                outcome.wait(50),
                outcome.wait(99),
            );
            best.rate = best.rate.max(rate);
            best.cpu = best.cpu.min(cpu);
        }
    }
    best
}
