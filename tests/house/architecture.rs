//! The house: arrows between files go down, no two files import each other, and drivers and
//! frameworks stay in their own files. In the command, too, no two files import each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A room imports from the levels below its own, and a file from its own room.
const LEVELS: [&[&str]; 6] = [
    &["clock", "error", "future", "lock", "metrics", "random"],
    &["body", "key", "message"],
    &["once", "proof"],
    &["routed", "scheme", "store"],
    &[
        "client",
        "envelope",
        "file",
        "idempotency",
        "request",
        "response",
        "token",
    ],
    &["axum", "guide", "inspect", "testing"],
];

/// Within a level, these rooms import from each other in this direction alone.
const BESIDE: [(&str, &str); 5] = [
    ("error", "clock"),
    ("error", "metrics"),
    ("future", "error"),
    ("key", "message"),
    ("proof", "once"),
];

/// Within a level, the files of these folders may import from these rooms: the layer of requests
/// joins intentions to them.
const JOINS: [(&str, &str); 1] = [("request/layer/", "idempotency")];

/// No store imports from the folder of another. This one is no store: others share it.
const SHARED_BY_STORES: &str = "batched";

/// The three folders at the base know of no carrier.
const WAIST: [&str; 3] = ["message", "proof", "once"];
const UNKNOWN_TO_THE_WAIST: [&str; 3] = ["http_body", "tower_layer", "tower_service"];

/// These rooms say what is wrong by a `Fault`, and know of no answer to a request.
const KNOW_NO_ANSWER: [&str; 5] = ["body", "message", "once", "proof", "scheme"];
const ANSWERS: [&str; 2] = ["Rejection", "RejectionKind"];

/// These rooms hand keys on, and neither make nor compare a MAC: another kind of proof leaves them as
/// they are.
const KNOW_NO_MAC: [&str; 7] = [
    "client",
    "file",
    "idempotency",
    "once",
    "request",
    "response",
    "store",
];
const MACS: [&str; 4] = ["RunningMac", "HmacSha1", "HmacSha256", "HmacSha512"];

/// These crates are named in these files only, or in these folders.
const PLACES: [(&str, &[&str]); 7] = [
    ("axum", &["axum/", "routed.rs"]),
    ("metrics", &["metrics.rs"]),
    ("reqwest", &["client/reqwest.rs"]),
    ("redis", &["store/redis/"]),
    ("rustix", &["file/"]),
    ("sqlx", &["store/sqlite/", "store/postgres/"]),
    ("sqlx_core", &["store/postgres/pooled.rs"]),
];

const MAX_LOOSE_FILES: usize = 12;

/// The files of `src`, by their path in it.
type Files = BTreeMap<String, String>;

/// A path of modules, from the root of the crate.
type Names = Vec<String>;

struct House {
    /// The code of each file, without comments and tests.
    code: BTreeMap<String, String>,
    /// The file of each module.
    modules: BTreeMap<Names, String>,
    /// The path behind each name that a module re-exports.
    exports: BTreeMap<(Names, String), Names>,
}

impl House {
    fn new(files: &Files) -> Self {
        let code: BTreeMap<_, _> = files
            .iter()
            .filter(|(file, _)| !is_test(file))
            .map(|(file, text)| (file.clone(), code(text)))
            .collect();
        let modules = code.keys().map(|file| (module(file), file.clone()));
        let mut house = Self {
            modules: modules.collect(),
            exports: BTreeMap::new(),
            code,
        };
        for (file, code) in &house.code {
            let own = module(file);
            for (path, name) in uses(code) {
                if let Some(path) = house.absolute(&own, &path) {
                    house.exports.insert((own.clone(), name), path);
                }
            }
        }
        house
    }

    /// Returns a path from the root of the crate; `None` for a path into another crate.
    fn absolute(&self, own: &[String], path: &[String]) -> Option<Names> {
        let mut at = own.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => at.clear(),
            "self" | "super" => {
                while rest.get(1).is_some_and(|next| next == "super") || rest[0] == "super" {
                    at.pop()?;
                    if rest.get(1).is_none_or(|next| next != "super") {
                        break;
                    }
                    rest = &rest[1..];
                }
            }
            first => {
                let child = [own, &[first.to_owned()]].concat();
                return self
                    .modules
                    .contains_key(&child)
                    .then(|| [own, path].concat());
            }
        }
        at.extend(rest[1..].iter().cloned());
        Some(at)
    }

    /// Returns the file that defines what a path leads to.
    fn file_of(&self, path: &[String]) -> Option<&str> {
        let mut path = path.to_vec();
        // A re-export of a re-export, and so on: a circle of them would not compile.
        for _ in 0..10 {
            let len = (0..=path.len())
                .rev()
                .find(|len| self.modules.contains_key(&path[..*len]))?;
            let module = path[..len].to_vec();
            let next = path
                .get(len)
                .and_then(|name| self.exports.get(&(module.clone(), name.clone())));
            match next {
                Some(next) if *next != path => {
                    path = [next.as_slice(), &path[len + 1..]].concat();
                }
                _ => return self.modules.get(&module).map(String::as_str),
            }
        }
        None
    }

    /// Returns the files that a file imports from.
    fn imports(&self, file: &str) -> BTreeSet<&str> {
        let own = module(file);
        let code = &self.code[file];
        uses(code)
            .into_iter()
            .map(|(path, _)| path)
            .chain(paths(code))
            .filter_map(|path| self.absolute(&own, &path))
            .filter_map(|path| self.file_of(&path))
            .filter(|other| *other != file)
            .collect()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (file, code) in &self.code {
            let mut say = |fault: String| faults.push(format!("src/{file}: {fault}"));
            self.check_crates(file, code, &mut say);
            let is_mod = file == "lib.rs" || file.ends_with("/mod.rs");
            if is_mod {
                if let Some(line) = code.lines().find(|line| is_logic(line)) {
                    say(format!("it holds more than docs and re-exports: `{line}`"));
                }
                continue;
            }
            let imports = self.imports(file);
            for other in &imports {
                if let Some(fault) = forbidden(file, other) {
                    say(fault);
                }
            }
            arrows.insert(file, imports);
        }
        faults.extend(told_circles(&arrows));
        let loose: Vec<_> = self
            .code
            .keys()
            .filter(|file| !file.contains('/'))
            .collect();
        if loose.len() > MAX_LOOSE_FILES {
            faults.push(format!("too many loose files: {loose:?}"));
        }
        faults
    }

    /// Returns the circles of all files but those of modules: `mod.rs` passes on what is below it.
    fn circles(&self) -> Vec<String> {
        let files = self.code.keys().map(String::as_str);
        let files = files.filter(|file| !file.ends_with("/mod.rs"));
        told_circles(&files.map(|file| (file, self.imports(file))).collect())
    }

    fn check_crates(&self, file: &str, code: &str, say: &mut impl FnMut(String)) {
        let own = module(file);
        let foreign: BTreeSet<_> = uses(code)
            .into_iter()
            .map(|(path, _)| path)
            .chain(foreign_paths(code))
            .filter(|path| self.absolute(&own, path).is_none())
            .map(|path| path[0].clone())
            .collect();
        // A module of ours may have the name of a crate.
        let imports = self.imports(file);
        let is_ours = |name: &str| imports.contains(format!("{name}.rs").as_str());
        for (name, places) in PLACES {
            let is_place = |place: &&&str| {
                file == **place || place.ends_with('/') && file.starts_with(**place)
            };
            if foreign.contains(name)
                && !is_ours(name)
                && !places.iter().any(|place| is_place(&place))
            {
                say(format!("it names the crate `{name}`"));
            }
        }
        if WAIST.contains(&room(file)) {
            for name in UNKNOWN_TO_THE_WAIST
                .iter()
                .filter(|name| foreign.contains(**name))
            {
                say(format!("the waist knows of `{name}`"));
            }
        }
        if KNOW_NO_ANSWER.contains(&room(file))
            && let Some(answer) = words(code).find(|word| ANSWERS.contains(word))
        {
            say(format!("it knows of `{answer}`; it fails with a `Fault`"));
        }
        if KNOW_NO_MAC.contains(&room(file))
            && let Some(mac) = words(code).find(|word| MACS.contains(word))
        {
            say(format!("it knows of `{mac}`; keys and schemes do"));
        }
        if words(code).any(|word| word == "unsafe") {
            say("it has `unsafe`".to_owned());
        }
    }
}

/// Why one file must not import from another.
fn forbidden(file: &str, other: &str) -> Option<String> {
    let (from, to) = (room(file), room(other));
    if from == to {
        let store = |file: &str| {
            let (store, _) = file.strip_prefix("store/")?.split_once('/')?;
            (store != SHARED_BY_STORES).then(|| store.to_owned())
        };
        let (one, another) = (store(file)?, store(other)?);
        return (one != another).then(|| format!("it imports from the store `{another}`"));
    }
    let level = |room: &str| LEVELS.iter().position(|rooms| rooms.contains(&room));
    let (Some(own), Some(level)) = (level(from), level(to)) else {
        return Some(format!(
            "`{from}` or `{to}` has no level; give it one in this test"
        ));
    };
    let joins = |(folder, room): &(&str, &str)| file.starts_with(folder) && to == *room;
    let may = level < own || BESIDE.contains(&(from, to)) || JOINS.iter().any(joins);
    (!may).then(|| format!("`{from}` imports from `{to}`: {other}"))
}

fn told_circles(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let circles = circles(arrows).into_iter();
    circles
        .map(|circle| format!("a circle: {}", circle.join(" -> ")))
        .collect()
}

/// Returns each group of files that lead to each other.
fn circles<'f>(arrows: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> Vec<Vec<&'f str>> {
    let reach = |from: &'f str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            let onward = arrows.get(file).into_iter().flatten();
            next.extend(onward.filter(|other| reached.insert(**other)));
        }
        reached
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (*file, reach(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, others) in &reached {
        if others.contains(file) {
            let back = |other: &&&str| reached.get(**other).is_some_and(|from| from.contains(file));
            circles.insert(others.iter().filter(back).copied().collect::<Vec<_>>());
        }
    }
    circles.into_iter().collect()
}

/// Returns whether the whole file is for tests.
fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/") || is_shown(file)
}

/// Returns whether the file is the code of a page: it is shown, and compiled for tests alone.
fn is_shown(file: &str) -> bool {
    let shows_code = ["guide/other_languages/", "guide/patterns/"];
    shows_code.iter().any(|page| file.starts_with(page)) && !file.ends_with("/mod.rs")
}

/// Returns the path of the module that a file holds.
fn module(file: &str) -> Names {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let names = path.split('/').filter(|name| *name != "lib");
    names.map(str::to_owned).collect()
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Returns a file without comments, and without what is compiled for tests only.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let next = lines.next().unwrap_or_default();
            // Tests are last in a file. Anything else under that attribute is one item of a line.
            if next.ends_with('{') && next.starts_with("mod ") {
                break;
            }
            let mut next = next;
            while !next.ends_with(';')
                && next != "}"
                && !(next.starts_with(char::is_whitespace) && next.ends_with('}'))
            {
                next = lines.next().expect("the end of an item");
            }
        } else {
            code.push_str(line.split("//").next().unwrap());
            code.push('\n');
        }
    }
    code
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !is_name(c))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether a line of a `mod.rs` is neither a module, a re-export, an attribute nor blank.
fn is_logic(line: &str) -> bool {
    [
        "fn ",
        "struct ",
        "enum ",
        "trait ",
        "impl ",
        "impl<",
        "const ",
        "static ",
        "type ",
        "macro_rules!",
    ]
    .iter()
    .any(|item| {
        let bare = ["pub ", "pub(crate) ", "pub(super) ", "async "]
            .iter()
            .fold(line, |line, word| line.strip_prefix(word).unwrap_or(line));
        bare.starts_with(item) && bare != "struct Readme;"
    })
}

/// Returns each path of a `use`, and the name that it has here.
fn uses(code: &str) -> Vec<(Names, String)> {
    let mut all = Vec::new();
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let before = code[..*at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['\n', ')', ']', ';', '{']) || before.ends_with("pub")
    });
    for (at, word) in starts {
        let tree = code[at + word.len()..].split(';').next().unwrap();
        flatten(&[], tree, &mut all);
    }
    all
}

fn flatten(before: &[String], tree: &str, all: &mut Vec<(Names, String)>) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    if let Some(inner) = tree.strip_prefix('{') {
        let inner = &inner[..inner.rfind('}').expect("a closing brace")];
        let (mut depth, mut from) = (0, 0);
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flatten(before, &inner[from..at], all);
                    from = at + 1;
                }
                _ => {}
            }
        }
        return flatten(before, &inner[from..], all);
    }
    match tree.split_once("::") {
        Some((name, rest)) if is_path(name) => {
            let name = name.trim().to_owned();
            let before = [before, &[name]].concat();
            flatten(if before == [""] { &[] } else { &before }, rest, all);
        }
        _ => {
            let (name, alias) = tree.split_once(" as ").unwrap_or((tree, tree));
            let (name, alias) = (name.trim(), alias.trim());
            let mut path = before.to_vec();
            if name != "self" {
                path.push(name.to_owned());
            }
            let alias = if alias == "self" {
                path.last().unwrap().clone()
            } else {
                alias.to_owned()
            };
            all.push((path, alias));
        }
    }
}

fn is_path(name: &str) -> bool {
    name.trim().chars().all(is_name)
}

/// Returns the paths from `crate`, `self` and `super` in the code itself.
fn paths(code: &str) -> Vec<Names> {
    all_paths(code)
        .filter(|path| ["crate", "self", "super"].contains(&path[0].as_str()))
        .collect()
}

/// Returns the paths that begin with a name in lower case, as that of a crate does.
fn foreign_paths(code: &str) -> Vec<Names> {
    all_paths(code)
        .filter(|path| path[0].starts_with(char::is_lowercase))
        .collect()
}

fn all_paths(code: &str) -> impl Iterator<Item = Names> {
    code.split(|c: char| !(is_name(c) || c == ':'))
        .map(|path| path.trim_start_matches(':'))
        .filter(|path| path.contains("::") && !path.ends_with(':'))
        .map(|path| path.split("::").map(str::to_owned).collect())
}

/// Returns the files in the folder `src` of the library, or of the package in a folder.
fn files(package: &str) -> Files {
    let src = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(package)
        .join("src");
    let mut files = BTreeMap::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
                let name = name.replace('\\', "/");
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn arrows_between_files_go_down() {
    let files = files("");
    assert!(files.len() > 100, "the files were not read");
    let house = House::new(&files);
    let arrows: usize = house
        .code
        .keys()
        .map(|file| house.imports(file).len())
        .sum();
    assert!(arrows > 300, "the imports were not read: {arrows}");
    let faults = house.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_two_files_of_the_command_import_each_other() {
    let files = files("cli");
    assert!(files.len() > 100, "the files were not read");
    let circles = House::new(&files).circles();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn each_file_says_first_what_it_is_for() {
    for (file, text) in files("") {
        let starts = if is_shown(&file) { "// " } else { "//! " };
        assert!(text.starts_with(starts), "src/{file}");
    }
}

/// The faults of a small house with these files.
fn seen(files: &[(&str, &str)]) -> Vec<String> {
    let files = files
        .iter()
        .map(|(file, code)| ((*file).to_owned(), (*code).to_owned()));
    House::new(&files.collect()).faults()
}

/// The checker sees what it is there for.
#[test]
fn every_fault_is_seen() {
    const ROOMS: [(&str, &str); 7] = [
        (
            "lib.rs",
            "mod once;\nmod key;\npub use key::KeyId;\npub use request::Verifier;\n",
        ),
        ("key/mod.rs", "mod id;\npub use id::KeyId;\n"),
        ("key/id.rs", "pub struct KeyId;\n"),
        (
            "request/mod.rs",
            "mod verifier;\npub use verifier::{Verifier, Settings};\n",
        ),
        ("request/verifier.rs", "pub struct Verifier;\n"),
        ("store/memory/table.rs", "pub struct Table;\n"),
        ("idempotency/held.rs", "pub struct Held;\n"),
    ];
    let with = |file, code| seen(&[&ROOMS[..], &[(file, code)]].concat());
    for (file, code) in [
        ("client/signer.rs", "use crate::request::Verifier;"),
        (
            "client/signer.rs",
            "use crate::{\n    key::KeyId,\n    request::{Settings as S, Verifier},\n};",
        ),
        ("client/signer.rs", "use crate::{key::KeyId, Verifier};"),
        (
            "client/signer.rs",
            "fn f() { crate::request::Verifier::new() }",
        ),
        ("once/claim.rs", "use super::super::request::Verifier;"),
        ("message/head.rs", "use crate::KeyId;"),
        ("message/head.rs", "use http_body::Body;"),
        (
            "once/ticket.rs",
            "fn f() -> impl tower_service::Service<()> {}",
        ),
        ("error/sign.rs", "use crate::key::KeyId;"),
        ("scheme/describe.rs", "fn f() -> Result<(), Rejection> {}"),
        ("proof/admit.rs", "use crate::key::{KeyId, RejectionKind};"),
        ("body.rs", "fn f() -> Result<(), Rejection> {}"),
        ("message/origin.rs", "use crate::routed::peer;"),
        ("once/turns.rs", "fn f() -> Result<(), Rejection> {}"),
        ("message/head.rs", "fn f() -> Result<(), Rejection> {}"),
        (
            "scheme/describe.rs",
            "use crate::store::memory::table::Table;",
        ),
        (
            "store/sqlite/batch.rs",
            "use crate::store::memory::table::Table;",
        ),
        (
            "store/sqlite/batch.rs",
            "use super::super::memory::table::Table;",
        ),
        ("client/signer.rs", "fn f(mac: RunningMac) {}"),
        ("request/admit.rs", "const A: A = A::HmacSha256;"),
        ("unheard_of.rs", "use crate::key::KeyId;"),
        ("request/parse.rs", "use axum::Router;"),
        ("request/layer/service.rs", "type B = ::axum::body::Body;"),
        ("client/service.rs", "use reqwest::Body;"),
        ("store/memory/store.rs", "use redis::Client;"),
        ("store/redis/step.rs", "use sqlx::Pool;"),
        ("store/postgres/store.rs", "use sqlx_core::pool::Pool;"),
        ("request/parse.rs", "use crate::idempotency::held::Held;"),
        ("key/mac.rs", "let x = unsafe { y };"),
        ("once/mod.rs", "pub(crate) fn f() {}"),
    ] {
        assert_eq!(
            with(file, code).len(),
            1,
            "{file}: {code}: {:?}",
            with(file, code)
        );
    }
    for (file, code) in [
        (
            "request/parse.rs",
            "use super::verifier::Verifier;\nuse crate::{key::KeyId, request::Settings};",
        ),
        (
            "request/parse.rs",
            "/// [`Layer`](crate::axum), for `axum::Router`\nuse crate::key; // axum::",
        ),
        (
            "key/mac.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::request::Verifier;\n}",
        ),
        (
            "key/mac.rs",
            "#[cfg(test)]\nmod grammar_tests;\nuse super::id::KeyId;",
        ),
        ("key/mac_tests.rs", "use crate::request::Verifier;"),
        (
            "axum/extract.rs",
            "use axum::Router;\nuse crate::request::Verifier;",
        ),
        ("store/redis/link.rs", "use redis::Client;"),
        ("store/memory/shard.rs", "use super::table::Table;"),
        (
            "request/layer/service.rs",
            "use crate::idempotency::held::Held;",
        ),
        (
            "once/claim.rs",
            "use crate::metrics;\nfn f() { metrics::claimed(); }",
        ),
        ("clock.rs", "#![forbid(unsafe_code)]"),
        (
            "scheme/describe.rs",
            "//! A [`Rejection`](crate::Rejection) is made of it.\nfn f() -> Result<(), Fault> {}",
        ),
        ("request/parse.rs", "fn f() -> Result<(), Rejection> {}"),
        ("proof/fed.rs", "enum Fed { Mac(RunningMac) }"),
    ] {
        let files = [&ROOMS[..], &[("metrics.rs", ""), (file, code)]].concat();
        assert_eq!(seen(&files), [""; 0], "{file}: {code}");
    }
    let circle = [
        ("once/claim.rs", "use super::lease::Lease;"),
        ("once/lease.rs", "use crate::once::Turn;"),
        ("once/mod.rs", "pub(crate) use turns::Turn;"),
        ("message/origin.rs", "use crate::routed::peer;"),
        ("once/turns.rs", "fn f() { super::claim::g() }"),
    ];
    assert_eq!(
        seen(&circle),
        ["a circle: once/claim.rs -> once/lease.rs -> once/turns.rs"]
    );
    let loose: Vec<_> = (0..13)
        .map(|i| (format!("file{i}.rs"), String::new()))
        .collect();
    let loose: Vec<_> = loose
        .iter()
        .map(|(file, code)| (file.as_str(), code.as_str()))
        .collect();
    assert_eq!(seen(&loose).len(), 1);
}
