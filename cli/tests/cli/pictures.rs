//! The pictures of the README, taken by the tests' browser.

use crate::{
    browser::Browser,
    inspector::{post, start},
    listen::{github, send},
    probe::{ids, probe, request, write_schemes},
    probed::Probed,
    round_trip::keygen,
    session::Session,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inspector_shows_why_a_webhook_does_not_match() {
    let Some(browser) = Browser::start(false).await else {
        return;
    };
    let session = Session::new();
    keygen(&session, "github");
    let (listening, page) = start(&session, "");
    browser.client.goto(&page).await.unwrap();

    let deliver = |signed: &str, sent: &str| {
        let headers = format!("X-GitHub-Event: issues\r\n{}", github(&session, signed));
        let request = post("/hooks/github", &headers, sent);
        send(listening.address(), &request);
    };
    let opened = r#"{"action":"opened","issue":{"number":1}}"#;
    deliver(opened, opened);
    deliver(opened, opened);
    // A proxy parsed the JSON, and wrote it again.
    let sent = r#"{"action":"closed","issue":{"number":2}}"#;
    deliver(r#"{"action": "closed", "issue": {"number": 2}}"#, sent);
    browser.click("#rows li:has(.refused) .row").await;
    let cause = browser.text(".cause").await;
    assert!(cause.contains("json.dumps"), "{cause}");
    browser.client.set_window_size(1180, 860).await.unwrap();
    browser.picture("inspector").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_the_probe_shows_copies_that_acted() {
    let Some(browser) = Browser::start(false).await else {
        return;
    };
    let session = Session::new();
    write_schemes(&session);
    let Some(server) = Probed::start(&session, "express_app.mjs") else {
        return;
    };
    let command = request(server.address, "/fault/has-then-add", "--html r.html");
    let report = probe(&session, &format!("full.toml {command}"));
    assert_eq!(ids(&report), ["race"]);
    browser.open(&session.path().join("r.html")).await;
    browser.client.set_window_size(1180, 860).await.unwrap();
    browser.element(".finding h2").await;
    browser.picture("probe-report").await;
    browser.end().await;
}
