//! The proxy signs what it forwards, so that an upstream can tell that a request came through the
//! proxy.

use crate::{
    proxied::{DONE, KEYS, Proxied, Signed, edit},
    session::Session,
    upstream::{Seen, Upstream},
};

const SIGNED: &str = "sign-forwarded = { id = \"proxy\", file = \"upstream.secret\" }\n";

/// The profile that an upstream asks for.
const PROFILE: &str = r#"kind = "http-message-signatures"
tag = "countersign-proxy"
covers = ["countersign-key-id", "countersign-covered"]
"#;

fn session() -> Session {
    let session = Session::new();
    session.secret("upstream.secret", "a secret that the upstream alone knows");
    session.file("through-proxy.toml", PROFILE);
    session
}

/// Verifies what came as the upstream would.
fn verify(session: &Session, head: &str, body: &[u8]) -> serde_json::Value {
    session.file("request", [head.as_bytes(), body].concat());
    let output = session.output(
        "countersign verify through-proxy.toml --key-id proxy --secret-file upstream.secret --json request",
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    })
}

#[test]
fn what_is_forwarded_is_signed_with_the_identity_of_the_client() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let proxied = Proxied::start(&session, &upstream, &format!("{KEYS}{SIGNED}"));
    for (method, path, body) in [
        ("POST", "/transfer?a=%20b", r#"{"amount":10}"#),
        ("GET", "/transfers", ""),
    ] {
        let signed = Signed::new(&session, method, path, body);
        assert_eq!(proxied.send(signed.raw()).status(), 200);
    }
    for Seen { head, body } in upstream.seen() {
        let verified = verify(&session, &head, &body);
        assert_eq!(verified["verified"], true, "{verified} {head}");
        assert_eq!(verified["key_id"], "proxy");
        let covered = verified["covered"].to_string();
        for name in [
            "countersign-key-id",
            "countersign-signed-at",
            "countersign-nonce",
            "countersign-covered",
        ] {
            assert!(covered.contains(name), "{name}: {covered}");
        }
        // A change of the client's name or of the path is found.
        for (from, to) in [
            ("\"partner-1\"", "\"partner-2\""),
            ("/transfer", "/other"),
            ("countersign-nonce: ", "countersign-nonce: \"a\", "),
        ] {
            assert!(head.contains(from), "{from}: {head}");
            let altered = verify(&session, &head.replacen(from, to, 1), &body);
            assert_eq!(altered["verified"], false, "{to}: {altered}");
        }
    }
}

/// Schemes differ in which of the fields there are.
#[test]
fn a_request_without_a_nonce_or_time_of_its_own_is_signed_too() {
    let session = session();
    let upstream = Upstream::start(DONE);
    for scheme in ["github", "standard-webhooks", "dropbox", "shopify"] {
        let route = format!(
            "scheme = \"{scheme}\"\nkeys = [{{ file = \"{scheme}.secret\" }}]\n{SIGNED}\
             methods = [\"POST\"]\n"
        );
        crate::round_trip::keygen(&session, scheme);
        let before = upstream.seen().len();
        let proxied = Proxied::start(&session, &upstream, &route);
        session.file(
            "secret",
            std::fs::read(session.path().join(format!("{scheme}.secret"))).unwrap(),
        );
        let signed = Signed::by(&session, scheme, "POST", "/", r#"{"id":"evt_1"}"#);
        let answer = proxied.send(signed.raw());
        assert_eq!(answer.status(), 200, "{scheme}: {answer:?}");
        let Seen { head, body } = upstream.seen()[before].clone();
        let verified = verify(&session, &head, &body);
        assert_eq!(verified["verified"], true, "{scheme}: {verified} {head}");
    }
}

#[test]
fn a_client_cannot_sign_in_the_place_of_the_proxy() {
    let session = session();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}{SIGNED}forward = \"all\"\n");
    let proxied = Proxied::start(&session, &upstream, &route);
    // A signature of the client under the same label is replaced.
    let signed = Signed::new(&session, "POST", "/transfer", "{}");
    assert_eq!(proxied.send(signed.raw()).status(), 200);
    let head = upstream.seen()[0].head.clone();
    assert_eq!(head.matches("\nsignature: ").count(), 1, "{head}");
    assert!(!head.contains("keyid=\"partner-1\""), "{head}");
    // A request that went around the proxy is not verified.
    let direct = format!("{}content-length: 2\r\n\r\n", signed.head(""));
    let around = verify(&session, &direct, b"{}");
    assert_eq!(around["verified"], false, "{around}");
    // A secret that clients have is refused.
    edit(&session, "file = \"upstream.secret\"", "file = \"secret\"");
    let said = session.run("countersign proxy --config proxy.toml --check");
    assert!(
        said.contains("the route `all` accepts what is signed with this secret"),
        "{said}"
    );
}

/// Found before the claim: by then a refusal would have used the request up.
#[test]
fn a_field_that_cannot_be_signed_claims_nothing() {
    let session = session();
    let upstream = Upstream::start(DONE);
    crate::round_trip::keygen(&session, "github");
    let github = std::fs::read(session.path().join("github.secret")).unwrap();
    session.file("secret", github);
    let route = format!(
        "scheme = \"github\"\nkeys = [{{ file = \"github.secret\" }}]\nmethods = [\"POST\"]\n\
         forward-also = [\"content-type\"]\n{SIGNED}"
    );
    let proxied = Proxied::start(&session, &upstream, &route);
    let signed = Signed::by(&session, "github", "POST", "/", "{}");
    let raw = signed.raw();
    let odd = raw.replace("application/json", "text/caf\u{e9}");
    let answer = proxied.send(odd);
    assert_eq!(
        (answer.status(), answer.code()),
        (400, "identity_unwritable"),
        "{answer:?}"
    );
    assert_eq!(proxied.send(raw).status(), 200);
    assert_eq!(upstream.seen().len(), 1);
}
