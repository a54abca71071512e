//! The command line. Help, man pages and completions are all made from these definitions.

#![allow(
    rustdoc::bare_urls,
    reason = "help is plain text for a terminal, where links have no brackets"
)]

mod audit;
mod probe;
#[cfg(unix)]
mod proxy;
mod shared;
mod store;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use countersign::Timestamp;
use http::Method;

pub(crate) use audit::{AuditArgs, AuditFormat};
pub(crate) use probe::{ProbeArgs, Severity};
#[cfg(unix)]
pub(crate) use proxy::ProxyArgs;
pub(crate) use shared::{RequestArgs, SchemeArgs, SecretArgs, SupplyArgs, method};
pub(crate) use store::{ForgetArgs, MigrateArgs, StatusArgs, StoreCommand, StorePlace};

use self::shared::{SECRETS, seconds};
use crate::{page::page, time};

const AFTER_HELP: &str = concat!(
    "\
Exit codes:
  0  the request is verified, or the command has done what it was asked for
  1  the request is refused, or the command has found something
  2  the command line, or what a file or a secret holds, is wrong
  3  the network or another program failed, or a file cannot be read or written

Documentation:
  ",
    page!("README.md")
);

/// Signs, verifies and explains HMAC-signed HTTP requests.
///
/// If a webhook or a signed API call does not verify, `countersign explain` shows the signed
/// message line by line, and searches for the change that makes the signature match.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    bin_name = "countersign",
    version,
    after_help = AFTER_HELP,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Args {
    #[arg(long, global = true, help = concat!(
        "Print one JSON object on each line, as described at ",
        page!("README.md#json")
    ))]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the schemes, or check a scheme file
    Scheme {
        #[command(subcommand)]
        command: SchemeCommand,
    },
    Keygen(KeygenArgs),
    Sign(SignArgs),
    Verify(VerifyArgs),
    Explain(ExplainArgs),
    Listen(ListenArgs),
    Replay(ReplayArgs),
    #[cfg(unix)]
    Proxy(ProxyArgs),
    /// Prepare, inspect and correct a store
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    Probe(Box<ProbeArgs>),
    Audit(AuditArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SchemeCommand {
    /// List all schemes, with the parts of a request that each covers
    ///
    /// Each scheme signs an example request, and the list shows which parts of the request are in
    /// the signed message, and which are not.
    #[command(after_help = "Example:\n  countersign scheme list")]
    List,
    /// Check a scheme file
    ///
    /// A scheme file describes a house format in TOML. A description that the library refuses is
    /// refused here too, with the line of the file and the reason.
    #[command(after_help = "Example:\n  countersign scheme check house.toml")]
    Check {
        /// The scheme file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// Make a secret in the form that a scheme needs
///
/// The secret is new, random and 256 bits strong. It is the only secret that the command ever
/// prints.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Example:
  countersign keygen standard-webhooks > webhook.secret")]
pub(crate) struct KeygenArgs {
    /// The name of a scheme, or a scheme file
    #[arg(value_name = "SCHEME", default_value = "http-message-signatures")]
    pub(crate) scheme: String,
}

/// Sign a request
///
/// Prints the headers that the scheme adds. With a scheme whose signature is in the body, prints
/// the body.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign sign stripe --secret-file stripe.secret --data '{\"id\":\"evt_1\"}' \\
      POST https://example.com/stripe
  countersign sign http-message-signatures --key-id billing --secret-env BILLING_SECRET \\
      --curl GET 'https://api.example.com/orders?page=2'")]
pub(crate) struct SignArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,

    #[command(flatten)]
    pub(crate) supply: SupplyArgs,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,

    /// The method, such as POST
    #[arg(value_name = "METHOD", value_parser = method)]
    pub(crate) method: Method,

    /// The URL that the request goes to
    #[arg(value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// The URL at which clients reach the service, if it differs from URL, such as
    /// https://api.example.com; its path is a prefix that a proxy removes
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) origin: Option<String>,

    /// The signed time: seconds since 1970, or such as 2026-11-29T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub(crate) at: Option<Timestamp>,

    /// The nonce or event id, if the scheme has one in a header [default: 128 random bits]
    #[arg(long, value_name = "NONCE")]
    pub(crate) nonce: Option<String>,

    /// A header of the request, such as 'content-type: application/json'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,

    /// The body, exactly as written here, even if it begins with `@`
    #[arg(long, value_name = "TEXT", conflicts_with = "data_file")]
    pub(crate) data: Option<String>,

    /// The file that holds the body, byte for byte; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data_file: Option<PathBuf>,

    /// Print the signed message, byte for byte, and nothing else
    #[arg(long, conflicts_with_all = ["send", "curl"])]
    pub(crate) print_message: bool,

    /// Print a curl command that sends the signed request
    #[arg(long, conflicts_with = "send")]
    pub(crate) curl: bool,

    /// Send the signed request, and print the answer
    #[arg(long)]
    pub(crate) send: bool,
}

/// Verify a request
///
/// Prints the key id, the signed time and the nonce, and which parts of the request the signature
/// covers. For a refused request, prints the reason.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign verify github --secret-file github.secret request.http
  countersign verify slack --secret-env SLACK_SECRET --now 1700000000 recorded.har
  pbpaste | countersign verify stripe --secret-file stripe.secret -")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,

    #[command(flatten)]
    pub(crate) supply: SupplyArgs,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,

    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// Explain why a request does not verify
///
/// Shows the signed message as a verifier builds it, line by line. If the signature does not match,
/// searches for the change that makes it match, and says which side must change what. A change
/// counts only if at least 16 bytes of the signature agree. The expected signature is never
/// printed.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign explain stripe --secret-file stripe.secret request.http
  countersign explain house.toml --secret-env HOUSE_SECRET --origin https://example.com/api -
  countersign explain slack --secret-file new.secret --previous-secret-file old.secret slack.har")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,

    #[command(flatten)]
    pub(crate) supply: SupplyArgs,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,

    /// A file that holds a secret that was valid before; may be repeated
    #[arg(long, help_heading = SECRETS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) previous_secret_file: Vec<PathBuf>,

    /// The message that the sender signed, byte for byte, to compare with the verifier's; `-` is
    /// standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) message: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// Listen for requests, and show the verdict on each
///
/// Runs a server that verifies each request. It prints the verdict and, if the request is refused,
/// the reason and what `explain` finds. The sender gets the answer of the library, or that of the
/// server that --forward names, and never the reason. Ctrl-C ends the server with a summary.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign listen stripe --secret-file stripe.secret --addr 127.0.0.1:8080
  countersign listen house.toml --secret-env SECRET --forward http://127.0.0.1:3000")]
pub(crate) struct ListenArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,

    /// The address to listen on; port 0 is any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = address)]
    pub(crate) addr: SocketAddr,

    /// Where clients reach the server, such as https://api.example.com; its path is a prefix that a
    /// proxy removes [default: any authority is accepted]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) origin: Option<String>,

    /// How old a request may be, in seconds [default: 300, or that of the scheme]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_age: Option<Duration>,

    /// A server that gets the verified requests, byte for byte, with the sender's Host header
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) forward: Option<String>,

    /// Where accepted requests are remembered: memory, the name of a file, redis://HOST or
    /// postgres://USER@HOST/DATABASE. With memory, they are forgotten when the server ends
    #[arg(long, value_name = "STORE", default_value = "memory", value_hint = ValueHint::FilePath)]
    pub(crate) store: String,

    /// A file that records the requests, for `verify`, `explain` and `replay`. Only you can read
    /// it. Delete it after use, because its requests may still be valid
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) keep: Option<PathBuf>,

    /// Search for the cause of a mismatch even if other machines can reach the address
    #[arg(long)]
    pub(crate) explain: bool,

    /// Show the requests in the browser too, at an address that only this machine can reach
    #[arg(long)]
    pub(crate) ui: bool,
}

/// Send a recorded request again
///
/// Sends exactly the bytes that `listen --keep` recorded. An application that acts once must not
/// act on them again. With --sign-again, the request is signed again under the same event id, as
/// senders of webhooks retry: the application must not take it for a new event.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign replay 3 --keep requests.db --copies 8
  countersign replay 3 --keep requests.db --sign-again --secret-file stripe.secret \\
      --to http://127.0.0.1:3000")]
pub(crate) struct ReplayArgs {
    /// The number of the request, as `listen` printed it
    #[arg(value_name = "ID")]
    pub(crate) id: u64,

    /// The file that `listen --keep` recorded to
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) keep: PathBuf,

    /// A server on this machine [default: the server that `listen` forwarded to]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) to: Option<String>,

    /// Send this many copies at the same moment
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) copies: u16,

    /// Sign the request again, with the current time, a new nonce and the same event id
    #[arg(long)]
    pub(crate) sign_again: bool,

    /// The scheme to sign with [default: that of `listen`; a scheme file must be in the current
    /// folder]
    #[arg(long, value_name = "SCHEME", requires = "sign_again")]
    pub(crate) scheme: Option<String>,

    /// The key id to sign under, if requests of the scheme name their key [default: that of
    /// `listen`]
    #[arg(long, value_name = "ID", requires = "sign_again")]
    pub(crate) key_id: Option<String>,

    /// Where clients reach the service, if the scheme signs the URL [default: that of `listen`]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, requires = "sign_again")]
    pub(crate) origin: Option<String>,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}

/// Print the completions of a shell
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Example:
  countersign completions bash > ~/.local/share/bash-completion/completions/countersign")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Write the man pages into a folder
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Example:
  countersign man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder; the command creates it if it does not exist
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it is not an IP address with a port; write one such as 127.0.0.1:8080".to_owned()
    })
}
