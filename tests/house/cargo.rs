//! Cargo, asked by a test that it runs itself.

use std::{env, process::Command};

/// Cargo as whoever started the tests calls it. It tells a test of its package in variables, by which
/// build scripts would take themselves for outdated, and everything that depends on them.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in env::vars_os() {
        let is_of_package =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_of_package) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}
