//! Files that change while they are checked and served: what leaves is what was signed, or nothing.

mod races;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, symlink},
    path::PathBuf,
    process::Command,
};

use axum::response::IntoResponse as _;
use bytes::Bytes;
use countersign::{
    RejectionKind,
    file::{FileBody, FileDigest, FileRoot, VerifiedFile},
};
use http::{HeaderMap, HeaderName, Method, Response};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::common::log::skipped;

const BLOCK: usize = 256 * 1024;

/// Bytes that tell their place.
fn content(seed: u8, len: usize) -> Vec<u8> {
    let byte = |at: usize| seed ^ (at % 251).to_le_bytes()[0] ^ (at >> 12).to_le_bytes()[0];
    (0..len).map(byte).collect()
}

fn digest(bytes: &[u8]) -> FileDigest {
    FileDigest::new(Sha256::digest(bytes).into())
}

/// `root/deep/er/file` and, outside of the root, another file of that name.
struct Folder(TempDir);

impl Folder {
    fn with(inside: &[u8], outside: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (parent, bytes) in [("root/deep/er", inside), ("outside/er", outside)] {
            fs::create_dir_all(folder.at(parent)).unwrap();
            fs::write(folder.at(parent).join("file"), bytes).unwrap();
        }
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.at("root").join(NAME)
    }

    fn root(&self) -> FileRoot {
        FileRoot::open(self.at("root")).unwrap()
    }

    fn open_for_writing(&self) -> File {
        OpenOptions::new().write(true).open(self.file()).unwrap()
    }
}

const NAME: &str = "deep/er/file";

/// All bytes that left, and how the body ended.
async fn collected(mut body: FileBody) -> (Vec<u8>, io::Result<()>) {
    let mut left = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => left.extend_from_slice(&frame.into_data().unwrap()),
            Err(error) => return (left, Err(error)),
        }
    }
    (left, Ok(()))
}

async fn kind(root: &FileRoot, name: &str, digest: FileDigest) -> Option<RejectionKind> {
    root.verify(name, digest)
        .await
        .map_err(|refused| refused.kind())
        .err()
}

#[tokio::test]
async fn a_file_is_served_if_it_has_the_digest_and_is_a_regular_one_within_the_bound() {
    let bytes = content(1, 2 * BLOCK + 77);
    let folder = Folder::with(&bytes, b"secret");
    let root = folder.root();
    let file = root.verify(NAME, digest(&bytes)).await.unwrap();
    assert_eq!(file.len(), bytes.len() as u64);
    let (left, end) = collected(file.body()).await;
    assert!(left == bytes && end.is_ok());

    let other = digest(b"other");
    assert_eq!(
        kind(&root, NAME, other).await,
        Some(RejectionKind::FileMismatch)
    );
    let missing = Some(RejectionKind::FileNotFound);
    fs::create_dir(folder.at("root/folder")).unwrap();
    symlink("deep/er/file", folder.at("root/link")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(folder.at("root/pipe"))
            .status()
            .unwrap()
            .success()
    );
    symlink("/dev/zero", folder.at("root/device")).unwrap();
    for name in [
        "folder",
        "link",
        "pipe",
        "device",
        "nothing",
        "../outside/er/file",
        "",
    ] {
        assert_eq!(kind(&root, name, digest(&bytes)).await, missing, "{name:?}");
    }
    let long = root.clone().max_bytes(bytes.len() as u64 - 1).unwrap();
    let unreadable = Some(RejectionKind::FileUnreadable);
    assert_eq!(kind(&long, NAME, digest(&bytes)).await, unreadable);
    let exact = root.clone().max_bytes(bytes.len() as u64).unwrap();
    assert_eq!(kind(&exact, NAME, digest(&bytes)).await, None);
    assert!(FileRoot::open(folder.file()).is_err());

    for empty in [&b""[..], b"x"] {
        fs::write(folder.file(), empty).unwrap();
        let file = root.verify(NAME, digest(empty)).await.unwrap();
        assert_eq!(collected(file.body()).await.0, empty);
    }
}

/// Linux says of both files that they have 4,096 bytes. One ends before, as a file that is cut off while it is
/// hashed does. The other cannot be read.
#[tokio::test]
async fn a_file_that_ends_early_is_another_one_and_one_that_cannot_be_read_is_no_answer() {
    let folder = "/sys/devices/virtual/net/lo";
    let Ok(root) = FileRoot::open(folder) else {
        return skipped(
            "files that end early or cannot be read",
            "there is no sysfs",
        );
    };
    let any = digest(b"");
    assert_eq!(
        kind(&root, "mtu", any).await,
        Some(RejectionKind::FileMismatch)
    );
    assert_eq!(
        kind(&root, "speed", any).await,
        Some(RejectionKind::FileUnreadable)
    );
}

/// Each way to change a file after it was verified, and what of it still leaves.
#[tokio::test]
async fn whatever_becomes_of_a_file_after_its_check_no_other_byte_leaves() {
    let bytes = content(2, 4 * BLOCK);
    let secret = content(3, 4 * BLOCK);
    type Change = fn(&Folder);
    let cases: [(&str, Change, usize); 9] = [
        (
            "a link in its place",
            |folder| {
                fs::remove_file(folder.file()).unwrap();
                symlink(folder.at("outside/er/file"), folder.file()).unwrap();
            },
            4,
        ),
        (
            "a link in place of its folder",
            |folder| {
                fs::rename(folder.at("root/deep"), folder.at("root/away")).unwrap();
                symlink(folder.at("outside"), folder.at("root/deep")).unwrap();
            },
            4,
        ),
        (
            "another file",
            |folder| {
                fs::rename(folder.at("outside/er/file"), folder.file()).unwrap();
            },
            4,
        ),
        (
            "removed",
            |folder| fs::remove_file(folder.file()).unwrap(),
            4,
        ),
        (
            "grown",
            |folder| {
                folder
                    .open_for_writing()
                    .write_all_at(b"more", 4 * BLOCK as u64)
                    .unwrap();
            },
            4,
        ),
        (
            "cut off",
            |folder| {
                folder
                    .open_for_writing()
                    .set_len(2 * BLOCK as u64 + 1)
                    .unwrap();
            },
            2,
        ),
        (
            "emptied",
            |folder| folder.open_for_writing().set_len(0).unwrap(),
            0,
        ),
        (
            "one byte",
            |folder| {
                folder
                    .open_for_writing()
                    .write_all_at(b"\0", 3 * BLOCK as u64 + 5)
                    .unwrap();
            },
            3,
        ),
        (
            "written again",
            |folder| fs::write(folder.file(), content(3, 4 * BLOCK)).unwrap(),
            0,
        ),
    ];
    for (what, change, blocks) in cases {
        let folder = Folder::with(&bytes, &secret);
        let file = folder.root().verify(NAME, digest(&bytes)).await.unwrap();
        change(&folder);
        let (left, end) = collected(file.body()).await;
        assert!(
            left == bytes[..blocks * BLOCK],
            "{what}: {} bytes left",
            left.len()
        );
        assert_eq!(end.is_ok(), blocks == 4, "{what}: {end:?}");
    }
}

/// As it is often written: the name is checked, and the name is opened.
fn checked_then_opened(
    folder: &Folder,
    digest: &FileDigest,
    gap: impl FnOnce(),
) -> Option<Vec<u8>> {
    let bytes = fs::read(folder.file()).ok()?;
    if FileDigest::new(Sha256::digest(bytes).into()) != *digest {
        return None;
    }
    gap();
    fs::read(folder.file()).ok()
}

#[test]
fn twin_a_name_that_is_checked_and_then_opened_serves_the_secret() {
    let (bytes, secret) = (content(4, BLOCK), content(5, BLOCK));
    let folder = Folder::with(&bytes, &secret);
    let served = checked_then_opened(&folder, &digest(&bytes), || {
        fs::remove_file(folder.file()).unwrap();
        symlink(folder.at("outside/er/file"), folder.file()).unwrap();
    });
    assert!(served.unwrap() == secret);
}

/// Returns what one request with these headers is answered: status, the headers, and the body.
async fn answer(
    file: &VerifiedFile,
    method: Method,
    headers: &[(&str, &str)],
) -> (u16, HeaderMap, Bytes) {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
    let response: Response<_> = file.respond(&method, &headers.collect());
    // As a handler of Axum answers.
    let (head, body) = response.into_response().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, body)
}

#[tokio::test]
async fn a_single_range_if_range_if_none_match_and_head() {
    let bytes = content(6, 3 * BLOCK - 100);
    let len = bytes.len();
    let folder = Folder::with(&bytes, b"secret");
    let file = folder.root().verify(NAME, digest(&bytes)).await.unwrap();
    let etag = file.etag();
    assert_eq!(etag, format!("\"{}\"", digest(&bytes)));
    let get = async |headers: &[(&str, &str)]| answer(&file, Method::GET, headers).await;

    for headers in [
        &[][..],
        &[("range", "bytes=0-0,5-6")],
        &[("range", "bytes=0-0"), ("range", "bytes=1-1")],
        &[("range", "lines=0-0")],
        &[("range", "bytes=5-4")],
        &[("range", "bytes=-")],
        &[("range", "bytes=a-9")],
        &[("range", "bytes=+1-9")],
        &[("range", "bytes=0-0"), ("if-range", "\"another\"")],
        &[
            ("range", "bytes=0-0"),
            ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ],
        &[("if-none-match", "\"another\"")],
    ] {
        let (status, found, body) = get(headers).await;
        assert!(status == 200 && body == bytes, "{headers:?}: {status}");
        assert_eq!(found["etag"], etag);
        assert_eq!(found["content-length"], len.to_string());
        assert_eq!(found["accept-ranges"], "bytes");
        assert_eq!(found["content-type"], "application/octet-stream");
    }
    let last = len - 1;
    for (range, part) in [
        ("bytes=0-0".to_owned(), 0..1),
        (
            format!("bytes={}-{}", BLOCK - 1, BLOCK),
            BLOCK - 1..BLOCK + 1,
        ),
        (format!("bytes={last}-"), last..len),
        (format!("bytes=5-{}", u64::MAX), 5..len),
        (format!("bytes=5-{}0", u64::MAX), 5..len),
        ("bytes=-7".to_owned(), len - 7..len),
        (format!("bytes=-{}", len + 1), 0..len),
        (
            format!("bytes={}-{}", 2 * BLOCK, 2 * BLOCK),
            2 * BLOCK..2 * BLOCK + 1,
        ),
    ] {
        for headers in [
            &[("range", &*range)][..],
            &[("range", &range), ("if-range", &etag)],
        ] {
            let (status, found, body) = get(headers).await;
            assert!(
                status == 206 && body == bytes[part.clone()],
                "{range}: {status}"
            );
            let said = format!("bytes {}-{}/{len}", part.start, part.end - 1);
            assert_eq!(found["content-range"], said, "{range}");
            assert_eq!(found["content-length"], part.len().to_string());
        }
    }
    for range in [
        format!("bytes={len}-"),
        "bytes=-0".to_owned(),
        format!("bytes={}-", u64::MAX),
    ] {
        let (status, found, body) = get(&[("range", &range)]).await;
        assert!(status == 416 && body.is_empty(), "{range}: {status}");
        assert_eq!(found["content-range"], format!("bytes */{len}"));
    }
    for list in [&etag, &format!("\"a\", W/{etag}"), "*"] {
        let (status, found, body) = get(&[("if-none-match", list), ("range", "bytes=0-0")]).await;
        assert!(
            status == 304 && body.is_empty() && found["etag"] == etag,
            "{list}"
        );
    }
    let head = answer(&file, Method::HEAD, &[("range", "bytes=0-0")]).await;
    assert!(head.0 == 200 && head.2.is_empty());
    assert_eq!(head.1["content-length"], len.to_string());
}

#[tokio::test]
async fn a_range_reads_its_own_blocks_and_no_others() {
    let bytes = content(7, 4 * BLOCK);
    let folder = Folder::with(&bytes, b"secret");
    let file = folder.root().verify(NAME, digest(&bytes)).await.unwrap();
    // All of it but the third block is gone.
    let (start, end) = (2 * BLOCK as u64, 3 * BLOCK as u64);
    folder
        .open_for_writing()
        .write_all_at(&vec![0; 2 * BLOCK], 0)
        .unwrap();
    folder.open_for_writing().set_len(end).unwrap();
    for range in [start..end, start + 1..start + 2, end - 1..end] {
        let place = |at: u64| usize::try_from(at).unwrap();
        let part = place(range.start)..place(range.end);
        let (left, ended) = collected(file.body_of(range)).await;
        assert!(left == bytes[part] && ended.is_ok());
    }
    for range in [start - 1..end, 0..1, start - 1..start] {
        let (left, ended) = collected(file.body_of(range)).await;
        assert!(left.is_empty() && ended.is_err());
    }
    let (left, ended) = collected(file.body_of(end - 1..end + 1)).await;
    assert!(left == bytes[3 * BLOCK - 1..3 * BLOCK] && ended.is_err());
}

/// In a process of its own, where nothing else takes memory.
#[test]
fn a_file_of_1_gib_takes_less_than_1_mib() {
    const TEST: &str = "files::a_file_of_1_gib_takes_less_than_1_mib";
    const CHILD: &str = "COUNTERSIGN_MEASURES_MEMORY";
    const GIB: u64 = 1 << 30;
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args([TEST, "--exact", "--nocapture"]).env(CHILD, "1");
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let said = said
            .lines()
            .find_map(|line| line.strip_prefix("bytes at most: "));
        let bytes: usize = said.expect("a measure").parse().unwrap();
        println!("{bytes} bytes at most");
        // The twin: what is read whole takes all of it.
        assert!((1 << 18..1 << 20).contains(&bytes), "{bytes} bytes");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("sparse")).unwrap();
    file.set_len(GIB).unwrap();
    file.write_all_at(b"end", GIB - 3).unwrap();
    let mut hash = Sha256::new();
    let zeros = vec![0; 1 << 20];
    (1..GIB >> 20).for_each(|_| hash.update(&zeros));
    hash.update(&zeros[3..]);
    hash.update(b"end");
    drop(zeros);
    let digest = FileDigest::new(hash.finalize().into());
    let root = FileRoot::open(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::task::spawn_blocking(|| ()).await })
        .unwrap();
    crate::ALLOCATOR.reset_peak_usage();
    let before = crate::ALLOCATOR.current_usage();
    runtime.block_on(async {
        let file = root.verify("sparse", digest).await.unwrap();
        let mut body = file.body();
        let mut left = 0;
        while let Some(frame) = body.frame().await {
            left += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(left, GIB);
    });
    println!(
        "\nbytes at most: {}",
        crate::ALLOCATOR.peak_usage() - before
    );
}

/// A runtime of one thread goes on while a file is hashed and sent.
#[tokio::test]
async fn the_runtime_goes_on_while_files_are_read() {
    let bytes = content(8, 64 * BLOCK);
    let folder = Folder::with(&bytes, b"secret");
    let root = folder.root();
    let reading = tokio::spawn(async move {
        let file = root.verify(NAME, digest(&bytes)).await.unwrap();
        collected(file.body()).await.1.unwrap();
    });
    let mut turns = 0;
    while !reading.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    reading.await.unwrap();
    // With the work on this thread there would be one turn for each of the 65 waits.
    assert!(turns > 1000, "{turns} turns");
}
