//! A running `countersign listen`: what it prints, line by line.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::session::Session;

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Listening<'s> {
    session: &'s Session,
    command: String,
    child: Child,
    lines: Receiver<String>,
    said: String,
    /// The address of the command, such as `http://127.0.0.1:4000`.
    pub(crate) url: String,
}

impl<'s> Listening<'s> {
    /// Starts a server that prints JSON.
    pub(crate) fn json(session: &'s Session, arguments: &str) -> Self {
        Self::json_in(session, "", arguments)
    }

    /// Starts a server that prints JSON, by a program that runs the rest of its command line.
    pub(crate) fn json_in(session: &'s Session, program: &str, arguments: &str) -> Self {
        let command = format!("exec {program} countersign listen --json {arguments}");
        let mut listening = Self::start(session, &command);
        let url = listening.object()["listening"].as_str().map(str::to_owned);
        listening.url = url.unwrap();
        listening
    }

    /// Starts a proxy with the configuration `proxy.toml`.
    pub(crate) fn proxy(session: &'s Session) -> Self {
        Self::proxy_in(session, "")
    }

    /// The same with variables of its own, such as `NAME=value`.
    pub(crate) fn proxy_in(session: &'s Session, variables: &str) -> Self {
        let command = format!("{variables} exec countersign proxy --json --config proxy.toml");
        let mut listening = Self::start(session, &command);
        let first = listening.object();
        // A proxy that only signs has no other address.
        let url = first["listening"].as_str().or(first["signing"].as_str());
        listening.url = url.unwrap().to_owned();
        listening
    }

    /// Starts a proxy with several addresses, of which this one is asked: the last that it announces.
    pub(crate) fn proxy_announcing(session: &'s Session, kind: &str) -> Self {
        let mut listening =
            Self::start(session, "exec countersign proxy --json --config proxy.toml");
        loop {
            if let Some(url) = listening.object()[kind].as_str() {
                listening.url = url.to_owned();
                return listening;
            }
        }
    }

    /// Ends it at once, as a machine that loses its power does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts a server that prints for people.
    pub(crate) fn people(session: &'s Session, arguments: &str) -> Self {
        Self::for_people(session, &format!("exec countersign listen {arguments}"))
    }

    /// The same for a proxy with the configuration `proxy.toml`.
    pub(crate) fn proxy_for_people(session: &'s Session) -> Self {
        Self::for_people(session, "exec countersign proxy --config proxy.toml")
    }

    fn for_people(session: &'s Session, command: &str) -> Self {
        let mut listening = Self::start(session, command);
        let line = listening.line();
        let url = line.strip_prefix("listening on ").map(str::to_owned);
        listening.url = url.unwrap_or_else(|| panic!("the first line is `{line}`"));
        listening
    }

    fn start(session: &'s Session, command: &str) -> Self {
        let mut child = session
            .shell(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self {
            session,
            command: command.to_owned(),
            child,
            lines,
            said: String::new(),
            url: String::new(),
        }
    }

    pub(crate) fn line(&mut self) -> String {
        let line = match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(_) => {
                let mut errors = String::new();
                let _ = self.child.kill();
                let stderr = self.child.stderr.take();
                stderr.unwrap().read_to_string(&mut errors).unwrap();
                panic!("`{}` prints no line: {errors}", self.command)
            }
        };
        self.said.push_str(&line);
        self.said.push('\n');
        line
    }

    pub(crate) fn object(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }

    /// The address, such as `127.0.0.1:4000`.
    pub(crate) fn address(&self) -> &str {
        let (_, address) = self.url.split_once("://").unwrap();
        address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal("-INT");
    }

    /// Sends a signal, such as `-TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let killed = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(killed.success());
    }

    /// Presses Ctrl-C. Returns all that was printed, and the exit code.
    pub(crate) fn stop(self) -> (String, Option<i32>) {
        self.interrupt();
        self.end()
    }

    /// Waits for the end of the command. Returns all that was printed, and the exit code.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let stderr = self.child.stderr.take().unwrap();
        stderr
            .take(1024 * 1024)
            .read_to_string(&mut self.said)
            .unwrap();
        let code = self.child.wait().unwrap().code();
        self.session.scan(&self.command, self.said.as_bytes());
        (std::mem::take(&mut self.said), code)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
