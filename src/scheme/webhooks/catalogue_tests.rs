//! The catalogue is made of its folder: `catalogue/mod.rs` and `catalogue/rows.rs` are made of its
//! other files.
//!
//! `COUNTERSIGN_WRITE=1 cargo test --lib webhooks::` writes them.

use std::{env, fmt::Write as _, fs, path::Path};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheme/webhooks/catalogue");

/// The files of the folder that hold no sender.
const OTHERS: [&str; 3] = ["mod", "row", "rows"];

/// A file of the catalogue: one sender, and the rows that it makes.
struct File {
    module: String,
    preset: String,
    rows: Vec<String>,
}

impl File {
    fn read(module: &str, text: &str) -> Self {
        // `Stripe = STRIPE "stripe" {`
        let sender = |line: &str| {
            let (names, key_id) = line.trim_start().split_once(" \"")?;
            let (preset, row) = names.split_once(" = ")?;
            let is_row = key_id.ends_with("\" {") && !names.contains('/');
            is_row.then(|| (preset.to_owned(), row.to_owned()))
        };
        // A second row of the same sender, such as `SVIX`.
        let further = |line: &str| {
            let row = line.strip_prefix("pub(in super::super) static ")?;
            row.strip_suffix(": Sender = Sender {").map(str::to_owned)
        };
        let (preset, row) = text
            .lines()
            .find_map(sender)
            .unwrap_or_else(|| panic!("catalogue/{module}.rs has no `sender!`"));
        let further = text.lines().filter_map(further);
        Self {
            module: module.to_owned(),
            preset,
            rows: [row].into_iter().chain(further).collect(),
        }
    }
}

/// The files of the folder, by their names.
fn files() -> Vec<File> {
    let mut files: Vec<_> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(module, _)| !OTHERS.contains(&module.as_str()))
        .map(|(module, path)| File::read(&module, &fs::read_to_string(path).unwrap()))
        .collect();
    files.sort_by(|one, other| one.module.cmp(&other.module));
    files
}

/// `mod.rs`: it declares each file, and re-exports each preset.
fn module(files: &[File]) -> String {
    let mut text = "\
//! The catalogue: a file for each sender of webhooks, with its documentation and its row.
//!
//! This file and `rows.rs` are made of the other files of the folder, by `catalogue_tests`.

#[macro_use]
mod row;

mod rows;

pub(super) use rows::SENDERS;

"
    .to_owned();
    for File { module, .. } in files {
        writeln!(text, "mod {module};").unwrap();
    }
    text.push('\n');
    for File { module, preset, .. } in files {
        writeln!(text, "pub use {module}::{preset};").unwrap();
    }
    text
}

/// `rows.rs`: it lists each row.
fn rows(files: &[File]) -> String {
    let mut text = "\
//! Every row of the catalogue. This file is made by `catalogue_tests`.

use super::super::sender::Sender;

pub(in super::super) static SENDERS: &[&Sender] = &[
"
    .to_owned();
    for File { module, rows, .. } in files {
        for row in rows {
            writeln!(text, "    &super::{module}::{row},").unwrap();
        }
    }
    text.push_str("];\n");
    text
}

#[test]
fn the_catalogue_is_what_stands_in_its_folder() {
    let files = files();
    let made = [("mod.rs", module(&files)), ("rows.rs", rows(&files))];
    let is_stale = |(name, made): &&(&str, String)| {
        fs::read_to_string(Path::new(FOLDER).join(name)).unwrap() != *made
    };
    let stale: Vec<_> = made.iter().filter(is_stale).collect();
    if env::var_os("COUNTERSIGN_WRITE").is_some() {
        for (name, made) in &stale {
            fs::write(Path::new(FOLDER).join(name), made).unwrap();
        }
    }
    let names: Vec<_> = stale.iter().map(|(name, _)| name).collect();
    assert!(
        stale.is_empty(),
        "{names:?} are not made of the files of the catalogue: write them with \
         `COUNTERSIGN_WRITE=1`, and run the same tests again with it"
    );
}

#[test]
fn twin_a_file_that_nobody_declared_is_found() {
    let mut files = files();
    let (before, before_rows) = (module(&files), rows(&files));
    files.push(File::read(
        "zz_acme",
        "sender! {\n    /// `A = B \"c\"`.\n    Acme = ACME \"acme\" {\n    }\n}\n\n\
         pub(in super::super) static ACME_EU: Sender = Sender {\n",
    ));
    let added = module(&files).replace("mod zz_acme;\n", "");
    assert_eq!(added.replace("pub use zz_acme::Acme;\n", ""), before);
    let added = "    &super::zz_acme::ACME,\n    &super::zz_acme::ACME_EU,\n];\n";
    assert_eq!(rows(&files), before_rows.replace("];\n", added));
}
