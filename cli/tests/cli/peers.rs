//! The packages of senders, in their own languages, deliver to `countersign listen`.

use std::{
    env,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{listening::Listening, session::Session};

const TEXT: &str = "a secret of this test alone, for senders";
const WHSEC: &str = "whsec_YSBzZWNyZXQgb2YgdGhpcyB0ZXN0IGFsb25l";

/// The program that runs the script, unless it is not installed; `tests/run.sh` installs it.
pub(crate) fn program(language: &str) -> Option<(String, &'static str)> {
    let (variable, script) = match language {
        "python" => ("COUNTERSIGN_PEERS_PYTHON", "senders.py"),
        _ => ("COUNTERSIGN_PEERS_NODE_PATH", "senders.mjs"),
    };
    match env::var(variable) {
        Ok(path) if language == "python" => Some((path, script)),
        Ok(_) => Some(("node".to_owned(), script)),
        Err(_) => {
            assert!(
                env::var_os("COUNTERSIGN_NO_SKIP").is_none(),
                "{variable} is not set"
            );
            eprintln!("skipped: {variable} is not set");
            None
        }
    }
}

/// Has the script send the deliveries; what it says about each answer.
fn deliver(program: &str, script: &str, deliveries: &[Value]) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers");
    let secrets = json!({
        "github": TEXT, "slack": TEXT, "standardwebhooks": WHSEC, "stripe": TEXT, "twilio": TEXT,
    });
    let mut child = Command::new(program)
        .arg(folder.join(script))
        .arg(secrets.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = child.stdin.take().unwrap();
    for delivery in deliveries {
        writeln!(questions, "{delivery}").unwrap();
    }
    drop(questions);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // The first line is about the script's own server.
    let answers = said.lines().skip(1);
    answers
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn packages_of_senders_are_verified() {
    let session = Session::new();
    session.secret("text", TEXT);
    session.secret("whsec", WHSEC);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (language, senders) in [
        (
            "python",
            ["slack", "standardwebhooks", "stripe", "twilio"].as_slice(),
        ),
        ("node", &["github", "standardwebhooks", "stripe"]),
    ] {
        let Some((program, script)) = program(language) else {
            continue;
        };
        let mut listening = Vec::new();
        let mut deliveries = Vec::new();
        for sender in senders {
            let (scheme, secret) = match *sender {
                "standardwebhooks" => ("standard-webhooks", "whsec"),
                sender => (sender, "text"),
            };
            let mut arguments = format!("{scheme} --secret-file {secret}");
            if *sender == "twilio" {
                // Twilio signs the URL, which has the port.
                let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let address = port.local_addr().unwrap();
                arguments += &format!(" --addr {address} --origin http://{address}");
            }
            let one = Listening::json(&session, &arguments);
            let (content_type, body) = match *sender {
                "twilio" => (
                    "application/x-www-form-urlencoded",
                    "Body=caf%C3%A9+1&From=%2B1",
                ),
                _ => (
                    "application/json",
                    "{\"id\": \"evt_1\", \"event_id\": \"Ev1\", \"caf\u{e9}\": 1.50}",
                ),
            };
            deliveries.push(json!({
                "sender": sender, "url": format!("{}/hooks?a=1", one.url), "id": "msg_1",
                "time": now.as_secs(), "body": body, "content_type": content_type,
            }));
            listening.push((sender, one));
        }
        let answers = deliver(&program, script, &deliveries);
        for ((sender, mut one), answer) in listening.into_iter().zip(answers) {
            let object = one.object();
            assert_eq!(object["verified"], true, "{language}, {sender}: {object}");
            assert_eq!(answer["status"], 200, "{language}, {sender}: {answer}");
            one.stop();
        }
    }
}
