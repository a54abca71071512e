//! The line that repeats a run.

use crate::curl_command::quoted;

/// The command line again, without the options that choose checks and reports, and without secrets.
pub(crate) fn reproduce(all: Vec<String>, seed: u64) -> String {
    const DROPPED: [&str; 8] = [
        "--check",
        "--skip",
        "--seed",
        "--run-id",
        "--sarif",
        "--junit",
        "--html",
        "--fail-on",
    ];
    let mut command = "countersign".to_owned();
    let mut words = all.into_iter().skip(1);
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if word == "--json" {
            continue;
        }
        if DROPPED.contains(&name) || name == "--secret" {
            let _ = value.or_else(|| words.next());
            if name == "--secret" {
                command.push_str(" --secret-env SECRET");
            }
            continue;
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
        let word = match word.chars().all(is_plain) && !word.is_empty() {
            true => word,
            false => quoted(&word),
        };
        command.push(' ');
        command.push_str(&word);
    }
    format!("{command} --seed {seed}")
}
