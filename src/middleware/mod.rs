//! The Tower layers: they let a request through to the inner service, and a response to whoever
//! asked, once it is verified.

mod detached;
mod future;
mod keeper;
mod layer;
mod leased_body;
mod response;
mod service;
mod transacted;
mod verify_response;

pub use future::ResponseFuture;
pub use layer::{BufferedLayer, OnDuplicate, VerifyLayer};
pub use response::ResponseBody;
pub use service::{BufferedVerify, Verify};
pub use verify_response::{VerifyResponse, VerifyResponseFuture, VerifyResponseLayer};
