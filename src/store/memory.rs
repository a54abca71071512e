//! x
/// x
#[derive(Debug)]
pub struct MemoryStore;
