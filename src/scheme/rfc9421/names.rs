//! The names of the fields that hold a signature, or that it binds.

use http::HeaderName;

pub(crate) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
pub(super) const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");
pub(crate) const OUTCOME: HeaderName = HeaderName::from_static("countersign-outcome");
pub(crate) const RECEIVED: HeaderName = HeaderName::from_static("countersign-received");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
