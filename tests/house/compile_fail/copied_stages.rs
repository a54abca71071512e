//! A stage cannot be copied, to be taken twice.

use countersign::request::{Admitted, Authentic, Lease, Parsed, Received};

fn copy<T: Clone>() {}

fn main() {
    copy::<Parsed<'_>>();
    copy::<Admitted<'_>>();
    copy::<Received<'_>>();
    copy::<Authentic>();
    copy::<Lease>();
}
