//! What the examples print works when it is pasted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

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

/// Needs `curl` and `openssl`, as its reader does.
#[test]
fn the_curl_command_of_house_format_is_accepted_once_and_not_when_altered() {
    let run = ["run", "--quiet", "--locked", "--example", "house_format"];
    let mut example = Command::new(env!("CARGO"));
    let mut example = Ended(
        example
            .args(run)
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo"),
    );
    let printed = BufReader::new(example.0.stdout.take().unwrap()).lines();
    let commands: Vec<_> = printed
        .map(Result::unwrap)
        .take_while(|line| !line.contains("Ctrl-C"))
        .collect();
    let commands = commands.join("\n");

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
