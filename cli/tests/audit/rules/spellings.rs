//! Faults and clean code in other spellings than those of their rules' files.

use hmac::{Hmac, Mac};
use sha2::Sha256;

type Signer = Hmac<Sha256>;

// mac-compared-with-equals
fn by_a_type_of_our_own(key: &[u8], body: &[u8], header: &str) -> bool {
    let mut mac = Signer::new_from_slice(key).expect("a key of any length");
    mac.update(body);
    let mine = hex::encode(mac.finalize().into_bytes());
    let Some(given) = header.strip_prefix("sha256=") else { return false };
    mine.eq(given) // expect: mac-compared-with-equals
}

fn in_one_chain(key: &[u8], body: &[u8], signature: &[u8]) -> bool {
    let mac = Signer::new_from_slice(key).expect("a key of any length").chain_update(body);
    mac.finalize().into_bytes().as_slice() == signature // expect: mac-compared-with-equals
}

fn name_of_a_host(entry: &Entry, host: &str) -> bool { // fine: mac-compared-with-equals
    let mut mac = Signer::new_from_slice(entry.salt()).unwrap();
    mac.update(host.as_bytes());
    mac.finalize().into_bytes()[..] == entry.hash[..]
}

// used-get-then-set: through helpers
impl Guard {
    fn has(&self, nonce: &str) -> bool {
        self.seen.lock().unwrap().contains(nonce)
    }

    fn put(&self, nonce: &str) {
        self.seen.lock().unwrap().insert(nonce.to_owned()); // expect: used-get-then-set
    }

    fn admit(&self, nonce: &str) -> Result<(), Refused> {
        if self.has(nonce) {
            return Err(Refused);
        }
        self.put(nonce);
        Ok(())
    }

    fn in_one_step(&self, nonce: &str) -> bool { // fine: used-get-then-set
        self.seen.lock().unwrap().insert(nonce.to_owned())
    }
}

// secret-has-default
fn of_an_option() -> String {
    std::env::var("SIGNER_SECRET").ok().unwrap_or_else(|| "development".to_owned()) // expect: secret-has-default
}
