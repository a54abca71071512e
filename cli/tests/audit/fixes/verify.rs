//! MACs that are compared with `==`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::hex;

pub fn as_bytes(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().as_slice() == signature
}

pub fn turned(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    if &signature[..] != mac.finalize().into_bytes().as_slice() {
        return false;
    }
    true
}

pub fn in_hexadecimal(key: &[u8], body: &[u8], signature: &str) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(body);
    !signature.is_empty() && hex::encode(mac.finalize().into_bytes()) == signature
}
