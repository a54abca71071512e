//! `verify` accepts the requests that `sign` signs, for every scheme that has a name.

use crate::session::Session;

/// The names of all schemes, as the list has them.
pub(crate) fn schemes(session: &Session) -> Vec<String> {
    let list = session.stdout("countersign scheme list --json");
    let name = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["name"].as_str().unwrap().to_owned()
    };
    list.lines().map(name).collect()
}

/// A body that the scheme can sign, and its type.
pub(crate) fn body_for(scheme: &str) -> (&'static str, &'static str) {
    match scheme {
        "twilio" => (
            "application/x-www-form-urlencoded",
            "AccountSid=AC1&Body=hi",
        ),
        "linear" => ("application/json", r#"{"webhookTimestamp":1700000000000}"#),
        "hubspot" => ("application/json", r#"[{"eventId":1}]"#),
        _ => ("application/json", r#"{"id":"evt_1"}"#),
    }
}

/// A request that the scheme can sign, as a raw one with what `sign` adds.
pub(crate) fn signed(session: &Session, scheme: &str, options: &str) -> String {
    signed_by(session, scheme, scheme, options)
}

/// The same, by the name of the scheme or by a file.
pub(crate) fn signed_by(session: &Session, sender: &str, scheme: &str, options: &str) -> String {
    let (content_type, body) = body_for(sender);
    session.file("body", body);
    let key = if scheme == "http-message-signatures" {
        "--key-id partner-1"
    } else {
        ""
    };
    let command = format!(
        "countersign sign {scheme} {key} --secret-file {scheme}.secret {options} \
         --at 1700000000 -H 'content-type: {content_type}' --data-file body \
         POST 'https://example.com/hooks?a=1'"
    );
    let added = session.stdout(&command);
    let (added, body) = if sender == "mailgun" {
        (String::new(), added.trim_end().to_owned())
    } else {
        (added, body.to_owned())
    };
    format!(
        "POST /hooks?a=1 HTTP/1.1\nhost: example.com\ncontent-type: {content_type}\n{added}\n{body}"
    )
}

/// Makes a secret for each scheme, in the form that it wants.
pub(crate) fn keygen(session: &Session, scheme: &str) {
    // Only this command prints a secret. The session does not know the secret yet.
    let secret = session.stdout(&format!("countersign keygen {scheme}"));
    session.secret(&format!("{scheme}.secret"), secret.trim());
}

#[test]
fn what_is_signed_is_verified_for_every_scheme() {
    let session = Session::new();
    for scheme in schemes(&session) {
        keygen(&session, &scheme);
        let request = signed(&session, &scheme, "");
        session.file("request", &request);
        let verify = |now: u64, file: &str| {
            session.output(&format!(
                "countersign verify {scheme} --secret-file {scheme}.secret --now {now} --json {file}"
            ))
        };
        let verified = verify(1_700_000_000, "request");
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert_eq!(verified.status.code(), Some(0), "{scheme}: {said}");
        let object: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(object["verified"], true, "{scheme}");
        assert_eq!(object["version"], 1, "{scheme}");
        // No signature covers itself, and that opens nothing.
        let uncovered = object["uncovered"].to_string();
        let is_own = ["signature", "hmac"].map(|word| uncovered.contains(word));
        assert_eq!(is_own, [false; 2], "{scheme}: {uncovered}");
        // A secret, a time and a body of others.
        keygen(&session, &scheme);
        let other = verify(1_700_000_000, "request");
        assert_eq!(other.status.code(), Some(1), "{scheme}: another secret");
        let said: serde_json::Value = serde_json::from_slice(&other.stdout).unwrap();
        assert_eq!(said["code"], "signature_invalid", "{scheme}");
    }
}

#[test]
fn a_late_request_is_refused_where_a_time_is_covered() {
    let session = Session::new();
    keygen(&session, "stripe");
    session.file("request", signed(&session, "stripe", ""));
    let late = "countersign verify stripe --secret-file stripe.secret --now 1700000301 request";
    insta::assert_snapshot!(session.run(late));
}

/// A request is verified alike in every form in which it can be read.
#[test]
fn every_form_of_a_request_is_verified_alike() {
    let session = Session::new();
    for scheme in schemes(&session) {
        keygen(&session, &scheme);
        let raw = signed(&session, &scheme, "");
        let (head, body) = raw.split_once("\n\n").unwrap();
        session.file("lf.http", &raw);
        let head = head.replace('\n', "\r\n");
        session.file("crlf.http", format!("{head}\r\n\r\n{body}"));
        let length = body.len();
        session.file(
            "sized.http",
            format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}\n"),
        );
        session.file(
            "chunked.http",
            format!(
                "{head}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            ),
        );
        let headers: Vec<_> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
            .collect();
        let request = serde_json::json!({"request": {
            "method": "POST",
            "url": "https://example.com/hooks?a=1",
            "headers": headers,
            "postData": {"mimeType": "", "text": body},
        }});
        session.file("entry.har", request.to_string());
        session.file(
            "log.har",
            serde_json::json!({"log": {"entries": [request]}}).to_string(),
        );
        let command = signed_as_curl(&session, &scheme);
        session.file("curl.sh", command);
        for file in [
            "lf.http",
            "crlf.http",
            "sized.http",
            "chunked.http",
            "entry.har",
            "log.har",
            "curl.sh",
            "- < lf.http",
        ] {
            let verified = session.run(&format!(
                "countersign verify {scheme} --secret-file {scheme}.secret --now 1700000000 {file}"
            ));
            assert!(
                verified.contains("\nverified\n"),
                "{scheme}, {file}: {verified}"
            );
        }
    }
}

/// The command that `sign --curl` prints for the same request.
fn signed_as_curl(session: &Session, scheme: &str) -> String {
    signed(session, scheme, "--curl")
        .lines()
        .skip_while(|line| !line.starts_with("curl"))
        .take_while(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}
