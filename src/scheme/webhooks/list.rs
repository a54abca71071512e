//! A time and any number of MACs in one header, such as `t=1700000000,v1=<hex>,v1=<hex>`.

use std::borrow::Cow;

use http::{HeaderName, request::Parts};

use super::{elements, read_macs};
use crate::{
    clock::Timestamp,
    error::{Rejection, RejectionKind, SignError, malformed},
    message::{BodyForm, Coverage, Encoding, HashOutput, Head, SigningInput},
    proof::{Announced, Candidate, Parameters},
    scheme::{
        Describe, Profile, Reading, Signing,
        header::{TimeUnit, header_value, read_time},
        signs_under,
    },
};

/// The time stands there once. The MAC may stand there several times, one for each secret while they
/// are rotated. Elements of other names are skipped.
#[derive(Clone, Debug)]
pub(crate) struct SignatureList {
    pub(super) key_id: Cow<'static, str>,
    pub(super) header: HeaderName,
    pub(super) separator: char,
    pub(super) time: &'static str,
    pub(super) mac: &'static str,
    /// What stands in the signed message between the time and the body.
    pub(super) delimiter: char,
    pub(super) profile: Profile,
}

impl SignatureList {
    pub(super) fn set_key_id(&mut self, id: String) {
        self.key_id = id.into();
        self.profile.key_id_is_own = false;
    }

    fn parameters(&self, signed_at: Timestamp) -> Parameters<'static> {
        Parameters {
            key_id: self.key_id.clone(),
            signed_at: Some(signed_at),
            expires_at: None,
            nonce: None,
        }
    }

    fn message(&self, time: &str) -> SigningInput {
        SigningInput::AroundBody {
            before: format!("{time}{}", self.delimiter).into(),
            form: BodyForm::Raw,
            after: Vec::new(),
        }
    }
}

impl Describe for SignatureList {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn fixed_key_id(&self) -> Option<&str> {
        Some(&self.key_id)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Rejection> {
        let (header, time_name) = (&self.header, self.time);
        let Some(value) = head.single(header)? else {
            return Err(Rejection::new(
                RejectionKind::SignatureMissing,
                format!("header `{header}` is missing"),
            ));
        };
        let (mut time, mut macs) = (None, Vec::new());
        for element in elements(header, value, self.separator)? {
            let (name, value) = element.split_once('=').ok_or_else(|| {
                malformed(format!("header `{header}` has an element without `=`"))
            })?;
            // As it would stand there if two lines were joined to one.
            if element.contains([' ', '\t', ',']) {
                return Err(malformed(format!(
                    "header `{header}` has an element with a space or a comma"
                )));
            }
            if name == self.mac {
                macs.push(value);
            } else if name == time_name && time.replace(value).is_some() {
                return Err(malformed(format!(
                    "header `{header}` has `{time_name}` twice"
                )));
            }
        }
        let macs = read_macs(header, Encoding::Hex, &macs)?;
        let (time, signed_at) = time
            .and_then(|time| Some((time, read_time(time.as_bytes(), TimeUnit::Seconds)?)))
            .ok_or_else(|| {
                malformed(format!(
                    "`{time_name}` of header `{header}` is not plain digits: seconds since 1970"
                ))
            })?;
        let announced = macs.into_iter().map(|mac| Announced {
            parameters: self.parameters(signed_at),
            mac,
            build: Box::new(|_, _| Ok((self.message(time), Cow::Owned(Coverage::default())))),
        });
        Ok(Reading::Announced(announced.collect()))
    }

    fn prepare(
        &self,
        _: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        signs_under(&self.key_id, signing)?;
        let time = signing.now.as_secs().to_string();
        Ok(Candidate {
            parameters: self.parameters(signing.now),
            mac: HashOutput::new(&[]),
            input: self.message(&time),
            coverage: Cow::Owned(Coverage::default()),
        })
    }

    fn write(
        &self,
        parts: &mut Parts,
        candidate: &Candidate<'_>,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        let Self {
            separator,
            time: time_name,
            mac: mac_name,
            ..
        } = self;
        let signed_at = candidate.parameters.signed_at.unwrap_or(Timestamp::EPOCH);
        let (time, mac) = (signed_at.as_secs(), Encoding::Hex.encode(mac.as_ref()));
        let value = format!("{time_name}={time}{separator}{mac_name}={mac}");
        let value = header_value(value.as_bytes())?;
        parts.headers.insert(&self.header, value);
        Ok(())
    }
}
