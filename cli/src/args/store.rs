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
}

#[derive(ClapArgs, Debug)]
pub(crate) struct MigrateArgs {
    /// The store, as `countersign proxy` names it: sqlite:FILE, redis://HOST or
    /// postgres://USER@HOST/DATABASE
    #[arg(value_name = "STORE", value_hint = ValueHint::FilePath)]
    pub(crate) store: String,

    /// Say that no request was accepted before, so that one that was signed before is accepted. Give
    /// it for a new service alone
    #[arg(long)]
    pub(crate) danger_assume_no_history: bool,
}
