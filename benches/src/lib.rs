//! Measures contenders side by side: in rounds, one after the other, so that what else the machine
//! does falls on all of them.

use std::{
    fmt::Display,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use countersign::webhooks::Stripe;

pub mod claims;
pub mod envelope;
pub mod idempotency;
pub mod layer;
pub mod load;
pub mod memory;
pub mod proxied;
pub mod requests;
pub mod served;
pub mod verify;

/// Few enough for a request to be in the cache still when its turn comes, as one that has just
/// arrived is.
const REQUESTS_IN_A_ROUND: usize = 16;

/// Something to measure.
pub struct Contender {
    pub name: &'static str,
    handle: Box<Handle>,
}

/// Prepares so many requests, and handles them within one call of `Measure`.
type Handle = dyn FnMut(usize, &mut Measure<'_>);

/// Calls what it is given, once.
type Measure<'m> = dyn FnMut(&mut dyn FnMut()) + 'm;

impl Contender {
    /// Each request is prepared outside of what is measured, and handled within.
    pub fn new<I: 'static>(
        name: &'static str,
        mut prepare: impl FnMut() -> I + 'static,
        mut handle_one: impl FnMut(&mut I) + 'static,
    ) -> Self {
        let handle = move |requests: usize, measure: &mut Measure<'_>| {
            let mut inputs: Vec<I> = (0..requests).map(|_| prepare()).collect();
            measure(&mut || {
                inputs
                    .iter_mut()
                    .for_each(|input| handle_one(black_box(input)))
            });
        };
        Self {
            name,
            handle: Box::new(handle),
        }
    }

    /// Handles requests that were prepared, all within one call of `measure`.
    pub fn handle(&mut self, requests: usize, mut measure: impl FnMut(&mut dyn FnMut())) {
        (self.handle)(requests, &mut measure);
    }
}

/// The time for one request, in nanoseconds: the means of rounds, compared.
#[derive(Clone, Copy)]
pub struct Time {
    pub min: f64,
    pub median: f64,
}

/// Measures all contenders, in turns, and says on standard error what came out.
pub fn measure<const N: usize>(what: &str, rounds: usize, mut all: [Contender; N]) -> [Time; N] {
    let mut means = [const { Vec::new() }; N];
    // The first tenth warms up.
    for round in 0..rounds + rounds / 10 {
        for (contender, means) in all.iter_mut().zip(&mut means) {
            let mut elapsed = Duration::ZERO;
            contender.handle(REQUESTS_IN_A_ROUND, |handle| {
                let start = Instant::now();
                handle();
                elapsed = start.elapsed();
            });
            if round >= rounds / 10 {
                means.push(elapsed.as_nanos() as f64 / REQUESTS_IN_A_ROUND as f64);
            }
        }
    }
    let times = means.map(|mut means| {
        means.sort_by(f64::total_cmp);
        Time {
            min: means[0],
            median: means[means.len() / 2],
        }
    });
    for (contender, time) in all.iter().zip(&times) {
        eprintln!(
            "{what}: {}: {} at least, {} in the median of {rounds} rounds",
            contender.name,
            micros(time.min),
            micros(time.median),
        );
    }
    times
}

/// Prints a line of the table: what was measured, ours, the peer or limit, their ratio, the ratio
/// that must be reached, and whether it is.
pub fn row(what: impl Display, ours: f64, (peer, theirs): (&str, f64), must: Must) {
    row_in(micros, what, ours, (peer, theirs), must);
}

/// The same of figures that are written in another way than times are.
pub fn row_in(
    unit: impl Fn(f64) -> String,
    what: impl Display,
    ours: f64,
    (peer, theirs): (&str, f64),
    must: Must,
) {
    let ratio = ours / theirs;
    let (must, met) = match must {
        Must::AtMost(limit) => (format!("at most {limit:.3}"), ratio <= limit),
        Must::AtLeast(limit) => (format!("at least {limit:.3}"), ratio >= limit),
        Must::Ahead => ("below 1".into(), ratio < 1.0),
    };
    let (ours, theirs) = (unit(ours), unit(theirs));
    let verdict = if met { "met" } else { "short" };
    println!("{what}\t{ours}\t{theirs} {peer}\t{ratio:.3}\t{must}\t{verdict}");
}

/// The ratio of ours to theirs that must be reached.
pub enum Must {
    AtMost(f64),
    AtLeast(f64),
    Ahead,
}

/// Writes nanoseconds as microseconds.
pub fn micros(nanos: f64) -> String {
    format!("{:.3} µs", nanos / 1000.0)
}

/// Writes how often something happens in a second.
pub fn a_second(rate: f64) -> String {
    format!("{rate:.0} a second")
}

/// Every contender with bodies of 1 KiB.
pub fn all() -> Vec<Contender> {
    vec![
        verify::countersign(1024),
        verify::standardwebhooks(1024),
        verify::bare_hmac(1024),
        verify::countersign_rfc9421(1024),
        verify::countersign_forged(1024 * 1024),
        verify::httpsig_hyper(1024),
        verify::bare_hashes(1024),
        verify::preset_standard_webhooks(1024),
        verify::preset(Stripe::new(), requests::event),
        layer::countersign(),
        layer::countersign_rfc9421(),
        layer::without_layer(),
        layer::bare_hmac(),
        layer::countersign_for_webhooks(),
        layer::webhook_verify(),
        idempotency::without(),
        idempotency::new_key(),
        idempotency::stored(),
    ]
}

/// The work that a profiler collects.
#[inline(never)]
pub fn profiled(handle: &mut dyn FnMut()) {
    handle();
}

/// Polls a future, once, without a runtime: with everything at hand, there is nothing to wait for.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("there was something to wait for"),
    }
}
