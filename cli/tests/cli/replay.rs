//! `countersign replay`: the exact bytes again, signed again, and many copies at once.

use crate::{
    inspector::start,
    listen::{ACCEPTED, curl, github, run, send},
    listening::Listening,
    round_trip::keygen,
    session::Session,
    upstream::Upstream,
};

#[test]
fn a_replay_is_the_same_bytes_for_the_application() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let mut listening = Listening::json(
        &session,
        &format!(
            "github --secret-file github.secret --keep kept.db --forward {}",
            upstream.url
        ),
    );
    let body = "{\"caf\u{e9}\":\r\n1.50}\n";
    let signed = github(&session, body);
    let head = format!(
        "POST /a%2Fb?x=%7e HTTP/1.1\r\nX-Two: 1\r\nHOST: a.example\r\nx-odd:  b\r\nX-two: 2\r\n{signed}"
    );
    let length = body.len();
    send(
        listening.address(),
        &format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"),
    );
    listening.object();
    let (one, two) = body.split_at(3);
    let (a, b) = (one.len(), two.len());
    send(
        listening.address(),
        &format!(
            "{head}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{a:x}\r\n{one}\r\n\
             {b:x}\r\n{two}\r\n0\r\n\r\n"
        ),
    );
    assert_eq!(listening.object()["verdict"], "duplicate");
    listening.stop();

    let said = session.stdout("countersign replay 1 --keep kept.db");
    assert!(said.contains("201 Created"), "{said}");
    assert!(said.contains("accepted: 1 of 1"), "{said}");
    session.stdout(&format!(
        "countersign replay 2 --keep kept.db --to {}",
        upstream.url
    ));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    let sized = format!("{head}\r\nContent-Length: {length}\r\n\r\n");
    let chunked = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (seen, head) in seen.iter().zip([&sized, &sized, &chunked]) {
        assert_eq!(seen.head, *head);
        assert_eq!(seen.body, body.as_bytes());
    }

    let many = session.stdout("countersign replay 1 --keep kept.db --copies 16 --json");
    assert_eq!(upstream.seen().len(), 19);
    let last: serde_json::Value = serde_json::from_str(many.lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["accepted"], 16, "it does not act once");
    assert_eq!(many.lines().count(), 17);
}

/// The application is a server with the library's layer.
#[test]
fn an_application_that_acts_once_accepts_one_of_many_copies() {
    let session = Session::new();
    let scheme = "http-message-signatures";
    keygen(&session, scheme);
    let arguments = format!("{scheme} --secret-file {scheme}.secret");
    let mut listening = Listening::json(&session, &format!("{arguments} --keep kept.db"));
    let curl = curl(&session, scheme, &listening.url);
    run(&session, &curl, "");
    assert_eq!(listening.object()["verified"], true);
    listening.stop();
    let application = Listening::json(&session, &arguments);
    let to = format!("--keep kept.db --to {}", application.url);
    let summary = |options: &str| {
        let said = session.stdout(&format!("countersign replay 1 {to} --json {options}"));
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        last["summary"]["accepted"].as_u64().unwrap()
    };
    assert_eq!(summary("--copies 32"), 1);
    assert_eq!(summary("--copies 32"), 0, "all of them are too late");
    // Signed again under a nonce of its own, it is another request.
    let again = format!("--sign-again --secret-file {scheme}.secret");
    assert_eq!(summary(&format!("{again} --copies 3")), 3);
}

/// A sender that retries an event signs it again under the same id.
#[test]
fn a_retry_that_is_signed_again_is_known_by_its_event_id() {
    let session = Session::new();
    for scheme in ["standard-webhooks", "stripe", "twilio"] {
        keygen(&session, scheme);
        let kept = format!("{scheme}.db");
        let origin = "https://api.example.com";
        let arguments = format!("{scheme} --secret-file {scheme}.secret --origin {origin}");
        let mut listening = Listening::json(&session, &format!("{arguments} --keep {kept}"));
        let curl = curl(&session, scheme, origin);
        let connect = format!(
            "--http2-prior-knowledge --connect-to ::{}",
            listening.address()
        );
        run(&session, &curl.replace("https://", "http://"), &connect);
        let object = listening.object();
        assert_eq!(object["verified"], true, "{scheme}: {object}");
        listening.stop();
        let mut application = Listening::json(&session, &arguments);
        let replay = format!(
            "countersign replay 1 --keep {kept} --to {}",
            application.url
        );
        session.stdout(&replay);
        assert_eq!(application.object()["verified"], true, "{scheme}");
        session.stdout(&format!(
            "{replay} --sign-again --secret-file {scheme}.secret"
        ));
        let again = application.object();
        let word = match scheme {
            "standard-webhooks" | "stripe" => "duplicate",
            _ => "verified",
        };
        assert_eq!(again["verdict"], word, "{scheme}: {again}");
    }
}

/// A file that is named like a preset is not taken for the preset, either.
#[test]
fn a_request_of_a_scheme_file_is_signed_again_under_the_file() {
    let session = Session::new();
    session.file(
        "stripe.toml",
        "kind = \"header\"\nsignature = \"x-house\"\nsigns = [\"time\", { text = \".\" }, \"body\"]\n\
         time = \"x-time\"\nfixed-key-id = \"house\"\n",
    );
    keygen(&session, "stripe");
    let upstream = Upstream::start(ACCEPTED);
    let mut listening = Listening::json(
        &session,
        &format!(
            "./stripe.toml --secret-file stripe.secret --keep kept.db --forward {}",
            upstream.url
        ),
    );
    session.stdout(&format!(
        "countersign sign stripe.toml --secret-file stripe.secret --at 1700000000 --data x --send \
         POST {} || true",
        listening.url
    ));
    assert_eq!(listening.object()["code"], "signature_expired");
    session.stdout(&format!(
        "countersign sign stripe.toml --secret-file stripe.secret --data y --send POST {}",
        listening.url
    ));
    assert_eq!(listening.object()["verdict"], "verified");
    listening.stop();

    let again = "countersign replay 2 --keep kept.db --sign-again --secret-file stripe.secret";
    let said = session.stdout(again);
    assert!(said.contains("accepted: 1 of 1"), "{said}");
    let seen = upstream.seen();
    assert!(seen[1].head.contains("x-house: "), "{}", seen[1].head);
    let said = session.run(&format!("mv stripe.toml house.toml; {again}"));
    assert!(said.contains("with --scheme"), "{said}");
    session.stdout(&format!("{again} --scheme house.toml"));
}

#[test]
fn what_cannot_be_sent_again_is_said() {
    let session = Session::new();
    keygen(&session, "github");
    let mut listening = Listening::json(
        &session,
        "github --secret-file github.secret --keep kept.db",
    );
    let curl = curl(&session, "github", &listening.url);
    run(&session, &curl, "");
    listening.object();
    listening.stop();
    session.file(
        "row.toml",
        "kind = \"header\"\nsignature = \"x-signature\"\nfixed-key-id = \"partner-1\"\n\
         time = \"x-time\"\njoin = \"\\n\"\nsigns = [{ supplied = \"version\" }, \"time\", \"body\"]\n",
    );
    let transcript: Vec<String> = [
        "countersign replay 1 --keep kept.db",
        "countersign replay 1 --keep kept.db --to http://192.0.2.1:3000",
        "countersign replay 1 --keep kept.db --to http://127.0.0.1.nip.example:3000",
        "countersign replay 1 --keep kept.db --to http://127.0.0.1:1",
        "countersign replay 9 --keep kept.db --to http://127.0.0.1:1",
        "countersign replay 1 --keep missing.db --to http://127.0.0.1:1",
        "countersign replay 1 --keep kept.db --to http://127.0.0.1:1 --sign-again",
        "countersign replay 1 --keep kept.db --to http://127.0.0.1:1 --sign-again --scheme row.toml",
        "countersign replay 1 --keep kept.db --to http://127.0.0.1:1 --copies 1000",
    ]
    .map(|command| {
        let said = session.run(command);
        session.file("said", said);
        session.stdout(r"sed -E 's/  +[0-9]+ (ms|µs)  /  TOOK  /' said")
    })
    .into();
    insta::assert_snapshot!(transcript.join("\n"));
}

/// A recorded stranger's request gets no good signature, and is not sent by one click.
#[test]
fn a_refused_request_is_never_signed_and_not_sent_by_accident() {
    let session = Session::new();
    keygen(&session, "github");
    let upstream = Upstream::start(ACCEPTED);
    let forward = format!("--forward {}", upstream.url);
    let (mut listening, page) = start(&session, &format!("{forward} --keep kept.db"));
    let request = |body: &str| {
        let signed = github(&session, "{}");
        let length = body.len();
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    };
    for (body, word) in [("{}", "verified"), ("{}", "duplicate"), ("[]", "refused")] {
        send(listening.address(), &request(body));
        assert_eq!(listening.object()["verdict"], word);
    }
    assert_eq!(upstream.seen().len(), 1);
    let html = session.stdout(&format!("curl -sS {page}"));
    let token = html.split("name=\"token\" content=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let origin = page.rsplitn(3, '/').nth(2).unwrap();
    let status = |id: u8, wanted: &str| {
        session.stdout(&format!(
            "curl -sS -o answer -w '%{{http_code}}' -H 'x-countersign-token: {token}' \
             -H 'origin: {origin}' --data '{{\"copies\":1,{wanted}}}' {page}requests/{id}/replay"
        ))
    };
    let sign = "\"sign_again\":true";
    let plain = "\"sign_again\":false";
    for (id, wanted, expected) in [
        (3, plain, "409"),
        (3, sign, "409"),
        (3, &format!("{sign},\"refused\":true"), "409"),
        // The twins.
        (3, &format!("{plain},\"refused\":true"), "200"),
        (1, sign, "200"),
        (2, sign, "200"),
        (2, plain, "200"),
    ] {
        let before = upstream.seen().len();
        assert_eq!(status(id, wanted), expected, "{id}: {wanted}");
        let sent = usize::from(expected == "200");
        assert_eq!(upstream.seen().len() - before, sent, "{id}: {wanted}");
    }
    listening.stop();
    let again = "--keep kept.db --sign-again --secret-file github.secret";
    let said = session.run(&format!("countersign replay 3 {again}"));
    assert!(said.contains("its signature was not good"), "{said}");
    session.stdout(&format!("countersign replay 2 {again}"));
}

/// The file may come from somebody else.
#[test]
fn a_server_that_the_file_alone_names_is_not_sent_a_request() {
    let session = Session::new();
    keygen(&session, "github");
    let far = "http://upstream.invalid:9";
    let arguments = format!("github --secret-file github.secret --keep kept.db --forward {far}");
    let mut listening = Listening::json(&session, &arguments);
    send(
        listening.address(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    listening.object();
    listening.stop();
    let replay = "countersign replay 1 --keep kept.db";
    let said = session.run(replay);
    assert!(said.contains("only the file names it"), "{said}");
    let said = session.run(&format!("{replay} --to http://other.invalid:9"));
    assert!(said.contains("is not on this machine"), "{said}");
    // The twin: it is sent to the server that both name, which does not exist.
    let said = session.run(&format!("{replay} --to {far}"));
    assert!(said.contains("no answer"), "{said}");
}
