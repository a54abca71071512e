//! The time of a claim on the memory store: beside its peers, from 1 to 100 million live, and at
//! its worst. `memory [peers | scale | pauses | hour] [millions live] [seconds of a run]`; all without
//! an argument.
//!
//! Two threads claim at once. A claim on the store is all that it does: the hash of the identity, the
//! system's clock, the quota of the key, the sweep. The peers are given 16 bytes; or, "on claims",
//! the same claims as the store, of which they make their 16 bytes with the same hash. Rows are
//! medians of several rounds, by the wall clock; pauses are processor time, because a
//! thread that the machine takes off its processor says nothing about the store.

use std::{
    env,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use countersign::testing::ManualClock;
use countersign_benches::memory::{
    Nanos, OnClaims, Ours, Subject, THREADS, WINDOW, claims, cpu_time, moka, resident_bytes, row,
    start,
};
use dashmap::DashMap;

const MILLION: u64 = 1_000_000;

const ROUNDS: usize = 5;

fn main() {
    let part = env::args().nth(1);
    let millions = env::args()
        .nth(2)
        .map(|n| n.parse::<u64>().expect("a number of millions"));
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if wanted("peers") {
        peers(millions.unwrap_or(10) * MILLION);
    }
    if wanted("scale") {
        scale(millions.unwrap_or(100) * MILLION);
    }
    if wanted("pauses") {
        let seconds = env::args().nth(3);
        let seconds = seconds.map_or(300, |n| n.parse().expect("a number of seconds"));
        pauses(
            millions.unwrap_or(100) * MILLION,
            Duration::from_secs(seconds),
        );
    }
    if wanted("hour") {
        hour(millions.unwrap_or(10) * MILLION);
    }
}

/// Measures the stores in turn, several times, so that a disturbance meets all of them. Each is
/// filled, goes on to a tenth more, and is asked again for its records.
fn peers(live: u64) {
    let total = live + live / 10;
    let mut subjects = [const { Rounds::new() }; 4];
    for round in 1..=ROUNDS {
        subjects[0].take(live, &Ours::sized_for(total));
        subjects[1].take(live, &DashMap::<[u8; 16], ()>::new());
        subjects[2].take(live, &OnClaims::new(DashMap::<[u8; 16], ()>::new()));
        subjects[3].take(live, &moka(total));
        eprintln!("round {round} of {ROUNDS}");
    }
    let [ours, peers @ ..] = &subjects;
    for (what, of) in Rounds::PARTS {
        println!("# {what}, ours: {}", summary(of(ours)));
        let name = |peer| {
            format!(
                "{what} at {} million live, ns, beside {peer}",
                live / MILLION
            )
        };
        for (peer, rounds) in ["dashmap", "dashmap on claims", "moka with TTL"]
            .iter()
            .zip(peers)
        {
            println!("# {what}, {peer}: {}", summary(of(rounds)));
            let wall = |rounds| median(&sorted(of(rounds), |n| n.wall));
            let ratio = wall(rounds) / wall(ours);
            let least = if peer.starts_with("moka") { 6.0 } else { 1.0 };
            let must_reach = format!(">= {least}");
            row(
                &name(peer),
                wall(ours),
                wall(rounds),
                ratio,
                &must_reach,
                ratio >= least,
            );
        }
    }
}

/// The time that each round took.
struct Rounds {
    filling: Vec<Nanos>,
    new: Vec<Nanos>,
    replayed: Vec<Nanos>,
}

type Part = (&'static str, fn(&Rounds) -> &[Nanos]);

impl Rounds {
    const PARTS: [Part; 3] = [
        ("filling", |r| &r.filling),
        ("new", |r| &r.new),
        ("replayed", |r| &r.replayed),
    ];

    const fn new() -> Self {
        Self {
            filling: Vec::new(),
            new: Vec::new(),
            replayed: Vec::new(),
        }
    }

    fn take<S: Subject>(&mut self, live: u64, subject: &S) {
        self.filling.push(claims(subject, 0..live, true));
        self.new.push(claims(subject, live..live + live / 10, true));
        self.replayed.push(claims(subject, 0..live / 10, false));
    }
}

fn summary(rounds: &[Nanos]) -> String {
    let (wall, cpu) = (sorted(rounds, |n| n.wall), sorted(rounds, |n| n.cpu));
    let (wall, cpu) = ((wall[0], median(&wall)), (cpu[0], median(&cpu)));
    format!(
        "min {:.0}, median {:.0} ns; in processor time {:.0}, {:.0} ns",
        wall.0, wall.1, cpu.0, cpu.1
    )
}

fn sorted(turns: &[Nanos], what: impl Fn(&Nanos) -> f64) -> Vec<f64> {
    let mut nanos: Vec<f64> = turns.iter().map(what).collect();
    nanos.sort_by(f64::total_cmp);
    nanos
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// New claims on stores of 1 million live and up to `most`, each sized for its load.
fn scale(most: u64) {
    let mut first = None;
    for live in [1, 10, 30, 100].map(|millions| millions * MILLION) {
        if live > most {
            break;
        }
        // About the same number of claims on each: on several small stores, or on one that is large.
        let mut turns = Vec::new();
        for _ in 0..(10 * MILLION / live).max(3) {
            let ours = Ours::sized_for(live);
            claims(&ours, 0..live - live / 10, true);
            turns.push(claims(&ours, live - live / 10..live, true));
        }
        let median = median(&sorted(&turns, |t| t.wall));
        let first = *first.get_or_insert(median);
        let ratio = median / first;
        let name = format!(
            "new at {} million live, ns, beside 1 million",
            live / MILLION
        );
        row(&name, median, first, ratio, "<= 2", ratio <= 2.0);
    }
}

/// The longest of all claims while a store is filled, and while as many again come as go: at 10
/// million live in five runs, each at least for this time. Time is made to pass so that a window's
/// worth of claims is live.
fn pauses(most: u64, of_a_run: Duration) {
    let at_10 = 10 * MILLION;
    let runs = [(MILLION, 1), (at_10, 5), (100 * MILLION, 1)];
    for (live, runs) in runs.into_iter().filter(|(live, _)| *live <= most) {
        let of_a_run = if live == at_10 {
            of_a_run
        } else {
            Duration::ZERO
        };
        let mut all = Longest::default();
        let mut last = None;
        for run in 1..=runs {
            // The one before is given back first.
            drop(last.take());
            let clock = ManualClock::at(start());
            let ours = Ours::new(live + live / 10, clock.clone());
            let step = live / (WINDOW.as_secs());
            let began = Instant::now();
            let mut of_run = Longest::default();
            let mut second = 0;
            // At each step of the window, so that the clock moves evenly.
            while second < WINDOW.as_secs() * 2 || began.elapsed() < of_a_run {
                of_run = of_run.max(longest(&ours, second * step..(second + 1) * step));
                clock.advance(Duration::from_secs(1));
                second += 1;
            }
            eprintln!("run {run} of {runs} at {live} live: {of_run:?}");
            all = all.max(of_run);
            last = Some(ours);
        }
        let ours = last.expect("at least one run");
        let millis = |d: Duration| d.as_secs_f64() * 1e3;
        println!(
            "# longest claim at {} million live by the wall clock, with what else runs on the \
             machine: {:.2} ms; of a loop that reads the clock for as long, in processor time: \
             {:.2} ms; {} held, {:.1} bytes each",
            live / MILLION,
            millis(all.wall),
            millis(all.of_nothing),
            ours.store.len(),
            ours.store.allocated_bytes() as f64 / ours.store.len() as f64
        );
        let name = format!(
            "longest claim at {} million live, ms of processor time",
            live / MILLION
        );
        row(
            &name,
            millis(all.cpu),
            5.0,
            millis(all.cpu) / 5.0,
            "<= 1",
            millis(all.cpu) <= 5.0,
        );
    }
}

/// An hour's traffic in compressed time: what the store and the process hold from the second window
/// on, and the longest claim of all.
fn hour(live: u64) {
    let clock = ManualClock::at(start());
    let ours = Ours::new(live + live / 10, clock.clone());
    let window = WINDOW.as_secs();
    let step = live / window;
    let mut cpu = Duration::ZERO;
    let (mut stated, mut resident) = (Vec::new(), Vec::new());
    for second in 0..3600 {
        cpu = cpu.max(longest(&ours, second * step..(second + 1) * step).cpu);
        clock.advance(Duration::from_secs(1));
        if second >= 2 * window && second % 10 == 0 {
            stated.push(ours.store.statistics().allocated_bytes as f64 / 1e6);
            resident.push(resident_bytes() as f64 / 1e6);
        }
    }
    let held = ours.store.statistics();
    let millions = live / MILLION;
    println!("# after an hour at {millions} million live: {held:?}");
    for (what, megabytes) in [("the store", stated), ("the process", resident)] {
        let least = megabytes.iter().copied().fold(f64::MAX, f64::min);
        let most = megabytes.iter().copied().fold(0.0, f64::max);
        let name =
            format!("an hour at {millions} million live, most MB of {what}, beside the least");
        let ratio = most / least;
        row(&name, most, least, ratio, "<= 1.1", ratio <= 1.1);
    }
    let millis = cpu.as_secs_f64() * 1e3;
    let name = format!("longest claim in an hour at {millions} million live, ms of processor time");
    row(&name, millis, 5.0, millis / 5.0, "<= 1", millis <= 5.0);
}

/// The longest claims.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    wall: Duration,
    cpu: Duration,
    /// The longest time between two readings of the processor time with nothing between them, in as
    /// much time as the claims took: the work that the kernel does at the expense of whichever thread
    /// runs, such as interrupts.
    of_nothing: Duration,
}

impl Longest {
    fn max(self, other: Self) -> Self {
        Self {
            wall: self.wall.max(other.wall),
            cpu: self.cpu.max(other.cpu),
            of_nothing: self.of_nothing.max(other.of_nothing),
        }
    }
}

/// The longest claim of a range.
fn longest<S: Subject>(subject: &S, range: std::ops::Range<u64>) -> Longest {
    let line = Barrier::new(usize::try_from(THREADS).expect("fits"));
    let share = |i| range.start + (range.end - range.start) * i / THREADS;
    let claiming = |thread| {
        let input = subject.inputs();
        let mut longest = Longest::default();
        line.wait();
        for n in share(thread)..share(thread + 1) {
            let input = input(n);
            let (wall_before, cpu_before) = (Instant::now(), cpu_time());
            assert!(subject.claim(&input));
            let claimed = cpu_time();
            let (wall, cpu) = (wall_before.elapsed(), claimed - cpu_before);
            let mut read = claimed;
            // A long claim is no reason to do nothing for as long.
            while read - claimed < cpu.min(Duration::from_micros(2)) {
                let now = cpu_time();
                longest.of_nothing = longest.of_nothing.max(now - read);
                read = now;
            }
            longest.wall = longest.wall.max(wall);
            longest.cpu = longest.cpu.max(cpu);
        }
        longest
    };
    let claiming = &claiming;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || claiming(thread)))
            .collect();
        let longest = threads.into_iter().map(|thread| thread.join());
        longest
            .map(|longest| longest.expect("claims"))
            .fold(Longest::default(), Longest::max)
    })
}
