//! Code that must not compile does not: a payload that is forged, a stage that is skipped, repeated,
//! copied or made by hand, a scheme from outside, a nonce outside of a transaction.
//!
//! The cases are compiled against the same libraries that this program was built with.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::cargo::cargo;

mod in_order;

/// The imports of the cases.
const CRATES: [&str; 5] = ["bytes", "countersign", "http", "http_body_util", "sqlx"];

#[test]
fn the_stages_in_order_compile() {
    in_order::all();
}

/// With `COUNTERSIGN_UPDATE` the errors are written down, and nothing is compared.
#[test]
fn what_would_break_the_order_of_the_stages_does_not_compile() {
    let libraries = libraries();
    let mut cases = vec![
        "copied_stages",
        "forged_payload",
        "forged_stages",
        "forged_verified",
        "non_exhaustive",
        "read_pending",
        "repeated_stages",
        "sealed_scheme",
        "skipped_stages",
    ];
    // The message names what implements a trait, which goes by features.
    if cfg!(all(feature = "postgres", feature = "sqlite")) {
        cases.push("autocommit");
    }
    let mut wrong = Vec::new();
    for case in cases {
        let errors = errors(&libraries, &format!("tests/house/compile_fail/{case}.rs"));
        let known = root().join(format!("tests/house/compile_fail/{case}.errors"));
        if env::var_os("COUNTERSIGN_UPDATE").is_some() {
            fs::write(&known, &errors).unwrap();
        } else if errors.is_empty() || fs::read_to_string(&known).unwrap() != errors {
            wrong.push(format!("{case}:\n{errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The twin: what compiles has no errors.
#[test]
fn a_program_that_compiles_is_told_from_one_that_does_not() {
    let program = tempfile::Builder::new().suffix(".rs").tempfile().unwrap();
    fs::write(
        program.path(),
        "fn main() { let _: Option<countersign::VerifiedPayload> = None; }",
    )
    .unwrap();
    assert_eq!(errors(&libraries(), program.path().to_str().unwrap()), "");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns where the crates that the cases use are, by name.
fn libraries() -> Vec<(String, PathBuf)> {
    // As `tests/run.sh` builds them, so that nothing must be built again.
    let features: &[&str] = match cfg!(all(feature = "postgres", feature = "redis")) {
        true => &["--workspace", "--all-features", "--lib"],
        false => &[],
    };
    let built = cargo()
        .args(["test", "--no-run", "--quiet", "--locked", "--test", "house"])
        .args(["--message-format", "json"])
        .args(features)
        .output()
        .expect("cargo");
    let artifacts = String::from_utf8(built.stdout).unwrap();
    let libraries = artifacts.lines().filter_map(|line| {
        let artifact: Value = serde_json::from_str(line).ok()?;
        let name = artifact["target"]["name"].as_str()?.to_owned();
        // Some tools that tests compare with have an old one.
        if artifact["package_id"].as_str()?.contains("#http@0.") {
            return None;
        }
        let files = artifact["filenames"].as_array()?;
        let mut files = files.iter().filter_map(Value::as_str);
        let file = files.find(|file| file.ends_with(".rlib"))?;
        CRATES
            .contains(&&*name)
            .then(|| (name, PathBuf::from(file)))
    });
    let libraries: Vec<_> = libraries.collect();
    assert!(libraries.iter().any(|(name, _)| name == "countersign"));
    libraries
}

/// Returns the errors of the compiler: each with its line, and all lines below it.
fn errors(libraries: &[(String, PathBuf)], program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut compiler = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()));
    compiler
        .args(["--edition=2024", "--emit=metadata", "--crate-name=case"])
        .args(["--error-format=json", "--cap-lints=allow", program])
        .arg("--out-dir")
        .arg(folder.path())
        .current_dir(root());
    for (name, file) in libraries {
        compiler
            .arg(format!("--extern={name}={}", file.display()))
            .arg("-L")
            .arg(format!("dependency={}", file.parent().unwrap().display()));
    }
    let said = compiler.output().expect("rustc");
    let mut errors = String::new();
    for line in String::from_utf8(said.stderr).unwrap().lines() {
        let said: Value = serde_json::from_str(line).unwrap();
        let spans = said["spans"].as_array().unwrap();
        let Some(primary) = spans.iter().find(|span| span["is_primary"] == true) else {
            continue;
        };
        let code = said["code"]["code"].as_str().unwrap_or_default();
        let line = &primary["line_start"];
        let _ = writeln!(
            errors,
            "line {line}: {code}: {}",
            said["message"].as_str().unwrap()
        );
        for label in spans.iter().filter_map(|span| span["label"].as_str()) {
            let _ = writeln!(errors, "    {label}");
        }
        for child in said["children"].as_array().unwrap() {
            let (level, text) = (&child["level"], child["message"].as_str().unwrap());
            let _ = writeln!(errors, "    {}: {text}", level.as_str().unwrap());
            let spans = child["spans"].as_array().unwrap();
            for label in spans.iter().filter_map(|span| span["label"].as_str()) {
                let _ = writeln!(errors, "        {label}");
            }
        }
    }
    assert_eq!(said.status.success(), errors.is_empty(), "{errors}");
    errors
}
