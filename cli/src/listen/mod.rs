//! A server that shows what happens to each request.
//!
//! A request is captured while the library's layer reads it (`capture`), and is answered by the
//! layer or by the server behind it (`exchange`, `upstream`). If it is refused, `search` looks for the cause.
//! It becomes a record (`record`), which is printed (`report`), counted (`tally`) and kept in a file (`keep`).
//! A request that was recorded is sent again by `replay`, as it is or signed again (`resign`). Wherever a
//! head is kept or sent on, `spelling` writes its lines as the sender did.

mod capture;
mod exchange;
pub(crate) mod keep;
mod record;
mod replay;
mod report;
mod resign;
mod respelled;
mod search;
mod server;
mod spelling;
mod tally;
mod upstream;

pub(crate) use capture::MAX_BODY;
pub(crate) use exchange::{Exchanges, Happened, Hearing};
pub(crate) use record::{Record, Verdict, is_authentic};
pub(crate) use replay::{Copy, copies};
pub(crate) use report::{bytes, print, shown};
pub(crate) use resign::Resigner;
pub(crate) use search::{Search, Searched};
pub(crate) use server::Listener;
pub(crate) use tally::Tally;
pub(crate) use upstream::Target;
