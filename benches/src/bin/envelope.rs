//! Sealing and opening an envelope of 1 KiB, beside one HMAC over the same bytes.

use countersign_benches::{
    Must,
    envelope::{bare_hmac, open, seal},
    measure, row,
};

fn main() {
    let contenders = [seal(1024), open(1024), bare_hmac(1024)];
    let [seal, open, hmac] = measure("envelope, 1 KiB", 2000, contenders).map(|time| time.min);
    for (what, ours) in [
        ("envelope, seal, 1 KiB", seal),
        ("envelope, open, 1 KiB", open),
    ] {
        row(what, ours, ("one bare HMAC", hmac), Must::AtMost(3.0));
    }
}
