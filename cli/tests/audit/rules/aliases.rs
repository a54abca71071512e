//! Names that imports give to things: each rule knows them.

use std::{env as environment, fs as files, path::Path as FilePath};

use hmac::{Hmac as H, Mac as _};
use sha2::{Digest, Sha256 as S, Sha512};
use subtle::ConstantTimeEq as _;
use chrono::Utc as Clock;

fn made_and_compared(key: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = H::<S>::new(key);
    mac.update(body);
    hex::encode(mac.finalize().into_bytes()) == signature // expect: mac-compared-with-equals
}

fn in_a_function(key: &[u8], body: &[u8], signature: &str) -> bool {
    use hmac as codes;
    let mut mac = codes::Hmac::<Sha512>::new(key);
    mac.update(body);
    hex::encode(mac.finalize().into_bytes()) == signature // expect: mac-compared-with-equals
}

fn own_clock(key: &[u8], raw: &[u8], signature: &[u8]) -> bool {
    let mut mac = H::<S>::new_from_slice(key).unwrap();
    mac.update(Clock::now().timestamp().to_string().as_bytes());
    mac.update(raw);
    mac.verify_slice(signature).is_ok() // expect: signed-time-is-own-clock
}

fn a_default() -> String {
    environment::var("ALIASED_WEBHOOK_SECRET").unwrap_or("dev".to_owned()) // expect: secret-has-default
}

fn a_keyed_digest(secret_key: &[u8], body: &[u8], signature: &str) -> bool {
    hex::encode(S::digest([secret_key, body].concat())) == signature // expect: mac-compared-with-equals
}

fn a_file(path: &FilePath) -> std::io::Result<()> {
    if files::exists(path)? {
        files::remove_file(path)?; // expect: file-exists-then-opened
    }
    Ok(())
}
