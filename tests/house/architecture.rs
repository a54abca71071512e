//! That modules depend on each other in one direction only, that drivers and frameworks stay in
//! their own files, and that users are not made to build many crates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A module imports from the levels below its own.
const LEVELS: [&[&str]; 6] = [
    &["clock", "error", "future", "metrics", "random"],
    &["body", "key", "message"],
    &["once", "proof"],
    &["scheme", "store"],
    &["client", "request", "response", "token"],
    &["axum", "guide", "testing"],
];

/// Within a level, these and no others.
const WITHIN: [(&str, &str); 8] = [
    ("error", "clock"),
    ("error", "metrics"),
    ("future", "error"),
    ("key", "message"),
    ("message", "once"),
    ("proof", "once"),
    ("response", "client"),
    ("response", "request"),
];

/// Never, whatever the levels say. A scheme and a store are on one level, which forbids the rest.
const FORBIDDEN: [(&str, &str); 1] = [("client", "request")];

/// Of these, none imports from another.
const STORES: [&str; 4] = ["memory", "sqlite", "redis", "postgres"];

/// Crates that may be named in these files only; `lib.rs` re-exports our own module `axum`.
const PLACES: [(&str, &[&str]); 5] = [
    ("axum", &["axum.rs", "message/target.rs", "lib.rs"]),
    ("metrics", &["metrics.rs"]),
    ("reqwest", &["client/reqwest.rs"]),
    (
        "redis",
        &[
            "store/redis/error.rs",
            "store/redis/link.rs",
            "store/redis/queue.rs",
            "store/redis/replication.rs",
            "store/redis/servers.rs",
            "store/redis/shared.rs",
            "store/redis/step.rs",
            "store/redis/watch.rs",
        ],
    ),
    (
        "sqlx",
        &[
            "store/sqlite/mod.rs",
            "store/sqlite/batch.rs",
            "store/sqlite/consume.rs",
            "store/sqlite/error.rs",
            "store/sqlite/schema.rs",
            "store/sqlite/sweep.rs",
            "store/sqlite/writer.rs",
            "store/postgres/mod.rs",
            "store/postgres/consume.rs",
            "store/postgres/exchange.rs",
            "store/postgres/error.rs",
            "store/postgres/pooled.rs",
            "store/postgres/schema.rs",
            "store/postgres/sweep.rs",
            "store/postgres/transaction.rs",
            "store/postgres/writer.rs",
        ],
    ),
];

const MAX_CRATES: usize = 80;

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|modules| modules.contains(&module))
}

/// Everything that is wrong with one file; `exports` says which module a name at the root of the
/// crate comes from.
fn faults(file: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push("its first line does not say what it is for".to_owned());
    }
    let code = code(text);
    for (name, files) in PLACES {
        // A module of ours may have the name of a crate.
        let is_ours = imports(file, &code).contains(name);
        if !files.contains(&file) && !is_ours && names_crate(&code, name) {
            faults.push(format!("it names the crate `{name}`"));
        }
    }
    if words(&code).any(|word| word == "unsafe") {
        faults.push("it has `unsafe`".to_owned());
    }
    if file == "lib.rs" {
        return faults;
    }

    if let Some(file) = file.strip_prefix("store/") {
        let others = STORES.iter().filter(|store| **store != module_of(file));
        for other in others {
            if ["store", "super"]
                .iter()
                .any(|parent| code.contains(&format!("{parent}::{other}")))
            {
                faults.push(format!("it imports from the store `{other}`"));
            }
        }
    }

    let module = module_of(file);
    let Some(own) = level(module) else {
        faults.push(format!("`{module}` has no level; give it one in this test"));
        return faults;
    };
    for import in imports(file, &code) {
        let import = exports.get(&import).unwrap_or(&import);
        match level(import) {
            _ if import == module => {}
            Some(_) if FORBIDDEN.contains(&(module, import)) => {
                faults.push(format!("`{module}` must not import from `{import}`"));
            }
            Some(level) if level < own || WITHIN.contains(&(module, import)) => {}
            Some(_) => faults.push(format!("`{module}` imports from `{import}`")),
            None => faults.push(format!("`{import}` is no module that this test knows")),
        }
    }
    faults
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Without comments, and without what is compiled for tests only.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let next = lines.next().unwrap_or_default();
            // Tests stand last in a file; anything else under that attribute is one item of a line.
            if next.ends_with('{') {
                break;
            }
            assert!(next.ends_with(';'), "`#[cfg(test)]` before `{next}`");
        } else {
            code.push_str(line.split("//").next().unwrap());
            code.push('\n');
        }
    }
    code
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// Whether a path begins with this crate; `crate::axum::` and `self::axum::` are our own.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = &code[..at];
        let own = ["crate::", "self::", "store::"]
            .iter()
            .any(|path| before.ends_with(path));
        !own && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// The names at the root of the crate that a file refers to.
fn imports(file: &str, code: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            imports.extend(first_names(&code[at + path.len()..]));
        }
    }
    // As many `super` as the file is deep lead to the root as well.
    let parents = file.trim_end_matches("/mod.rs").matches('/').count() + 1;
    let root = "super::".repeat(parents);
    for (at, _) in code.match_indices(&root) {
        let names = first_names(&code[at + root.len()..]);
        imports.extend(names.into_iter().filter(|name| level(name).is_some()));
    }
    imports
}

/// Of `a::b`, `a`; of `{a, b::{c, d}}`, `a` and `b`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return words(path).next().map(str::to_owned).into_iter().collect();
    };
    let mut names = Vec::new();
    let (mut depth, mut at_start) = (0, true);
    let mut rest = group;
    while let Some(c) = rest.chars().next() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && !c.is_whitespace() => {
                names.push(words(rest).next().unwrap().to_owned());
                at_start = false;
            }
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    names
}

/// Which module each name that `lib.rs` exports comes from.
fn exports(lib: &str) -> BTreeMap<String, String> {
    let code = code(lib);
    let uses = code.split("pub use ").skip(1);
    let mut exports = BTreeMap::new();
    for used in uses.map(|used| used.split(';').next().unwrap()) {
        let module = words(used).next().unwrap();
        for name in words(used).filter(|word| word.starts_with(char::is_uppercase)) {
            exports.insert(name.to_owned(), module.to_owned());
        }
    }
    exports
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files of `src`, by their path in it.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(src())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// Whether the whole file is for tests.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs")
        || file.contains("/tests/")
        || file == "scheme/shapes.rs"
        || file.ends_with("/grammar.rs")
        || file.ends_with("/cost.rs")
}

#[test]
fn modules_import_from_the_levels_below_their_own() {
    let files = files();
    let exports = exports(&files["lib.rs"]);
    assert!(
        files.len() > 30 && exports.len() > 40,
        "the files were not read"
    );
    let mut all = Vec::new();
    for (file, text) in &files {
        let faults = if is_test(file) {
            // A test may look at whatever it likes.
            let head = text.lines().next().unwrap_or_default();
            faults("lib.rs", &format!("{head}\n"), &exports)
        } else {
            faults(file, text, &exports)
        };
        all.extend(
            faults
                .into_iter()
                .map(|fault| format!("src/{file}: {fault}")),
        );
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The checker sees what it is there for.
#[test]
fn every_fault_is_seen() {
    let exports = exports("pub use request::{Verifier, VerifiedPayload};\npub use key::KeyId;\n");
    let seen = |file: &str, code: &str| faults(file, &format!("//! A file.\n{code}"), &exports);
    for (file, code) in [
        (
            "scheme/header/mod.rs",
            "use crate::store::memory::MemoryStore;",
        ),
        ("store/memory/mod.rs", "use crate::scheme::Describe;"),
        ("client/signer.rs", "use crate::request::Verifier;"),
        (
            "client/signer.rs",
            "use crate::{\n    clock::Clock,\n    request::{Verifier, builder},\n};",
        ),
        ("client/signer.rs", "use crate::{clock::Clock, Verifier};"),
        (
            "client/layer.rs",
            "fn f() { crate::response::Layer::new() }",
        ),
        ("error/store.rs", "use crate::key::KeySet;"),
        ("clock.rs", "use super::key::KeySet;"),
        (
            "scheme/header/builder.rs",
            "use super::super::super::store::memory;",
        ),
        ("scheme/describe.rs", "use super::super::request;"),
        ("clock.rs", "use crate::error::Rejection;"),
        ("error/sign.rs", "use crate::key::Secret;"),
        ("key/id.rs", "use crate::once::Nonce;"),
        ("key/id.rs", "use crate::unheard_of::Thing;"),
        ("unheard_of.rs", "use crate::clock;"),
        ("request/verifier.rs", "use axum::Router;"),
        ("request/layer/service.rs", "type B = ::axum::body::Body;"),
        ("client/service.rs", "use reqwest::Body;"),
        ("store/memory/mod.rs", "use redis::Client;"),
        ("store/redis/mod.rs", "use sqlx::Pool;"),
        (
            "store/redis/mod.rs",
            "use crate::store::memory::MemoryStore;",
        ),
        ("store/redis/mod.rs", "use super::memory::MemoryStore;"),
        ("key/mac.rs", "let x = unsafe { y };"),
    ] {
        assert_eq!(
            seen(file, code).len(),
            1,
            "{file}: {code}: {:?}",
            seen(file, code)
        );
    }
    for (file, code) in [
        (
            "client/signer.rs",
            "use crate::{clock::Clock, scheme::{Describe, Scheme}, KeyId};",
        ),
        (
            "scheme/header/mod.rs",
            "use super::{Candidate, Head};\nuse crate::key::Tag;",
        ),
        ("once/claim.rs", "use crate::key::KeyId;"),
        (
            "request/verifier.rs",
            "/// [`Layer`](crate::VerifyLayer), for `axum::Router`\nuse crate::key; // axum::",
        ),
        (
            "clock.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::key::KeySet;\n}",
        ),
        (
            "scheme/mod.rs",
            "#[cfg(test)]\nmod shapes;\nuse crate::key::KeyId;",
        ),
        ("axum.rs", "use axum::Router;\nuse crate::request;"),
        ("store/redis/link.rs", "use redis::Client;"),
        (
            "store/memory/shard.rs",
            "use super::memory_of; use crate::store::memory::table;",
        ),
        ("clock.rs", "mod manual {\n    use super::{Arc, Clock};\n}"),
        ("clock.rs", "#![forbid(unsafe_code)]"),
    ] {
        assert_eq!(seen(file, code), [""; 0], "{file}: {code}");
    }
    assert_eq!(
        faults("clock.rs", "// A file.\n", &exports).len(),
        1,
        "no first line"
    );
}

#[test]
fn a_user_with_default_features_builds_few_crates() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--offline",
            "--locked",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo, which runs this test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo tree` failed: {error}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let ours = crates
        .iter()
        .filter(|line| line.starts_with("countersign "))
        .count();
    assert_eq!(ours, 1, "{tree}");
    println!("{} crates", crates.len());
    assert!(
        crates.len() <= MAX_CRATES,
        "{} crates, of {MAX_CRATES}:\n{tree}",
        crates.len()
    );
}
