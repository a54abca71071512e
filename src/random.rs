//! Randomness of the system.

/// # Panics
/// Panics if the system has no randomness to give; nothing secure can be done without.
#[expect(
    clippy::expect_used,
    reason = "there is no safe way on without randomness"
)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system's random source");
    bytes
}

pub(crate) fn u64() -> u64 {
    u64::from_ne_bytes(bytes())
}
