//! A peer in another language: a script that is asked line by line, and ends with the test.

use std::{env, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::common::log;

/// The interpreters of scripts, as far as they are installed; `tests/run.sh` installs them.
#[derive(Clone, Copy)]
pub enum Language {
    Python,
    Node,
}

impl Language {
    /// The program, the extension of its scripts, and the variable that says where it, or what it
    /// imports, is installed. Without that the test is skipped, and says so.
    fn find(self) -> Option<(String, &'static str)> {
        let (variable, extension) = match self {
            Self::Python => ("COUNTERSIGN_PEERS_PYTHON", "py"),
            Self::Node => ("COUNTERSIGN_PEERS_NODE_PATH", "mjs"),
        };
        let Some(value) = env::var(variable).ok() else {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            log::missing(test, &format!("{variable} is not set"));
            return None;
        };
        Some(match self {
            Self::Python => (value, extension),
            Self::Node => ("node".to_owned(), extension),
        })
    }
}

/// A script that runs. It is killed when this is dropped.
pub struct Script {
    _child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a script of `tests/peers`; `None` where its language is not there.
    pub fn start(language: Language, name: &str, arguments: &[&str]) -> Option<Self> {
        let (program, extension) = language.find()?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut child = Command::new(program)
            .arg(folder.join(name).with_extension(extension))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a program that starts");
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        Some(Self {
            _child: child,
            questions: questions.expect("its standard input"),
            answers: BufReader::new(answers.expect("its standard output")).lines(),
        })
    }

    /// The next line that it writes.
    pub async fn answer(&mut self) -> Value {
        let line = timeout(Duration::from_secs(120), self.answers.next_line()).await;
        let line = line.expect("an answer within 2 minutes");
        let line = line.expect("text").expect("a script that runs still");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&mut self, question: &Value) -> Value {
        let line = format!("{question}\n");
        let written = self.questions.write_all(line.as_bytes()).await;
        written.expect("a script that runs still");
        self.answer().await
    }
}
