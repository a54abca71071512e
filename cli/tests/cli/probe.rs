//! `countersign probe`: planted faults are found under their ids, and their mended twins are clean.

use std::{env, net::SocketAddr, thread};

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

/// Returns how often each twin is probed.
fn times() -> usize {
    env::var("COUNTERSIGN_CASES").map_or(2, |cases| cases.parse().unwrap())
}

/// The report of a probe that did all that it was to do.
pub(crate) fn probe(session: &Session, command: &str) -> Value {
    probed(session, command).unwrap_or_else(|why| panic!("{why}"))
}

/// The same; or why the probe ended before.
fn probed(session: &Session, command: &str) -> Result<Value, String> {
    let rate = match command.contains("--rate") {
        true => "",
        false => "--rate 100000",
    };
    // A race that was found ends with the second sighting: only a clean server takes all rounds.
    let rounds = match command.contains("/fault/") {
        true => "",
        false => "--rounds 4",
    };
    let output = session.output(&format!(
        "countersign probe --json --secret-file secret {rate} {rounds} {command}"
    ));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_str(said.trim()).map_err(|_| format!("`{command}`: {said}{errors}"))?;
    match report["ended"].is_null() {
        true => Ok(report),
        false => Err(format!("`{command}` ended: {}", report["ended"])),
    }
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

/// Repetitions in which a mended twin is probed with all checks; in more of them, with the one of its
/// fault.
const WITH_ALL: usize = 2;

impl Fault {
    /// Returns whether it is found under its id, and proven if a state can tell.
    fn is_found(&self, session: &Session, address: SocketAddr) -> Result<(), String> {
        let Self(name, scheme, id, more) = self;
        let command = request(
            address,
            &format!("/fault/{name}"),
            &format!("{more} --check {id}"),
        );
        let report = probed(session, &format!("{scheme}.toml {command}"))?;
        let mut findings = report["findings"].as_array().unwrap().iter();
        let Some(finding) = findings.find(|finding| finding["id"] == *id) else {
            return Err(format!("fault: {:?} {}", ids(&report), report["checks"]));
        };
        // The state says nothing about what is open, and of slowness.
        let is_told = finding["severity"] != "info" && finding["severity"] != "low";
        match (finding["verdict"].as_str(), is_told) {
            (Some("proven"), true) | (Some("suspect"), false) => Ok(()),
            _ => Err(format!("fault: {finding:#}")),
        }
    }

    /// Returns whether its mended twin is clean.
    fn is_mended(&self, session: &Session, address: SocketAddr, at: usize) -> Result<(), String> {
        let Self(name, scheme, id, more) = self;
        let is_open = id.starts_with("uncovered");
        let scheme = if is_open { "full" } else { scheme };
        let more = match (at < WITH_ALL, *id) {
            (false, _) => format!("{more} --check {id}"),
            // Half a minute, in which nothing is learnt of this fault.
            (true, "window-memory") => format!("{more} --skip slow-body"),
            (true, _) => (*more).to_owned(),
        };
        let command = request(address, &format!("/mended/{name}"), &more);
        let report = probed(session, &format!("{scheme}.toml {command}"))?;
        let said = ids(&report);
        match said
            .iter()
            .all(|id| id.starts_with("uncovered") && scheme != "full")
        {
            true => Ok(()),
            false => Err(format!("mended: {}", report["findings"])),
        }
    }
}

/// Each fault is found under its id, and its mended twin is clean. If there are many repetitions, some
/// faults are tried at once: most of the time is spent waiting. All are tried, also after one was missed.
pub(crate) fn are_told_apart(session: &Session, address: SocketAddr, faults: &[Fault]) {
    write_schemes(session);
    let lanes = if times() > WITH_ALL { 3 } else { 1 };
    let missed: usize = thread::scope(|scope| {
        let lanes = faults.chunks(faults.len().div_ceil(lanes));
        let lanes: Vec<_> = lanes
            .map(|lane| {
                let is_missed = |fault: &&Fault| !is_told_apart(session, [address; 2], fault);
                scope.spawn(move || lane.iter().filter(is_missed).count())
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert_eq!(
        missed, 0,
        "faults that are missed, or whose twins are accused"
    );
}

/// The same of one fault, and where it and its twin are.
fn is_told_apart(session: &Session, [at_fault, at_twin]: [SocketAddr; 2], fault: &Fault) -> bool {
    let Fault(name, _, id, _) = fault;
    let (mut found, mut clean) = (0, 0);
    for at in 0..times() {
        let (fault, twin) = thread::scope(|scope| {
            let twin = scope.spawn(|| fault.is_mended(session, at_twin, at));
            (fault.is_found(session, at_fault), twin.join().unwrap())
        });
        found += usize::from(fault.is_ok());
        clean += usize::from(twin.is_ok());
        for why in fault.err().into_iter().chain(twin.err()) {
            eprintln!("{name}: {id}: {why}");
        }
    }
    eprintln!(
        "{name}: {id} found {found} of {0}, clean {clean} of {0}",
        times()
    );
    found * 100 >= times() * 99 && clean == times()
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
    // Two workers share their effects, and not their memory. Each probe has a balancer to itself,
    // which hands its requests out in turn.
    let workers = || balanced(vec![one.address, other.address]);
    let fault = Fault("workers", "full", "replay", "");
    assert!(is_told_apart(&session, [workers(), workers()], &fault));
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
            "--wait --max-age 6",
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
        Fault("loose-time", "full", "time-malformed", ""),
    ];
    are_told_apart(&session, server.address, &faults);
}
