//! Handles 1000 requests of one contender, named by its place, or of all: under a profiler, with
//! `countersign_benches::profiled` as what it collects.

use countersign_benches::{all, profiled};

fn main() {
    let place = std::env::args().nth(1).and_then(|arg| arg.parse().ok());
    for (i, mut contender) in all().into_iter().enumerate() {
        if place.is_none_or(|place: usize| place == i) {
            contender.handle(1000, profiled);
            eprintln!("{}: 1000 requests", contender.name);
        }
    }
}
