//! Tokens that must be refused. Each has a valid MAC unless its test is about the MAC, so that nothing
//! else is in the way; and a reader that makes the old mistakes takes it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign::testing::ManualClock;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::{
    KEY, PURPOSE, SECRET, claims, clock, code, confirm, header, mac, memory, sealed, sealed_with,
    tokens,
};

/// Does as the token's header says, takes the last of two members, and ignores what it does not know.
fn naive(clock: &ManualClock, token: &str) -> bool {
    let parts: Vec<_> = token.trim_end_matches('=').split('.').collect();
    let json = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (Some(header), Some(claims)) = (json(parts[0]), json(parts[1])) else {
        return false;
    };
    let signed = match header["alg"].as_str().unwrap_or_default() {
        "none" | "None" | "nOnE" => true,
        _ => {
            let expected = mac(SECRET, &format!("{}.{}", parts[0], parts[1]));
            parts
                .get(2)
                .is_some_and(|mac| expected.starts_with(mac.trim_end_matches('=')))
        }
    };
    let now = countersign::Clock::now(clock).as_secs();
    signed && claims["exp"].as_f64().is_none_or(|exp| exp > now as f64)
}

async fn refused(clock: &ManualClock, token: &str) -> &'static str {
    let tokens = tokens(clock, memory(clock));
    let code = code(tokens.redeem(token).await);
    // The answer does not tell a bearer apart from a guesser.
    assert!(
        ["token_malformed", "token_invalid"].contains(&code),
        "{code}"
    );
    code
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

#[tokio::test]
async fn the_token_that_all_others_differ_from_is_accepted() {
    let clock = clock();
    let token = sealed(&header().to_string(), &claims(&clock).to_string());
    let tokens = tokens(&clock, memory(&clock));
    assert_eq!(tokens.redeem(&token).await.unwrap(), confirm());
    assert!(naive(&clock, &token));
}

#[tokio::test]
async fn no_algorithm_but_ours_is_taken() {
    let clock = clock();
    let payload = claims(&clock).to_string();
    for alg in [
        json!("none"),
        json!("None"),
        json!("nOnE"),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("ES256"),
        json!("hs256"),
        json!("HS256 "),
        json!(["HS256"]),
        json!(null),
    ] {
        let header = with(header(), "alg", alg.clone()).to_string();
        let token = sealed(&header, &payload);
        assert_eq!(refused(&clock, &token).await, "token_malformed", "{alg}");
        assert!(naive(&clock, &token), "{alg}");
        // Without any MAC, as `none` has it.
        let unsigned = token.rsplit_once('.').unwrap().0;
        for unsigned in [unsigned.to_owned(), format!("{unsigned}.")] {
            assert_eq!(refused(&clock, &unsigned).await, "token_malformed");
        }
    }
    let absent = sealed(&without(header(), "alg").to_string(), &payload);
    assert_eq!(refused(&clock, &absent).await, "token_malformed");
    assert!(naive(&clock, &absent));
}

#[tokio::test]
async fn members_that_are_not_known_are_not_ignored() {
    let clock = clock();
    let payload = claims(&clock).to_string();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ("jku", json!("https://example.com/keys")),
        ("x5u", json!("https://example.com/keys")),
    ] {
        let token = sealed(&with(header(), name, value).to_string(), &payload);
        assert_eq!(refused(&clock, &token).await, "token_malformed", "{name}");
        assert!(naive(&clock, &token), "{name}");
    }
    for (name, value) in [
        ("nbf", json!(1_900_000_000)),
        ("iss", json!("another issuer")),
        ("admin", json!(true)),
    ] {
        let payload = with(claims(&clock), name, value).to_string();
        let token = sealed(&header().to_string(), &payload);
        assert_eq!(refused(&clock, &token).await, "token_malformed", "{name}");
        assert!(naive(&clock, &token), "{name}");
    }
}

#[tokio::test]
async fn members_are_of_their_type_and_there() {
    let clock = clock();
    for (name, values) in [
        ("aud", vec![json!([PURPOSE]), json!(7), json!(null)]),
        ("jti", vec![json!(""), json!(7), json!("a".repeat(257))]),
        ("iat", wrong_times()),
        ("exp", wrong_times()),
        ("data", vec![json!("alice"), json!({}), json!(null)]),
    ] {
        let payload = without(claims(&clock), name).to_string();
        let token = sealed(&header().to_string(), &payload);
        assert_eq!(refused(&clock, &token).await, "token_malformed", "{name}");
        for value in values {
            let payload = with(claims(&clock), name, value.clone()).to_string();
            let token = sealed(&header().to_string(), &payload);
            let code = refused(&clock, &token).await;
            assert_eq!(code, "token_malformed", "{name}: {value}");
        }
    }
    for (name, value) in [
        ("kid", json!("")),
        ("kid", json!("a b")),
        ("kid", json!("k".repeat(129))),
        ("typ", json!("at+jwt")),
    ] {
        let header = with(header(), name, value).to_string();
        let token = sealed(&header, &claims(&clock).to_string());
        assert_eq!(refused(&clock, &token).await, "token_malformed", "{name}");
    }
    let nameless = sealed(
        &without(header(), "kid").to_string(),
        &claims(&clock).to_string(),
    );
    assert_eq!(refused(&clock, &nameless).await, "token_malformed");
    let backwards = with(claims(&clock), "exp", claims(&clock)["iat"].clone());
    let token = sealed(&header().to_string(), &backwards.to_string());
    assert_eq!(refused(&clock, &token).await, "token_malformed");
}

fn wrong_times() -> Vec<Value> {
    vec![
        json!("1700000000"),
        json!(1_700_000_000.5),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(null),
    ]
}

#[tokio::test]
async fn a_member_that_stands_there_twice_is_not_the_last_one() {
    let clock = clock();
    let twice = |text: &str, name: &str, first: &str| {
        text.replacen('{', &format!("{{\"{name}\":{first},"), 1)
    };
    let (head, payload) = (header().to_string(), claims(&clock).to_string());
    let within_data = |member: &str| payload.replace("\"data\":{", &format!("\"data\":{{{member}"));
    for (header, payload) in [
        (twice(&head, "alg", "\"none\""), payload.clone()),
        (twice(&head, "kid", "\"other\""), payload.clone()),
        (head.clone(), twice(&payload, "exp", "1")),
        (head.clone(), twice(&payload, "jti", "\"two\"")),
        (head.clone(), twice(&payload, "\\u006ati", "\"two\"")),
        (head.clone(), twice(&payload, "aud", "\"reset-password\"")),
        (head.clone(), within_data("\"account\":8,")),
        (
            head.clone(),
            within_data("\"more\":[{\"a\":1,\"\\u0061\":1}],"),
        ),
    ] {
        let token = sealed(&header, &payload);
        assert_eq!(
            refused(&clock, &token).await,
            "token_malformed",
            "{header} {payload}"
        );
        assert!(naive(&clock, &token), "{header} {payload}");
    }
}

/// Header and payload may have thousands of bytes of anything: a line of the log has not.
#[tokio::test]
async fn what_a_stranger_wrote_is_cut_short_in_the_log() {
    let clock = clock();
    let long = format!("\n\u{1b}[31m{}", "é".repeat(2000));
    let (head, payload) = (header().to_string(), claims(&clock).to_string());
    for (header, payload) in [
        (with(header(), "alg", json!(long)).to_string(), &payload),
        (with(header(), "typ", json!(long)).to_string(), &payload),
        (with(header(), "typ", json!([long])).to_string(), &payload),
        (with(header(), "kid", json!(long)).to_string(), &payload),
        (with(header(), &long, json!(1)).to_string(), &payload),
        (head, &with(claims(&clock), &long, json!(1)).to_string()),
    ] {
        let tokens = tokens(&clock, memory(&clock));
        let refused = tokens.redeem(&sealed(&header, payload)).await.unwrap_err();
        let detail = refused.reason();
        assert!(detail.len() < 200, "{} bytes: {detail}", detail.len());
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
}

#[tokio::test]
async fn a_mac_is_whole_and_that_of_the_named_key() {
    let clock = clock();
    let (head, payload) = (header().to_string(), claims(&clock).to_string());
    let token = sealed(&head, &payload);
    let (signed, whole) = token.rsplit_once('.').unwrap();
    for len in 0..whole.len() {
        let cut = format!("{signed}.{}", &whole[..len]);
        assert_eq!(refused(&clock, &cut).await, "token_malformed", "{len}");
        assert!(naive(&clock, &cut), "{len}");
    }
    let long = format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    assert_eq!(refused(&clock, &long).await, "token_malformed");
    let wrong = sealed_with("another secret of tokens", &head, &payload);
    assert_eq!(refused(&clock, &wrong).await, "token_invalid");
    let unknown = with(header(), "kid", json!("another")).to_string();
    assert_eq!(
        refused(&clock, &sealed(&unknown, &payload)).await,
        "token_invalid"
    );
    // Unknown key and wrong MAC are told alike.
    let tokens = tokens(&clock, memory(&clock));
    let answers = [wrong, sealed(&unknown, &payload)];
    let mut bodies = Vec::new();
    for token in &answers {
        bodies.push(
            tokens
                .redeem(token)
                .await
                .unwrap_err()
                .to_response()
                .into_body(),
        );
    }
    assert_eq!(bodies[0], bodies[1]);
}

/// The last character of base64url can hold unused bits.
#[tokio::test]
async fn a_token_has_one_spelling() {
    let clock = clock();
    let token = sealed(&header().to_string(), &claims(&clock).to_string());
    let (signed, mac) = token.rsplit_once('.').unwrap();
    let padded = format!("{signed}.{mac}=");
    assert!(naive(&clock, &padded));
    let spaced = [
        format!(" {token}"),
        format!("{token}\n"),
        format!("{token}."),
    ];
    for other in [padded].iter().chain(&spaced) {
        assert_eq!(refused(&clock, other).await, "token_malformed", "{other:?}");
    }
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for last in alphabet.iter().map(|byte| char::from(*byte)) {
        let other = format!("{signed}.{}{last}", &mac[..mac.len() - 1]);
        if other != token {
            refused(&clock, &other).await;
        }
    }
}

#[tokio::test]
async fn a_token_over_the_limit_is_not_parsed() {
    let clock = clock();
    let payload = with(claims(&clock), "data", json!("a".repeat(9000))).to_string();
    let token = sealed(&header().to_string(), &payload);
    assert_eq!(refused(&clock, &token).await, "token_malformed");
    assert!(naive(&clock, &token));
    let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));
    let token = sealed(&header().to_string(), &deep);
    assert_eq!(refused(&clock, &token).await, "token_malformed");
}

#[test]
fn every_changed_byte_is_refused() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let clock = clock();
    let tokens = tokens(&clock, memory(&clock));
    let token = sealed(&header().to_string(), &claims(&clock).to_string());
    for at in 0..token.len() {
        for byte in (0..=127u8).filter(|byte| *byte != token.as_bytes()[at]) {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = byte;
            let altered = String::from_utf8(bytes).unwrap();
            let answer = runtime.block_on(tokens.verify(&altered));
            assert!(answer.is_err(), "byte {at} as {byte}");
        }
    }
    assert!(runtime.block_on(tokens.redeem(&token)).is_ok());
}

proptest! {
    #[test]
    fn whatever_it_is_nothing_panics_and_nothing_is_let_through(
        text in ".{0,200}",
        header in prop_oneof![Just(header().to_string()), ".{0,60}"],
        payload in ".{0,100}",
        key in prop_oneof![Just(KEY), Just("another")],
    ) {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let clock = clock();
        let tokens = tokens(&clock, memory(&clock));
        let header = header.replace(KEY, key);
        for token in [text, sealed(&header, &payload)] {
            prop_assert!(runtime.block_on(tokens.redeem(&token)).is_err());
        }
    }
}
