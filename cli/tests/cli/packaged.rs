//! The packages for people without Cargo: they are installed by `pip` and `npm`, and run.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::peers::program;

const BINARY: &str = env!("CARGO_BIN_EXE_countersign");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

/// Runs a script of the folder `packaging`, which prints the file that it has written.
fn package(python: &str, script: &str, arguments: &[&str]) -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let output = run(Command::new(python)
        .arg(scripts.join(script))
        .args(arguments));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// The installed command runs, passes its arguments and its exit code on, and prints what it
/// should.
fn runs(installed: &Path) {
    let version = run(Command::new(installed).arg("--version"));
    let printed = String::from_utf8(version.stdout).unwrap();
    assert!(printed.contains(VERSION), "{printed}");
    let refused = Command::new(installed)
        .args(["verify", "no-scheme"])
        .output();
    let direct = Command::new(BINARY).args(["verify", "no-scheme"]).output();
    assert_eq!(refused.unwrap(), direct.unwrap());
}

/// Two runs of a script write the same bytes.
fn is_reproducible(write: impl Fn(&str) -> PathBuf) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let files = folders
        .each_ref()
        .map(|folder| write(folder.path().to_str().unwrap()));
    let [one, other] = files.map(|file| fs::read(file).unwrap());
    assert!(one == other, "two runs write different bytes");
}

#[test]
fn the_wheel_is_installed_and_runs() {
    let Some((python, _)) = program("python") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let wheel = package(&python, "wheel.py", &[VERSION, ARCH, BINARY, path]);
    let environment = folder.path().join("environment");
    run(Command::new(&python).args(["-m", "venv"]).arg(&environment));
    let pip = environment.join("bin/pip");
    run(Command::new(&pip)
        .args(["install", "--no-index", "--no-deps"])
        .arg(wheel));
    runs(&environment.join("bin/countersign"));
}

#[test]
fn the_npm_package_is_installed_and_runs() {
    let (Some((python, _)), Some(_)) = (program("python"), program("node")) else {
        return;
    };
    let arch = match ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let binary = format!("{arch}={BINARY}");
    let tarball = package(&python, "npm.py", &[VERSION, path, &binary]);
    run(Command::new("npm")
        .args([
            "install",
            "--offline",
            "--no-audit",
            "--no-fund",
            "--prefix",
            path,
        ])
        .arg(tarball));
    runs(&folder.path().join("node_modules/.bin/countersign"));
}

#[test]
fn packages_are_reproducible() {
    let Some((python, _)) = program("python") else {
        return;
    };
    // Any file will do: what is in it is not looked at.
    let binary = file!();
    let binary = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(binary);
    let binary = binary.to_str().unwrap();
    is_reproducible(|folder| package(&python, "wheel.py", &[VERSION, "x86_64", binary, folder]));
    let binaries = ["x64", "arm64"].map(|arch| format!("{arch}={binary}"));
    is_reproducible(|folder| {
        package(
            &python,
            "npm.py",
            &[VERSION, folder, &binaries[0], &binaries[1]],
        )
    });
}
