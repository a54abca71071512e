//! `countersign probe`: planted faults are found under their ids, and their mended twins are clean.

use std::{env, net::SocketAddr};

use serde_json::Value;

use crate::{
    probed::{Probed, balanced},
    session::Session,
};

/// Schemes that the probed servers verify, as files.
const SCHEMES: [(&str, &str); 6] = [
    (
        "full",
        r#"["method", "authority", "path-and-query", "time", "nonce", { header = "content-type" }, "body"]"#,
    ),
    ("no-path", r#"["time", "nonce", "body"]"#),
    ("no-time", r#"["nonce", "body"]"#),
    (
        "sorted",
        r#"["method", "path", "time", "nonce", { canonical-body = "python-compact" }]"#,
    ),
    ("body", r#"[{ canonical-body = "python-compact" }]"#),
    ("event", r#"["time", "nonce", "body"]"#),
];

pub(crate) fn write_schemes(session: &Session) {
    for (name, signs) in SCHEMES {
        let has = |part: &str| signs.contains(&format!("\"{part}\""));
        let mut file = format!(
            "kind = \"header\"\nsignature = \"x-signature\"\nfixed-key-id = \"probe\"\nsigns = {signs}\n"
        );
        if signs.contains(',') {
            file += "join = \"\\n\"\n";
        }
        match has("time") {
            true => file += "time = \"x-timestamp\"\n",
            false => file += "danger-without-time = 86400\n",
        }
        match name {
            "event" => file += "event-id = \"x-event-id\"\n",
            _ if has("nonce") => file += "nonce = \"x-nonce\"\n",
            _ => {}
        }
        session.file(&format!("{name}.toml"), file);
    }
}

/// A planted fault: its route, the scheme, the id under which it is found, and more options.
pub(crate) struct Fault(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

/// How often each twin is probed.
fn times() -> usize {
    env::var("COUNTERSIGN_CASES").map_or(2, |cases| cases.parse().unwrap())
}

pub(crate) fn probe(session: &Session, command: &str) -> Value {
    let output = session.output(&format!(
        "countersign probe --json --secret-file secret --rate 100000 --rounds 4 {command}"
    ));
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_str(said.trim()).unwrap_or_else(|_| panic!("`{command}`: {said}{errors}"));
    assert!(
        report["ended"].is_null(),
        "`{command}`: {}",
        report["ended"]
    );
    report
}

pub(crate) fn ids(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["id"].as_str().unwrap().to_owned())
        .collect()
}

/// The command line without the scheme.
pub(crate) fn request(address: SocketAddr, route: &str, more: &str) -> String {
    let path = match route.contains("{") {
        true => String::new(),
        false => "?v=1".to_owned(),
    };
    format!(
        "--data '{{\"amount\":10,\"id\":\"{{uuid}}\"}}' -H 'content-type: application/json' \
         --effect 'GET http://{address}/effects/{{uuid}}' {more} POST 'http://{address}{route}{path}'"
    )
}

/// Each fault is found under its id, and its mended twin is clean.
pub(crate) fn are_told_apart(session: &Session, address: SocketAddr, faults: &[Fault]) {
    write_schemes(session);
    for Fault(name, scheme, id, more) in faults {
        let (mut found, mut clean) = (0, 0);
        let mut wrong = Vec::new();
        for _ in 0..times() {
            let more_of_fault = format!("{more} --check {id}");
            let command = request(address, &format!("/fault/{name}"), &more_of_fault);
            let report = probe(session, &format!("{scheme}.toml {command}"));
            let finding = report["findings"].as_array().unwrap().iter();
            let finding = finding.clone().find(|finding| finding["id"] == *id);
            match finding {
                Some(finding) => {
                    found += 1;
                    let verdict = match finding["severity"] == "info" {
                        true => "suspect",
                        false => "proven",
                    };
                    assert_eq!(finding["verdict"], verdict, "{name}: {finding:#}");
                }
                None => wrong.push(format!("fault: {:?} {}", ids(&report), report["checks"])),
            }
            let info = finding.is_some_and(|finding| finding["severity"] == "info");
            let scheme = if info { "full" } else { scheme };
            // Half a minute, in which nothing is learnt of this fault.
            let more = more.replace("--wait", "--wait --skip slow-body");
            let command = request(address, &format!("/mended/{name}"), &more);
            let report = probe(session, &format!("{scheme}.toml {command}"));
            let said = ids(&report);
            let said: Vec<_> = said
                .iter()
                .filter(|id| !id.starts_with("uncovered"))
                .collect();
            match said.is_empty() && (scheme != "full" || ids(&report).is_empty()) {
                true => clean += 1,
                false => wrong.push(format!("mended: {}", report["findings"])),
            }
        }
        eprintln!(
            "{name}: {id} found {found} of {0}, clean {clean} of {0}",
            times()
        );
        assert!(found * 100 >= times() * 99, "{name}: {wrong:#?}");
        assert_eq!(clean, times(), "{name}: {wrong:#?}");
    }
}

#[test]
fn faults_of_fastapi_are_found() {
    let session = Session::new();
    let (Some(one), Some(other)) = (
        Probed::start(&session, "fastapi_app.py"),
        Probed::start(&session, "fastapi_app.py"),
    ) else {
        return;
    };
    let faults = [
        Fault("no-memory", "full", "replay", ""),
        Fault("body-only", "body", "uncovered-parts", ""),
        Fault("server-clock", "full", "time-stale", ""),
        Fault(
            "unsigned-time",
            "no-time",
            "uncovered-time",
            "-H 'x-timestamp: {now}'",
        ),
        Fault("reserialised", "full", "json-rewritten", ""),
        Fault("duplicate-keys", "sorted", "json-duplicate-keys", ""),
        Fault("path-id/{uuid}", "no-path", "path-identity", ""),
        Fault("fallback", "full", "unsigned-way", ""),
    ];
    are_told_apart(&session, one.address, &faults);
    // The memory of one worker is not the other's; effects are.
    let workers = balanced(vec![one.address, other.address]);
    let fault = Fault("workers", "full", "replay", "");
    are_told_apart(&session, workers, &[fault]);
}

#[test]
fn faults_of_django_are_found() {
    let session = Session::new();
    let Some(server) = Probed::start(&session, "django_app.py") else {
        return;
    };
    let faults = [
        Fault("get-then-set", "full", "race", ""),
        Fault("flag-cleared", "full", "replay", ""),
        Fault("no-window", "full", "time-stale", ""),
        Fault("path-not-covered", "no-path", "uncovered-parts", ""),
        Fault("evicting", "full", "replay-after-others", ""),
        Fault("status-checked", "full", "event-race", ""),
        Fault(
            "short-memory",
            "full",
            "window-memory",
            "--wait --max-age 4",
        ),
    ];
    are_told_apart(&session, server.address, &faults);
}

#[test]
fn faults_of_express_are_found() {
    let session = Session::new();
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let faults = [
        Fault("has-then-add", "full", "race", ""),
        Fault("prefix", "full", "signature-truncated", ""),
        Fault("signature-text", "full", "replay-respelled", ""),
        Fault("optional", "full", "signature-missing", ""),
        Fault("stringified", "full", "json-rewritten", ""),
        Fault("given-back", "full", "replay-after-error", ""),
        Fault("event", "event", "event-signed-again", ""),
    ];
    are_told_apart(&session, server.address, &faults);
}
