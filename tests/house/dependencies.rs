//! The crates that are built into countersign: they are few, each with a row on the page of dependencies, and with
//! a licence that `deny.toml` allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

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

/// All packages of the workspace's lock file, for every platform, as `cargo metadata` describes them.
fn packages() -> Vec<serde_json::Value> {
    let output = Command::new(env!("CARGO"))
        // Not offline: packages of other platforms may not be here yet.
        .args(["metadata", "--locked", "--all-features"])
        .args(["--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo, which runs this test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo metadata` failed: {error}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The version of Rust that each crate needs, by its name and version.
fn needed_rust() -> BTreeMap<[String; 2], [u32; 2]> {
    let packages = packages().into_iter();
    let needed = packages.filter_map(|package| {
        let text = |name: &str| package[name].as_str();
        let [name, version] = ["name", "version"].map(|name| text(name).unwrap().to_owned());
        let mut numbers = text("rust_version")?.split('.').map(|n| n.parse().unwrap());
        let rust = [(); 2].map(|()| numbers.next().unwrap_or(0));
        Some(([name, version], rust))
    });
    needed.collect()
}

#[test]
fn the_page_says_which_crates_hold_the_version_of_rust_up() {
    let needed = needed_rust();
    // The crate that needs the newest Rust of a build, as the page writes it.
    let highest = |features: &str, without: &str| {
        let crates = tree(&["--edges", "normal,build", "--features", features]);
        let mut highest = ([0, 0], String::new());
        for [package, ..] in &crates {
            let (name, version) = package.split_once(" v").unwrap();
            let version = version.split(' ').next().unwrap();
            let rust = needed.get(&[name.to_owned(), version.to_owned()]);
            let is_ours = name.starts_with("countersign");
            if let Some(rust) = rust.filter(|rust| **rust > highest.0)
                && !is_ours
                && name != without
            {
                let short = version.rsplit_once('.').unwrap().0;
                highest = (*rust, format!("`{name}` {short}"));
            }
        }
        let ([major, minor], name) = highest;
        (format!("{major}.{minor}"), name)
    };
    let (rust, name) = highest("", "");
    assert!(file("Cargo.toml").contains(&format!("rust-version = \"{rust}\"")));

    let page = file("src/guide/dependencies.md").replace('\n', " ");
    let says = |sentence: &str| assert!(page.contains(sentence), "not on the page: {sentence}");
    says(&format!("{name} needs Rust {rust}, and this is why"));
    let (rust, name) = highest("", "sfv");
    says(&format!(
        "the default features would need {rust}, for {name},"
    ));
    for feature in ["postgres", "sqlite"] {
        let (rust, name) = highest(feature, "sfv");
        says(&format!(
            "the features `postgres` and `sqlite` {rust}, for {name}."
        ));
    }
    // No other feature is named.
    for feature in ["cached-keys", "fs", "metrics", "redis", "reqwest"] {
        assert_eq!(highest(feature, "sfv").0, rust, "{feature}");
    }
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
    let all = packages();
    assert!(all.len() > 400, "{} crates", all.len());
    let mut refused = BTreeSet::new();
    for package in &all {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
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
