//! The promises that every store must keep, as checks to run against it: feature `test-util`.
//!
//! ```
//! use countersign::{MemoryStore, Timestamp, testing::{ManualClock, conformance}};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap());
//! let time = conformance::Time::manual(clock.clone());
//! let store = || MemoryStore::builder().clock(clock.clone()).build();
//! conformance::run(&time, async || store().unwrap()).await?;
//! # Ok::<_, conformance::Broken>(())
//! # }).unwrap();
//! # Ok::<_, std::io::Error>(())
//! ```

mod answers;
mod claims;
mod leases;
mod subject;
mod suite;
mod time;

pub use answers::{ANSWER_CHECKS, run_answers};
pub use suite::{Broken, CHECKS, run};
pub use time::Time;
