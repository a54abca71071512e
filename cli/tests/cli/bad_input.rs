//! Bad input: each message says what is wrong, why, and what to do.

use crate::session::Session;

#[test]
fn bad_input_is_answered_with_what_why_and_help() {
    let session = Session::new();
    session.file("empty", "");
    session.file("text", "hello, this is not HTTP\n");
    session.file("response", "HTTP/1.1 200 OK\r\n\r\n");
    session.file("head", "POST / HTTP/1.1\r\nhost: example.com\r\n");
    session.file(
        "cut.http",
        "POST / HTTP/1.1\r\ncontent-length: 99\r\n\r\n{}",
    );
    session.file(
        "cut.har",
        r#"{"log":{"entries":[{"request":{"method":"POST","#,
    );
    session.file("other.json", r#"{"a":1}"#);
    session.file("good.http", "POST / HTTP/1.1\nhost: example.com\n\n{}");
    session.file(
        "twilio.http",
        "POST /hooks HTTP/1.1\nhost: example.com\ncontent-type: application/json\n\
         x-twilio-signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n{}",
    );
    session.file("curl", "curl --form a=b https://example.com");
    session.file("zero.secret", "\n");
    session.file("short.secret", "whsec_test\n");
    let two = r#"{"request":{"method":"POST","url":"https://example.com/a"}}"#;
    session.file(
        "two.har",
        format!(r#"{{"log":{{"entries":[{two},{two}]}}}}"#),
    );
    let transcript: Vec<String> = [
        "countersign verify strpe --secret-file secret empty",
        "countersign verify webhooks --secret-file secret empty",
        "countersign verify nothing.toml --secret-file secret empty",
        "countersign verify stripe empty",
        "countersign verify stripe --secret-file missing empty",
        "countersign verify stripe --secret-file zero.secret empty",
        "countersign verify stripe --secret-file short.secret good.http",
        "countersign listen stripe --secret-file short.secret",
        "countersign verify stripe --secret-env NOT_SET empty",
        "countersign verify stripe --secret-command 'cat secret; exit 7' empty",
        "countersign verify standard-webhooks --secret-file secret text",
        "countersign verify stripe --secret-file secret missing.http",
        "countersign verify stripe --secret-file secret empty",
        "countersign verify stripe --secret-file secret text",
        "countersign verify stripe --secret-file secret response",
        "countersign verify stripe --secret-file secret head",
        "countersign verify stripe --secret-file secret cut.http",
        "countersign verify stripe --secret-file secret cut.har",
        "countersign verify stripe --secret-file secret other.json",
        "countersign verify stripe --secret-file secret two.har",
        "countersign verify stripe --secret-file secret --entry 3 two.har",
        "countersign verify stripe --secret-file secret curl",
        "countersign verify stripe --secret-file secret --origin example.com good.http",
        "countersign verify stripe --secret-file secret --now yesterday text",
        "countersign verify stripe --secret-file secret --max-age long text",
        "countersign verify stripe --secret-file secret --key-id a good.http",
        "countersign verify twilio --secret-file secret twilio.http",
        "countersign sign twilio --secret-file secret --data '{}' POST https://example.com/hooks",
        "countersign sign stripe --secret-file secret --at yesterday POST https://example.com",
        "head -c 100M /dev/zero | countersign verify stripe --secret-file secret -",
        "countersign sign stripe --secret-file secret POST /path",
        "countersign sign stripe --secret-file secret -H nothing POST https://example.com",
        "countersign sign stripe --secret-file secret --key-id a POST https://example.com",
        "countersign sign stripe --secret-file secret --nonce a POST https://example.com",
        "countersign sign http-message-signatures --secret-file secret GET https://example.com",
        "countersign sign stripe --secret-file secret --send POST http://127.0.0.1:1/",
        "countersign listen stripe --secret-file secret --addr localhost:8080",
        "countersign sign",
    ]
    .into_iter()
    .map(|command| session.run(command))
    .collect();
    for said in transcript.iter().filter(|said| said.contains("\nerror: ")) {
        let is_claps = said.contains("For more information, try '--help'.");
        assert!(
            is_claps || (said.contains("\n  why: ") && said.contains("\n  help: ")),
            "{said}"
        );
    }
    let all = transcript.join("\n");
    assert!(!all.contains("::"), "a name of Rust: {all}");
    insta::assert_snapshot!(transcript.join("\n"));
}
