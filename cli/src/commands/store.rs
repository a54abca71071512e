//! `countersign store`: looks after what remembers which requests were used.

use serde_json::json;

use crate::{
    args::{MigrateArgs, StoreCommand},
    exit::{Exit, Failure},
    printer::Printer,
    runtime::block_on,
    store::{self, Before},
};

pub(super) fn run(command: &StoreCommand, printer: &Printer) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Migrate(args) => block_on(migrate(args, printer))?,
    }
}

async fn migrate(args: &MigrateArgs, printer: &Printer) -> Result<Exit, Failure> {
    if store::shows_password(&args.store) {
        printer.warn(
            "the store shows a password in the list of processes and in the history of the shell",
        );
    }
    let before = match args.danger_assume_no_history {
        true => Before::Accepted,
        false => Before::Refused,
    };
    drop(store::open(&args.store, before).await?);
    match printer.is_json() {
        true => printer.object(&json!({"version": 1, "ready": true})),
        false => printer.text("the store is ready"),
    }
    Ok(Exit::Done)
}
