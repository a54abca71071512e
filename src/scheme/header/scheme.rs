//! A house format, as a scheme.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, HeaderValue, request::Parts};

use super::element::{Element, Fields};
use crate::{
    clock::Timestamp,
    error::{Rejection, RejectionKind, SignError, malformed},
    key::KeyId,
    message::{Coverage, Encoding, HashOutput, Head, MAX_LEN, SigningInput, Target},
    once::NonceKind,
    proof::{Announced, Candidate, Parameters},
    scheme::{Describe, Profile, Reading, Signing, signs_under},
};

/// The greatest length of a nonce, in bytes.
const MAX_NONCE: usize = 256;

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
/// # What a description promises
/// - Two requests that differ in a covered part never share a signed message: a description that
///   would allow it, such as a nonce that the body follows without a delimiter, is refused when it
///   is built.
/// - Time, nonce and key id are read only if they are covered.
/// - Each header that is named stands there exactly once. The signature is read strictly: prefix,
///   then exactly the characters of one MAC.
/// - The time is plain decimal digits, and goes into the message as it came.
/// - A body is accepted only where [`Part::Body`] or [`Part::CanonicalBody`] is covered; of the
///   latter, the payload holds the canonical form, which is what was signed.
///
/// # What stays open
/// Whatever is not named is not covered, and a payload answers `None` for it. Where method or path
/// are not covered, whoever captured a request can send it again with every other method and to
/// every other path, or spelling of a path (`/%31` for `/1`), and there it counts as another request:
/// put the layer on the one method and route, without parameters, that take such requests. Without
/// [`Part::Authority`], the same holds for another service that has the same key. Two formats under
/// one key could read one message in two ways: give each its own key, or begin each with a text of
/// its own.
#[derive(Clone, Debug)]
pub struct HeaderScheme(pub(super) Arc<Description>);

#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) signature: HeaderName,
    pub(super) encoding: Encoding,
    pub(super) prefix: String,
    pub(super) key: KeySource,
    pub(super) time: Option<(HeaderName, TimeUnit)>,
    pub(super) nonce: Option<(HeaderName, NonceKind)>,
    pub(super) elements: Vec<Element>,
    pub(super) coverage: Coverage,
    pub(super) profile: Profile,
}

#[derive(Clone, Debug)]
pub(super) enum KeySource {
    Header(HeaderName),
    Fixed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    Seconds,
    Millis,
}

impl Description {
    /// The one place where the message is put together, for verifying and for signing.
    fn input(&self, head: &Head<'_>, fields: &Fields<'_>) -> Result<SigningInput, Rejection> {
        let mut before = Vec::with_capacity(256);
        let mut body = None;
        let mut message = &mut before;
        for element in &self.elements {
            if let Some(form) = element.body_form() {
                message = &mut body.insert((form, Vec::new())).1;
            } else {
                element.write(head, fields, message)?;
            }
        }
        Ok(match body {
            Some((form, after)) => SigningInput::AroundBody {
                before,
                form,
                after,
            },
            None => SigningInput::Head {
                message: before,
                body: Vec::new(),
            },
        })
    }

    fn read_mac(&self, value: &HeaderValue) -> Result<HashOutput, Rejection> {
        let mut bytes = [0; MAX_LEN];
        let out = bytes
            .get_mut(..self.profile.algorithm.mac_len())
            .unwrap_or_default();
        value
            .as_bytes()
            .strip_prefix(self.prefix.as_bytes())
            .and_then(|text| self.encoding.decode_exact(text, out))
            .ok_or_else(|| {
                malformed(format!(
                    "header `{}` is not `{}` and a MAC of {} bytes in {:?}",
                    self.signature,
                    self.prefix,
                    self.profile.algorithm.mac_len(),
                    self.encoding,
                ))
            })?;
        Ok(HashOutput::new(out))
    }

    fn encode_mac(&self, mac: &HashOutput) -> String {
        format!("{}{}", self.prefix, self.encoding.encode(mac.as_ref()))
    }
}

pub(crate) fn required<'h>(
    head: &Head<'h>,
    name: &HeaderName,
) -> Result<&'h HeaderValue, Rejection> {
    head.single(name)?
        .ok_or_else(|| malformed(format!("header `{name}` is missing")))
}

pub(crate) fn check_nonce(name: &HeaderName, nonce: &[u8]) -> Result<(), Rejection> {
    // Without a way out of the loop, so that it takes many bytes at a time.
    let plain = |nonce: &[u8]| nonce.iter().fold(true, |all, b| all & b.is_ascii_graphic());
    if (1..=MAX_NONCE).contains(&nonce.len()) && plain(nonce) {
        return Ok(());
    }
    Err(malformed(format!(
        "header `{name}` is not 1 to {MAX_NONCE} visible characters"
    )))
}

/// Plain digits without a leading zero: nothing that two libraries could read differently.
pub(crate) fn read_time(text: &[u8], unit: TimeUnit) -> Option<Timestamp> {
    if text.is_empty() || (text.len() > 1 && text.starts_with(b"0")) {
        return None;
    }
    let number = text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    match unit {
        TimeUnit::Seconds => Timestamp::from_secs(number),
        TimeUnit::Millis => Timestamp::from_millis(number),
    }
}

impl Describe for HeaderScheme {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        match &self.0.key {
            KeySource::Fixed(id) => Some(id.as_str()),
            KeySource::Header(_) => None,
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let description = &*self.0;
        let Some(signature) = head.single(&description.signature)? else {
            return Err(Rejection::new(
                RejectionKind::SignatureMissing,
                format!("header `{}` is missing", description.signature),
            ));
        };
        let mac = description.read_mac(signature)?;

        let key_id = match &description.key {
            KeySource::Fixed(id) => id.as_str(),
            KeySource::Header(name) => {
                let value = required(head, name)?;
                value
                    .to_str()
                    .ok()
                    .filter(|id| KeyId::is_valid(id.as_bytes()))
                    .ok_or_else(|| {
                        malformed(format!(
                            "header `{name}` is not 1 to 128 visible characters"
                        ))
                    })?
            }
        };
        let (time, signed_at) = match &description.time {
            None => (&[] as &[u8], None),
            Some((name, unit)) => {
                let value = required(head, name)?.as_bytes();
                let time = read_time(value, *unit).ok_or_else(|| {
                    malformed(format!(
                        "header `{name}` is not plain digits: {unit:?} since 1970"
                    ))
                })?;
                (value, Some(time))
            }
        };
        let nonce = match &description.nonce {
            None => None,
            Some((name, kind)) => {
                let value = required(head, name)?.as_bytes();
                check_nonce(name, value)?;
                Some((*kind, value))
            }
        };

        let fields = Fields {
            key_id: key_id.as_bytes(),
            time,
            nonce: nonce.map(|(_, value)| value).unwrap_or_default(),
        };
        Ok(Reading::Announced(vec![Announced {
            parameters: Parameters {
                key_id: Cow::Borrowed(key_id),
                signed_at,
                expires_at: None,
                nonce: nonce.map(|(kind, value)| (kind, Cow::Borrowed(value))),
            },
            mac,
            build: Box::new(move |head, _| {
                let input = description.input(head, &fields)?;
                Ok((input, Cow::Borrowed(&description.coverage)))
            }),
        }]))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let description = &*self.0;
        let mut bodies = description.elements.iter().filter_map(Element::body_form);
        if bodies.next().is_none() && !signing.body.is_empty() {
            return Err(SignError::new(
                "the scheme covers no body, and the request has one",
            ));
        }
        let time = match &description.time {
            Some((_, TimeUnit::Seconds)) => signing.now.as_secs().to_string(),
            Some((_, TimeUnit::Millis)) => signing.now.as_millis().to_string(),
            None => String::new(),
        };
        if let Some((name, _)) = &description.time {
            parts.headers.insert(name, header_value(time.as_bytes())?);
        }
        if let Some((name, _)) = &description.nonce {
            check_nonce(name, signing.nonce)?;
            parts.headers.insert(name, header_value(signing.nonce)?);
        }
        match &description.key {
            KeySource::Header(name) => {
                parts
                    .headers
                    .insert(name, header_value(signing.key_id.as_str().as_bytes())?);
            }
            KeySource::Fixed(id) => signs_under(id.as_str(), signing)?,
        }
        let head = Head {
            method: &parts.method,
            target: Target::of_outgoing(&parts.uri, &parts.headers)?,
            headers: &parts.headers,
        };
        let fields = Fields {
            key_id: signing.key_id.as_str().as_bytes(),
            time: time.as_bytes(),
            nonce: signing.nonce,
        };
        if description.coverage.authority && head.target.authority.is_empty() {
            return Err(SignError::new(
                "the request names no authority, in its URI or in `Host`",
            ));
        }
        Ok(Candidate {
            input: description.input(&head, &fields)?,
            parameters: Parameters {
                key_id: Cow::Owned(signing.key_id.as_str().to_owned()),
                signed_at: Some(signing.now),
                expires_at: None,
                nonce: None,
            },
            mac: HashOutput::new(&[]),
            coverage: Cow::Owned(Coverage::default()),
        })
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let value = header_value(self.0.encode_mac(mac).as_bytes())?;
        parts.headers.insert(&self.0.signature, value);
        Ok(())
    }
}

pub(crate) fn header_value(bytes: &[u8]) -> Result<HeaderValue, SignError> {
    HeaderValue::from_bytes(bytes).map_err(|_| SignError::new("a value that no header can carry"))
}
