//! The catalogue's formats, as the pipeline and the signer see them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, Uri, request::Parts};

use super::{
    challenge::{Challenge, SecretIn},
    format::Webhooks,
    sender::SecretForm,
};
use crate::{
    error::{ConfigError, ConfigErrorKind, Fault, SignError},
    key::{MacKey, Secret},
    message::{HashOutput, Head},
    proof::{Parameters, Unsigned},
    scheme::{Describe, Profile, Reading, Signing},
};

impl Describe for Webhooks {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn name(&self) -> &str {
        self.sender.key_id
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        self.signatures().cloned().collect()
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.account.fixed()
    }

    fn names_key(&self) -> bool {
        false
    }

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        let SecretForm::Base64 { prefixes, min, max } = self.sender.secret else {
            return Secret::try_from(text);
        };
        let text = text.trim();
        let mut bare = prefixes.iter().filter_map(|known| text.strip_prefix(known));
        let secret = Secret::from_base64(bare.next().unwrap_or(text))?;
        let found = secret.expose().len();
        if !(min..=max).contains(&found) {
            return Err(ConfigErrorKind::SecretLength { found, min, max }.into());
        }
        Ok(secret)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        self.read_head(head)
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Fault> {
        self.read_members(parameters, body)
    }

    fn answers_unsigned(&self) -> bool {
        self.answers_at.is_some() || self.checked_at.is_some() || self.registrations.is_some()
    }

    fn answer_unsigned(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Response<Bytes>> {
        let challenge = self.sender.challenge.as_ref()?;
        if let (Challenge::Secret(SecretIn::Header(name)), Some(registrations)) =
            (challenge, &self.registrations)
        {
            let is_signed = self.signatures().any(|name| headers.contains_key(name));
            return registrations.answer_header(name, method, uri, headers, is_signed);
        }
        self.answers_at.as_ref()?.unsigned(challenge, method, uri)
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        if let Some(answer) = self.answer_check(path, body) {
            return Some(answer);
        }
        let challenge = self.sender.challenge.as_ref()?;
        self.answers_at
            .as_ref()?
            .verified(challenge, path, body, secrets)
    }

    fn asks_in_body(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let checked_at = self.checked_at.as_ref();
        checked_at.is_some_and(|at| at.asks_in_form(method, uri, headers))
            || (self.secret_member().is_some() && method == Method::POST && self.awaits(uri))
    }

    fn answer_unsigned_body(&self, uri: &Uri, body: &Bytes) -> Option<Response<Bytes>> {
        if let (Some(name), Some(registrations)) = (self.secret_member(), &self.registrations) {
            return registrations.answer_body(name, uri, body);
        }
        self.answer_check(uri.path(), body)
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        self.write_parameters(parts, signing)
    }

    fn write(
        &self,
        parts: &mut Parts,
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        self.write_mac(parts, unsigned, mac)
    }
}

impl Webhooks {
    /// The member of an unsigned body in which the sender brings the secret.
    fn secret_member(&self) -> Option<&'static str> {
        match self.sender.challenge {
            Some(Challenge::Secret(SecretIn::Member(name))) => Some(name),
            _ => None,
        }
    }

    fn awaits(&self, uri: &Uri) -> bool {
        let registrations = self.registrations.as_ref();
        registrations.is_some_and(|registrations| registrations.awaits(uri.path()))
    }

    fn answer_check(&self, path: &str, body: &Bytes) -> Option<Response<Bytes>> {
        let check = self.sender.form_check.as_ref()?;
        self.checked_at.as_ref()?.answer_form(check, path, body)
    }
}
