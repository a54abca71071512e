//! The line that repeats a run.

use super::mask::is_secret;
use crate::curl_command::quoted;

/// Options that choose checks and reports.
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

/// The command line again, without the options that choose checks and reports, and with variables of
/// the shell in place of secrets.
pub(crate) fn reproduce(all: Vec<String>, seed: u64) -> String {
    let mut command = "countersign".to_owned();
    let mut words = all.into_iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--json" {
            continue;
        }
        let (name, given) = option(&word);
        let mut value = || given.map(str::to_owned).or_else(|| words.next());
        let written = match name {
            _ if DROPPED.contains(&name) => {
                let _ = value();
                continue;
            }
            "--secret" => {
                let _ = value();
                "--secret-env SECRET".to_owned()
            }
            "-H" | "--header" | "--effect-header" => {
                let prefix = if name == "--effect-header" {
                    "EFFECT_"
                } else {
                    ""
                };
                format!("{name} {}", header(&value().unwrap_or_default(), prefix))
            }
            _ => shown(&word),
        };
        command.push(' ');
        command.push_str(&written);
    }
    format!("{command} --seed {seed}")
}

/// The name of an option, and its value if it is in the same word.
fn option(word: &str) -> (&str, Option<&str>) {
    if let Some(value) = word.strip_prefix("-H").filter(|value| !value.is_empty()) {
        return ("-H", Some(value.strip_prefix('=').unwrap_or(value)));
    }
    match word.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value)),
        _ => (word, None),
    }
}

/// A header, with a variable in place of its value if that is secret.
fn header(text: &str, prefix: &str) -> String {
    match text.split_once(':') {
        Some((name, _)) if is_secret(name) => {
            let in_name = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let variable: String = name
                .trim()
                .to_ascii_uppercase()
                .chars()
                .map(in_name)
                .collect();
            format!("\"{}: ${prefix}{variable}\"", name.trim())
        }
        _ => shown(text),
    }
}

fn shown(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
    match word.chars().all(is_plain) && !word.is_empty() {
        true => word.to_owned(),
        false => quoted(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_repeats_a_run_without_its_secrets() {
        let words = [
            "countersign",
            "probe",
            "--json",
            "x.toml",
            "--secret",
            "s3cret",
            "--check=race",
            "-H",
            "Authorization: Bearer s3cret",
            "-Hx-api-key:s3cret",
            "--header=cookie: a=s3cret",
            "--effect-header",
            "authorization: s3cret",
            "-H",
            "content-type: a/b",
            "POST",
            "http://127.0.0.1/?a={uuid}",
        ];
        let said = reproduce(words.map(str::to_owned).into(), 7);
        assert_eq!(
            said,
            "countersign probe x.toml --secret-env SECRET -H \"Authorization: $AUTHORIZATION\" \
             -H \"x-api-key: $X_API_KEY\" --header \"cookie: $COOKIE\" \
             --effect-header \"authorization: $EFFECT_AUTHORIZATION\" -H 'content-type: a/b' POST \
             'http://127.0.0.1/?a={uuid}' --seed 7"
        );
    }
}
