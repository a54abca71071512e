//! From the command line to an exit code.

use clap::{Parser as _, error::ErrorKind};

use super::{
    audit, completions, explain, keygen, listen, man, probe, replay, scheme, sign, verify,
};
use crate::{
    args::{Args, Command},
    exit::Exit,
    printer::Printer,
};

/// Runs the command that the command line names.
pub(crate) fn main() -> Exit {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
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
