//! Verifying in process, beside the `standardwebhooks` crate and one bare HMAC.

use countersign_benches::{
    Must, measure, row,
    verify::{bare_hmac, countersign, standardwebhooks},
};

fn main() {
    for (what, body_len, rounds, beside_peer) in [
        ("verify, 1 KiB", 1024, 2000, 4.0),
        ("verify, 64 KiB", 64 * 1024, 100, 7.0),
    ] {
        let contenders = [
            countersign(body_len),
            standardwebhooks(body_len),
            bare_hmac(body_len),
        ];
        let [ours, peer, hmac] = measure(what, rounds, contenders).map(|time| time.min);
        let must = Must::AtMost(1.0 / beside_peer);
        row(what, ours, ("standardwebhooks", peer), must);
        if body_len == 64 * 1024 {
            row(what, ours, ("one bare HMAC", hmac), Must::AtMost(1.1));
        }
    }
}
