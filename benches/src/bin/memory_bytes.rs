//! The bytes of a nonce in the memory store and in its peers: `memory_bytes [millions live]`.
//!
//! Counted by the allocator: a binary of its own, because the count weighs on who allocates much.

use std::env;

use countersign_benches::memory::{Ours, Subject, claims, moka, resident_bytes, row};
use dashmap::DashMap;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() {
    let millions = env::args()
        .nth(1)
        .map_or(10, |n| n.parse().expect("a number of millions"));
    let live: u64 = millions * 1_000_000;

    // All fills are measured: the worst moment is just after the table has grown.
    let ours = Ours::sized_for(live);
    let (mut most, mut least) = (0f64, f64::MAX);
    for part in 0..100 {
        claims(&ours, live * part / 100..live * (part + 1) / 100, true);
        let each = ours.store.allocated_bytes() as f64 / (live * (part + 1) / 100) as f64;
        if part >= 10 {
            (most, least) = (most.max(each), least.min(each));
        }
    }
    println!("# while it fills, from a tenth on: {least:.1} to {most:.1} bytes a nonce");
    row(
        "most bytes a nonce while it fills",
        most,
        24.0,
        most / 24.0,
        "<= 1",
        most <= 24.0,
    );
    let stated = ours.store.allocated_bytes() as f64 / live as f64;
    drop(ours);

    let ours = bytes("ours", live, || Ours::sized_for(live));
    println!("# the store itself states {stated:.2} bytes a nonce");
    let name = format!("bytes a nonce at {millions} million live");
    row(&name, ours, 24.0, ours / 24.0, "<= 1", ours <= 24.0);
    let map = bytes("dashmap", live, DashMap::<[u8; 16], ()>::new);
    row(
        &format!("{name}, beside dashmap"),
        ours,
        map,
        map / ours,
        ">= 1",
        map >= ours,
    );
    let cache = bytes("moka with TTL", live, || moka(live));
    let ratio = cache / ours;
    row(
        &format!("{name}, beside moka with TTL"),
        ours,
        cache,
        ratio,
        ">= 12",
        ratio >= 12.0,
    );
}

/// The bytes of one nonce, when this many are live.
fn bytes<S: Subject>(name: &str, live: u64, make: impl FnOnce() -> S) -> f64 {
    let (counted, resident) = (ALLOCATOR.current_usage(), resident_bytes());
    let subject = make();
    claims(&subject, 0..live, true);
    let each = |bytes: u64| bytes as f64 / live as f64;
    let counted = each((ALLOCATOR.current_usage() - counted) as u64);
    let resident = each(resident_bytes().saturating_sub(resident));
    println!("# {name}: {counted:.2} bytes a nonce counted, {resident:.2} resident");
    counted
}
