//! File: while clients ask for a file, a link to a secret takes the place of it and of its folder.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use axum::{
    Router,
    extract::{Path as PathOf, State},
    http::HeaderMap,
    routing::get,
};
use countersign::{
    Signer,
    file::{FileDigest, FileRoot},
};
use http::{Request, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::{
    common::{KEY, ORIGIN, SECRET},
    failure::Failure,
    harness::{CLIENTS, Gap, at_once, count, keys, middleware_alone, patient, rounds},
};

#[path = "../../src/guide/patterns/file.rs"]
mod answer;

const REPORT: &str = "what everybody with a key may read";
const SECRET_FILE: &str = "what is outside of the folder";

fn digest(text: impl AsRef<[u8]>) -> String {
    FileDigest::new(Sha256::digest(text).into()).to_string()
}

/// `media/2026/report` and, outside, a secret of that name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (parent, text) in [("media/2026", REPORT), ("secret", SECRET_FILE)] {
        fs::create_dir_all(folder.path().join(parent)).unwrap();
        fs::write(folder.path().join(parent).join("report"), text).unwrap();
    }
    folder
}

fn downloads() -> impl Iterator<Item = Request<String>> {
    let signer = Signer::new(answer::scheme().unwrap(), KEY, SECRET).unwrap();
    (0..CLIENTS).map(move |_| {
        let download = Request::get(format!("{ORIGIN}/media/2026/report"))
            .header("x-file-digest", digest(REPORT))
            .body(String::new());
        signer.sign(download.unwrap()).unwrap()
    })
}

/// Puts a link in the place of this name, and what was there aside.
fn swap_in(folder: &Path, name: &str, target: &str) {
    fs::rename(folder.join(name), folder.join("aside")).unwrap();
    symlink(folder.join(target), folder.join(name)).unwrap();
}

fn swap_out(folder: &Path, name: &str) {
    fs::remove_file(folder.join(name)).unwrap();
    fs::rename(folder.join("aside"), folder.join(name)).unwrap();
}

const SWAPS: [(&str, &str); 2] = [
    ("media/2026/report", "secret/report"),
    ("media/2026", "secret"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_anything_but_the_file() {
    let folder = folder();
    let root = FileRoot::open(folder.path().join("media")).unwrap();
    let app = answer::app(root, patient(answer::layer(keys()).unwrap()));
    let done = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (folder, done) = (folder.path().to_owned(), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                for (name, target) in SWAPS {
                    swap_in(&folder, name, target);
                    swap_out(&folder, name);
                }
            }
        })
    };
    for _ in rounds() {
        for (status, body) in at_once(&app, downloads()).await {
            match status {
                200 => assert_eq!(body, REPORT),
                404 => assert_eq!(body, "file_not_found"),
                _ => panic!("{status}: {body}"),
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    let answers = at_once(&app, downloads()).await;
    assert_eq!(count(&answers, 200), CLIENTS, "{answers:?}");
    for (name, target) in SWAPS {
        swap_in(folder.path(), name, target);
        let answers = at_once(&app, downloads()).await;
        assert_eq!(count(&answers, 404), CLIENTS, "{answers:?}");
        swap_out(folder.path(), name);
    }
    fs::write(folder.path().join("media/2026/report"), SECRET_FILE).unwrap();
    let answers = at_once(&app, downloads()).await;
    assert_eq!(count(&answers, 412), CLIENTS, "{answers:?}");
}

/// As it is often written, behind a middleware that verifies: hash what the name leads to, then open
/// the name.
async fn twin(
    State((media, checked, swapped)): State<(PathBuf, Gap, Gap)>,
    PathOf(name): PathOf<String>,
    headers: HeaderMap,
) -> Result<Vec<u8>, StatusCode> {
    let path = media.join(name);
    let bytes = fs::read(&path).map_err(|_| StatusCode::NOT_FOUND)?;
    if headers["x-file-digest"] != digest(bytes) {
        return Err(StatusCode::PRECONDITION_FAILED);
    }
    checked.hold().await;
    swapped.hold().await;
    fs::read(&path).map_err(|_| StatusCode::NOT_FOUND)
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_a_name_that_is_checked_and_opened_again_sends_the_secret_to_all() {
    let folder = folder();
    // The one who swaps is in the gap with all clients.
    let gaps = [Gap::of(CLIENTS + 1), Gap::of(CLIENTS + 1)];
    let [checked, swapped] = gaps.clone();
    let app = Router::new()
        .route("/media/{*name}", get(twin))
        .layer(middleware_alone(answer::scheme().unwrap()))
        .with_state((folder.path().join("media"), checked, swapped));
    for round in rounds() {
        let (name, target) = SWAPS[round % SWAPS.len()];
        let swap = async {
            gaps[0].hold().await;
            swap_in(folder.path(), name, target);
            gaps[1].hold().await;
        };
        let (answers, ()) = tokio::join!(at_once(&app, downloads()), swap);
        swap_out(folder.path(), name);
        for (status, body) in answers {
            assert_eq!((status, &*body), (200, SECRET_FILE));
        }
    }
}
