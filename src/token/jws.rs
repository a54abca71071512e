//! The token as text: a JSON Web Signature in compact form (RFC 7515), with HMAC-SHA256 and no
//! other algorithm, around the claims of a JSON Web Token (RFC 7519). The profile is closed: what
//! it does not name is refused.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    error::{Fault, malformed},
    key::{KeyId, MacAlgorithm, MacKey},
    message::{HashOutput, Message, Part, json},
    proof::{Candidate, Parameters},
};

/// The greatest length of a token, in bytes.
pub(super) const MAX_LEN: usize = 8192;

/// The greatest length of a `jti`, in bytes.
const MAX_ID_LEN: usize = 256;

/// The algorithm of every token.
pub(super) const ALGORITHM: MacAlgorithm = MacAlgorithm::HmacSha256;
const MAC_LEN: usize = ALGORITHM.mac_len();

/// The claims of a token, besides the key that it is signed under.
pub(super) struct Claims {
    pub(super) id: String,
    pub(super) purpose: String,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) data: Value,
}

/// A token whose MAC was not compared yet: only the name of its key has been read.
pub(super) struct Sealed<'t> {
    pub(super) candidate: Candidate<'t, Message>,
    pub(super) payload: &'t str,
}

/// The token; `None` where it would be longer than [`MAX_LEN`].
pub(super) fn write(claims: &Claims, key_id: &KeyId, key: &MacKey) -> Option<String> {
    let header = serde_json::json!({ "alg": "HS256", "kid": key_id.as_str(), "typ": "JWT" });
    let payload = serde_json::json!({
        "aud": claims.purpose,
        "data": claims.data,
        "exp": claims.expires_at.as_secs(),
        "iat": claims.issued_at.as_secs(),
        "jti": claims.id,
    });
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload.to_string(), &mut token);
    let mut mac = key.start(ALGORITHM);
    mac.update(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(mac.finish(), &mut token);
    (token.len() <= MAX_LEN).then_some(token)
}

impl<'t> Sealed<'t> {
    /// Reads the three parts and the header.
    pub(super) fn read(token: &'t str) -> Result<Self, Fault> {
        if token.len() > MAX_LEN {
            return Err(malformed(format!(
                "{} bytes, and a token has {MAX_LEN} at most",
                token.len()
            )));
        }
        let parts = token.rsplit_once('.').and_then(|(signed, mac)| {
            let (header, payload) = signed.split_once('.')?;
            (!payload.contains('.')).then_some((signed, header, payload, mac))
        });
        let Some((signed, header, payload, mac)) = parts else {
            return Err(malformed("not three parts with a dot between them"));
        };
        let mac = decode("signature", mac)?;
        if mac.len() != MAC_LEN {
            return Err(malformed(format!(
                "a signature of {} bytes, and HMAC-SHA256 has {MAC_LEN}",
                mac.len()
            )));
        }
        let key_id = key_id_in(header)?;
        let named = Some(key_id.as_bytes().into());
        let mut message = Message::with_room(signed.len(), 1);
        message.text_with(signed, [(Part::KeyId, 0..header.len(), named)]);
        let parameters = Parameters {
            key_id: Cow::Owned(key_id),
            signed_at: None,
            expires_at: None,
            nonce: None,
            delivery_id: None,
        };
        Ok(Self {
            candidate: Candidate {
                parameters,
                mac: HashOutput::new(&mac),
                message,
            },
            payload,
        })
    }
}

impl Claims {
    /// Reads a payload. Only to be called once the MAC of the token has been compared.
    pub(super) fn read(payload: &str) -> Result<Self, Fault> {
        let mut members = object("payload", payload)?;
        let claims = Self {
            id: text(&mut members, "jti")?,
            purpose: text(&mut members, "aud")?,
            issued_at: time(&mut members, "iat")?,
            expires_at: time(&mut members, "exp")?,
            data: members.remove("data").unwrap_or(Value::Null),
        };
        nothing_else("payload", &members)?;
        if !(1..=MAX_ID_LEN).contains(&claims.id.len()) {
            return Err(malformed(format!(
                "`jti` has {} bytes, and 1 to {MAX_ID_LEN} are allowed",
                claims.id.len()
            )));
        }
        if claims.expires_at <= claims.issued_at {
            return Err(malformed("`exp` is not after `iat`"));
        }
        Ok(claims)
    }
}

/// The algorithm is fixed: what the header says about it is compared, and chooses nothing.
fn key_id_in(header: &str) -> Result<String, Fault> {
    let mut members = object("header", header)?;
    let algorithm = text(&mut members, "alg")?;
    if algorithm != "HS256" {
        return Err(malformed(format!(
            "`alg` is {}, and only HS256 is taken",
            excerpt(&algorithm)
        )));
    }
    if members.contains_key("typ") {
        let kind = text(&mut members, "typ")?;
        if kind != "JWT" {
            return Err(malformed(format!(
                "`typ` is {}, and \"JWT\" is taken",
                excerpt(&kind)
            )));
        }
    }
    let key_id = text(&mut members, "kid")?;
    nothing_else("header", &members)?;
    KeyId::new(&key_id).map_err(|error| malformed(format!("`kid`: {error}")))?;
    Ok(key_id)
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, Fault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| {
        malformed(format!(
            "the {what} is not base64url without padding: {error}"
        ))
    })
}

fn object(what: &str, text: &str) -> Result<Map<String, Value>, Fault> {
    let document = decode(what, text)?;
    json::read(&document)
        .map_err(|error| malformed(format!("the {what} is not a JSON object: {error}")))
}

fn text(members: &mut Map<String, Value>, name: &str) -> Result<String, Fault> {
    match members.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(malformed(format!("`{name}` is not a string"))),
        None => Err(malformed(format!("`{name}` is missing"))),
    }
}

/// Whole seconds: a `NumericDate` with a fraction is refused, for one reading of it.
fn time(members: &mut Map<String, Value>, name: &str) -> Result<Timestamp, Fault> {
    members
        .remove(name)
        .ok_or_else(|| malformed(format!("`{name}` is missing")))?
        .as_u64()
        .and_then(Timestamp::from_secs)
        .ok_or_else(|| {
            malformed(format!(
                "`{name}` is not a time in whole seconds since 1970"
            ))
        })
}

fn nothing_else(what: &str, rest: &Map<String, Value>) -> Result<(), Fault> {
    match rest.keys().next() {
        None => Ok(()),
        Some(name) => Err(malformed(format!(
            "the {what} has a member {}, which is not known here",
            excerpt(name)
        ))),
    }
}

/// Returns what a sender wrote, as a message names it: short, and on one line.
fn excerpt(text: &str) -> String {
    const MAX_LEN: usize = 64;
    let shown = &text[..text.floor_char_boundary(MAX_LEN)];
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Secret;

    /// RFC 7515, appendix A.1: made by others, with a header that names no key. Its MAC is of this
    /// kind; as a token it is refused.
    #[test]
    fn the_example_of_rfc_7515() {
        const HEADER: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
        const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                               cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        const MAC: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        const KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcg\
                           UuTwjAzZr1Z9CAow";
        let secret = Secret::new(URL_SAFE_NO_PAD.decode(KEY).unwrap()).unwrap();
        let key = MacKey::new(secret);
        let signed = format!("{HEADER}.{PAYLOAD}");
        let verifies = |mac: &str| {
            let mut running = key.start(ALGORITHM);
            running.update(signed.as_bytes());
            running.verify(&HashOutput::new(&URL_SAFE_NO_PAD.decode(mac).unwrap()))
        };
        assert!(verifies(MAC));
        assert!(!verifies(&MAC.replace('d', "e")));
        let refused = Sealed::read(&format!("{signed}.{MAC}")).err().unwrap();
        assert!(refused.reason().contains("`kid`"), "{}", refused.reason());
    }
}
