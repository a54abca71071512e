//! Times, keys, purposes, and configurations that are refused.

use std::time::Duration;

use countersign::{
    Clock as _, KeyRing, KeySet, OneTimeToken, RejectionKind, Secret,
    error::{ConfigErrorKind, SignErrorKind},
};
use serde_json::json;

use super::{
    Confirm, HOUR, KEY, PURPOSE, SECRET, builder, claims, clock, code, confirm, header, memory,
    sealed, tokens,
};

#[tokio::test]
async fn a_token_is_redeemed_for_its_payload() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let token = tokens.issue(&confirm()).await.unwrap();
    let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    assert!(token.bytes().all(url_safe), "{token}");
    assert_eq!(tokens.redeem(&token).await.unwrap(), confirm());
    assert_eq!(code(tokens.redeem(&token).await), "token_redeemed");
}

#[tokio::test]
async fn verifying_redeems_nothing() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let token = tokens.issue(&confirm()).await.unwrap();
    for _ in 0..3 {
        let pending = tokens.verify(&token).await.unwrap();
        assert!(!format!("{pending:?}").contains("alice"), "{pending:?}");
    }
    assert_eq!(tokens.redeem(&token).await.unwrap(), confirm());
}

/// On or after `exp` it is too late (RFC 7519, section 4.1.4).
#[tokio::test]
async fn a_token_ends_at_its_expiry() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let last = tokens.issue(&confirm()).await.unwrap();
    let late = tokens.issue(&confirm()).await.unwrap();
    clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(tokens.redeem(&last).await.unwrap(), confirm());
    let pending = tokens.verify(&late).await.unwrap();
    clock.advance(Duration::from_millis(1));
    assert_eq!(code(tokens.redeem(&late).await), "token_expired");
    // A token that was verified in time, and is redeemed too late.
    assert_eq!(code(pending.redeem().await), "token_expired");
}

#[tokio::test]
async fn a_record_outlives_its_token_on_clocks_that_differ() {
    let clock = clock();
    let store = std::sync::Arc::new(memory(&clock));
    let tokens = tokens(&clock, std::sync::Arc::clone(&store));
    let token = tokens.issue(&confirm()).await.unwrap();
    tokens.redeem(&token).await.unwrap();
    // The store's clock is at the end of the token, another server's 5 seconds behind it.
    let behind = super::clock();
    behind.advance(HOUR - Duration::from_secs(5));
    clock.advance(HOUR);
    let other = builder(&behind).store(store).build().unwrap();
    assert_eq!(code(other.redeem(&token).await), "token_redeemed");
}

#[tokio::test]
async fn a_token_that_is_dated_ahead_waits() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let ahead = |seconds: u64, id: &str| {
        let mut claims = claims(&clock);
        let iat = clock.now().as_secs() + seconds;
        claims["iat"] = json!(iat);
        claims["jti"] = json!(id);
        sealed(&header().to_string(), &claims.to_string())
    };
    let (edge, beyond) = (ahead(5, "edge"), ahead(6, "beyond"));
    assert_eq!(tokens.redeem(&edge).await.unwrap(), confirm());
    assert_eq!(code(tokens.redeem(&beyond).await), "token_not_yet_valid");
}

#[tokio::test]
async fn a_token_that_lives_too_long_is_refused() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let until = |seconds: u64, id: &str| {
        let mut claims = claims(&clock);
        claims["exp"] = json!(clock.now().as_secs() + seconds);
        claims["jti"] = json!(id);
        sealed(&header().to_string(), &claims.to_string())
    };
    let (longest, longer) = (until(3600, "longest"), until(3601, "longer"));
    assert_eq!(tokens.redeem(&longest).await.unwrap(), confirm());
    assert_eq!(code(tokens.redeem(&longer).await), "token_invalid");
}

#[tokio::test]
async fn a_token_for_another_purpose_is_refused_under_the_same_key() {
    let clock = clock();
    let reset: OneTimeToken<Confirm> = OneTimeToken::builder("reset-password")
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .issue_under(KEY)
        .clock(clock.clone())
        .store(memory(&clock))
        .build()
        .unwrap();
    let token = reset.issue(&confirm()).await.unwrap();
    let tokens = tokens(&clock, memory(&clock));
    let refused = tokens.redeem(&token).await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::TokenInvalid);
    // The twin: nothing but the purpose is in the way.
    assert_eq!(reset.redeem(&token).await.unwrap(), confirm());
}

#[tokio::test]
async fn keys_are_rotated_by_key_id() {
    let clock = clock();
    let keys = KeyRing::new().with(KEY, SECRET).unwrap();
    let tokens = builder(&clock)
        .keys(keys.clone())
        .store(memory(&clock))
        .build()
        .unwrap();
    let old = [
        tokens.issue(&confirm()).await.unwrap(),
        tokens.issue(&confirm()).await.unwrap(),
    ];
    let end = clock.now().saturating_add(HOUR);
    let retired = KeySet::new(KEY)
        .unwrap()
        .with_until(Secret::new(SECRET).unwrap(), end);
    keys.replace(
        KeyRing::new()
            .with_set(retired)
            .unwrap()
            .with("2026-12", "the next secret of tokens")
            .unwrap(),
    );
    tokens.rotate("2026-12").unwrap();
    let new = tokens.issue(&confirm()).await.unwrap();
    assert_eq!(tokens.redeem(&new).await.unwrap(), confirm());
    assert_eq!(tokens.redeem(&old[0]).await.unwrap(), confirm());
    keys.replace(
        KeyRing::new()
            .with("2026-12", "the next secret of tokens")
            .unwrap(),
    );
    assert_eq!(code(tokens.redeem(&old[1]).await), "token_invalid");
    let unknown = tokens.rotate("2027-01").unwrap_err();
    assert_eq!(
        *unknown.kind(),
        ConfigErrorKind::NoSecretFor("2027-01".into())
    );
    tokens.issue(&confirm()).await.unwrap();
    keys.replace(KeyRing::new());
    let refused = tokens.issue(&confirm()).await.unwrap_err();
    assert_eq!(refused.kind(), SignErrorKind::NoSecret);
}

/// A token under a secret that ends before it would be refused while it says that it lives.
#[tokio::test]
async fn a_token_is_issued_under_a_secret_that_outlives_it() {
    let clock = clock();
    let issued = async |until: Duration, next: Option<&str>| {
        let secret = |text: &str| Secret::new(text).unwrap();
        let end = clock.now().saturating_add(until);
        let ending = KeySet::new(KEY).unwrap().with_until(secret(SECRET), end);
        let set = next.map_or(ending.clone(), |next| ending.with(secret(next)));
        let tokens = builder(&clock)
            .keys(KeyRing::new().with_set(set).unwrap())
            .store(memory(&clock))
            .build()
            .unwrap();
        Some((tokens.issue(&confirm()).await.ok()?, tokens))
    };
    let moment = Duration::from_millis(1);
    assert!(issued(HOUR, None).await.is_some());
    assert!(issued(HOUR - moment, None).await.is_none());
    let next = Some("the next secret of tokens");
    let (token, tokens) = issued(HOUR - moment, next).await.unwrap();
    clock.advance(HOUR - moment);
    assert_eq!(tokens.redeem(&token).await.unwrap(), confirm());
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_not_issued() {
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let issue = |len| {
        let mut payload = confirm();
        payload.address = "a".repeat(len);
        let tokens = tokens.clone();
        async move { tokens.issue(&payload).await }
    };
    let longest = issue(5_900).await.unwrap();
    assert!(longest.len() <= 8192);
    assert!(tokens.redeem(&longest).await.is_ok());
    let refused = issue(6_200).await.unwrap_err();
    assert_eq!(refused.kind(), SignErrorKind::TooLong);
}

#[test]
fn configurations_that_would_not_be_safe_are_refused() {
    let clock = clock();
    let kind = |builder: countersign::token::OneTimeTokenBuilder<Confirm>| {
        builder.build().unwrap_err().kind().clone()
    };
    let missing = |kind| matches!(kind, ConfigErrorKind::Missing(_));
    let range = |kind| matches!(kind, ConfigErrorKind::Range(_));
    let whole = || builder(&clock).store(memory(&clock));
    assert!(whole().build().is_ok());
    assert!(missing(kind(builder(&clock))));
    let keyless = OneTimeToken::builder(PURPOSE).store(memory(&clock));
    assert!(missing(kind(keyless.issue_under(KEY))));
    let second_truth = whole().in_transaction().build().unwrap_err();
    assert!(matches!(
        second_truth.kind(),
        ConfigErrorKind::Processing(_)
    ));
    assert!(range(kind(whole().lifetime(Duration::ZERO))));
    assert!(range(kind(whole().lifetime(Duration::from_millis(1500)))));
    assert!(range(kind(whole().lifetime(367 * 24 * HOUR))));
    assert!(range(kind(whole().max_skew(2 * HOUR))));
    assert!(range(kind(whole().clock_difference(2 * HOUR))));
    assert!(range(kind(whole().store_timeout(Duration::ZERO))));
    assert!(range(kind(whole().namespace(""))));
    assert!(range(kind(whole().namespace("a\0b"))));
    assert_eq!(
        kind(whole().issue_under("2026-12")),
        ConfigErrorKind::NoSecretFor("2026-12".into())
    );
    assert!(matches!(
        kind(whole().issue_under("no key id")),
        ConfigErrorKind::KeyId
    ));
}
