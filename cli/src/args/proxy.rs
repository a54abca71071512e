//! Arguments of `countersign proxy`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use crate::page::page;

/// Verify requests in front of a server in any language
///
/// The proxy verifies each signed request, lets it through once, and forwards exactly the bytes that
/// were verified. Let the server listen on a Unix socket
/// or on loopback: a request that goes around the proxy is not verified.
#[derive(ClapArgs, Debug)]
#[command(after_help = concat!(
    "\
Examples:
  countersign proxy --config proxy.toml --check
  countersign proxy --config proxy.toml

Configuration:
  ",
    page!("proxy.md")
))]
pub(crate) struct ProxyArgs {
    /// The configuration, in TOML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,

    /// Check the configuration and its files, and do not start
    #[arg(long)]
    pub(crate) check: bool,
}
