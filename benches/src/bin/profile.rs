//! Handles requests of one contender, named by its place, 1000 at a time and as many times as asked
//! for: under a profiler, with `countersign_benches::profiled` as what it collects.

use countersign_benches::{all, profiled};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|number| number.parse().ok());
    let place = number().expect("the place of a contender");
    let thousands = number().unwrap_or(1);
    if let Some(mut contender) = all().into_iter().nth(place) {
        (0..thousands).for_each(|_| contender.handle(1000, profiled));
        eprintln!("{}: {} requests", contender.name, thousands * 1000);
    }
}
