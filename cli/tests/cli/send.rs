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

#[test]
fn the_message_is_printed_byte_for_byte() {
    let session = Session::new();
    let printed = session.output(
        "countersign sign slack --secret-file secret --at 1700000000 --data $'a\\nb' \
         --print-message POST https://example.com/",
    );
    assert_eq!(printed.stdout, b"v0:1700000000:a\nb");
}
