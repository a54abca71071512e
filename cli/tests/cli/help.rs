//! All help texts, in one snapshot; completions and man pages.

use crate::session::Session;

const COMMANDS: [&str; 19] = [
    "",
    "scheme",
    "scheme list",
    "scheme check",
    "keygen",
    "sign",
    "verify",
    "explain",
    "listen",
    "replay",
    "proxy",
    "store",
    "store migrate",
    "store status",
    "store forget",
    "probe",
    "audit",
    "completions",
    "man",
];

#[test]
fn all_help_texts() {
    let session = Session::new();
    let all: Vec<String> = COMMANDS
        .map(|command| session.run(&format!("countersign {command} --help")))
        .into();
    insta::assert_snapshot!(all.join("\n\n").replace("  FOLDER", "FOLDER"));
}

/// An installed command comes without the repository.
#[test]
fn no_text_of_the_binary_names_a_file_of_the_repository() {
    let found = Session::new().output("grep -aoE '`cli/[a-z/.]*`' \"$(type -P countersign)\"");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    assert_eq!(found.status.code(), Some(1), "grep has searched");
}

/// The parser of arguments writes a line end in its place.
#[test]
fn no_help_text_has_the_letter_n_in_braces() {
    for source in [
        include_str!("../../src/args.rs"),
        include_str!("../../src/args/audit.rs"),
        include_str!("../../src/args/probe.rs"),
        include_str!("../../src/args/proxy.rs"),
        include_str!("../../src/args/store.rs"),
    ] {
        assert!(!source.contains("{n}"));
    }
}

#[test]
fn each_command_shows_an_example() {
    let session = Session::new();
    for command in COMMANDS
        .into_iter()
        .filter(|command| !["", "scheme", "store"].contains(command))
    {
        let help = session.stdout(&format!("countersign {command} --help"));
        assert!(
            help.contains(&format!("countersign {command} ")),
            "{command}"
        );
        assert!(help.contains("Example"), "{command}");
    }
}

#[test]
fn completions_and_man_pages_are_made_of_the_same_definitions() {
    let session = Session::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = session.stdout(&format!("countersign completions {shell}"));
        for word in ["keygen", "secret-file", "print-message", "origin"] {
            assert!(
                word == "print-message" || script.contains(word),
                "{shell}: {word}"
            );
        }
    }
    session.stdout("countersign completions bash > it && bash -n it");
    session.stdout("countersign man pages");
    for page in [
        "countersign.1",
        "countersign-sign.1",
        "countersign-scheme-check.1",
    ] {
        assert!(session.path().join("pages").join(page).exists(), "{page}");
    }
}

/// `head` closes the pipe after a line.
#[test]
fn a_closed_pipe_is_not_a_failure() {
    let session = Session::new();
    let first = session.run("set -o pipefail; countersign scheme list | head -n 1");
    assert!(
        !first.contains("exit code") && !first.contains("error"),
        "{first}"
    );
}
