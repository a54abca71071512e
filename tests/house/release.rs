//! The release workflow: what it takes from elsewhere is pinned by its digest, it has no right that it
//! is not given by name, and it compiles with the Rust that `Cargo.toml` names.

use std::{fs, path::Path};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Returns whether a text ends in a digest of this many hexadecimal digits, after this sign.
fn ends_in_digest(text: &str, sign: &str, digits: usize) -> bool {
    text.rsplit_once(sign).is_some_and(|(_, digest)| {
        digest.len() == digits && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Returns where a workflow takes something by a name that others can give to something else.
fn unpinned(workflow: &str) -> Vec<&str> {
    let lines = workflow.lines().map(str::trim);
    let values = |key: &'static str| {
        let values = lines.clone().filter_map(move |line| {
            line.trim_start_matches("- ")
                .strip_prefix(key)
                .map(str::trim)
                .filter(|value| !value.is_empty()) // a job may have the name
        });
        values.collect::<Vec<_>>()
    };
    let mut unpinned = values("image:");
    unpinned.retain(|image| !ends_in_digest(image, "@sha256:", 64));
    for action in values("uses:") {
        // The version is a comment for people.
        let is_pinned = action
            .split_once(" # v")
            .is_some_and(|(action, _)| ends_in_digest(action, "@", 40));
        if !is_pinned {
            unpinned.push(action);
        }
    }
    unpinned
}

#[test]
fn what_the_release_workflow_takes_from_elsewhere_is_pinned() {
    let workflow = file(".github/workflows/release.yml");
    assert!(workflow.matches("uses:").count() > 10);
    assert_eq!(unpinned(&workflow), [""; 0]);
    let digest = "a".repeat(40);
    for open in [
        "- uses: actions/checkout@v7".to_owned(),
        format!("uses: actions/checkout@{digest}"),
        format!("uses: actions/checkout@{} # v7.0.1", &digest[1..]),
        "image: rust:1.95.0-bookworm".to_owned(),
    ] {
        assert_eq!(unpinned(&open).len(), 1, "{open}");
    }
}

#[test]
fn the_release_workflow_has_no_rights_but_those_of_each_job() {
    let workflow = file(".github/workflows/release.yml");
    assert!(workflow.contains("\npermissions: {}\n"));
    let jobs = workflow.matches("runs-on:").count();
    assert_eq!(workflow.matches("    permissions:\n").count(), jobs);
    assert!(
        !workflow.contains("secrets."),
        "publishing needs no stored secret"
    );
    assert!(!workflow.contains("write-all") && !workflow.contains("pull_request_target"));
}

#[test]
fn a_release_is_compiled_with_the_rust_that_it_names() {
    let manifest = file("Cargo.toml");
    let (_, rust) = manifest.split_once("rust-version = \"").unwrap();
    let (rust, _) = rust.split_once('"').unwrap();
    let workflow = file(".github/workflows/release.yml");
    let compilers = workflow.matches("rustup default ").count();
    let named = format!("rustup default {rust}.");
    assert_eq!((compilers, workflow.matches(&named).count()), (2, 2));
    assert!(workflow.contains(&format!("image: rust:{rust}.")));
}
