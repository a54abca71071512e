//! The list of schemes, secrets for each, and scheme files.

use std::{fs, path::Path};

use crate::{
    round_trip::{keygen, schemes, signed_by as signed},
    session::Session,
};

#[test]
fn every_scheme_is_listed() {
    let session = Session::new();
    insta::assert_snapshot!(session.run("countersign scheme list"));
}

/// The scheme files of the package, in the folder of the session.
fn ready_files(session: &Session) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemes");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        session.file(&name, fs::read(&path).unwrap());
        names.push(name);
    }
    names.sort();
    names
}

/// As these providers show theirs; that `sign` and `verify` take them, the round trips show.
#[test]
fn a_new_secret_looks_like_those_of_the_provider() {
    let session = Session::new();
    for (scheme, prefix, length) in [
        ("stripe", "whsec_", 70),
        ("linear", "lin_wh_", 71),
        ("standard-webhooks", "whsec_", 50),
        ("github", "", 64),
    ] {
        let secret = session.stdout(&format!("countersign keygen {scheme}"));
        let secret = secret.trim();
        assert!(secret.starts_with(prefix), "{scheme}");
        assert_eq!(secret.len(), length, "{scheme}");
    }
}

#[test]
fn a_misspelt_key_of_a_file_is_answered_with_the_nearest() {
    let session = Session::new();
    for (text, meant) in [
        ("kind = \"header\"\nsignatur = \"x-a\"\n", "`signature`"),
        (
            "kind = \"header\"\nsignature = \"x-a\"\nfixed-key-di = \"a\"\n",
            "`fixed-key-id`",
        ),
        (
            "kind = \"header\"\nsignature = \"x-a\"\nsecret = \"hexx\"\n",
            "`hex`",
        ),
    ] {
        session.file("wrong.toml", text);
        let said = session.run("countersign scheme check wrong.toml");
        assert!(said.contains(&format!("did you mean {meant}?")), "{said}");
    }
}

#[test]
fn ready_files_are_accepted() {
    let session = Session::new();
    let files = ready_files(&session);
    let checked: Vec<String> = files
        .iter()
        .map(|file| session.run(&format!("countersign scheme check {file}")))
        .collect();
    insta::assert_snapshot!(checked.join("\n"));
}

#[test]
fn what_is_signed_with_a_ready_file_is_verified() {
    let session = Session::new();
    for file in ready_files(&session) {
        let named = ["curl.toml", "house.toml", "payments.toml"].contains(&&*file);
        let key = if named { "--key-id partner-1" } else { "" };
        // A secret in the form that the file says.
        let secret = session.stdout(&format!("countersign keygen {file}"));
        session.secret("of-file", secret.trim());
        let headers = "-H 'content-type: application/json' -H 'x-tenant: seven'";
        let url = "'https://example.com/transfer'";
        let body = r#"{"to": "bob", "amount": 5}"#;
        session.file("body", body);
        let added = session.stdout(&format!(
            "countersign sign {file} {key} --secret-file of-file --at 1700000000 {headers} \
             --data-file body POST {url}"
        ));
        session.file(
            "request",
            format!(
                "POST /transfer HTTP/1.1\nhost: example.com\ncontent-type: application/json\n\
                 x-tenant: seven\n{added}\n{body}"
            ),
        );
        let verified = session.run(&format!(
            "countersign verify {file} --secret-file of-file --now 1700000005 request"
        ));
        assert!(verified.contains("\nverified\n"), "{file}: {verified}");
    }
}

/// A file takes each sender by its name, under a key id of its own.
#[test]
fn a_scheme_file_knows_every_sender_by_name() {
    let session = Session::new();
    let senders = schemes(&session);
    let senders: Vec<_> = senders
        .iter()
        .filter(|name| *name != "http-message-signatures")
        .collect();
    assert!(senders.len() >= 40, "{senders:?}");
    for sender in senders {
        session.file(
            "acme.toml",
            format!("kind = \"{sender}\"\nfixed-key-id = \"acme\"\n"),
        );
        keygen(&session, "acme.toml");
        let request = signed(&session, sender, "acme.toml", "");
        session.file("request", request);
        let verified = session.stdout(
            "countersign verify acme.toml --secret-file acme.toml.secret --now 1700000000 --json \
             request",
        );
        let object: serde_json::Value = serde_json::from_str(&verified).unwrap();
        assert_eq!(object["verified"], true, "{sender}");
        assert_eq!(object["key_id"], "acme", "{sender}");
    }
    session.file("acme.toml", "kind = \"strip\"\n");
    let said = session.run("countersign scheme check acme.toml");
    assert!(said.contains("did you mean \"stripe\"?"), "{said}");
    session.file("acme.toml", "kind = \"stripe\"\nfixed-key-id = \"a b\"\n");
    let said = session.run("countersign scheme check acme.toml");
    assert!(said.contains("is refused in line 2"), "{said}");
}

/// Signs as the endpoints of the two frameworks do, in Python.
#[test]
fn what_python_signs_as_the_frameworks_do_is_verified() {
    let session = Session::new();
    ready_files(&session);
    for (file, message, headers) in [
        (
            "django-payment-intent.toml",
            "json.dumps({'method': 'POST', 'path': '/intent', 'timestamp': '1700000000', 'body': \
             json.dumps(json.loads(body), sort_keys=True, separators=(',', ':'))}, sort_keys=True)",
            "x-request-timestamp: 1700000000\n",
        ),
        (
            "fastapi-transfer.toml",
            "json.dumps(json.loads(body), sort_keys=True, separators=(',', ':'))",
            "",
        ),
    ] {
        let body = r#"{"to": "bob", "amount": 1.50, "note": "café"}"#;
        session.file("body", body);
        let script = format!(
            "import hashlib, hmac, json\n\
             body = open('body').read()\n\
             secret = open('secret', 'rb').read().strip()\n\
             print(hmac.new(secret, {message}.encode(), hashlib.sha256).hexdigest())\n"
        );
        session.file("sign.py", script);
        let mac = session.stdout("python3 -X utf8 sign.py");
        let head = format!("POST /intent HTTP/1.1\nhost: example.com\n{headers}x-signature: {mac}");
        session.file("request", format!("{head}\n{body}"));
        let verified = session.run(&format!(
            "countersign verify {file} --secret-file secret --now 1700000000 request"
        ));
        assert!(verified.contains("\nverified\n"), "{file}: {verified}");
    }
}

#[test]
fn a_refused_scheme_file_shows_the_line_and_the_reason() {
    let head = "kind = \"header\"\nsignature = \"x-signature\"\n";
    let fixed = format!("{head}fixed-key-id = \"partner-1\"\n");
    let timed = format!("{fixed}time = \"x-time\"\n");
    let profile = "kind = \"http-message-signatures\"\n";
    let files = [
        ("not-toml", "kind = header\n".to_owned()),
        ("no-kind", "signature = \"x-signature\"\n".to_owned()),
        ("kind", "kind = \"headers\"\n".to_owned()),
        (
            "unknown-key",
            format!("{timed}nonces = \"x-nonce\"\nsigns = [\"time\", \"body\"]\n"),
        ),
        ("no-signs", timed.clone()),
        ("wrong-type", format!("{timed}signs = \"body\"\n")),
        (
            "unknown-part",
            format!("{timed}signs = [\n    \"time\",\n    \"Body\",\n]\n"),
        ),
        (
            "text-as-part",
            format!("{timed}signs = [\"time\", \".\", \"body\"]\n"),
        ),
        (
            "unknown-table",
            format!("{timed}signs = [\"time\", {{ txt = \".\" }}, \"body\"]\n"),
        ),
        (
            "no-delimiter",
            format!("{timed}signs = [\"time\", \"body\"]\n"),
        ),
        ("time-not-covered", format!("{timed}signs = [\"body\"]\n")),
        ("no-time", format!("{fixed}signs = [\"body\"]\n")),
        (
            "no-key",
            format!("{head}time = \"x-time\"\nsigns = [\"time\", {{ text = \".\" }}, \"body\"]\n"),
        ),
        (
            "two-times",
            format!(
                "{timed}time-millis = \"x-ms\"\nsigns = [\"time\", {{ text = \".\" }}, \"body\"]\n"
            ),
        ),
        (
            "key-id",
            format!(
                "{head}fixed-key-id = \"a b\"\ntime = \"x-time\"\nsigns = [\"time\", {{ text = \".\" }}, \"body\"]\n"
            ),
        ),
        (
            "header-twice",
            format!(
                "{timed}signs = [\"time\", {{ text = \".\" }}, {{ header = \"x-time\" }}, {{ text = \"\\n\" }}, \"body\"]\n"
            ),
        ),
        (
            "bad-header",
            format!("{fixed}time = \"x time\"\nsigns = [\"time\", {{ text = \".\" }}, \"body\"]\n"),
        ),
        (
            "host",
            format!(
                "{timed}signs = [\"time\", {{ text = \"\\n\" }}, {{ header = \"host\" }}, {{ text = \"\\n\" }}, \"body\"]\n"
            ),
        ),
        (
            "body-twice",
            format!("{timed}join = \"\\n\"\nsigns = [\"time\", \"body\", \"body\"]\n"),
        ),
        (
            "prefix",
            format!("{timed}prefix = \"sha256 \"\njoin = \"\\n\"\nsigns = [\"time\", \"body\"]\n"),
        ),
        ("label", format!("{profile}label = \"A\"\n")),
        (
            "component",
            format!("{profile}covers = [\n    \"@method\",\n    \"@status\",\n]\n"),
        ),
        ("derived", format!("{profile}covers = [\"@verb\"]\n")),
        ("expiry", format!("{profile}expires-after = 0\n")),
        ("digest", format!("{profile}digest = \"md5\"\n")),
    ];
    let session = Session::new();
    let mut transcript = Vec::new();
    for (name, text) in &files {
        session.file(&format!("{name}.toml"), text);
        let said = session.run(&format!("countersign scheme check {name}.toml"));
        assert!(
            said.contains(&format!("`{name}.toml` is refused in line ")),
            "{said}"
        );
        assert!(said.contains("\n  help: "), "{said}");
        transcript.push(said);
    }
    insta::assert_snapshot!(transcript.join("\n"));
}

/// As a view signs the version of its row: the request does not say it.
#[test]
fn a_value_that_is_signed_and_not_sent_comes_from_the_command_line() {
    let session = Session::new();
    let file = "kind = \"header\"\nsignature = \"x-signature\"\nfixed-key-id = \"partner-1\"\n\
                time = \"x-time\"\nnonce = \"x-nonce\"\njoin = \"\\n\"\n\
                signs = [\"method\", \"path\", { supplied = \"version\" }, \"time\", \"nonce\", \"body\"]\n";
    session.file("row.toml", file);
    let checked = session.run("countersign scheme check row.toml");
    assert!(checked.contains("accepted"), "{checked}");
    let sign = |supply: &str| {
        format!(
            "countersign sign row.toml --secret-file secret {supply} --nonce n-1 --at 1700000000 \
             --data '{{}}' PUT https://example.com/documents/1"
        )
    };
    let signed = session.stdout(&sign("--supply version=7"));
    assert!(!signed.contains("version"), "{signed}");
    let head = "PUT /documents/1 HTTP/1.1\nhost: example.com\n";
    session.file("request", format!("{head}{signed}\n{{}}"));
    let run = |command: &str, supply: &str| {
        session.run(&format!(
            "countersign {command} row.toml --secret-file secret {supply} --now 1700000000 request"
        ))
    };
    let verified = run("verify", "--supply version=7");
    assert!(verified.contains("\nverified\n"), "{verified}");
    assert!(verified.contains("supplied value version"), "{verified}");
    let refused = run("verify", "--supply version=8");
    assert!(refused.contains("signature_invalid"), "{refused}");
    let explained = run("explain", "--supply version=8");
    assert!(explained.contains("supplied value version"), "{explained}");
    // With nothing to supply, or something else, nothing is guessed.
    for (supply, reason) in [
        ("", "no value is given for `version`"),
        ("--supply other=7", "no supplied value `other`"),
        ("--supply version", "such as version=7"),
    ] {
        for command in ["verify", "explain"] {
            let said = run(command, supply);
            assert!(said.contains(reason), "{command}: {said}");
        }
        let said = session.run(&sign(supply));
        assert!(said.contains(reason), "{said}");
    }
    let said = session.run(
        "countersign probe row.toml --secret-file secret --data '{}' POST http://127.0.0.1:1/",
    );
    assert!(said.contains("`probe` cannot sign with `row`"), "{said}");
    let said = session.run("countersign listen row.toml --secret-file secret");
    assert!(said.contains("signs a value that is not sent"), "{said}");
}
