//! A stage is made by the one before, and in no other way.

use countersign::request::{Admitted, Authentic, Parsed, Received};

fn main() {
    let _ = Parsed {};
    let _ = Admitted {};
    let _ = Received {};
    let _ = Authentic {};
    let _ = Authentic::default();
}
