//! The Tower layer: it lets a request through to the inner service once it is verified.

mod detached;
mod future;
mod layer;
mod response;
mod service;
mod transacted;

pub use future::ResponseFuture;
pub use layer::{BufferedLayer, OnDuplicate, VerifyLayer};
pub use response::ResponseBody;
pub use service::{BufferedVerify, Verify};
