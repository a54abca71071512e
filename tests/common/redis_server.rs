//! Servers of the tests' own: in folders for temporary files, on free ports of the loopback.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{log, ports::free_port};

/// The programs to test with: Redis, and Valkey where `COUNTERSIGN_VALKEY` names it.
pub(crate) fn programs() -> Vec<String> {
    let mut programs = vec!["redis-server".to_owned()];
    programs.extend(std::env::var("COUNTERSIGN_VALKEY").ok());
    let (there, missing): (Vec<_>, Vec<_>) = programs.into_iter().partition(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    for program in missing {
        let test = std::thread::current();
        let test = test.name().unwrap_or_default();
        log::missing(test, &format!("`{program}` is not there"));
    }
    there
}

/// A server; it ends with this.
pub(crate) struct Server {
    program: String,
    arguments: Vec<String>,
    child: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let arguments: Vec<_> = arguments.iter().map(|&a| a.to_owned()).collect();
        let child = spawn(program, &arguments, folder.path(), port);
        let mut server = Self {
            program: program.to_owned(),
            arguments,
            child,
            folder,
            port,
        };
        server.wait();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            if self.ping() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} did not start", self.program);
    }

    fn ping(&self) -> bool {
        let ask = || redis::Client::open(self.url())?.get_connection();
        let Ok(mut connection) = ask() else {
            return false;
        };
        redis::cmd("PING")
            .query::<redis::Value>(&mut connection)
            .is_ok()
    }

    /// One connection, for those who count commands: a new one sends some of its own.
    pub(crate) fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// Asks the server something.
    pub(crate) fn ask<T: redis::FromRedisValue>(
        &self,
        words: &[impl AsRef<[u8]>],
    ) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word.as_ref());
        }
        command.query(&mut connection)
    }

    pub(crate) fn tell(&self, words: &[impl AsRef<[u8]>]) {
        let _: redis::Value = self.ask(words).unwrap();
    }

    /// SIGKILL: nothing is written any more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = spawn(
            &self.program,
            &self.arguments,
            self.folder.path(),
            self.port,
        );
        self.wait();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &str, arguments: &[String], folder: &Path, port: u16) -> Child {
    let port = port.to_string();
    let mut command = Command::new(program);
    // The knowledge of a Sentinel is in a file, which comes first.
    let (file, rest): (Vec<_>, Vec<_>) = arguments.iter().partition(|a| a.ends_with(".conf"));
    command
        .args(file)
        .args(["--port", &port, "--bind", "127.0.0.1"]);
    command.args(["--dir", folder.to_str().unwrap()]).args(rest);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
