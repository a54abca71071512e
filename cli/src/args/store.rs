//! Arguments of `countersign store`.

use clap::{Args as ClapArgs, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a store ready for use
    ///
    /// Creates the file or the tables if they do not exist. A new store refuses requests that were
    /// signed before it was created, because they may have been used.
    #[command(after_help = "\
Examples:
  countersign store migrate sqlite:countersign.db
  countersign store migrate postgres://me@db.example/app")]
    Migrate(MigrateArgs),

    /// Show what a store remembers
    ///
    /// Shows how many requests are on record and until when, since when the records are complete,
    /// and for how long each namespace remembers.
    #[command(after_help = "\
Examples:
  countersign store status sqlite:countersign.db
  STORE=redis://:password@cache.example countersign store status env:STORE")]
    Status(StatusArgs),

    /// Forget that a request was used
    ///
    /// Without --danger-accept-again, it shows the record and forgets nothing. Once a request is
    /// forgotten, anybody who has it can use it again until its signature expires. A request of
    /// `retryable` is not forgotten while its handler runs. A request of `at-most-once` is: first
    /// make sure that its handler has ended.
    #[command(after_help = "\
With sqlite:FILE, --key alone is enough. Other stores keep only digests: also name the request, by
the value of its field `countersign-nonce`.

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

    /// State that the service has accepted no request yet, so that requests that were signed before
    /// are accepted. Only for a new service: the exit code is 1 if the store existed already
    /// and still refuses them
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

    /// The name of the proxy's route, with /TENANT if it has tenants; for another server, its
    /// namespace. Required if the store has several
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) message: MessageArgs,

    /// The method and path at which the request arrived, such as `POST /hooks`, if its signature
    /// does not cover them. Needed for redis with a server that is not the proxy
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

    /// SHA-256 of the signed message in hexadecimal digits, for a request without a nonce or event
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
