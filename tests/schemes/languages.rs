//! The signers of `guide::other_languages`: the files that the page shows sign a request, send
//! it to a server, and are accepted once; altered on the way, they are refused.

use std::{
    collections::BTreeSet, env, ffi::OsString, fs, net::SocketAddr, path::PathBuf, process::Command,
};

use axum::Router;
use countersign::{HttpMessageSignatures, MemoryStore, VerifyLayer};

use crate::{
    common::{self, Effects, KEY, SECRET, log},
    wire::{self, Wire},
};

#[path = "../../src/guide/other_languages/house.rs"]
mod house;

/// Method, path and query, and body of what is sent. One has no body, one has nothing at all, and
/// one has letters and escapes that a client might write in another way.
const REQUESTS: [(&str, &str, &str); 4] = [
    ("POST", "/transfer?to=alice&note=a%20b", r#"{"amount":5}"#),
    ("GET", "/orders/7?page=2", ""),
    ("DELETE", "", ""),
    ("PUT", "/%C3%A4/a+b%2Fc", r#"{"name":"Zoë 😂"}"#),
];

/// A change on the way: the first place that reads so, and what it reads then. A body keeps
/// its length.
const ALTERED: [(&str, &str); 12] = [
    ("POST ", "PUT "),
    ("DELETE ", "OPTIONS "),
    ("to=alice", "to=mallo"),
    ("/orders/7", "/orders/8"),
    ("page=2", "page=3"),
    ("a+b%2Fc", "a+b%2fc"),
    ("\"amount\":5", "\"amount\":6"),
    ("Zoë", "Zoee"),
    ("created=1", "created=2"),
    ("imestamp: 1", "imestamp: 2"),
    ("nonce=\"", "nonce=\"0"),
    ("once: ", "once: 0"),
];
/// The same of RFC 9421 alone: the house format does not cover the type of the body.
const ALTERED_TYPE: (&str, &str) = ("application/json", "application/yaml");

struct Language {
    name: &'static str,
    /// The interpreter of a program, and the question that shows whether it is installed.
    runs: &'static [&'static str],
    installed: &'static str,
    /// The names of its files.
    signers: [&'static str; 2],
}

const PYTHON: Language = Language {
    name: "Python",
    runs: &["python3"],
    installed: "--version",
    signers: ["rfc9421.py", "house.py"],
};
const NODE: Language = Language {
    name: "Node",
    runs: &["node"],
    installed: "--version",
    signers: ["rfc9421.mjs", "house.mjs"],
};
const CURL: Language = Language {
    name: "curl",
    runs: &["bash"],
    installed: "--version",
    signers: ["rfc9421.sh", "house.sh"],
};
const PHP: Language = Language {
    name: "PHP",
    runs: &["php"],
    installed: "--version",
    signers: ["rfc9421.php", "house.php"],
};
const RUBY: Language = Language {
    name: "Ruby",
    runs: &["ruby"],
    installed: "--version",
    signers: ["rfc9421.rb", "house.rb"],
};
const GO: Language = Language {
    name: "Go",
    runs: &["go", "run"],
    installed: "version",
    signers: ["rfc9421.go", "house.go"],
};
const JAVA: Language = Language {
    name: "Java",
    runs: &["java"],
    installed: "--version",
    signers: ["Rfc9421.java", "House.java"],
};
const LANGUAGES: [Language; 7] = [PYTHON, NODE, CURL, PHP, RUBY, GO, JAVA];

/// Returns where the page has its files.
fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "src/guide/other_languages"]
        .iter()
        .collect()
}

impl Language {
    fn is_installed(&self) -> bool {
        let found = Command::new(self.runs[0]).arg(self.installed).output();
        if found.is_err() {
            log::missing(self.name, &format!("`{}` is not installed", self.runs[0]));
        }
        found.is_ok()
    }

    /// Runs a signer, as its reader does.
    fn sign_and_send(&self, signer: &str, request: [&str; 3]) -> tokio::process::Command {
        let mut program = tokio::process::Command::new(self.runs[0]);
        program
            .args(&self.runs[1..])
            .arg(folder().join(signer))
            .args(request.into_iter().filter(|argument| !argument.is_empty()))
            .envs([("KEY_ID", KEY), ("SECRET", SECRET), ("LC_ALL", "C.UTF-8")])
            // A proxy of this machine is not for requests to the machine itself.
            .env("NO_PROXY", "*")
            .kill_on_drop(true);
        program
    }

    /// Each signer, with each request: refused once it was altered, accepted, and accepted once.
    async fn is_accepted_once_and_refused_when_altered(&self) {
        if !self.is_installed() {
            return;
        }
        let mut altered = BTreeSet::new();
        for (place, signer) in self.signers.into_iter().enumerate() {
            for (method, target, body) in REQUESTS {
                let effects = Effects::default();
                let wire = Wire::new().await;
                let origin = format!("http://{}", wire.addr());
                let server = common::serve(verified(place, &origin, &effects)).await;
                let url = format!("{origin}{target}");
                let what = format!("{signer}: {method} {url} {body}");

                let mut program = self.sign_and_send(signer, [method, &url, body]);
                let (output, request) = tokio::join!(program.output(), async {
                    let (request, client) = wire.receive().await.expect("a request");
                    altered.extend(altered_is_refused(&request, place, server, &what).await);
                    assert_eq!(effects.count(), 0, "{what}");
                    let passed = wire::pass(&request, client, server).await;
                    passed.expect("an answer");
                    request
                });
                let output = output.expect("a program that ran");
                let printed = String::from_utf8_lossy(&output.stdout);
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{what}: {printed}{said}");
                assert_eq!(printed, format!("{body}\n200\n"), "{what}: {said}");

                let replay = common::exchange(server, &closed(&request)).await;
                assert_eq!(replay, (409, "request_replayed".to_owned()), "{what}");
                assert_eq!(effects.count(), 1, "{what}");
            }
        }
        let all = ALTERED.map(|(from, _)| from).into_iter();
        assert_eq!(altered, all.chain([ALTERED_TYPE.0]).collect());
    }
}

/// Sends a request with each alteration that it has a place for, and returns those.
async fn altered_is_refused(
    request: &[u8],
    place: usize,
    server: SocketAddr,
    what: &str,
) -> Vec<&'static str> {
    let of_type = (place == 0).then_some(ALTERED_TYPE);
    let mut altered = Vec::new();
    for (from, to) in ALTERED.into_iter().chain(of_type) {
        if let Some(other) = replaced(request, from, to) {
            let (status, code) = common::exchange(server, &closed(&other)).await;
            let is_refused = status >= 400 && code.starts_with("signature_");
            assert!(is_refused, "{what}, with `{to}`: {status}, {code}");
            altered.push(from);
        }
    }
    altered
}

/// A server that verifies what the first or the second signer of a language signs.
fn verified(place: usize, origin: &str, effects: &Effects) -> Router {
    let layer = match place {
        0 => VerifyLayer::builder(HttpMessageSignatures::default()),
        _ => VerifyLayer::builder(house::scheme().expect("a description that is safe")),
    };
    let layer = layer
        .public_origin(origin)
        .keys(common::keys())
        .store(MemoryStore::new().danger_assume_no_history());
    common::echo(effects).layer(layer.build().expect("a configuration that is safe"))
}

/// A request with the first occurrence of a part replaced; `None` if it has no such part.
fn replaced(request: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    let place = request
        .windows(from.len())
        .position(|window| window == from.as_bytes())?;
    let mut other = request.to_vec();
    other.splice(place..place + from.len(), to.bytes());
    Some(other)
}

/// The same request, after which the server closes the connection.
fn closed(request: &[u8]) -> Vec<u8> {
    replaced(request, "\r\n", "\r\nconnection: close\r\n").expect("a request with a head")
}

#[tokio::test]
async fn what_python_signs_is_accepted_once_and_refused_when_altered() {
    PYTHON.is_accepted_once_and_refused_when_altered().await;
}

#[tokio::test]
async fn what_node_signs_is_accepted_once_and_refused_when_altered() {
    NODE.is_accepted_once_and_refused_when_altered().await;
}

#[tokio::test]
async fn what_curl_sends_is_accepted_once_and_refused_when_altered() {
    CURL.is_accepted_once_and_refused_when_altered().await;
}

#[tokio::test]
async fn what_php_signs_is_accepted_once_and_refused_when_altered() {
    PHP.is_accepted_once_and_refused_when_altered().await;
}

#[tokio::test]
async fn what_ruby_signs_is_accepted_once_and_refused_when_altered() {
    RUBY.is_accepted_once_and_refused_when_altered().await;
}

/// Their compilers are large: `tests/long.sh languages` installs them, and sets the variable.
#[tokio::test]
async fn what_go_and_java_sign_is_accepted_once_and_refused_when_altered() {
    if env::var_os("COUNTERSIGN_CASES").is_none() {
        return log::skipped("Go and Java", "`tests/long.sh languages` runs them");
    }
    GO.is_accepted_once_and_refused_when_altered().await;
    JAVA.is_accepted_once_and_refused_when_altered().await;
}

#[test]
fn each_file_of_the_page_is_shown_and_run() {
    let page = fs::read_to_string(folder().join("mod.rs")).unwrap();
    let signers = LANGUAGES.iter().flat_map(|language| language.signers);
    let run: BTreeSet<_> = signers.chain(["house.rs"]).map(OsString::from).collect();
    let files = fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().file_name());
    let programs = files.filter(|name| name != "mod.rs" && name != "page.md");
    assert_eq!(programs.collect::<BTreeSet<_>>(), run);
    for name in run {
        let included = format!("include_str!({name:?})");
        assert!(page.contains(&included), "{name:?} is not on the page");
    }
}
