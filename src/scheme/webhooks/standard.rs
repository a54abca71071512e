//! Standard Webhooks, and Svix.

use std::{borrow::Cow, time::Duration};

use http::{HeaderName, request::Parts};

use super::{EVENT_HORIZON, PROFILE, Preset, elements, read_macs};
use crate::{
    clock::Timestamp,
    error::{ConfigError, ConfigErrorKind, Rejection, RejectionKind, SignError, malformed},
    key::Secret,
    message::{BodyForm, Coverage, Encoding, HashOutput, Head, SigningInput},
    once::NonceKind,
    proof::{Announced, Candidate, Parameters},
    scheme::{
        Describe, Profile, Reading, Signing,
        header::{TimeUnit, check_nonce, header_value, read_time, required},
        signs_under,
    },
};

const KEY_ID: &str = "standard-webhooks";

/// Webhooks as [Standard Webhooks](https://www.standardwebhooks.com) describes them, and those of
/// [Svix](https://docs.svix.com).
///
/// ```
/// # use countersign::{MemoryStore, VerifyLayer, webhooks::StandardWebhooks};
/// let layer = VerifyLayer::builder(StandardWebhooks::new())
///     .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
///     .store(MemoryStore::new())
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// | | |
/// | --- | --- |
/// | signature | `webhook-signature: v1,<base64>`, with `webhook-id` and `webhook-timestamp` in seconds; several stand apart by spaces, and other versions (`v1a`) are skipped |
/// | covered | id, time and body |
/// | secret | base64 of 24 to 64 bytes, with `whsec_` in front of it or without; the key id is `standard-webhooks` |
/// | fresh for | 300 seconds, as in the libraries |
/// | used once by | the id |
/// | remembered for | 3 days since the last delivery: Svix [retries](https://docs.svix.com/retries) for some 28 hours, each time signed anew under the same id |
///
/// An id with a `.` is refused, for the message `id.time.body` could then be read in two ways; so is
/// one of more than 256 characters.
///
/// # What stays open
/// - Method, path and all other headers are not covered: put the layer on the one route that takes
///   these webhooks.
/// - Until it is stale, a captured delivery can be posted to another path behind the same layer, where
///   it counts as another.
/// - A message that is resent by hand, later than it is remembered for, is handled again.
///
/// The format is that of the specification, and of the libraries `standardwebhooks` 1.1.0 for Python
/// and 1.1.1 for Node, and `svix` 2.9.1.
#[derive(Clone, Debug)]
pub struct StandardWebhooks {
    format: Format,
}

impl StandardWebhooks {
    /// The format, with every default.
    #[must_use]
    pub fn new() -> Self {
        Self::under(["webhook-id", "webhook-timestamp", "webhook-signature"])
    }

    key_id!("standard-webhooks", format.set_key_id);

    /// The same under the names that Svix gives to the headers: `svix-id`, `svix-timestamp`,
    /// `svix-signature`.
    #[must_use]
    pub fn svix() -> Self {
        Self::under(["svix-id", "svix-timestamp", "svix-signature"])
    }

    fn under(headers: [&'static str; 3]) -> Self {
        let [id, time, signature] = headers.map(HeaderName::from_static);
        Self {
            format: Format {
                key_id: KEY_ID.into(),
                coverage: Coverage {
                    headers: vec![id.clone(), time.clone()],
                    ..Coverage::default()
                },
                id,
                time,
                signature,
                profile: Profile {
                    event_horizon: Some(EVENT_HORIZON),
                    ..PROFILE
                },
            },
        }
    }

    /// For how long a message is remembered, since its last delivery: between 1 second and 1 year
    /// (checked when a verifier is built). Default: 3 days.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.format.profile.event_horizon = Some(retention);
        self
    }
}

impl Preset for StandardWebhooks {
    type Format = Format;

    fn format(&self) -> &Format {
        &self.format
    }

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
        let secret = Secret::from_base64(text.strip_prefix("whsec_").unwrap_or(text))?;
        let found = secret.expose().len();
        if !LENGTH.contains(&found) {
            return Err(ConfigErrorKind::SecretLength {
                found,
                min: *LENGTH.start(),
                max: *LENGTH.end(),
            }
            .into());
        }
        Ok(secret)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Format {
    key_id: Cow<'static, str>,
    id: HeaderName,
    time: HeaderName,
    signature: HeaderName,
    coverage: Coverage,
    profile: Profile,
}

impl Format {
    fn set_key_id(&mut self, id: String) {
        self.key_id = id.into();
        self.profile.key_id_is_own = false;
    }

    /// An id that holds no `.`, so that the message ends it at the first one.
    fn check_id(&self, id: &[u8]) -> Result<(), Rejection> {
        check_nonce(&self.id, id)?;
        if id.contains(&b'.') {
            return Err(malformed(format!(
                "header `{}` holds a `.`, which ends it in the signed message",
                self.id
            )));
        }
        Ok(())
    }

    fn message(id: &[u8], time: &[u8]) -> SigningInput {
        SigningInput::AroundBody {
            before: [id, b".", time, b"."].concat(),
            form: BodyForm::Raw,
            after: Vec::new(),
        }
    }
}

impl Describe for Format {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        Some(&self.key_id)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let header = &self.signature;
        let Some(signature) = head.single(header)? else {
            return Err(Rejection::new(
                RejectionKind::SignatureMissing,
                format!("header `{header}` is missing"),
            ));
        };
        let mut macs = Vec::new();
        for element in elements(header, signature, ' ')? {
            // With two commas, as if two lines were joined to one.
            let (version, mac) = element
                .split_once(',')
                .filter(|(_, mac)| !mac.contains(','))
                .ok_or_else(|| {
                    malformed(format!(
                        "header `{header}` has an element that is not a version, `,` and a MAC"
                    ))
                })?;
            if version == "v1" {
                macs.push(mac);
            }
        }
        let macs = read_macs(header, Encoding::Base64, &macs)?;

        let id = required(head, &self.id)?.as_bytes();
        self.check_id(id)?;
        let time = required(head, &self.time)?.as_bytes();
        let signed_at = read_time(time, TimeUnit::Seconds).ok_or_else(|| {
            malformed(format!(
                "header `{}` is not plain digits: seconds since 1970",
                self.time
            ))
        })?;

        let announced = macs.into_iter().map(|mac| Announced {
            parameters: Parameters {
                key_id: Cow::Borrowed(&self.key_id),
                signed_at: Some(signed_at),
                expires_at: None,
                nonce: Some((NonceKind::Event, Cow::Borrowed(id))),
            },
            mac,
            build: Box::new(move |_, _| {
                Ok((Self::message(id, time), Cow::Borrowed(&self.coverage)))
            }),
        });
        Ok(Reading::Announced(announced.collect()))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        signs_under(&self.key_id, signing)?;
        self.check_id(signing.nonce)?;
        let time = signing.now.as_secs().to_string();
        let headers = &mut parts.headers;
        headers.insert(&self.id, header_value(signing.nonce)?);
        headers.insert(&self.time, header_value(time.as_bytes())?);
        Ok(Candidate {
            parameters: Parameters {
                key_id: self.key_id.clone(),
                signed_at: Timestamp::from_secs(signing.now.as_secs()),
                expires_at: None,
                nonce: None,
            },
            mac: HashOutput::new(&[]),
            input: Self::message(signing.nonce, time.as_bytes()),
            coverage: Cow::Owned(Coverage::default()),
        })
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let value = format!("v1,{}", Encoding::Base64.encode(mac.as_ref()));
        let value = header_value(value.as_bytes())?;
        parts.headers.insert(&self.signature, value);
        Ok(())
    }
}
