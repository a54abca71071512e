//! The URL and the body, set side by side, with a MAC in base64: the format of Square and HubSpot.

use std::borrow::Cow;

use http::{HeaderName, request::Parts};

use super::{outgoing_target, read_mac, url};
use crate::{
    clock::Timestamp,
    error::{Rejection, SignError, malformed},
    message::{BodyForm, Coverage, Encoding, HashOutput, Head, SigningInput, Target},
    proof::{Announced, Candidate, Described, Parameters},
    scheme::{
        Describe, Profile, Reading, Signing,
        header::{TimeUnit, header_value, read_time, required},
        signs_under,
    },
};

/// A body begins with one of these bytes, which no path and no query has here: so that there is one
/// place only where the one can end and the other begin. Of a time that follows, no digit can move: with
/// one more or less it is of another century, and never fresh.
const BEGINNINGS: &[char] = &['{', '['];

#[derive(Clone, Debug)]
pub(crate) struct UrlAndBody {
    pub(super) key_id: Cow<'static, str>,
    pub(super) signature: HeaderName,
    /// The method before the URL, and a time in milliseconds from this header after the body.
    pub(super) framed: Option<HeaderName>,
    /// The URL as it goes into the message; it makes neither of [`BEGINNINGS`].
    pub(super) form: fn(&str) -> Cow<'_, str>,
    pub(super) profile: Profile,
}

impl UrlAndBody {
    pub(super) fn set_key_id(&mut self, id: String) {
        self.key_id = id.into();
        self.profile.key_id_is_own = false;
    }

    fn parameters(&self, signed_at: Option<Timestamp>) -> Parameters<'static> {
        Parameters {
            key_id: self.key_id.clone(),
            signed_at,
            expires_at: None,
            nonce: None,
        }
    }

    fn describe(
        &self,
        method: &str,
        target: &Target<'_>,
        time: &[u8],
    ) -> Result<Described<'static>, Rejection> {
        let url = url(target, &target.authority);
        // Only what stands there as it was signed is covered as it stands there.
        let formed = (self.form)(&url);
        let is_plain = formed == url;
        if target.path_and_query.as_str().contains(BEGINNINGS) {
            return Err(malformed("the URL has a byte with which a body begins"));
        }
        let (method, headers) = match &self.framed {
            Some(time) => (method, vec![time.clone()]),
            None => ("", Vec::new()),
        };
        let input = SigningInput::AroundBody {
            before: [method, &formed].concat().into(),
            form: BodyForm::Raw,
            after: time.to_vec(),
        };
        let coverage = Coverage {
            method: self.framed.is_some(),
            authority: true,
            path: is_plain,
            query: is_plain,
            headers,
            ..Coverage::default()
        };
        Ok((input, Cow::Owned(coverage)))
    }
}

/// Once the MAC has passed: that the body began where the URL ended.
pub(super) fn check_beginning(body: &[u8]) -> Result<(), Rejection> {
    match body.first() {
        None | Some(b'{' | b'[') => Ok(()),
        Some(_) => Err(malformed(
            "the body is neither empty nor a JSON object or array from its first byte",
        )),
    }
}

impl Describe for UrlAndBody {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        Some(&self.key_id)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let algorithm = self.profile.algorithm;
        let mac = read_mac(head, &self.signature, algorithm, Encoding::Base64)?;
        let time = match &self.framed {
            None => None,
            Some(name) => {
                let text = required(head, name)?.as_bytes();
                let time = read_time(text, TimeUnit::Millis).ok_or_else(|| {
                    malformed(format!(
                        "header `{name}` is not plain digits: milliseconds since 1970"
                    ))
                })?;
                Some((text, time))
            }
        };
        let (time, signed_at) = time.unzip();
        Ok(Reading::Announced(vec![Announced {
            parameters: self.parameters(signed_at),
            mac,
            build: Box::new(move |head, _| {
                let time = time.unwrap_or_default();
                self.describe(head.method.as_str(), &head.target, time)
            }),
        }]))
    }

    fn prepare(
        &self,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        signs_under(&self.key_id, signing)?;
        check_beginning(signing.body)?;
        let text = signing.now.as_millis().to_string();
        let mut time = None;
        if let Some(name) = &self.framed {
            let value = header_value(text.as_bytes())?;
            parts.headers.insert(name, value);
            time = Some((text.as_bytes(), signing.now));
        }
        let target = outgoing_target(parts)?;
        let (time, signed_at) = time.unzip();
        let time = time.unwrap_or_default();
        let (input, coverage) = self.describe(parts.method.as_str(), &target, time)?;
        Ok(Candidate {
            parameters: self.parameters(signed_at),
            mac: HashOutput::new(&[]),
            input,
            coverage,
        })
    }

    fn write(
        &self,
        parts: &mut Parts,
        _: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let value = header_value(Encoding::Base64.encode(mac.as_ref()).as_bytes())?;
        parts.headers.insert(&self.signature, value);
        Ok(())
    }
}
