//! Any header and payload that a holder of the key signed, and any text at all: accepted only where it
//! says what the profile asks for, once.
#![no_main]

use std::{collections::BTreeMap, time::Duration};

use arbitrary::Arbitrary;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign::{
    Clock as _, KeyRing, MemoryStore, OneTimeToken, Timestamp, testing::ManualClock,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::Sha256;

const SECRET: &str = "the secret of all tokens";

#[derive(Arbitrary, Debug)]
enum Input {
    Text(String),
    Signed { header: Edited, payload: Edited },
}

/// A text that is right, with a part of it replaced.
#[derive(Arbitrary, Debug)]
struct Edited {
    from: u8,
    to: u8,
    by: String,
}

impl Edited {
    fn of(&self, right: &str) -> String {
        let at = |place: u8| usize::from(place).min(right.len());
        let (from, to) = (at(self.from.min(self.to)), at(self.to.max(self.from)));
        format!("{}{}{}", &right[..from], self.by, &right[to..])
    }
}

fuzz_target!(|input: Input| {
    let token = match &input {
        Input::Text(text) => text.clone(),
        Input::Signed { header, payload } => {
            let header = header.of(r#"{"alg":"HS256","kid":"a","typ":"JWT"}"#);
            let payload = payload
                .of(r#"{"aud":"fuzz","data":7,"exp":1700000600,"iat":1700000000,"jti":"one"}"#);
            let signed = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode(payload)
            );
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
            mac.update(signed.as_bytes());
            format!(
                "{signed}.{}",
                URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
            )
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000).expect("a time"));
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .build()
        .expect("a store");
    let tokens = OneTimeToken::<u64>::builder("fuzz")
        .keys(KeyRing::new().with("a", SECRET).expect("a key"))
        .issue_under("a")
        .lifetime(Duration::from_secs(3600))
        .clock(clock.clone())
        .store(store.danger_assume_no_history())
        .build()
        .expect("a valid configuration");
    let Ok(data) = runtime.block_on(tokens.redeem(&token)) else {
        return;
    };
    assert!(
        runtime.block_on(tokens.redeem(&token)).is_err(),
        "redeemed twice: {token}"
    );

    assert!(matches!(input, Input::Signed { .. }), "forged: {token}");
    let part = |at| {
        let json = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).expect("a part"));
        serde_json::from_slice::<BTreeMap<String, Value>>(&json.expect("base64url")).expect("JSON")
    };
    let (header, payload) = (part(0), part(1));
    assert_eq!(header["alg"], "HS256");
    assert_eq!(header["kid"], "a");
    assert_eq!(payload["aud"], "fuzz");
    assert_eq!(payload["data"], data);
    let time = |name: &str| payload[name].as_u64().expect("whole seconds");
    assert!(time("exp") > clock.now().as_secs() && time("iat") <= clock.now().as_secs() + 5);
});
