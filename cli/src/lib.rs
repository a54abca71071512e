//! The command `countersign`: signs, verifies and explains HMAC-signed HTTP requests.

mod args;
mod audit;
mod commands;
mod curl_command;
mod exit;
mod explain;
mod http_client;
mod inspector;
mod listen;
mod nearest;
mod page;
mod printer;
mod probe;
#[cfg(unix)]
mod proxy;
mod request;
mod runtime;
mod sarif;
mod scheme;
mod secret;
mod serving;
mod store;
mod time;
mod toml_file;
mod verification;

/// Runs the command that the command line names.
#[must_use]
pub fn main() -> std::process::ExitCode {
    commands::main().into()
}
