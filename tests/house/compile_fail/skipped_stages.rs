//! No stage can be left out.

use bytes::Bytes;
use countersign::{
    request::{Admitted, Parsed, Received},
};
use http_body_util::Full;

fn parsed(parsed: Parsed<'_>) {
    parsed.receive(Full::<Bytes>::default());
    parsed.authenticate();
    parsed.claim();
}

fn admitted(admitted: Admitted<'_>) {
    admitted.authenticate();
    admitted.claim();
}

fn received(received: Received<'_>) {
    received.claim();
}

fn main() {}
