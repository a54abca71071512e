//! Arguments of `countersign store`.

use clap::{Args as ClapArgs, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a store ready for use
    ///
    /// Makes the file or the tables, unless they are there. A new store refuses requests that were
    /// signed before it was made, because they may have been used.
    #[command(after_help = "\
Examples:
  countersign store migrate sqlite:countersign.db
  countersign store migrate postgres://me@db.example/app")]
    Migrate(MigrateArgs),

    /// Show what a store remembers
    ///
    /// Shows how many requests are on record, until when, since when the store vouches for its memory,
    /// and for how long each namespace remembers.
    #[command(after_help = "\
Examples:
  countersign store status sqlite:countersign.db
  STORE=redis://:password@cache.example countersign store status env:STORE")]
    Status(StatusArgs),

    /// Forget that a request was used
    ///
    /// Without --danger-accept-again, it shows what is recorded and forgets nothing. The same request,
    /// once forgotten, is accepted again from whoever has it, until its time is over. Requests of
    /// `retryable` that are being handled are not forgotten. One of `at-most-once` is forgotten even
    /// while its handler runs: first make sure that it has ended.
    #[command(after_help = "\
A key alone is enough for sqlite:FILE. Other stores keep digests, which do not show their key: name
the message too, as `countersign-nonce` shows it.

Examples:
  countersign store forget sqlite:countersign.db --key partner-1
  countersign store forget redis://cache.example --namespace stripe --key stripe --event evt_1 \\
    --danger-accept-again")]
    Forget(ForgetArgs),
}

#[derive(ClapArgs, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) place: StorePlace,

    /// Say that no request was accepted before, so that one that was signed before is accepted. Give
    /// it for a new service alone
    #[arg(long)]
    pub(crate) danger_assume_no_history: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) place: StorePlace,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    pub(crate) place: StorePlace,

    /// The key id that the requests were verified under
    #[arg(long, value_name = "ID")]
    pub(crate) key: String,

    /// The name of the route, with /TENANT if it has tenants; of another server, its namespace. Required
    /// if the store has several
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) message: MessageArgs,

    /// Where the request arrived, as `POST /hooks`, if its signature does not say it. Give it for redis
    /// and a server that is not the proxy
    #[arg(long, value_name = "PLACE")]
    pub(crate) at: Option<String>,

    /// Forget, so that the same request is accepted again
    #[arg(long)]
    pub(crate) danger_accept_again: bool,
}

/// Which message of a key is meant.
#[derive(ClapArgs, Debug)]
#[group(multiple = false)]
pub(crate) struct MessageArgs {
    /// The nonce of the request
    #[arg(long, value_name = "TEXT", requires = "namespace")]
    pub(crate) nonce: Option<String>,

    /// The event id of a webhook
    #[arg(long, value_name = "ID", requires = "namespace")]
    pub(crate) event: Option<String>,

    /// SHA-256 of the signed message, in hexadecimal digits, of a request without a nonce and an event
    /// id
    #[arg(long, value_name = "HEX", requires = "namespace")]
    pub(crate) digest: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct StorePlace {
    /// The store, as `countersign proxy` names it: sqlite:FILE, memory:FILE, redis://HOST or
    /// postgres://USER@HOST/DATABASE; or env:NAME, a variable that holds it
    #[arg(value_name = "STORE", value_hint = ValueHint::FilePath)]
    pub(crate) store: String,
}
