//! A payload cannot be made by hand.

use countersign::VerifiedPayload;

fn main() {
    let _ = VerifiedPayload(Default::default());
    let _ = VerifiedPayload::default();
}
