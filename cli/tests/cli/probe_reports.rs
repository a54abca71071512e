//! The reports that `countersign probe` writes, and the sources of its requests.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    browser::Browser,
    probe::{ids, probe, request, write_schemes},
    probed::Probed,
    session::Session,
};

/// The reports to files, of a run that finds something: SARIF against its schema, JUnit, and the page
/// in a browser.
#[test]
fn reports_are_valid_and_the_page_is_shown_and_printed() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let reports = "--sarif r.sarif --junit r.xml --html r.html";
    let command = request(server.address, "/fault/has-then-add", reports);
    let report = probe(&session, &format!("full.toml {command}"));
    assert_eq!(ids(&report), ["race"]);
    let finding = &report["findings"][0];
    for member in [
        "severity",
        "verdict",
        "cwe",
        "owasp",
        "what",
        "sent",
        "accepted",
        "effects",
        "gain",
        "reproduce",
    ] {
        assert!(!finding[member].is_null(), "{member}");
    }
    for mend in ["general", "django", "fastapi", "express", "axum"] {
        assert!(!finding["mend"][mend].is_null(), "{mend}");
    }
    // The line that reproduces it does, and the result is the same to who compares reports.
    let again = finding["reproduce"].as_str().unwrap();
    let output = session.output(&format!("{again} --sarif again.sarif"));
    assert_eq!(output.status.code(), Some(1), "{again}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("[race, proven]"));
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(
        warned.contains("real requests with real effects"),
        "{warned}"
    );
    let mild = session.output(&format!("{again} --fail-on critical"));
    assert_eq!(mild.status.code(), Some(0), "{again}");

    let read = |name: &str| std::fs::read_to_string(session.path().join(name)).unwrap();
    let log: Value = serde_json::from_str(&read("r.sarif")).unwrap();
    assert_eq!(log["runs"][0]["results"][0]["ruleId"], "race");
    let other: Value = serde_json::from_str(&read("again.sarif")).unwrap();
    let of = "/runs/0/results/0/partialFingerprints";
    assert!(
        log.pointer(of)
            .is_some_and(|of| !of.as_object().unwrap().is_empty())
    );
    assert_eq!(log.pointer(of), other.pointer(of));
    assert_eq!(sarif_errors(&log), Vec::<String>::new());
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["place"] = "here".into();
    assert_eq!(sarif_errors(&wrong).len(), 1);
    let junit = read("r.xml");
    for part in [
        "failures=\"1\"",
        "type=\"proven\"",
        "Again: countersign probe ",
    ] {
        assert!(junit.contains(part), "{part}: {junit}");
    }
    block_on(shown(&session.path().join("r.html")));
}

/// Returns what is wrong with a log, by the schema of SARIF 2.1.0.
pub(crate) fn sarif_errors(log: &Value) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/sarif.mjs");
    let mut child = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{log}").unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn shown(page: &Path) {
    let Some(browser) = Browser::start(false).await else {
        return;
    };
    browser.open(page).await;
    assert_eq!(
        browser.text(".finding h2").await,
        "Copies at the same moment act several times"
    );
    let bars = browser
        .script("return document.querySelectorAll('.finding svg rect').length")
        .await;
    assert_eq!(bars, 8);
    let colour = "return getComputedStyle(document.querySelector('.finding.high')).borderLeftColor";
    assert_eq!(browser.script(colour).await, "rgb(168, 34, 26)");
    // The length of each bar shows the time of its request, to scale.
    let scale = "const bars = [...document.querySelectorAll('.finding svg rect')].map(bar => {
            const [left, answered] = bar.textContent.match(/\\d+/g).map(Number);
            return bar.width.baseVal.value / (answered - left);
        });
        return Math.max(...bars) / Math.min(...bars);";
    let scale = browser.script(scale).await.as_f64().unwrap();
    assert!((1.0..1.2).contains(&scale), "{scale}");
    let loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    assert_eq!(browser.script(loaded).await, serde_json::json!([]));
    assert_eq!(browser.script("return document.scripts.length").await, 0);
    let wide = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.script(wide).await, true);
    assert_eq!(browser.console().await, Vec::<String>::new());
    browser.picture("probe").await;
    let printed = browser.client.print(Default::default()).await.unwrap();
    assert!(
        printed.starts_with(b"%PDF") && printed.len() > 10_000,
        "{}",
        printed.len()
    );
    // The twin: a script in the page is refused by the page itself, and the console says so.
    let other = page.with_file_name("script.html");
    let scripted = std::fs::read_to_string(page).unwrap();
    std::fs::write(&other, format!("{scripted}<script>nothing()</script>")).unwrap();
    browser.open(&other).await;
    let said = browser.console().await.join("\n");
    assert!(said.contains("Content Security Policy"), "{said}");
    browser.end().await;
}

/// Secrets in headers are in no report, although the requests that carry them are shown.
#[test]
fn reports_hold_no_secrets_of_headers() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let secrets = [
        "bearer-of-this-test",
        "cookie-of-this-test",
        "reader-of-this-test",
    ];
    let [bearer, cookie, reader] = secrets;
    let more = format!(
        "-H 'authorization: Bearer {bearer}' -H 'cookie: a={cookie}' \
         --effect-header 'authorization: Bearer {reader}' --check race --sarif r.sarif --junit r.xml \
         --html r.html"
    );
    let command = request(server.address, "/fault/has-then-add", &more);
    for format in ["--json", ""] {
        let output = session.output(&format!(
            "countersign probe {format} --secret-file secret full.toml {command}"
        ));
        let said = String::from_utf8(output.stdout).unwrap();
        let read = |name: &str| std::fs::read_to_string(session.path().join(name)).unwrap();
        let files = ["r.sarif", "r.xml", "r.html"].map(read).concat();
        for secret in secrets {
            assert!(
                !said.contains(secret) && !files.contains(secret),
                "{secret}"
            );
        }
        assert!(said.contains("$AUTHORIZATION"), "{said}");
        assert!(files.contains("authorization: ***"), "{files}");
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[test]
fn operations_of_a_document_are_probed() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "fastapi_app.py") else {
        return;
    };
    let at = format!("http://{}", server.address);
    session.file(
        "api.yaml",
        format!(
            "openapi: 3.1.0
servers: [{{url: '{at}'}}]
paths:
  /mended/no-memory: {{post: {{operationId: good, requestBody: &body {{content: {{application/json:
    {{schema: {{type: object, properties: {{amount: {{type: integer}}, id: {{format: uuid}}}}}}}}}}}}}}}}
  /fault/no-memory: {{post: {{operationId: bad, requestBody: *body}}}}
  /effects/{{of}}: {{get: {{parameters: [{{name: of, in: path, example: a}}]}}}}
  /unsaid/{{of}}: {{get: {{parameters: [{{$ref: '#/nowhere'}}]}}}}
"
        ),
    );
    let of = "countersign probe --json --secret-file secret --rate 100000 --rounds 2 full.toml";
    let effect = format!("--effect 'GET {at}/effects/{{uuid}}'");
    let output = session.output(&format!(
        "{of} {effect} --openapi api.yaml --allow-writes --operation good --operation bad \
         --check replay --sarif all.sarif"
    ));
    let said = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 2, "{said}");
    for report in &reports {
        let is_bad = report["target"].as_str().unwrap().contains("/fault/");
        assert_eq!(ids(report), if is_bad { vec!["replay"] } else { vec![] });
    }
    let log: Value =
        serde_json::from_slice(&std::fs::read(session.path().join("all.sarif")).unwrap()).unwrap();
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 1);
    assert_eq!(sarif_errors(&log), Vec::<String>::new());
    let said = session.run(&format!("{of} --openapi api.yaml --operation bad"));
    assert!(
        said.contains("(--allow-writes probes them): POST /fault/no-memory.")
            && said.contains("exit code 2"),
        "{said}"
    );
    // Each report that has notes names the operations that were left out.
    let of_all = "-H 'content-type: application/json' --check replay --openapi api.yaml";
    let reports = session
        .output(&format!(
            "{of} {of_all} --html all.html --sarif all.sarif --junit all.xml"
        ))
        .stdout;
    let report: Value = serde_json::from_slice(&reports).unwrap();
    let left_out = [
        "Operations that write were left out (--allow-writes probes them): \
         POST /fault/no-memory, POST /mended/no-memory.",
        "Operations whose requests cannot be made were left out (a reference may lead nowhere): \
         GET /unsaid/{of}.",
    ];
    assert_eq!(report["notes"], serde_json::json!(left_out), "{report:#}");
    let said = session.run(&format!("{of} {of_all}").replace("--json ", ""));
    let read = |name: &str| std::fs::read_to_string(session.path().join(name)).unwrap();
    let log: Value = serde_json::from_str(&read("all.sarif")).unwrap();
    assert_eq!(sarif_errors(&log), Vec::<String>::new());
    let places = [said, read("all.html"), read("all.xml"), log.to_string()];
    for (place, left_out) in places.iter().flat_map(|it| left_out.map(|left| (it, left))) {
        assert!(place.contains(left_out), "{place}");
    }
    // FastAPI writes a document of its own.
    let said = session.run(&format!(
        "{of} --openapi {at}/openapi.json --path '/fault/path-id/{{of}}'"
    ));
    assert!(said.contains("--allow-writes"), "{said}");
}

/// The reports of a pipeline say so if one of several operations could not be probed, and the exit
/// code does too.
#[test]
fn an_operation_that_cannot_be_probed_is_in_every_report() {
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "fastapi_app.py") else {
        return;
    };
    session.file(
        "no-colon.toml",
        "kind = \"header\"\nsignature = \"x-signature\"\nfixed-key-id = \"partner\"\n\
         time = \"x-time\"\njoin = \":\"\n\
         signs = [\"method\", { path-without = \":\" }, \"time\", \"body\"]\n",
    );
    session.file(
        "api.yaml",
        format!(
            "openapi: 3.1.0
servers: [{{url: 'http://{}'}}]
paths:
  /effects/a:b: {{get: {{operationId: unsignable}}}}
  /effects/b: {{get: {{operationId: good}}}}
",
            server.address
        ),
    );
    let probe = "countersign probe --secret-file secret no-colon.toml --openapi api.yaml \
                 --check uncovered-parts --sarif r.sarif --junit r.xml --html r.html";
    // With a failure of the command line alone, the exit code is its own.
    for (operations, code) in [("", 3), ("--operation unsignable", 2)] {
        let output = session.output(&format!("{probe} {operations}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        for name in ["r.sarif", "r.xml", "r.html"] {
            let report = std::fs::read_to_string(session.path().join(name)).unwrap();
            assert!(report.contains("/effects/a:b"), "{name}: {report}");
            let ended = report.matches("The probe ended before all was done");
            assert_eq!(ended.count(), 1, "{name}: {report}");
        }
    }
}
