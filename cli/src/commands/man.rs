//! `countersign man`: the man pages, one for each command.

use std::fs;

use clap::CommandFactory as _;

use crate::{
    args::{Args, ManArgs},
    exit::{Exit, Failure},
    printer::{Printer, Span},
};

pub(super) fn run(args: &ManArgs, printer: &Printer) -> Result<Exit, Failure> {
    let folder = &args.folder;
    let made = fs::create_dir_all(folder);
    let written = made.and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    written.map_err(|error| {
        Failure::unable(
            format!("cannot write the man pages into `{}`", folder.display()),
            error.to_string(),
            "name a folder that you may write to",
        )
    })?;
    let text = format!("the man pages are in {}", folder.display());
    printer.line([Span::plain(text)]);
    Ok(Exit::Done)
}
