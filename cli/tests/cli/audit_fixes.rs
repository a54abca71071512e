//! Changes that mend findings: they parse, they leave no finding, and the mended program runs.

use std::{fs, path::Path, process::Command};

use hmac::{Hmac, KeyInit as _, Mac as _};

use crate::{audit::found, peers::program, session::Session};

/// The mended file, compiled: the test below compares it with what the command writes.
#[rustfmt::skip]
#[path = "../audit/fixes/verify.fixed.rs"]
#[allow(missing_docs, unreachable_pub, clippy::borrow_deref_ref, clippy::needless_borrow, clippy::redundant_slicing, clippy::needless_borrows_for_generic_args, clippy::doc_markdown, reason = "it is what a tool writes")]
mod verify;

/// As much of the package as the mended file uses.
mod hex {
    pub(super) fn decode(text: &str) -> Result<Vec<u8>, std::num::ParseIntError> {
        let pairs = (0..text.len()).step_by(2);
        let byte = |at| u8::from_str_radix(text.get(at..at + 2).unwrap_or("-"), 16);
        pairs.map(byte).collect()
    }
}

/// A session with the files that are to be mended.
fn session() -> Session {
    let session = Session::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/fixes");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "verify.fixed.rs" {
            session.file(name, fs::read(&path).unwrap());
        }
    }
    session
}

const RULES: &str = "--enable link-followed --enable file-checked-then-used";

/// The rules that still find something, by their files.
fn left(session: &Session) -> Vec<(String, String)> {
    let (found, report) = found(session, &format!("{RULES} ."));
    assert!(
        report["skipped"].as_array().unwrap().is_empty(),
        "{report:#}"
    );
    found
        .into_iter()
        .map(|(file, _, rule)| (file, rule))
        .collect()
}

#[test]
fn what_is_mended_parses_and_is_not_found_again() {
    let session = session();
    let before = left(&session);
    session.output(&format!("countersign audit --no-config {RULES} --fix ."));
    let safe = left(&session);
    let of = |all: &[(String, String)], rule: &str| all.iter().filter(|it| it.1 == rule).count();
    assert_eq!(of(&before, "mac-compared-with-equals"), 10, "{before:#?}");
    // In hexadecimal, and where `hmac` is the name of something else.
    assert_eq!(of(&safe, "mac-compared-with-equals"), 2, "{safe:#?}");
    for (rule, count) in [
        ("used-get-then-set", 4),
        ("read-modify-write", 3),
        ("link-followed", 1),
        ("file-checked-then-used", 1),
    ] {
        assert_eq!(of(&before, rule), count, "{rule}: {before:#?}");
        assert_eq!(
            of(&safe, rule),
            count,
            "{rule} is not mended unless asked for"
        );
    }
    session.output(&format!(
        "countersign audit --no-config {RULES} --fix --unsafe-fixes ."
    ));
    let all = left(&session);
    let shadowed = ("plain.py".to_owned(), "mac-compared-with-equals".to_owned());
    assert_eq!(all, [shadowed]);
    let mended = |name: &str| fs::read_to_string(session.path().join(name)).unwrap();
    assert!(mended("plain.py").contains("\nimport hmac\nfrom compare"));
    assert!(
        mended("sums.py").contains("models.F(\"views\") - (a - b)"),
        "{}",
        mended("sums.py")
    );
    assert_eq!(
        mended("verify.rs"),
        include_str!("../audit/fixes/verify.fixed.rs")
    );
}

/// A valid request, a forged one, and one whose header is missing.
#[test]
fn mended_python_runs() {
    let Some((python, _)) = program("python") else {
        return;
    };
    let session = session();
    session.output(&format!(
        "countersign audit --no-config {RULES} --fix --unsafe-fixes ."
    ));
    let output = Command::new(python)
        .arg("run.py")
        .current_dir(session.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"all\n");
}

#[test]
fn mended_rust_runs() {
    let (key, body) = (b"a key of this test alone", b"body");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    let right = mac.finalize().into_bytes().to_vec();
    let text: String = right.iter().map(|byte| format!("{byte:02x}")).collect();
    for check in [verify::as_bytes, verify::turned] {
        assert!(check(key, body, &right));
        assert!(!check(key, body, &right[1..]));
        assert!(!check(key, body, &[0; 32]));
        assert!(!check(key, body, b""));
    }
    assert!(verify::in_hexadecimal(key, body, &text));
    for forged in ["", "00", "text", "caf\u{e9}"] {
        assert!(!verify::in_hexadecimal(key, body, forged));
    }
}
