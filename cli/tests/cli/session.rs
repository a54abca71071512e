//! A folder to run commands in. The output of each command is searched for the secrets of the
//! folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
};

use tempfile::TempDir;

pub(crate) const SECRET: &str = "a secret of this test alone, 44 bytes long";

pub(crate) struct Session {
    folder: TempDir,
    hidden: Mutex<Vec<Vec<u8>>>,
}

impl Session {
    /// A folder with one secret, in the file `secret`.
    pub(crate) fn new() -> Self {
        let session = Self {
            folder: tempfile::tempdir().unwrap(),
            hidden: Mutex::default(),
        };
        session.secret("secret", SECRET);
        session
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A file with a secret, which no command may print.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        self.hide(text.as_bytes());
        self.file(name, format!("{text}\n"));
    }

    pub(crate) fn hide(&self, bytes: &[u8]) {
        self.hidden.lock().unwrap().push(bytes.to_vec());
    }

    pub(crate) fn output(&self, command: &str) -> Output {
        let output = self.shell(command).output().unwrap();
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        self.scan(command, &said);
        output
    }

    /// A shell that runs the command in the folder.
    pub(crate) fn shell(&self, command: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_countersign"))
            .parent()
            .unwrap();
        let path = env::var("PATH").unwrap();
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .current_dir(self.path())
            .env_clear()
            .env("PATH", format!("{}:{path}", binary.display()))
            .env("HOME", self.path());
        shell
    }

    /// Fails if one of the secrets is in the text.
    pub(crate) fn scan(&self, command: &str, said: &[u8]) {
        let found = found(said, &self.hidden.lock().unwrap());
        assert!(!found, "`{command}` printed a secret");
    }

    /// The command, what it printed, and how it ended: as a terminal shows it.
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.output(command);
        let mut text = format!("$ {command}\n");
        text.push_str(&String::from_utf8(output.stdout).unwrap());
        text.push_str(&String::from_utf8(output.stderr).unwrap());
        if !text.ends_with('\n') {
            text.push('\n');
        }
        match output.status.code() {
            Some(0) => {}
            Some(code) => text.push_str(&format!("(exit code {code})\n")),
            None => panic!("`{command}` was killed: {}", output.status),
        }
        text.replace(&*self.path().to_string_lossy(), "FOLDER")
    }

    /// Returns what a command prints that must succeed.
    pub(crate) fn stdout(&self, command: &str) -> String {
        let output = self.output(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{command}`: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Returns whether one of the secrets is in the text: as it is, in hex or in base64.
fn found(text: &[u8], hidden: &[Vec<u8>]) -> bool {
    hidden.iter().any(|secret| {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        // The last characters of base64 depend on what follows.
        let base64 = base64(secret);
        let base64 = base64[..base64.len() - 4].to_owned();
        let forms = [
            secret.clone(),
            hex.to_uppercase().into(),
            hex.into(),
            base64.into(),
        ];
        forms
            .iter()
            .any(|form| text.windows(form.len()).any(|window| window == form))
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

#[test]
fn a_secret_that_is_printed_is_found() {
    let session = Session::new();
    let printed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        session.output("base64 -w0 secret");
    }));
    assert!(printed.is_err());
}
