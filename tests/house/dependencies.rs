//! The crates that are built into countersign: they are few, each with a row on the page of dependencies, and with
//! a licence that `deny.toml` allows.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::licences::is_allowed;

const MAX_CRATES: usize = 80;

/// A crate as `cargo tree` knows it, or as a row of the page says.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Crate {
    name: String,
    /// Whose the repository is.
    owner: String,
    licence: String,
}

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The lines of `cargo tree`, each once: a crate with its version and path, its licence, and its
/// repository.
fn tree(arguments: &[&str]) -> BTreeSet<[String; 3]> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none"])
        .args(["--format", "{p}\t{l}\t{r}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo, which runs this test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo tree` failed: {error}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let lines = tree.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut columns = line.trim_end_matches(" (*)").split('\t').map(str::to_owned);
        [(); 3].map(|()| columns.next().unwrap_or_default())
    });
    lines.collect()
}

/// The crates of a tree but our own.
fn crates(arguments: &[&str]) -> BTreeSet<Crate> {
    let foreign = tree(arguments).into_iter();
    let foreign = foreign.filter(|[package, ..]| !package.starts_with("countersign"));
    foreign
        .map(|[package, licence, repository]| Crate {
            name: package.split(' ').next().unwrap().to_owned(),
            owner: repository.split('/').nth(3).unwrap_or_default().to_owned(),
            licence,
        })
        .collect()
}

/// The rows under the headings that begin so.
fn rows(page: &str, heading: &str) -> BTreeSet<Crate> {
    let parts = page.split("\n# ").filter(|part| part.starts_with(heading));
    let rows = parts.flat_map(str::lines).filter_map(|line| {
        let [name, _, owner, licence] = *line.split(" | ").collect::<Vec<_>>() else {
            return None;
        };
        let name = name.strip_prefix("| `")?.strip_suffix('`')?;
        Some(Crate {
            name: name.to_owned(),
            owner: owner.to_owned(),
            licence: licence.strip_suffix(" |")?.to_owned(),
        })
    });
    rows.collect()
}

#[test]
fn a_user_with_default_features_builds_few_crates() {
    let crates = tree(&["--edges", "normal"]);
    let ours = crates
        .iter()
        .filter(|[package, ..]| package.starts_with("countersign "));
    assert_eq!(ours.count(), 1, "{crates:?}");
    println!("{} crates", crates.len());
    assert!(
        crates.len() <= MAX_CRATES,
        "{} crates, of {MAX_CRATES}",
        crates.len()
    );
}

#[test]
fn each_crate_of_the_default_build_has_a_row_that_is_true() {
    let page = file("src/guide/dependencies.md");
    assert_eq!(rows(&page, "Needed by"), crates(&["--edges", "normal"]));
}

#[test]
fn each_optional_crate_has_a_row_that_is_true() {
    let page = file("src/guide/dependencies.md");
    let direct = ["--edges", "normal", "--depth", "1"];
    let by_default = crates(&direct);
    let all = crates(&[&direct[..], &["--all-features"]].concat());
    let optional = all.difference(&by_default).cloned().collect();
    assert_eq!(rows(&page, "Needed with other features"), optional);
}

#[test]
fn each_licence_is_allowed() {
    let rules = file("deny.toml");
    let lists: Vec<BTreeSet<&str>> = rules
        .split("allow = [")
        .skip(1)
        .map(|list| {
            list.split(']')
                .next()
                .unwrap()
                .split('"')
                .skip(1)
                .step_by(2)
                .collect()
        })
        .collect();
    let all = tree(&[
        "--workspace",
        "--all-features",
        "--edges",
        "normal,build,dev",
    ]);
    assert!(all.len() > 300, "{} crates", all.len());
    let mut refused = BTreeSet::new();
    for [package, licence, _] in &all {
        let name = package.split(' ').next().unwrap();
        let exception = rules.find(&format!("crate = {name:?}"));
        let exceptions = exception.map_or(0, |at| rules[..at].matches("allow = [").count());
        let allowed = |licence: &str| {
            lists[0].contains(licence) || exceptions > 0 && lists[exceptions].contains(licence)
        };
        if !is_allowed(licence, &allowed) {
            refused.insert((name, licence));
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
}
