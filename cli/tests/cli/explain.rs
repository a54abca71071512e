//! `explain` as a person types it. Beside the secrets, no output holds the MAC that was expected.

use crate::session::Session;

/// The request as raw HTTP, with the headers that `sign` printed.
fn request(head: &str, added: &str, body: &str) -> String {
    format!("{head}\n{added}\n{body}")
}

/// Hides the MAC that a verifier expects of this request: what `sign` makes of it.
fn hide_expected(session: &Session, command: &str) {
    let added = session.stdout(command);
    let lines = added
        .lines()
        .filter(|line| line.split(':').next().unwrap().ends_with("signature"));
    let added = lines.collect::<Vec<_>>().join("\n");
    let tokens = added.split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c));
    let macs: Vec<&str> = tokens.filter(|token| token.len() >= 27).collect();
    assert!(!macs.is_empty(), "{added}");
    for mac in macs {
        session.hide(mac.as_bytes());
    }
}

#[test]
fn a_mismatch_is_explained_as_a_proof() {
    let session = Session::new();
    let mut transcript = Vec::new();
    let sign =
        "countersign sign stripe --secret-file secret --at 1700000000 POST https://example.com/";
    let head = "POST / HTTP/1.1\nhost: example.com";

    let body = r#"{"id": "evt_1", "name": "caf\u00e9"}"#;
    session.file("body", format!("{body}\n"));
    let added = session.stdout(&format!("{sign} --data-file body"));
    session.file("line-end.http", request(head, &added, body));
    session.file("body", body);
    let right = session.stdout(&format!("{sign} --data-file body"));
    hide_expected(&session, &format!("{sign} --data-file body"));
    transcript.push(
        session
            .run("countersign explain stripe --secret-file secret --now 1700000000 line-end.http"),
    );
    transcript.push(session.run(
        "countersign explain stripe --secret-file secret --now 1700000000 --json line-end.http",
    ));

    let both = session.stdout(&format!(
        "{sign} --data '{{\"id\":\"evt_1\",\"name\":\"café\"}}\n'"
    ));
    session.file("pair.http", request(head, &both, body));
    transcript.push(
        session.run("countersign explain stripe --secret-file secret --now 1700000000 pair.http"),
    );

    session.file("altered.http", request(head, &added, r#"{"id":"evt_2"}"#));
    hide_expected(&session, &format!("{sign} --data '{{\"id\":\"evt_2\"}}'"));
    transcript.push(
        session
            .run("countersign explain stripe --secret-file secret --now 1700000000 altered.http"),
    );

    session.file("late.http", request(head, &right, body));
    transcript.push(
        session.run("countersign explain stripe --secret-file secret --now 1700009999 late.http"),
    );
    let short = right.trim_end();
    let cut = format!("{}\n", &short[..short.len() - 62]);
    session.file("cut-off.http", request(head, &cut, body));
    transcript.push(
        session
            .run("countersign explain stripe --secret-file secret --now 1700000000 cut-off.http"),
    );
    insta::assert_snapshot!(transcript.join("\n"));
}

#[test]
fn rfc_9421_is_explained_with_the_lines_of_both_sides() {
    let session = Session::new();
    let sign = "countersign sign http-message-signatures --key-id partner-1 --secret-file secret \
                --at 1700000000 --nonce n-1 --data '{}' POST";
    let added = session.stdout(&format!("{sign} 'https://example.com/orders/?b=2&a=1'"));
    let head = "POST /api/orders?b=2&a=1 HTTP/1.1\nhost: example.com";
    session.file("request.http", request(head, &added, "{}"));
    hide_expected(
        &session,
        &format!("{sign} 'https://example.com/api/orders?b=2&a=1'"),
    );
    let explain =
        "countersign explain http-message-signatures --secret-file secret --now 1700000000";
    let mut transcript = vec![session.run(&format!("{explain} request.http"))];
    session.file(
        "other.http",
        request(&head.replace("example.com", "internal"), &added, "{}"),
    );
    session.file(
        "message",
        session.stdout(&format!(
            "{sign} 'https://example.com/orders/?b=2&a=1' --print-message"
        )),
    );
    transcript.push(session.run(&format!("{explain} --message message other.http")));
    insta::assert_snapshot!(transcript.join("\n"));
}

#[test]
fn a_request_that_verifies_needs_no_explanation() {
    let session = Session::new();
    let added = session.stdout(
        "countersign sign github --secret-file secret --data '{}' POST https://example.com/",
    );
    session.file(
        "request.http",
        request("POST / HTTP/1.1\nhost: example.com", &added, "{}"),
    );
    insta::assert_snapshot!(
        session.run("countersign explain github --secret-file secret request.http")
    );
}

/// Python itself writes the body, and not our own reading of Python.
#[test]
fn json_that_python_wrote_again_is_explained() {
    let session = Session::new();
    let body = r#"{"id": "evt_1","z":[1.50, 2e3, 1e16, 5e-05, 12345678901234567890, -0.0],
        "a":"café 😀 </x>","é":null, "e":{}, "l":[]}"#;
    session.file("body", body);
    for (arguments, row) in [
        ("", "json.python"),
        ("ensure_ascii=False", "json.python-unicode"),
        ("separators=(',',':')", "json.compact"),
        ("sort_keys=True", "json.sorted-python"),
        ("sort_keys=True, ensure_ascii=False", "json.sorted-python"),
        ("sort_keys=True, separators=(',',':')", "json.sorted"),
        ("indent=2", "json.indent-2"),
        ("indent=2, ensure_ascii=False", "json.indent-2"),
        ("indent=4", "json.indent-4"),
        ("indent=4, sort_keys=True", "json.indent-4"),
    ] {
        session.file(
            "write.py",
            format!(
                "import json, sys\n\
                 text = json.dumps(json.load(open('body')), {arguments})\n\
                 open('written', 'w').write(text)\n"
            ),
        );
        session.stdout("python3 -X utf8 write.py");
        let added = session.stdout(
            "countersign sign github --secret-file secret --data-file written POST https://a.example/",
        );
        session.file(
            "request.http",
            request("POST / HTTP/1.1\nhost: a.example", &added, body),
        );
        let said =
            session.output("countersign explain github --secret-file secret --json request.http");
        let object: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(object["changes"][0]["id"], row, "{arguments}");
        assert_eq!(
            object["changes"].as_array().unwrap().len(),
            1,
            "{arguments}"
        );
    }
}

#[test]
fn what_a_proxy_changed_and_a_wrong_scheme_are_said() {
    let session = Session::new();
    let url = "https://api.example.com/v2/hooks?b=2";
    let added = session.stdout(&format!(
        "countersign sign square --secret-file secret --data '{{}}' POST '{url}'"
    ));
    let head = "POST /hooks?b=2 HTTP/1.1\nhost: 10.0.0.7:3000\nx-forwarded-host: api.example.com\n\
                x-forwarded-prefix: /v2";
    session.file("proxied.http", request(head, &added, "{}"));
    let mut transcript =
        vec![session.run("countersign explain square --secret-file secret proxied.http")];
    let added = session.stdout(
        "countersign sign github --secret-file secret --data '{}' POST https://example.com/",
    );
    session.file(
        "github.http",
        request("POST / HTTP/1.1\nhost: example.com", &added, "{}"),
    );
    transcript.push(session.run("countersign explain stripe --secret-file secret github.http"));
    insta::assert_snapshot!(transcript.join("\n"));
}
