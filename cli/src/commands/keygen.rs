//! `countersign keygen`: a secret in the form that a scheme wants.

use crate::{
    args::KeygenArgs,
    exit::{Exit, Failure},
    printer::Printer,
    scheme::resolve,
};

pub(super) fn run(args: &KeygenArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = resolve(&args.scheme)?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::unable(
            "cannot make a secret",
            format!("the system gives no random numbers: {error}"),
            "try again; on a machine that has just started, wait a moment",
        )
    })?;
    let secret = chosen.write_secret(&random);
    if printer.is_json() {
        printer.object(&serde_json::json!({
            "version": 1, "scheme": chosen.name, "secret": &*secret,
        }));
    } else {
        printer.text(&secret);
    }
    Ok(Exit::Done)
}
