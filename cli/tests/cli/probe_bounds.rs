//! `countersign probe` believes bounded answers, and goes only where it was sent.

use std::thread;

use serde_json::Value;

use crate::{
    probe::{ids, probe, request, write_schemes},
    probed::Probed,
    round_trip::{body_for, keygen, schemes},
    session::Session,
    upstream::Upstream,
};

/// An endpoint whose answers say nothing about what it did: no finding is more than a suspicion.
#[test]
fn without_a_state_nothing_is_proven() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let command = request(server.address, "/fault/has-then-add", "");
    let (before, after) = command.split_once("--effect '").unwrap();
    let (_, after) = after.split_once("' ").unwrap();
    let report = probe(&session, &format!("full.toml {before}{after}"));
    assert_eq!(ids(&report), ["race"]);
    assert_eq!(report["findings"][0]["verdict"], "suspect");
    assert!(report["findings"][0]["effects"].is_null());
    // Answers that this condition does not take for accepted are none.
    let output = session.output(&format!(
        "countersign probe --secret-file secret --accepted-if 'header:x-done: yes' full.toml {before}{after}"
    ));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("see --accepted-if"), "{said}");
}

/// The options of a probe of the route, with this state to read.
fn with_state(server: &Probed, route: &str, state: &str, more: &str) -> String {
    let command = request(server.address, route, more);
    let (before, after) = command.split_once("--effect '").unwrap();
    let (_, after) = after.split_once("' ").unwrap();
    let state = format!("--effect 'GET http://{}{state}'", server.address);
    format!("{before}{state} {after}")
}

/// A clock in the answer of --effect is no effect: the probe refuses to count by it, unless it is
/// pointed at the rest.
#[test]
fn a_state_that_changes_by_itself_is_refused() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let command = with_state(
        &server,
        "/mended/event",
        "/clock/{uuid}",
        "--check altered-body",
    );
    let command = format!("countersign probe --secret-file secret event.toml {command}");
    let said = session.run(&command);
    assert!(said.contains("changes by itself"), "{said}");
    assert!(said.contains("(exit code 3)"), "{said}");
    let pointed = command.replace("--check", "--effect-json /effects --check");
    let said = session.run(&pointed);
    assert!(said.contains("Nothing was found"), "{said}");
}

/// Clean servers that look otherwise to who reads too early, too seldom or too late.
#[test]
fn clean_servers_are_not_accused() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let of_event = |route: &str, checks: &str| request(server.address, route, checks);
    let at_once = [
        (
            "an effect comes in two steps",
            "full",
            of_event("/mended/steps", "--check replay --check race"),
        ),
        (
            "somebody else changes the state while the probe waits",
            "full",
            with_state(
                &server,
                "/mended/has-then-add",
                "/shared/{uuid}",
                "--check window-memory --wait --max-age 6",
            ),
        ),
        (
            "an edge of the window is reached late",
            "full",
            of_event(
                "/mended/symmetric",
                "--check time-future --max-age 10 --rate 2",
            ),
        ),
        (
            "the server's clock is slow",
            "full",
            of_event("/mended/slow-clock", "--check time-stale --max-age 10"),
        ),
        (
            "the identifier in the path means nothing",
            "no-path",
            of_event("/mended/path-ignored/{uuid}", "--check path-identity"),
        ),
    ];
    let is_clean = |(what, scheme, command): &(&str, &str, String)| {
        let report = probe(&session, &format!("{scheme}.toml {command}"));
        assert_eq!(ids(&report), Vec::<String>::new(), "{what}: {report:#}");
        report["checks"][0]["outcome"].as_str().unwrap().to_owned()
    };
    thread::scope(|scope| {
        for one in &at_once {
            scope.spawn(|| assert_ne!(is_clean(one), "not-applicable", "{}", one.0));
        }
    });
    // The state of all is read alone.
    let of_all = |route: &str, checks: &str| with_state(&server, route, "/all", checks);
    let late = (
        "the effect of a control request comes late",
        "full",
        of_all(
            "/mended/later",
            "--check altered-body --check altered-query",
        ),
    );
    assert_eq!(is_clean(&late), "clean");
    // Without the state of one event, nothing is told of the path.
    let untold = (
        "no state tells whose it is",
        "no-path",
        of_all("/mended/path-ignored/{uuid}", "--check path-identity"),
    );
    assert_eq!(is_clean(&untold), "not-applicable");
}

/// Findings are kept if the budget ends before all is done.
#[test]
fn a_budget_that_ends_keeps_what_was_found() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    for (route, check, requests) in [
        ("optional", "signature-missing", 3),
        // This route remembers nothing, so one round is enough.
        ("later", "race", 1 + 8),
    ] {
        let command = request(
            server.address,
            &format!("/fault/{route}"),
            &format!("--check {check}"),
        );
        let (before, after) = command.split_once("--effect '").unwrap();
        let (_, after) = after.split_once("' ").unwrap();
        let output = session.output(&format!(
            "countersign probe --json --secret-file secret --max-requests {requests} full.toml \
             {before}{after}"
        ));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ended"], "--max-requests were sent");
        assert_eq!(ids(&report), [check], "{report:#}");
        assert_eq!(report["checks"][0]["outcome"], "found");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// Effects that come after the answer are waited for, and are not taken for those of the next request.
#[test]
fn late_effects_are_waited_for() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let checks = "--check replay --check race --check event-race --check altered-body --rounds 2";
    for (route, found) in [("/mended/later", vec![]), ("/fault/later", vec!["replay"])] {
        let command = request(server.address, route, checks);
        let command = format!("--json --secret-file secret full.toml {command}");
        let output = session.output(&format!("countersign probe {command}"));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(ids(&report), found, "{report:#}");
        let note = report["notes"][0].as_str().unwrap();
        assert!(note.contains("changes late"), "{note}");
        for finding in report["findings"].as_array().unwrap() {
            assert_eq!(finding["verdict"], "proven", "{finding:#}");
        }
    }
}

#[test]
fn only_allowed_hosts_are_probed() {
    let session = Session::new();
    write_schemes(&session);
    session.file(
        "api.yaml",
        "openapi: 3.0.0\nservers: [{url: 'http://192.0.2.1'}]\npaths: {/a: {get: {}}}\n",
    );
    let at = "--secret-file secret --max-time 1 no-time.toml";
    for command in [
        format!("{at} POST http://192.0.2.1/"),
        format!("{at} POST http://0.0.0.0:9/"),
        format!("{at} --effect 'GET http://192.0.2.1/' POST http://127.0.0.1:9/"),
        format!("{at} --openapi api.yaml"),
        format!("{at} --openapi http://192.0.2.1/api.json"),
        format!("{at} --i-am-allowed-to-test 192.0.2.2 POST http://192.0.2.1/"),
    ] {
        let said = session.run(&format!("countersign probe {command}"));
        assert!(
            said.contains("is not this machine") && said.contains("(exit code 2)"),
            "{said}"
        );
    }
    // A host that is allowed is tried: nobody listens there.
    let said = session.run(&format!(
        "countersign probe {at} --timeout 1 --i-am-allowed-to-test 0.0.0.0 POST http://0.0.0.0:9/"
    ));
    let is_tried = said.contains("A valid request is not accepted: Connection refused");
    assert!(is_tried && said.contains("(exit code 3)"), "{said}");
}

#[test]
fn a_refused_request_is_explained() {
    let session = Session::new();
    write_schemes(&session);
    for (answer, help) in [
        (
            "HTTP/1.1 301 x\r\nLocation: /a/\r\nContent-Length: 0\r\n\r\n",
            "follows no redirect",
        ),
        (
            "HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n",
            "@csrf_exempt",
        ),
        ("HTTP/1.1 409 x\r\nContent-Length: 0\r\n\r\n", "put {uuid}"),
        (
            "HTTP/1.1 401 x\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
            "01 Jan 2024",
        ),
    ] {
        let upstream = Upstream::start(answer);
        let said = session.run(&format!(
            "countersign probe --secret-file secret no-time.toml --data x POST {}/a",
            upstream.url
        ));
        assert!(
            said.contains(help) && said.contains("signed message"),
            "{said}"
        );
        assert!(said.contains("(exit code 1)"), "{said}");
        assert_eq!(upstream.seen().len(), 1);
    }
}

/// The probe knows every scheme by name: its first request is one that the scheme verifies.
#[test]
fn every_scheme_signs_the_first_request_of_a_probe() {
    let session = Session::new();
    for scheme in schemes(&session) {
        keygen(&session, &scheme);
        let (content_type, body) = body_for(&scheme);
        let body = body.replace("1700000000", "{now}");
        let key = match scheme.as_str() {
            "http-message-signatures" => "--key-id partner-1",
            _ => "",
        };
        let upstream = Upstream::start("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n");
        let said = session.run(&format!(
            "countersign probe {scheme} {key} --secret-file {scheme}.secret -H 'content-type: \
             {content_type}' --data '{body}' POST {}/hooks",
            upstream.url
        ));
        assert!(said.contains("(exit code 1)"), "{scheme}: {said}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1, "{scheme}: {said}");
        let request = [seen[0].head.as_bytes(), &seen[0].body].concat();
        session.file("request", request);
        let verified = session.run(&format!(
            "countersign verify {scheme} --secret-file {scheme}.secret --origin {} request",
            upstream.url
        ));
        assert!(verified.contains("\nverified\n"), "{scheme}: {verified}");
    }
}
