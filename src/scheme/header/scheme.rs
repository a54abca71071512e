//! A house format, as a scheme.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, HeaderValue, request::Parts};
use smallvec::smallvec;

use super::element::{Element, Field, Fields};
use crate::{
    error::{Fault, SignError, malformed},
    key::KeyId,
    message::{
        self, Encoding, HashOutput, Head, Message, Supplied, Target, TimeUnit, read_time,
        write_time,
    },
    once::NonceKind,
    proof::{Build, Candidate, Parameters, Unsigned},
    scheme::{
        Describe, Profile, Reading, Signing,
        fields::{check_nonce, decode_mac, header_value, mac_form, required, signature},
        signs_under,
    },
};

/// A house format: an HMAC in a header, over parts of the request that you name, in your order and
/// with your delimiters.
///
/// ```
/// use countersign::{HeaderScheme, Part};
///
/// let scheme = HeaderScheme::builder("x-signature")
///     .prefix("sha256=")
///     .key_id("x-key-id")
///     .time("x-timestamp")
///     .nonce("x-nonce")
///     .signs(Part::lines([
///         Part::Method,
///         Part::Authority,
///         Part::PathAndQuery,
///         Part::KeyId,
///         Part::Time,
///         Part::Nonce,
///         Part::Body,
///     ]))
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// # Guarantees of a description
/// - Two requests that differ in a covered part never share a signed message: a description that
///   would allow it, such as a nonce that the body follows without a delimiter, is refused when it
///   is built.
/// - Time, nonce and key id are read only if they are covered.
/// - Each named header must appear exactly once. The signature is read strictly: prefix,
///   then exactly the characters of one MAC.
/// - The time is plain decimal digits, and goes into the message as it came.
/// - A body is accepted only where [`Part::Body`] or [`Part::CanonicalBody`] is covered; of the
///   latter, the payload holds the canonical form, which is what was signed.
///
/// # Limits
/// A part that is not named is not covered, and reads as `None` in a payload. If method or path are
/// not covered, an attacker can send a captured request again with every other method and to every
/// other path, or spelling of a path (`/%31` for `/1`). There it counts as another request: put the
/// layer on the one method and route, without parameters, that take such requests.
/// Without [`Part::Authority`], the same holds for another service that has the same key. Two
/// formats under one key could read one message in two ways: give each its own key, or begin each
/// with a text of its own.
///
/// [`Part::Authority`]: crate::Part::Authority
/// [`Part::Body`]: crate::Part::Body
/// [`Part::CanonicalBody`]: crate::Part::CanonicalBody
#[derive(Clone, Debug)]
pub struct HeaderScheme(pub(super) Arc<Description>);

#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) signature: HeaderName,
    pub(super) encoding: Encoding,
    pub(super) prefix: String,
    pub(super) key: KeySource,
    pub(super) time: Option<(HeaderName, TimeUnit)>,
    pub(super) time_width: Option<usize>,
    pub(super) nonce: Option<(HeaderName, NonceKind)>,
    pub(super) elements: Vec<Element>,
    pub(super) profile: Profile,
}

#[derive(Clone, Debug)]
pub(super) enum KeySource {
    Header(HeaderName),
    Fixed(String),
}

impl Description {
    /// The one place where the message is put together, for verifying and for signing.
    fn message(&self, head: &Head<'_>, fields: &Fields<'_>) -> Result<Message, Fault> {
        let parts = self.elements.iter().map(Element::parts).sum();
        let mut message = Message::with_room(32 * parts, parts);
        for element in &self.elements {
            element.write(head, fields, &mut message)?;
        }
        Ok(message)
    }

    fn read_mac(&self, value: &HeaderValue) -> Result<HashOutput, Fault> {
        let algorithm = self.profile.algorithm;
        value
            .as_bytes()
            .strip_prefix(self.prefix.as_bytes())
            .and_then(|text| decode_mac(algorithm, self.encoding, text))
            .ok_or_else(|| {
                let form = mac_form(&self.prefix, algorithm, self.encoding);
                malformed(format!("header `{}` is not {form}", self.signature))
            })
    }

    fn encode_mac(&self, mac: &HashOutput) -> String {
        format!("{}{}", self.prefix, self.encoding.encode(mac.as_ref()))
    }
}

impl Describe for HeaderScheme {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn name(&self) -> &str {
        self.0.signature.as_str()
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![self.0.signature.clone()]
    }

    fn awaits_supply(&self) -> bool {
        self.0
            .elements
            .iter()
            .any(|element| element.supplied().is_some())
    }

    fn fixed_key_id(&self) -> Option<&str> {
        match &self.0.key {
            KeySource::Fixed(id) => Some(id.as_str()),
            KeySource::Header(_) => None,
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        let description = &*self.0;
        let mac = description.read_mac(signature(head, &description.signature)?)?;

        let mut fields = Fields {
            key_id: None,
            time: None,
            nonce: None,
        };
        let key_id = match &description.key {
            KeySource::Fixed(id) => id.as_str(),
            KeySource::Header(name) => {
                let value = required(head, name)?;
                let id = value
                    .to_str()
                    .ok()
                    .filter(|id| KeyId::is_valid(id.as_bytes()))
                    .ok_or_else(|| {
                        malformed(format!(
                            "header `{name}` is not 1 to 128 visible characters"
                        ))
                    })?;
                fields.key_id = Some(Field {
                    name,
                    value: id.as_bytes(),
                });
                id
            }
        };
        let mut signed_at = None;
        if let Some((name, unit)) = &description.time {
            let value = required(head, name)?.as_bytes();
            let has_width = description
                .time_width
                .is_none_or(|width| width == value.len());
            let time = read_time(value, *unit)
                .filter(|_| has_width)
                .ok_or_else(|| {
                    malformed(format!(
                        "header `{name}` is not {}{}",
                        unit.form(),
                        description
                            .time_width
                            .map_or_else(String::new, |width| format!(
                                ", in exactly {width} digits"
                            ))
                    ))
                })?;
            signed_at = Some(time);
            fields.time = Some((Field { name, value }, *unit));
        }
        let mut nonce = None;
        if let Some((name, kind)) = &description.nonce {
            let value = required(head, name)?.as_bytes();
            check_nonce(name, value)?;
            nonce = Some((*kind, Cow::Borrowed(value)));
            fields.nonce = Some(Field { name, value });
        }
        let message: Build<'h> = Box::new(move |head, _| description.message(head, &fields));
        Ok(Reading::InHead(smallvec![Candidate {
            parameters: Parameters {
                delivery_id: None,
                key_id: Cow::Borrowed(key_id),
                signed_at,
                expires_at: None,
                nonce,
            },
            mac,
            message,
        }]))
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        let description = &*self.0;
        let mut bodies = description.elements.iter().filter_map(Element::body_form);
        if bodies.next().is_none() && !signing.body.is_empty() {
            return Err(SignError::new(
                "the scheme covers no body, and the request has one",
            ));
        }
        let mut fields = Fields {
            key_id: None,
            time: None,
            nonce: None,
        };
        let time;
        if let Some((name, unit)) = &description.time {
            time = write_time(signing.now, *unit);
            let value = time.as_bytes();
            if description
                .time_width
                .is_some_and(|width| width != value.len())
            {
                return Err(SignError::new(
                    "the number of digits of the time is not `time_width`",
                ));
            }
            parts.headers.insert(name, header_value(value)?);
            fields.time = Some((Field { name, value }, *unit));
        }
        if let Some((name, _)) = &description.nonce {
            let value = signing.nonce;
            check_nonce(name, value)?;
            parts.headers.insert(name, header_value(value)?);
            fields.nonce = Some(Field { name, value });
        }
        match &description.key {
            KeySource::Header(name) => {
                let value = signing.key_id.as_str().as_bytes();
                parts.headers.insert(name, header_value(value)?);
                fields.key_id = Some(Field { name, value });
            }
            KeySource::Fixed(id) => signs_under(id.as_str(), signing)?,
        }
        let nothing = Supplied::new();
        let head = Head {
            method: &parts.method,
            target: Target::of_outgoing(&parts.uri, &parts.headers)?,
            headers: &parts.headers,
            supplied: Some(parts.extensions.get().unwrap_or(&nothing)),
        };
        let message = description.message(&head, &fields)?;
        if message.covers(&message::Part::Authority) {
            head.target.named_authority().map_err(SignError::new)?;
        }
        Ok(Unsigned {
            message,
            parameters: Parameters {
                delivery_id: None,
                key_id: Cow::Owned(signing.key_id.as_str().to_owned()),
                signed_at: Some(signing.now),
                expires_at: None,
                nonce: None,
            },
        })
    }

    fn write(&self, parts: &mut Parts, _: &Unsigned, mac: &HashOutput) -> Result<(), SignError> {
        let value = header_value(self.0.encode_mac(mac).as_bytes())?;
        parts.headers.insert(&self.0.signature, value);
        Ok(())
    }
}
