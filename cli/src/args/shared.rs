//! Arguments of several commands: the scheme, its secret, and a request.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, ValueHint};
use countersign::Timestamp;
use http::Method;

use crate::time;

/// The heading that options of secrets have in the help.
pub(super) const SECRETS: &str = "Secrets";

/// The scheme, and the key that its requests name.
#[derive(ClapArgs, Debug)]
pub(crate) struct SchemeArgs {
    /// The name of a scheme (`countersign scheme list`), or a scheme file such as house.toml
    #[arg(value_name = "SCHEME")]
    pub(crate) scheme: String,

    /// The key id, if requests of the scheme name their key. A verifier accepts any key id unless
    /// this option names one
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
}

/// The values that are signed and not sent.
#[derive(ClapArgs, Debug)]
pub(crate) struct SupplyArgs {
    /// A value that is signed and not sent, such as version=7; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = named_value)]
    pub(crate) supply: Vec<(String, String)>,
}

fn named_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("it has no `=`; write a name, `=` and a value, such as version=7")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Where the secret comes from, in the form in which its provider shows it.
#[derive(ClapArgs)]
pub(crate) struct SecretArgs {
    /// A file that holds the secret; a final line end is ignored
    #[arg(long, help_heading = SECRETS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Vec<PathBuf>,

    /// An environment variable that holds the secret
    #[arg(long, help_heading = SECRETS, value_name = "NAME")]
    pub(crate) secret_env: Vec<String>,

    /// A shell command that prints the secret
    #[arg(long, help_heading = SECRETS, value_name = "COMMAND", value_hint = ValueHint::CommandString)]
    pub(crate) secret_command: Vec<String>,

    /// The secret itself; other users of this machine can see it in the list of processes
    #[arg(long, help_heading = SECRETS, value_name = "SECRET")]
    pub(crate) secret: Vec<String>,
}

/// Without the secret itself.
impl fmt::Debug for SecretArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArgs(redacted)")
    }
}

/// The request, and how to look at it.
#[derive(ClapArgs, Debug)]
pub(crate) struct RequestArgs {
    /// A file with the request: raw HTTP/1.1, HAR, a curl command, or the file of `listen --keep`;
    /// `-` is standard input
    #[arg(value_name = "REQUEST", value_hint = ValueHint::FilePath)]
    pub(crate) request: PathBuf,

    /// Which entry of a HAR file, counted from 1, or which request of the file of `listen --keep`
    #[arg(long, value_name = "N")]
    pub(crate) entry: Option<usize>,

    /// The time at which to verify [default: now, or when a request of `listen` arrived]
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub(crate) now: Option<Timestamp>,

    /// Where clients reach the service, such as https://api.example.com; its path is a prefix that
    /// a proxy removes [default: any authority is accepted]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) origin: Option<String>,

    /// How old a request may be, in seconds [default: 300, or that of the scheme]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_age: Option<Duration>,
}

/// Reads a method. Case counts: `post` is not the method POST, and no server knows it.
pub(crate) fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    let is_common = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&&*upper);
    if is_common && upper != text {
        return Err(format!(
            "methods are written in capital letters; write {upper}"
        ));
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| {
        "a method is one word, such as POST; the order is SCHEME METHOD URL".to_owned()
    })
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|_| "it is not a number of whole seconds; write one such as 300".to_owned());
    seconds.map(Duration::from_secs)
}
