//! MACs that are compared with `==`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::hex;

pub fn as_bytes(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

pub fn turned(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    if mac.verify_slice(&signature[..]).is_err() {
        return false;
    }
    true
}

pub fn in_hexadecimal(key: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    !signature.is_empty() && hex::decode(signature).is_ok_and(|given| mac.verify_slice(&given).is_ok())
}
