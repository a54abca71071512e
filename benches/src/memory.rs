//! The memory store and its peers behind one trait, and the threads that claim.

use std::{
    hash::Hasher as _,
    ops::Range,
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use countersign::{
    Clock, KeyId, MemoryStore, Timestamp,
    clock::SystemClock,
    store::{Claim, ClaimOutcome, MemoryStoreBuilder, Nonce, NonceKind, NonceStore},
};
use dashmap::DashMap;
use moka::sync::Cache;
use rustix::time::{ClockId, clock_gettime};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

pub const THREADS: u64 = 2;
pub const WINDOW: Duration = Duration::from_secs(300);

/// Something that can be asked whether a nonce is new.
pub trait Subject: Sync {
    type Input;

    /// Makes the inputs of one thread. Threads share none of what they are made of: its reference
    /// counts would go to and fro between them while the other is timed.
    fn inputs(&self) -> impl Fn(u64) -> Self::Input;

    /// Returns whether it is new; from now on it is not.
    fn claim(&self, input: &Self::Input) -> bool;
}

/// Sixteen bytes without an order.
pub fn nonce(n: u64) -> [u8; 16] {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let first = mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15));
    (u128::from(first) << 64 | u128::from(mix(first))).to_ne_bytes()
}

/// Claims of one namespace and one key, signed when they are made.
fn claims_by(clock: impl Clock) -> impl Fn(u64) -> Claim {
    let (namespace, key) = (
        Arc::<str>::from("payments"),
        KeyId::new("partner-1").unwrap(),
    );
    move |n| {
        let nonce = Nonce::new(NonceKind::Covered, nonce(n));
        let now = clock.now();
        Claim::new(
            namespace.clone(),
            key.clone(),
            nonce,
            now.saturating_add(WINDOW),
        )
        .signed(now, Duration::from_secs(5))
    }
}

pub struct Ours<C> {
    pub store: MemoryStore,
    clock: C,
}

impl Ours<SystemClock> {
    pub fn sized_for(live: u64) -> Self {
        Self::new(live, SystemClock::default())
    }
}

impl<C: Clock + Clone> Ours<C> {
    /// With 21.2 bytes of capacity for each: room for 4 % more.
    pub fn new(live: u64, clock: C) -> Self {
        let capacity = usize::try_from(live * 212 / 10).unwrap();
        let capacity = capacity.max(MemoryStoreBuilder::MIN_CAPACITY_BYTES);
        let store = MemoryStore::builder()
            .capacity_bytes(capacity)
            .key_share(100)
            .clock(clock.clone())
            .danger_assume_no_history()
            .build()
            .unwrap();
        Self { store, clock }
    }
}

impl<C: Clock + Clone> Subject for Ours<C> {
    type Input = Claim;

    fn inputs(&self) -> impl Fn(u64) -> Claim {
        claims_by(self.clock.clone())
    }

    fn claim(&self, claim: &Claim) -> bool {
        let mut answer = pin!(self.store.claim(claim));
        match answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Ok(answer)) => answer == ClaimOutcome::New,
            other => panic!("{other:?}"),
        }
    }
}

/// A peer that is asked with the same claims as the store, and makes its 16-byte keys from them as
/// the store does.
pub struct OnClaims<P> {
    peer: P,
    hasher: SipHasher13,
}

impl<P> OnClaims<P> {
    pub fn new(peer: P) -> Self {
        let hasher = SipHasher13::new_with_key(b"sixteen bytes it");
        Self { peer, hasher }
    }
}

impl<P: Subject<Input = [u8; 16]>> Subject for OnClaims<P> {
    type Input = Claim;

    fn inputs(&self) -> impl Fn(u64) -> Claim {
        claims_by(SystemClock::default())
    }

    fn claim(&self, claim: &Claim) -> bool {
        let mut hasher = self.hasher;
        claim.write_identity(|bytes| hasher.write(bytes));
        self.peer.claim(&hasher.finish128().as_bytes())
    }
}

pub fn moka(live: u64) -> Cache<[u8; 16], ()> {
    Cache::builder()
        .max_capacity(live * 2)
        .time_to_live(WINDOW)
        .build()
}

impl Subject for Cache<[u8; 16], ()> {
    type Input = [u8; 16];

    fn inputs(&self) -> impl Fn(u64) -> [u8; 16] {
        nonce
    }

    fn claim(&self, nonce: &[u8; 16]) -> bool {
        self.entry(*nonce).or_insert(()).is_fresh()
    }
}

impl Subject for DashMap<[u8; 16], ()> {
    type Input = [u8; 16];

    fn inputs(&self) -> impl Fn(u64) -> [u8; 16] {
        nonce
    }

    fn claim(&self, nonce: &[u8; 16]) -> bool {
        self.insert(*nonce, ()).is_none()
    }
}

/// The nanoseconds of one claim.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nanos {
    /// From its start to its end. Waiting is part of it, and so is what else runs on the machine.
    pub wall: f64,
    /// The time of the processor.
    pub cpu: f64,
}

/// Claims each of `range` once, from [`THREADS`] threads, and checks each answer. Building the
/// inputs is not timed.
pub fn claims<S: Subject>(subject: &S, range: Range<u64>, are_new: bool) -> Nanos {
    const BATCH: u64 = 64;
    let line = Barrier::new(usize::try_from(THREADS).unwrap());
    let (wall, cpu) = (AtomicU64::new(0), AtomicU64::new(0));
    let count = range.end - range.start;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (line, wall, cpu, range) = (&line, &wall, &cpu, range.clone());
            scope.spawn(move || {
                let share = |i| range.start + count * i / THREADS;
                let mut next = share(thread);
                let end = share(thread + 1);
                let input = subject.inputs();
                let mut batch = Vec::new();
                line.wait();
                while next < end {
                    let stop = end.min(next + BATCH);
                    batch.extend((next..stop).map(&input));
                    let (start, start_of_cpu) = (Instant::now(), cpu_time());
                    let new = batch.iter().filter(|input| subject.claim(input)).count();
                    cpu.fetch_add(nanos(cpu_time() - start_of_cpu), Ordering::Relaxed);
                    wall.fetch_add(nanos(start.elapsed()), Ordering::Relaxed);
                    assert_eq!(new, if are_new { batch.len() } else { 0 });
                    batch.clear();
                    next = stop;
                }
            });
        }
    });
    let each = |nanos: AtomicU64| nanos.into_inner() as f64 / count as f64;
    Nanos {
        wall: each(wall),
        cpu: each(cpu),
    }
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// The processor time of this thread.
pub fn cpu_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// The processor time of all threads of this process.
pub fn cpu_time_of_process() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// The bytes of this process that are in memory.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// A moment for clocks that are set by hand.
pub fn start() -> Timestamp {
    Timestamp::from_secs(1_700_000_000).unwrap()
}

/// Prints one row: what is measured, ours, the peer's or the limit, their ratio, what it must
/// reach, and whether it does.
pub fn row(name: &str, ours: f64, other: f64, ratio: f64, must_reach: &str, met: bool) {
    let met = if met { "met" } else { "short" };
    println!("{name}\t{ours:.1}\t{other:.1}\t{ratio:.2}\t{must_reach}\t{met}");
}
