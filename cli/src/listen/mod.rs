//! A server that shows what becomes of each request.
//!
//! A request is captured while the library's layer reads it (`capture`), and is answered by the
//! layer or by the server behind it (`exchange`, `upstream`). It becomes a record (`record`), which
//! is printed (`report`) and counted (`tally`).

mod capture;
mod exchange;
mod record;
mod report;
mod server;
mod tally;
mod upstream;

pub(crate) use capture::MAX_BODY;
pub(crate) use exchange::Exchanges;
pub(crate) use record::Record;
pub(crate) use report::print;
pub(crate) use server::Listener;
pub(crate) use tally::Tally;
pub(crate) use upstream::Target;
