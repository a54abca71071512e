//! Everything that a payload of a preset hands out is in its signed message, for every row of the
//! catalogue.

use super::{catalogue::SENDERS, format::Webhooks};
use crate::scheme::covered_tests::{holds, requests_of};

#[test]
fn of_every_row_whatever_is_handed_out_is_in_the_message() {
    for sender in SENDERS {
        holds(150, requests_of(Webhooks::of(sender)));
    }
}
