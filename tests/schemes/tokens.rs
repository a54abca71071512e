//! One-time tokens: what is refused, that one redemption wins, and that PyJWT reads and issues them.

mod hostile;
mod once;
mod peer;
mod settings;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign::{
    Clock as _, KeyRing, MemoryStore, OneTimeToken, Rejection, Timestamp, store::NonceStore,
    testing::ManualClock, token::OneTimeTokenBuilder,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::common::log;

pub(crate) const KEY: &str = "2026-11";
pub(crate) const SECRET: &str = "the secret of all tokens";
pub(crate) const PURPOSE: &str = "confirm-address";
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confirm {
    pub(crate) address: String,
    pub(crate) account: u64,
}

pub(crate) fn confirm() -> Confirm {
    Confirm {
        address: "alice@example.com".to_owned(),
        account: 7,
    }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(1_700_000_000).unwrap())
}

pub(crate) fn memory(clock: &ManualClock) -> MemoryStore {
    let store = MemoryStore::builder().clock(clock.clone()).build();
    store.unwrap().danger_assume_no_history()
}

pub(crate) fn builder(clock: &ManualClock) -> OneTimeTokenBuilder<Confirm> {
    log::listen();
    OneTimeToken::builder(PURPOSE)
        .keys(KeyRing::new().with(KEY, SECRET).unwrap())
        .issue_under(KEY)
        .clock(clock.clone())
}

pub(crate) fn tokens(clock: &ManualClock, store: impl NonceStore) -> OneTimeToken<Confirm> {
    builder(clock).store(store).build().unwrap()
}

pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Rejection>) -> &'static str {
    answer.expect_err("a refusal").kind().code()
}

/// Returns what a token says, as another implementation would write it.
pub(crate) fn claims(clock: &ManualClock) -> Value {
    let now = clock.now().as_secs();
    json!({ "aud": PURPOSE, "iat": now, "exp": now + 600, "jti": "one", "data": confirm() })
}

pub(crate) fn header() -> Value {
    json!({ "alg": "HS256", "kid": KEY, "typ": "JWT" })
}

/// A token with exactly these texts, under a valid MAC.
pub(crate) fn sealed(header: &str, payload: &str) -> String {
    sealed_with(SECRET, header, payload)
}

pub(crate) fn sealed_with(secret: &str, header: &str, payload: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    format!("{signed}.{}", mac(secret, &signed))
}

pub(crate) fn mac(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}
