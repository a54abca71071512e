//! Opening and sending a file of 100 MiB, beside SHA-256 over the file as `std::fs` reads it.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Read as _, Write as _},
    path::Path,
    time::Instant,
};

use countersign::file::{FileDigest, FileRoot};
use countersign_benches::{Must, row};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};

const LEN: usize = 100 * 1024 * 1024;
const ROUNDS: usize = 15;

fn hashed(path: &Path) -> [u8; 32] {
    let mut file = File::open(path).expect("the file");
    let mut hash = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece).expect("bytes") {
            0 => return hash.finalize().into(),
            read => hash.update(&piece[..read]),
        }
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let mut file = BufWriter::new(File::create(&path).expect("a file"));
    for number in 0..LEN / 8 {
        file.write_all(
            &(number as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes()[..],
        )
        .expect("room");
    }
    drop(file);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let root = FileRoot::open(folder.path()).expect("a folder");
    let digest = FileDigest::new(hashed(&path));
    let [mut plain, mut opening, mut sending] = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(hashed(&path));
        plain = plain.min(start.elapsed().as_nanos() as f64);

        let start = Instant::now();
        let file = runtime
            .block_on(root.verify("file", digest))
            .expect("the file");
        opening = opening.min(start.elapsed().as_nanos() as f64);

        let start = Instant::now();
        let sent = runtime.block_on(async {
            let (mut body, mut sent) = (file.body(), 0);
            while let Some(frame) = body.frame().await {
                sent += black_box(frame.expect("a block").into_data().expect("bytes")).len();
            }
            sent
        });
        sending = sending.min(start.elapsed().as_nanos() as f64);
        assert_eq!(sent, LEN);
    }
    let peer = ("SHA-256 over `std::fs`", plain);
    row(
        "VerifiedFile, 100 MiB, opening (0.8 as fast)",
        opening,
        peer,
        Must::AtMost(1.0 / 0.8),
    );
    row(
        "VerifiedFile, 100 MiB, sending (0.5 as fast)",
        sending,
        peer,
        Must::AtMost(1.0 / 0.5),
    );
}
