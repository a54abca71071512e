//! Mailgun.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, request::Parts};
use serde_json::{Map, Value, json};

use super::{
    account::Account,
    event::{Object, member, member_as},
    format::PROFILE,
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, SignError, malformed},
    message::{
        BodyForm, Encoding, Formed, HashOutput, Head, Message, Part, TimeUnit,
        query::{self, Wanted},
        read_time,
    },
    once::NonceKind,
    proof::{Candidate, Parameters, Unsigned},
    scheme::{Describe, Profile, Reading, Signing, fields::decode_mac, signs_under},
};

const KEY_ID: &str = "mailgun";

/// The fields of a form that carry a signature.
const FIELDS: [&str; 3] = ["timestamp", "token", "signature"];

/// The greatest length of a token, in bytes.
const MAX_TOKEN: usize = 256;

/// The length of a time in seconds, from 2001 to 2286: no digit can move between it and the token.
const TIME_LEN: usize = 10;

/// Webhooks of
/// [Mailgun](https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks).
///
/// ```
/// # use countersign::{MemoryStore, VerifiedPayload, VerifyLayer, webhooks::Mailgun};
/// let layer = VerifyLayer::builder(Mailgun::new())
///     .secret("the webhook signing key of the account")
///     .store(MemoryStore::new())
///     .build()?;
///
/// async fn handler(payload: VerifiedPayload) {
///     // By name: of this, nothing is covered by the signature.
///     let event = payload.danger_uncovered_body();
/// }
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// | | |
/// | --- | --- |
/// | signature | `signature` of the JSON body, an object: `timestamp` in seconds, `token`, and `signature` in hexadecimal digits. In a form (`application/x-www-form-urlencoded`), these three are fields |
/// | covered | `timestamp` and `token`. **Nothing else of the body**: not the event |
/// | secret | the webhook signing key, as shown; the key id is `mailgun` |
/// | fresh for | 300 seconds |
/// | used once by | the token |
/// | remembered for | as long as it is fresh |
///
/// The payload's [`bytes`](crate::VerifiedPayload::bytes) are the two fields that are covered, as
/// JSON, and the body of the request that the handler receives is empty. The event is to be had
/// from [`danger_uncovered_body`](crate::VerifiedPayload::danger_uncovered_body) alone.
///
/// The signature is checked once the body is there. Only
/// [`Signer::sign_body`](crate::Signer::sign_body) can sign a delivery: it adds `signature` to a JSON object, or
/// the three fields to a form, that has none; the nonce is the token.
///
/// # Limits
/// - **Anybody who captured a delivery that was not handled yet can write every event they like into
///   it**, until it is stale. Take the event for a hint, and ask Mailgun's API for what happened by
///   the id of the event or the message.
/// - Mailgun
///   [retries](https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries)
///   for 8 hours, after any answer but 200 and 406, and does not say whether a retry is dated again.
///   If retries arrive too old, the following line accepts them, and for all that time a captured
///   delivery that was not handled is of use to a stranger:
///   `.max_age(Duration::from_secs(9 * 60 * 60))` on the
///   [builder](crate::request::VerifierBuilder::max_age), with a store that survives restarts. With a
///   [`high_watermark`](crate::store::MemoryStoreBuilder::high_watermark), the deliveries that were
///   dated up to the mark are refused after a restart, retries among them.
/// - Method, path and headers are not covered: put the layer on the one route that takes these
///   webhooks. Until it is stale, a captured delivery counts as another at another path.
///
/// A body that begins with `{` is read as JSON, and any other as a form, whatever its `Content-Type`
/// says. Forms with files (`multipart/form-data`), in which Mailgun forwards messages with
/// attachments, are refused; `parent-signature` is not read. The format is that of Mailgun's
/// documentation.
#[derive(Clone, Debug)]
pub struct Mailgun {
    account: Account,
    profile: Profile,
}

impl Mailgun {
    /// Returns the format with its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            account: Account::new(KEY_ID),
            profile: PROFILE,
        }
    }

    key_id!("mailgun", set_key_id);

    fn set_key_id(&mut self, id: String) {
        self.account.set_id(id);
        self.profile.key_id_is_own = false;
    }

    key_id_from_path!(Mailgun, set_key_parameter);

    fn set_key_parameter(&mut self, name: String) {
        self.account.set_parameter(name);
        self.profile.key_id_is_own = false;
    }
}

impl Default for Mailgun {
    fn default() -> Self {
        Self::new()
    }
}

struct Envelope {
    time: String,
    signed_at: Timestamp,
    token: String,
    mac: HashOutput,
}

fn check_token(token: &str) -> Option<()> {
    let readable =
        (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    readable.then_some(())
}

fn read_seconds(time: &str) -> Option<Timestamp> {
    let time = Some(time).filter(|time| time.len() == TIME_LEN)?;
    read_time(time.as_bytes(), TimeUnit::Seconds)
}

/// Whether a body is read as JSON, and otherwise as a form: its first byte decides, because nothing
/// covers what its `Content-Type` says.
fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{'))
}

impl Envelope {
    fn read(body: &[u8]) -> Result<Self, Fault> {
        if is_json(body) {
            Self::read_json(body)
        } else {
            Self::read_form(body)
        }
    }

    /// The fields of a form: each once.
    fn read_form(body: &[u8]) -> Result<Self, Fault> {
        let mut wanted = Wanted::new(FIELDS);
        let text = str::from_utf8(body).unwrap_or_default();
        query::params(text, &mut wanted).map_err(malformed)?;
        let Some(mac) = wanted.take("signature") else {
            return Err(Fault::new(
                FaultKind::Missing,
                "the body is neither a JSON object with an object `signature`, nor a form with a \
                 field `signature`",
            ));
        };
        Self::of(wanted.take("timestamp"), wanted.take("token"), Some(mac)).ok_or_else(|| {
            malformed(format!(
                "the form does not have `timestamp` of {TIME_LEN} digits, `token` of up to \
                 {MAX_TOKEN} visible characters, and `signature`, a MAC in hexadecimal digits"
            ))
        })
    }

    fn of(time: Option<String>, token: Option<String>, mac: Option<String>) -> Option<Self> {
        let (time, token) = (time?, token?);
        let mac = decode_mac(PROFILE.algorithm, Encoding::Hex, mac?.as_bytes())?;
        check_token(&token)?;
        Some(Self {
            signed_at: read_seconds(&time)?,
            time,
            token,
            mac,
        })
    }

    fn read_json(body: &[u8]) -> Result<Self, Fault> {
        let Some(mut signature) = member_as::<Object>(body, "signature")? else {
            return Err(Fault::new(
                FaultKind::Missing,
                "the body is not a JSON object with an object `signature`",
            ));
        };
        let mut text = |name| match signature.take(name)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        let (time, token, mac) = (text("timestamp"), text("token"), text("signature"));
        Self::of(time, token, mac).ok_or_else(|| {
            malformed(format!(
                "`signature` of the body is not, each once and as a string: `timestamp` of \
                 {TIME_LEN} digits, `token` of up to {MAX_TOKEN} visible characters, and \
                 `signature`, a MAC in hexadecimal digits"
            ))
        })
    }
}

fn parameters(
    key_id: Cow<'static, str>,
    signed_at: Timestamp,
    token: Vec<u8>,
) -> Parameters<'static> {
    Parameters {
        delivery_id: None,
        key_id,
        signed_at: Some(signed_at),
        expires_at: None,
        nonce: Some((NonceKind::Covered, Cow::Owned(token))),
    }
}

fn message(time: &str, token: &[u8]) -> Message {
    let mut message = Message::with_room(time.len() + token.len(), 2);
    message.part(Part::Time(TimeUnit::Seconds), time);
    message.part(Part::Nonce, token);
    message
}

impl Describe for Mailgun {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn name(&self) -> &str {
        "mailgun"
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.account.fixed()
    }

    fn names_key(&self) -> bool {
        false
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        Ok(Reading::AfterBody(self.account.of(head)?))
    }

    fn read_body(&self, key_id: String, body: &Bytes) -> Result<Vec<Candidate<'static>>, Fault> {
        let Envelope {
            time,
            signed_at,
            token,
            mac,
        } = Envelope::read(body)?;
        let mut message = message(&time, token.as_bytes());
        // The message has all that is signed, and no bytes of the body as they were sent.
        let formed = Formed {
            signed: Bytes::new(),
            given: json!({ "timestamp": time, "token": token })
                .to_string()
                .into(),
            uncovered: Some(body.clone()),
        };
        message.body(BodyForm::Extracted(formed.into()));
        Ok(vec![Candidate {
            parameters: parameters(key_id.into(), signed_at, token.into()),
            mac,
            message: Box::new(|_, _| Ok(message)),
        }])
    }

    fn prepare(&self, _: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        if let Some(id) = self.account.fixed() {
            signs_under(id, signing)?;
        }
        let time = signing.now.as_secs().to_string();
        let token = std::str::from_utf8(signing.nonce).ok();
        token
            .and_then(|token| read_seconds(&time).and(check_token(token)))
            .ok_or_else(|| SignError::new("a time or a token that no verifier accepts"))?;
        Ok(Unsigned {
            parameters: parameters(
                self.account.id().clone(),
                signing.now,
                signing.nonce.to_vec(),
            ),
            // The body that is signed has no place for the two yet.
            message: message(&time, signing.nonce),
        })
    }

    fn write(&self, _: &mut Parts, _: &Unsigned, _: &HashOutput) -> Result<(), SignError> {
        Ok(())
    }

    /// In front of the other members or fields, which stay as they are.
    fn write_body(
        &self,
        body: &[u8],
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<Option<Bytes>, SignError> {
        let Parameters {
            signed_at, nonce, ..
        } = &unsigned.parameters;
        let seconds = signed_at.map_or(0, Timestamp::as_secs).to_string();
        let token = nonce.as_ref().map(|(_, token)| token.as_ref());
        let token = String::from_utf8_lossy(token.unwrap_or_default());
        let mac = Encoding::Hex.encode(mac.as_ref());
        if !is_json(body) {
            let mut wanted = Wanted::new(FIELDS);
            let form = str::from_utf8(body).ok().filter(|form| form.contains('='));
            let read = form.map(|form| query::params(form, &mut wanted));
            let is_signed = FIELDS.iter().any(|name| wanted.take(name).is_some());
            return match (form, read) {
                (Some(form), Some(Ok(()))) if !is_signed => {
                    let token = query::encode(&token);
                    let fields =
                        format!("timestamp={seconds}&token={token}&signature={mac}&{form}");
                    Ok(Some(fields.into()))
                }
                _ => Err(SignError::new(
                    "the body is neither a JSON object nor a form, or has a `signature` already",
                )),
            };
        }
        let is_object = serde_json::from_slice::<Map<String, Value>>(body).is_ok();
        if !is_object || member(body, "signature")?.is_some() {
            return Err(SignError::new(
                "the body is not a JSON object, or has a `signature` already",
            ));
        }
        let rest = body.trim_ascii_start().get(1..).unwrap_or_default();
        let comma = if rest.trim_ascii() == b"}" { "" } else { "," };
        let signature = json!({
            "timestamp": seconds,
            "token": token,
            "signature": mac,
        });
        let before = format!("{{\"signature\":{signature}{comma}");
        Ok(Some([before.as_bytes(), rest].concat().into()))
    }
}
