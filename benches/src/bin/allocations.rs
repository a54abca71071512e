//! Counts what each contender allocates for one request. A binary of its own, so that the counting
//! weighs on no measured time.

use allocation_counter::{AllocationInfo, measure};

const REQUESTS: u64 = 100;

fn main() {
    for mut contender in countersign_benches::all() {
        let mut allocated = AllocationInfo::default();
        // The first requests make what is made once.
        for _ in 0..2 {
            contender.handle(REQUESTS as usize, |handle| allocated = measure(handle));
        }
        eprintln!(
            "{}: {:.2} allocations, {} bytes for each request",
            contender.name,
            allocated.count_total as f64 / REQUESTS as f64,
            allocated.bytes_total / REQUESTS,
        );
    }
}
