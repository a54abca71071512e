//! From the command line to an exit code.

use std::error::Error as _;

use clap::{
    Parser as _,
    error::{ContextKind, ErrorKind},
};

use super::{
    audit, completions, explain, keygen, listen, man, probe, replay, scheme, sign, verify,
};
use crate::{
    args::{Args, Command},
    exit::{Exit, Failure},
    printer::{Printer, escaped},
};

/// Runs the command that the command line names.
pub(crate) fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            if let Some(failure) = invalid_value(&error) {
                Printer::new(false).failure(&failure);
                return failure.exit;
            }
            // A closed pipe is not a failure.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
        }
    };
    let printer = Printer::new(args.json);
    let exit = match args.command {
        Command::Scheme { command } => scheme::run(&command, &printer),
        Command::Keygen(args) => keygen::run(&args, &printer),
        Command::Sign(args) => sign::run(&args, &printer),
        Command::Verify(args) => verify::run(&args, &printer),
        Command::Explain(args) => explain::run(&args, &printer),
        Command::Listen(args) => listen::run(&args, &printer),
        Command::Replay(args) => replay::run(&args, &printer),
        #[cfg(unix)]
        Command::Proxy(args) => super::proxy::run(&args, &printer),
        Command::Store { command } => super::store::run(&command, &printer),
        Command::Probe(args) => probe::run(&args, &printer),
        Command::Audit(args) => audit::run(&args, &printer),
        Command::Completions(args) => completions::run(&args, &printer),
        Command::Man(args) => man::run(&args, &printer),
    };
    printer.finish(exit.unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    }))
}

/// A value that its option does not take, in the lines of every other failure. The reason of a
/// parser is what is wrong, and behind a semicolon how to write it.
fn invalid_value(error: &clap::Error) -> Option<Failure> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let option = error.get(ContextKind::InvalidArg)?;
    let value = escaped(&error.get(ContextKind::InvalidValue)?.to_string());
    let reason = escaped(&error.source()?.to_string());
    let (why, advice) = match reason.split_once("; ") {
        Some((why, advice)) => (why, advice),
        None => (&*reason, "--help describes each option"),
    };
    Some(Failure::usage(
        format!("`{value}` is not a value of {option}"),
        why,
        advice,
    ))
}
