//! The commands that examples print work when they are pasted.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::cargo::cargo;

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bash(script: &str) -> String {
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .output()
        .expect("bash");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Builds an example, and returns where it is.
fn built(example: &str) -> String {
    // As it was built with the tests, if they have all features: then nothing is built again.
    let features: &[&str] = match cfg!(all(feature = "postgres", feature = "redis")) {
        true => &["--workspace", "--all-features", "--lib"],
        false => &[],
    };
    let output = cargo()
        .args(["build", "--quiet", "--locked", "--example", example])
        .args(["--message-format", "json"])
        .args(features)
        .output()
        .expect("cargo");
    let artifacts = String::from_utf8(output.stdout).unwrap();
    let mut artifacts = artifacts.lines().filter_map(|line| {
        let artifact: Value = serde_json::from_str(line).ok()?;
        let is_example = artifact["target"]["name"] == example;
        is_example.then(|| artifact["executable"].as_str().map(str::to_owned))?
    });
    artifacts.next().expect("an example that was built")
}

/// Runs an example, and takes the commands that it prints.
fn commands_of(example: &str) -> (Ended, String) {
    let mut example = Command::new(built(example));
    let example = example.stdout(Stdio::piped()).spawn();
    let mut example = Ended(example.expect("the example"));
    let printed = BufReader::new(example.0.stdout.take().unwrap()).lines();
    let commands: Vec<_> = printed
        .map(Result::unwrap)
        .take_while(|line| !line.contains("Ctrl-C"))
        .collect();
    (example, commands.join("\n"))
}

/// Needs `curl` and `openssl`, as its reader does.
#[test]
fn the_curl_command_of_house_format_is_accepted_once_and_not_when_altered() {
    let (_example, commands) = commands_of("house_format");
    assert_eq!(
        bash(&commands),
        "verified: {\"item\":\"anvil\",\"count\":3}\n"
    );

    let (prepare, curl) = commands.split_once("\ncurl").unwrap();
    let answers = bash(&format!("{prepare}\ncurl{curl}; curl{curl}"));
    let (first, second) = answers.split_once('\n').unwrap();
    assert!(first.starts_with("verified"), "{first}");
    assert!(second.contains("request_replayed"), "{second}");

    let altered = bash(&format!("{prepare}\nbody='{{}}'\ncurl{curl}"));
    assert!(altered.contains("signature_invalid"), "{altered}");
}

#[test]
fn the_curl_commands_of_webhooks_are_handled_once_and_acknowledged_again() {
    for (example, handled) in [
        ("stripe", "handled evt_1: invoice.paid\n"),
        ("github", "handled refs/heads/main: 0123abc\n"),
        ("standard_webhooks", "handled contact.created\n"),
    ] {
        let (_example, commands) = commands_of(example);
        // Altered first, so that it is not for having been handled that it is refused.
        let (prepare, curl) = commands.split_once("\ncurl").unwrap();
        let altered = bash(&format!("{prepare}\nbody='{{}}'\ncurl{curl}"));
        assert!(
            altered.contains("signature_invalid"),
            "{example}: {altered}"
        );

        assert_eq!(bash(&commands), format!("{handled}200\n"), "{example}");
        assert_eq!(bash(&commands), "200\n", "{example}, again");
    }
}
