//! Counts what each contender allocates for one request, and beside that of the router alone. A binary
//! of its own, so that the counting weighs on no measured time.

use allocation_counter::{AllocationInfo, measure};
use countersign_benches::{Contender, Must, all, layer, row_in};

const REQUESTS: u64 = 100;

/// This many requests go before those of a row that the store has a table in each of its shards: it
/// makes them once.
const BEFORE: usize = 10_000;

fn main() {
    all().into_iter().for_each(|contender| {
        allocations(contender, REQUESTS as usize);
    });
    let router = allocations(layer::without_layer(), BEFORE);
    for (name, contender, most) in [
        ("house format", layer::countersign(), 7.0),
        ("RFC 9421", layer::countersign_rfc9421(), 10.0),
    ] {
        row_in(
            |count| format!("{count:.0}"),
            format!("allocations beyond the router, {name}"),
            (allocations(contender, BEFORE) - router).round(),
            ("limit", most),
            Must::AtMost(1.0),
        );
    }
}

/// For each request, after this many.
fn allocations(mut contender: Contender, before: usize) -> f64 {
    let mut allocated = AllocationInfo::default();
    contender.handle(before, |handle| handle());
    contender.handle(REQUESTS as usize, |handle| allocated = measure(handle));
    let count = allocated.count_total as f64 / REQUESTS as f64;
    eprintln!(
        "{}: {count:.2} allocations, {} bytes for each request",
        contender.name,
        allocated.bytes_total / REQUESTS,
    );
    count
}
