//! How many cases our own tests try.

/// Returns how many cases a test tries: this many, or as many as `tests/long.sh` asks for.
pub(crate) fn cases(usual: u32) -> u32 {
    let asked = std::env::var("COUNTERSIGN_CASES").ok();
    asked.map_or(usual, |asked| asked.parse().expect("a number"))
}
