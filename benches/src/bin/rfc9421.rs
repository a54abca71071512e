//! RFC 9421, the default profile, with five components and the digest of the body: in process beside
//! the `httpsig-hyper` crate and bare hashing, in an Axum router, heads that are refused before their
//! message is built, and a forged request.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_benches::{Must, layer, measure, requests::KEY, row, verify};

const MIB: usize = 1024 * 1024;

fn main() {
    let contenders = [
        verify::countersign_rfc9421(1024),
        verify::httpsig_hyper(1024),
        verify::bare_hashes(1024),
    ];
    let what = "RFC 9421, 1 KiB";
    let [ours, peer, hashes] = measure(what, 2000, contenders).map(|time| time.min);
    row(what, ours, ("httpsig-hyper", peer), Must::AtMost(0.33));
    row(what, ours, ("bare hashing", hashes), Must::AtMost(2.5));

    let what = "RFC 9421, layer, 1 KiB";
    let contenders = [
        layer::countersign_rfc9421(),
        layer::without_layer(),
        verify::bare_hashes(1024),
    ];
    let [ours, router, hashes] = measure(what, 2000, contenders).map(|time| time.min);
    row(
        format!("{what}, above hashing and the router"),
        ours - router - hashes,
        ("limit", 3000.0),
        Must::AtMost(1.0),
    );

    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs();
    for (what, created, key, end) in [
        ("stale", 1, KEY, ""),
        ("unknown key", now, "nobody", ""),
        ("unreadable", now, KEY, ", l("),
    ] {
        let contenders = [verify::countersign_refusing(what, created, key, end)];
        let what = format!("RFC 9421, head of 64 KiB, {what}");
        let [refused] = measure(&what, 200, contenders).map(|time| time.min);
        row(what, refused, ("limit", 100_000.0), Must::AtMost(1.0));
    }

    let what = "RFC 9421, 1 MiB";
    let contenders = [
        verify::countersign_forged(MIB),
        verify::countersign_rfc9421(MIB),
    ];
    let [forged, accepted] = measure(what, 20, contenders).map(|time| time.min);
    row(
        format!("{what}, forged"),
        forged,
        ("accepted", accepted),
        Must::AtMost(1.0 / 50.0),
    );
}
