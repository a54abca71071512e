//! `sign --send` to a real server, and `sign --print-message`.

use crate::{listening::Listening, session::Session};

#[test]
fn a_request_that_is_sent_is_verified_where_it_arrives() {
    let session = Session::new();
    session.secret("other", "another secret, which the server has not");
    for (scheme, key) in [
        ("stripe", ""),
        ("http-message-signatures", "--key-id partner-1"),
    ] {
        let listening = Listening::json(&session, &format!("{scheme} --secret-file secret"));
        let url = format!("'{}/hooks%20x?b=2&a=%2F'", listening.url);
        let send = |secret: &str, json: &str| {
            session.output(&format!(
                "countersign sign {scheme} {key} --secret-file {secret} --data '{{}}' --send {json} \
                 POST {url}"
            ))
        };
        let sent = send("secret", "");
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert_eq!(sent.status.code(), Some(0), "{scheme}: {said}");
        let refused = send("other", "--json");
        let said: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{scheme}: {said}");
        assert_eq!(said["status"], 401, "{scheme}: {said}");
        let body = said["body"].as_str().unwrap();
        assert!(body.contains("signature_invalid"), "{scheme}: {said}");
    }
}

/// Behind a proxy, the server is reached by another address than clients sign.
#[test]
fn a_request_is_signed_for_its_origin_and_led_to_another_address() {
    let session = Session::new();
    for (scheme, options) in [
        ("http-message-signatures", "--key-id partner-1 --data '{}'"),
        (
            "twilio",
            "-H 'content-type: application/x-www-form-urlencoded' --data a=1",
        ),
        ("hubspot", "--data '[{\"eventId\":1}]'"),
    ] {
        let origin = "--origin https://api.example.com/v1/";
        let listening =
            Listening::json(&session, &format!("{scheme} --secret-file secret {origin}"));
        let sign = |origin: &str, how: &str| {
            let url = &listening.url;
            format!(
                "countersign sign {scheme} --secret-file secret {options} {origin} {how} \
                 POST '{url}/hooks?a=1'"
            )
        };
        let sent = session.output(&sign(origin, "--send"));
        let said = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert_eq!(sent.status.code(), Some(0), "{scheme}: {said}");
        let curl = session.stdout(&sign(origin, "--curl"));
        assert!(curl.contains("-H 'host: api.example.com'"), "{curl}");
        let answer = session.stdout(&format!(
            "{} -s -o /dev/null -w '%{{http_code}}'",
            curl.trim_end()
        ));
        assert_eq!(answer, "200", "{scheme}: {curl}");
        let printed = session.stdout(&sign(origin, ""));
        assert!(printed.contains("host: api.example.com\n"), "{printed}");
        // The twin: without the origin it is signed for the address.
        let sent = session.output(&sign("", "--send"));
        assert_eq!(sent.status.code(), Some(1), "{scheme}");
    }
}

#[test]
fn the_message_is_printed_byte_for_byte() {
    let session = Session::new();
    let printed = session.output(
        "countersign sign slack --secret-file secret --at 1700000000 --data $'a\\nb' \
         --print-message POST https://example.com/",
    );
    assert_eq!(printed.stdout, b"v0:1700000000:a\nb");
}
