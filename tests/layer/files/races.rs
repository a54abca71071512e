//! A thread swaps, renames, truncates, grows and overwrites, while others open and read.

use std::{
    fs,
    os::unix::fs::{FileExt as _, symlink},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use countersign::{RejectionKind, file::FileRoot};

use super::{BLOCK, Folder, NAME, collected, content, digest};
use crate::common::cases;

/// A way to change the file, or what its name leads to, and to put it back.
type Swap = fn(&Folder, &[u8]);

const SWAPS: [(&str, Swap); 8] = [
    ("a link to the secret", |folder, _| {
        let (aside, link) = (folder.at("root/aside"), folder.at("root/link"));
        let _ = symlink(folder.at("outside/er/file"), &link);
        fs::rename(folder.file(), &aside).unwrap();
        fs::rename(&link, folder.file()).unwrap();
        fs::rename(&aside, folder.file()).unwrap();
    }),
    ("a link in place of the folder", |folder, _| {
        swap_folder(folder, "root/deep/er", "outside/er");
    }),
    ("a link in place of its parent", |folder, _| {
        swap_folder(folder, "root/deep", "outside");
    }),
    ("another file", |folder, _| {
        let aside = folder.at("root/aside");
        fs::rename(folder.file(), &aside).unwrap();
        fs::rename(folder.at("outside/er/file"), folder.file()).unwrap();
        fs::rename(folder.file(), folder.at("outside/er/file")).unwrap();
        fs::rename(&aside, folder.file()).unwrap();
    }),
    ("cut off", |folder, bytes| {
        let file = folder.open_for_writing();
        file.set_len(BLOCK as u64 + 7).unwrap();
        file.write_all_at(&bytes[BLOCK..], BLOCK as u64).unwrap();
    }),
    ("grown", |folder, bytes| {
        let file = folder.open_for_writing();
        file.write_all_at(b"a secret", bytes.len() as u64).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
    }),
    ("overwritten in place", |folder, bytes| {
        let file = folder.open_for_writing();
        let place = BLOCK / 2;
        file.write_all_at(&[0xaa; 64], place as u64).unwrap();
        file.write_all_at(&bytes[place..place + 64], place as u64)
            .unwrap();
    }),
    ("overwritten at its end", |folder, bytes| {
        let file = folder.open_for_writing();
        let place = bytes.len() - 64;
        file.write_all_at(&[0xaa; 64], place as u64).unwrap();
        file.write_all_at(&bytes[place..], place as u64).unwrap();
    }),
];

fn swap_folder(folder: &Folder, own: &str, other: &str) {
    let (own, other) = (folder.at(own), folder.at(other));
    let (aside, link) = (folder.at("aside"), folder.at("link"));
    let _ = symlink(other, &link);
    fs::rename(&own, &aside).unwrap();
    fs::rename(&link, &own).unwrap();
    fs::remove_file(&own).unwrap();
    fs::rename(&aside, &own).unwrap();
}

/// The outcomes of all attempts to read while one swap was made again and again.
#[derive(Default, Debug)]
struct Seen {
    served: AtomicUsize,
    broken_off: AtomicUsize,
    refused: AtomicUsize,
}

impl Seen {
    fn counts(&self) -> [usize; 3] {
        [&self.served, &self.broken_off, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }

    fn attempts(&self) -> usize {
        self.counts().iter().sum()
    }
}

/// How many attempts to read each kind of swap must meet.
const MEETINGS: usize = 50;

fn read(root: &FileRoot, bytes: &[u8], seen: &Seen, runtime: &tokio::runtime::Runtime) {
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
    runtime.block_on(async {
        let file = match root.verify(NAME, digest(bytes)).await {
            Ok(file) => file,
            Err(refused) => {
                assert!(
                    matches!(
                        refused.kind(),
                        RejectionKind::FileNotFound | RejectionKind::FileMismatch
                    ),
                    "{refused}"
                );
                count(&seen.refused);
                return;
            }
        };
        let (left, end) = collected(file.body()).await;
        assert!(
            left == bytes[..left.len()],
            "a byte left that was not signed"
        );
        if end.is_ok() {
            assert_eq!(left.len(), bytes.len());
            count(&seen.served);
        } else {
            count(&seen.broken_off);
        }
    });
}

#[test]
fn no_unverified_byte_leaves_whatever_is_swapped_while_files_are_read() {
    let bytes = content(9, BLOCK + BLOCK / 2);
    let secret = content(10, bytes.len());
    let folder = Folder::with(&bytes, &secret);
    let swaps = cases(2000) as usize;
    let mut all = [0; 3];
    for (what, swap) in SWAPS {
        let (seen, done) = (Seen::default(), AtomicBool::new(false));
        let root = folder.root();
        thread::scope(|scope| {
            let reader = || {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_time()
                        .build()
                        .unwrap();
                    while !done.load(Ordering::Relaxed) {
                        read(&root, &bytes, &seen, &runtime);
                    }
                    // Once more, with nobody who swaps.
                    read(&root, &bytes, &seen, &runtime);
                })
            };
            let readers = [reader(), reader()];
            let mut made = 0;
            // However fast the swaps are, they meet readers.
            while made < swaps.div_ceil(SWAPS.len()) || seen.attempts() < MEETINGS {
                assert!(
                    !readers.iter().all(|it| it.is_finished()),
                    "{what}: no reader"
                );
                swap(&folder, &bytes);
                made += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
        let counts = seen.counts();
        println!("{what}: {counts:?} served, broken off, refused");
        assert!(counts[0] >= 2, "{what}: it is whole in the end");
        all.iter_mut()
            .zip(counts)
            .for_each(|(all, count)| *all += count);
    }
    assert!(all[0] > 16 && all[2] > 0, "{all:?}: nobody met");
}
