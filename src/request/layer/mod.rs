//! The Tower layer: it lets a request through to the inner service once it is verified.

mod detached;
mod handling;
mod idempotent;
mod leased_body;
mod left_over;
mod observe;
mod observed_body;
mod response;
mod service;
mod settings;
mod verify_layer;

pub use crate::{future::ResponseFuture, once::LeaseStatus};
pub use idempotent::Idempotent;
pub use observe::{Observe, ObserveLayer, WouldRefuse};
pub use observed_body::ObservedBody;
pub use response::ResponseBody;
pub use service::{BufferedVerify, Verify};
pub use settings::OnDuplicate;
pub use verify_layer::{BufferedLayer, VerifyLayer};
