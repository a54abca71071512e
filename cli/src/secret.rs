//! Secrets: where they come from, in the form in which their provider shows them. Never printed.

use std::{env, fmt, fs, path::Path, process::Command};

use zeroize::Zeroizing;

use crate::{args::SecretArgs, exit::Failure, printer::Printer};

/// More than any provider's secret is long.
const MAX_LEN: usize = 64 * 1024;

const ADVICE: &str = "give the secret with --secret-file FILE, --secret-env NAME or \
                      --secret-command COMMAND";

/// A secret as text. Nothing prints it: `Debug` is redacted, and `Display` is missing.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<Vec<u8>>);

impl SecretText {
    /// Takes the text without one final line end.
    fn new(bytes: Vec<u8>, source: &str) -> Result<Self, Failure> {
        let mut bytes = Zeroizing::new(bytes);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(Failure::usage(
                format!("the secret from {source} is empty"),
                "an empty secret protects nothing",
                "write the secret there, as its provider shows it",
            ));
        }
        if bytes.len() > MAX_LEN {
            return Err(Failure::usage(
                format!("the secret from {source} is longer than {MAX_LEN} bytes"),
                "this is probably another file",
                "name the file that holds the secret alone",
            ));
        }
        Ok(Self(bytes))
    }

    /// A text that is public, for an example.
    pub(crate) fn of_example(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, for a scheme that reads it.
    pub(crate) fn as_str(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.0).map_err(|_| {
            Failure::usage(
                "the secret is not text",
                "it has bytes that are not UTF-8, and a scheme reads a secret as its provider \
                 shows it",
                "write the secret as hex or base64, and say so in a scheme file: \
                 secret = \"hex\"",
            )
        })
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

/// Reads all secrets that were named. Each is valid, as while a secret is rotated.
pub(crate) fn read(args: &SecretArgs, printer: &Printer) -> Result<Vec<SecretText>, Failure> {
    let mut secrets = Vec::new();
    for file in &args.secret_file {
        secrets.push(from_file(file)?);
    }
    for name in &args.secret_env {
        secrets.push(from_env(name)?);
    }
    for command in &args.secret_command {
        secrets.push(from_command(command)?);
    }
    for text in &args.secret {
        printer.warn(
            "--secret shows the secret in the list of processes and in the history of the shell; \
             use --secret-file, --secret-env or --secret-command",
        );
        secrets.push(SecretText::new(text.clone().into_bytes(), "--secret")?);
    }
    if secrets.is_empty() {
        return Err(Failure::usage(
            "no secret is given",
            "a signature is made and checked with the secret that both sides know",
            ADVICE,
        ));
    }
    Ok(secrets)
}

pub(crate) fn from_file(file: &Path) -> Result<SecretText, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        Failure::unable(
            format!("cannot read the secret file `{}`", file.display()),
            error.to_string(),
            "check the path, and that you may read the file",
        )
    })?;
    SecretText::new(bytes, &format!("`{}`", file.display()))
}

pub(crate) fn from_env(name: &str) -> Result<SecretText, Failure> {
    let value = env::var_os(name).ok_or_else(|| {
        Failure::usage(
            format!("the environment variable `{name}` is not set"),
            "a variable of this name was to hold the secret",
            format!("set it first, for example with `read -rs {name}; export {name}`"),
        )
    })?;
    SecretText::new(
        value.into_encoded_bytes(),
        &format!("the environment variable `{name}`"),
    )
}

/// The output of a command of the shell, such as that of a password manager.
fn from_command(command: &str) -> Result<SecretText, Failure> {
    let advice = "run the command by itself and see what it prints";
    let output = Command::new("sh").arg("-c").arg(command).output();
    let output = output.map_err(|error| {
        Failure::unable("cannot run the secret command", error.to_string(), advice)
    })?;
    if !output.status.success() {
        // The output is not shown, because it may hold the secret.
        return Err(Failure::unable(
            "the secret command failed",
            output.status.to_string(),
            advice,
        ));
    }
    SecretText::new(output.stdout, "the secret command")
}

/// 128 random bits in hexadecimal digits, which nobody can guess.
pub(crate) fn random() -> Result<String, String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
