//! Which files are read, and what they hold.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use ignore::{WalkBuilder, overrides::OverrideBuilder};

use super::{project::Facts, tree::Language};
use crate::exit::Failure;

/// The longest file that is read, in bytes.
pub(super) const MAX_BYTES: u64 = 2 * 1024 * 1024;

/// The most files of one run.
const MAX_FILES: usize = 200_000;

/// Folders that hold what others wrote, or what a tool made.
const FOREIGN: [&str; 9] = [
    "target",
    "node_modules",
    "venv",
    ".venv",
    "__pycache__",
    "site-packages",
    "dist-packages",
    ".tox",
    "vendor",
];

/// A file that is to be read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) language: Language,
    /// By the names of the file and of its folders, below the path that was given.
    pub(super) is_test: bool,
}

/// The files below the paths, in the order of their names, and what other files say about the
/// project.
pub(super) fn find(paths: &[PathBuf], exclude: &[String]) -> Result<(Vec<Found>, Facts), Failure> {
    let Some((first, others)) = paths.split_first() else {
        return Ok((Vec::new(), Facts::default()));
    };
    for path in paths {
        fs::metadata(path).map_err(|error| {
            Failure::unable(
                format!("`{}` cannot be read", path.display()),
                error.to_string(),
                "name a file or a folder that is there",
            )
        })?;
    }
    let mut overrides = OverrideBuilder::new(".");
    for glob in exclude {
        // A glob of an override is what is taken, and with `!` what is left out.
        overrides
            .add(&format!("!{glob}"))
            .map_err(|error| bad_glob(glob, &error))?;
    }
    let overrides = overrides
        .build()
        .map_err(|error| bad_glob("exclude", &error))?;
    let mut walk = WalkBuilder::new(first);
    for path in others {
        walk.add(path);
    }
    walk.overrides(overrides)
        .require_git(false)
        .sort_by_file_path(Path::cmp)
        .filter_entry(|it| {
            let name = it.file_name().to_str().unwrap_or_default();
            let is_dir = it.file_type().is_some_and(|it| it.is_dir());
            it.depth() == 0 || !is_dir || !FOREIGN.contains(&name)
        });
    let (mut found, mut facts) = (Vec::new(), Facts::default());
    let mut seen = HashSet::new();
    for entry in walk.build().flatten() {
        let path = entry.path();
        if !entry.file_type().is_some_and(|it| it.is_file()) {
            continue;
        }
        // One path may lie below another.
        if !others.is_empty() && !fs::canonicalize(path).is_ok_and(|it| seen.insert(it)) {
            continue;
        }
        facts.has_workers |= starts_workers(path);
        let language = match path.extension().and_then(|it| it.to_str()) {
            Some("py") => Language::Python,
            Some("rs") => Language::Rust,
            _ => continue,
        };
        if found.len() >= MAX_FILES {
            break;
        }
        let below = paths.iter().filter_map(|it| path.strip_prefix(it).ok());
        let below = below.min_by_key(|it| it.as_os_str().len());
        found.push(Found {
            path: path.to_owned(),
            language,
            is_test: below.is_some_and(is_test),
        });
    }
    Ok((found, facts))
}

fn bad_glob(glob: &str, error: &ignore::Error) -> Failure {
    Failure::usage(
        format!("`{glob}` is not a glob"),
        error.to_string(),
        "write globs as in .gitignore, such as `generated/`",
    )
}

/// Secrets of tests are no secrets, and nobody races them.
fn is_test(path: &Path) -> bool {
    path.iter().filter_map(|it| it.to_str()).any(|part| {
        let stem = part.split('.').next().unwrap_or(part);
        matches!(
            stem,
            "tests" | "test" | "testing" | "conftest" | "benches" | "fixtures" | "fuzz"
        ) || stem.starts_with("test_")
            || stem.ends_with("_test")
            || stem.ends_with("_tests")
            || stem.ends_with("-test")
    })
}

/// Returns whether a file that starts a service starts it with several processes.
fn starts_workers(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|it| it.to_str())
        .unwrap_or_default();
    let starts = name == "Procfile"
        || name.contains("Dockerfile")
        || name.contains("gunicorn")
        || name.contains("uwsgi")
        || (name.contains("compose") && (name.ends_with("yml") || name.ends_with("yaml")));
    if !starts {
        return false;
    }
    let mut text = String::new();
    let Ok(file) = fs::File::open(path) else {
        return false;
    };
    let _ = file.take(64 * 1024).read_to_string(&mut text);
    [
        "gunicorn",
        "--workers",
        "workers =",
        "processes =",
        "replicas:",
        "WEB_CONCURRENCY",
    ]
    .iter()
    .any(|it| text.contains(it))
}

/// The text of a file, or why it is not read.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {} MiB", MAX_BYTES / 1024 / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}
