//! `countersign completions`: the completions of a shell.

use clap::CommandFactory as _;

use crate::{
    args::{Args, CompletionsArgs},
    exit::{Exit, Failure},
    printer::Printer,
};

pub(super) fn run(args: &CompletionsArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "countersign", &mut script);
    printer.raw(&script);
    Ok(Exit::Done)
}
