//! `countersign scheme`: the list of schemes, and the check of a scheme file.

use std::path::Path;

use crate::{
    args::SchemeCommand,
    exit::{Exit, Failure},
    printer::{Printer, Span},
    scheme::{Chosen, Row, all, read_file},
};

pub(super) fn run(command: &SchemeCommand, printer: &Printer) -> Result<Exit, Failure> {
    match command {
        SchemeCommand::List => list(printer),
        SchemeCommand::Check { file } => check(file, printer),
    }
}

fn list(printer: &Printer) -> Result<Exit, Failure> {
    let rows: Result<Vec<Row>, Failure> = all().map(|chosen| Row::of(&chosen)).collect();
    let rows = rows?;
    let titles = Row {
        version: 1,
        name: "scheme".into(),
        covered: vec!["covered".into()],
        time: "time".into(),
        nonce: "used once by".into(),
        open: vec!["not covered".into()],
    };
    let width = |of: fn(&Row) -> usize| rows.iter().chain([&titles]).map(of).max().unwrap_or(0);
    let widths = [
        width(|row| row.name.len()),
        width(|row| row.covered.join(", ").len()),
        width(|row| row.time.len()),
        width(|row| row.nonce.len()),
    ];
    let [name, covered, time, nonce] = widths;
    let print = |row: &Row, style: fn(String) -> Span| {
        let rest = format!(
            "  {:covered$}  {:time$}  {:nonce$}  {}",
            row.covered.join(", "),
            row.time,
            row.nonce,
            row.open.join(", "),
        );
        let label = Span::strong(format!("{:name$}", row.name));
        printer.line([label, style(rest.trim_end().to_owned())]);
    };
    print(&titles, Span::strong);
    for row in &rows {
        print(row, Span::plain);
        printer.object(row);
    }
    Ok(Exit::Done)
}

fn check(file: &Path, printer: &Printer) -> Result<Exit, Failure> {
    let chosen: Chosen = read_file(file)?;
    let row = Row::of(&chosen)?;
    printer.line([
        Span::good("accepted"),
        Span::plain(format!(" {}", file.display())),
    ]);
    printer.row("covered", row.covered.join(", "));
    printer.row("time", row.time.clone());
    printer.row("used once by", row.nonce.clone());
    printer.row("not covered", row.open.join(", "));
    printer.object(&row);
    Ok(Exit::Done)
}
