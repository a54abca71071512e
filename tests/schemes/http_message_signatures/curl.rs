//! curl, which signs by RFC 9421 since 8.22 (`--httpsig-…`): with a shared secret, the components
//! that it is told, `created`, `keyid` and `alg`, and no nonce. A digest of the body is the caller's.

use std::{fs, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{HttpMessageSignatures, KeyRing, RejectionKind, VerifiedPayload, VerifyLayer};

use super::{BODY, builder_of, digest_of, signed_by_hand, verify, with, without};
use crate::common::{self, HOST, KEY, NOW, SECRET, log};

/// The profile that curl's signatures hold to, if it is told to cover what the profile requires.
fn profile() -> HttpMessageSignatures {
    let scheme = HttpMessageSignatures::builder().danger_without_nonce();
    scheme.build().unwrap()
}

/// The value of `--httpsig-headers`.
const HEADERS: &str = "method authority path query content-type: content-digest:";

/// A request as curl's documentation describes it: derived components first, in the order in which
/// they are named, then `created`, `keyid` and `alg`, under the label `sig1`.
fn as_curl_signs(query: &str) -> http::Request<String> {
    let request = common::request("POST", &format!("/transfer{query}"), BODY);
    let digest = digest_of(BODY);
    let request = with(&request, "content-digest", &digest);
    let asked = if query.is_empty() { "?" } else { query };
    let lines = format!(
        "\"@method\": POST\n\"@authority\": {HOST}\n\"@path\": /transfer\n\"@query\": {asked}\n\
         \"content-type\": application/json\n\"content-digest\": {digest}\n"
    );
    let params = format!(
        "(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-type\" \"content-digest\")\
         ;created={NOW};keyid=\"{KEY}\";alg=\"hmac-sha256\""
    );
    signed_by_hand(&request, &lines, &params)
}

#[tokio::test]
async fn what_curl_writes_is_verified_and_used_once() {
    for query in ["", "?a=1&b=%20"] {
        let verifier = builder_of(&profile()).build().unwrap();
        let signed = as_curl_signs(query);
        let payload = verify(&verifier, &signed).await.unwrap();
        assert_eq!(payload.bytes(), BODY.as_bytes());
        assert_eq!(payload.query(), Some(query.trim_start_matches('?')));
        let again = verify(&verifier, &signed).await.unwrap_err();
        assert_eq!(again.kind(), RejectionKind::RequestReplayed);
        let verifier = builder_of(&profile()).build().unwrap();
        let changed = with(&signed, "content-type", "text/plain");
        let changed = verify(&verifier, &changed).await.unwrap_err();
        assert_eq!(changed.kind(), RejectionKind::SignatureInvalid);
        let undigested = without(&signed, "content-digest");
        assert!(verify(&verifier, &undigested).await.is_err());
        // The default profile wants a nonce, which curl has not.
        let default = builder_of(&HttpMessageSignatures::default()).build();
        let refused = verify(&default.unwrap(), &signed).await.unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::SignatureInsufficient);
        assert!(refused.reason().contains("nonce"), "{}", refused.reason());
    }
}

/// Runs where a curl is installed that can sign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_curl_that_can_sign_is_served() {
    const TEST: &str = "a_curl_that_can_sign_is_served";
    let help = Command::new("curl").args(["--help", "all"]).output();
    let can_sign = help.is_ok_and(|help| {
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        text.contains("--httpsig-key")
    });
    if !can_sign {
        log::skipped(
            TEST,
            "no `curl` with `--httpsig-key` (8.22, built with it) is installed",
        );
        return;
    }
    let layer = VerifyLayer::builder(profile())
        .danger_any_authority()
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .store(countersign::MemoryStore::new().danger_assume_no_history());
    let seen =
        async |payload: VerifiedPayload| format!("{:?} {:?}", payload.query(), payload.bytes());
    let app = axum::Router::new()
        .route("/transfer", axum::routing::post(seen))
        .layer(layer.build().unwrap());
    let addr = common::serve(app).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.hex");
    fs::write(&key, base16ct::lower::encode_string(SECRET.as_bytes())).unwrap();
    for query in ["", "?a=1"] {
        let run = Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body"])
            .args(["--httpsig-algo", "hmac-sha256", "--httpsig-keyid", KEY])
            .args(["--httpsig-key", &format!("@{}", key.display())])
            .args(["--httpsig-headers", HEADERS])
            .args(["-H", "Content-Type: application/json"])
            .args(["-H", &format!("Content-Digest: {}", digest_of(BODY))])
            .args(["--data-binary", BODY])
            .arg(format!("http://{addr}/transfer{query}"))
            .output()
            .unwrap();
        let (out, err) = (
            run.stdout,
            String::from_utf8_lossy(&run.stderr).into_owned(),
        );
        let out = String::from_utf8(out).unwrap();
        assert!(run.status.success(), "{out} {err}");
        assert!(
            out.starts_with(&format!("Some({:?})", query.trim_start_matches('?'))),
            "{out}"
        );
    }
}

/// The digest of an example, so that the vector above does not rest on itself.
#[test]
fn the_digest_is_that_of_rfc_9530() {
    // RFC 9530, appendix D.
    let digest = digest_of("{\"hello\": \"world\"}\n");
    assert_eq!(
        digest,
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    );
    assert_eq!(
        STANDARD
            .decode("RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=")
            .unwrap()
            .len(),
        32
    );
}
