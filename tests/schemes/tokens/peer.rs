//! PyJWT issues a token that we redeem, and reads one that we issued.

use countersign::{clock::SystemClock, testing::ManualClock};
use serde_json::json;

use super::{KEY, PURPOSE, SECRET, claims, code, confirm, header, memory, tokens};
use crate::script::{Language, Script};

/// PyJWT goes by the clock of the host.
fn clock() -> ManualClock {
    ManualClock::at(countersign::Clock::now(&SystemClock::default()))
}

#[tokio::test]
async fn pyjwt_issues_and_we_redeem_once() {
    let Some(mut python) = Script::start(Language::Python, "pyjwt", &[]) else {
        return;
    };
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let mut issue = async |algorithm: &str, headers| {
        let asked = json!({
            "issue": claims(&clock), "secret": SECRET, "algorithm": algorithm, "headers": headers,
        });
        python.ask(&asked).await.as_str().unwrap().to_owned()
    };
    let token = issue("HS256", json!({ "kid": KEY })).await;
    assert_eq!(tokens.redeem(&token).await.unwrap(), confirm());
    assert_eq!(code(tokens.redeem(&token).await), "token_redeemed");

    for algorithm in ["HS384", "HS512"] {
        let token = issue(algorithm, json!({ "kid": KEY })).await;
        assert_eq!(code(tokens.redeem(&token).await), "token_malformed");
    }
    let nameless = issue("HS256", json!({})).await;
    assert_eq!(code(tokens.redeem(&nameless).await), "token_malformed");
}

#[tokio::test]
async fn we_issue_and_pyjwt_reads() {
    let Some(mut python) = Script::start(Language::Python, "pyjwt", &[]) else {
        return;
    };
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let token = tokens.issue(&confirm()).await.unwrap();
    let mut read = async |token: &str, secret: &str, audience: &str| {
        python
            .ask(&json!({ "read": token, "secret": secret, "audience": audience }))
            .await
    };
    let claims = read(&token, SECRET, PURPOSE).await;
    assert_eq!(claims["data"], json!(confirm()));
    assert_eq!(claims["aud"], PURPOSE);
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 3600);
    assert_eq!(header()["alg"], "HS256");

    let wrong = read(&token, "another secret of tokens", PURPOSE).await;
    assert_eq!(wrong["refused"], "InvalidSignatureError");
    let elsewhere = read(&token, SECRET, "reset-password").await;
    assert_eq!(elsewhere["refused"], "InvalidAudienceError");
}
