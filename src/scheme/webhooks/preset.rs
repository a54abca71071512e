//! A preset: a row of the catalogue as a type of its own.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, Uri, request::Parts};

use super::format::Webhooks;
use crate::{
    error::{ConfigError, Fault, SignError},
    key::{MacKey, Secret},
    message::{HashOutput, Head},
    proof::{Parameters, Unsigned},
    scheme::{Describe, Profile, Reading, Signing},
};

/// The setter of every preset, over what its format is called by.
macro_rules! key_id {
    ($own:literal, $($set_key_id:tt)+) => {
        /// The key id that deliveries are verified under: 1 to 128 visible ASCII characters
        /// (checked when a verifier or a signer is built).
        #[doc = concat!("Default: `", $own, "`.")]
        ///
        /// It keeps deliveries apart in a store that others may have too: name it by the account
        /// that sends, such as `acme`. A delivery that was used under another key id is new under
        /// this one.
        #[must_use]
        pub fn key_id(mut self, id: impl Into<String>) -> Self {
            self.$($set_key_id)+(id.into());
            self
        }
    };
}

/// A preset that is a row of the catalogue, with the options that a user chose.
pub(crate) trait Preset: fmt::Debug + Send + Sync + 'static {
    fn webhooks(&self) -> &Webhooks;
}

impl<P: Preset> Describe for P {
    fn profile(&self) -> &Profile {
        self.webhooks().profile()
    }

    fn name(&self) -> &str {
        self.webhooks().name()
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        self.webhooks().signature_headers()
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.webhooks().fixed_key_id()
    }

    fn names_key(&self) -> bool {
        self.webhooks().names_key()
    }

    fn read_secret(&self, text: &str) -> Result<Secret, ConfigError> {
        self.webhooks().read_secret(text)
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        self.webhooks().read(head)
    }

    fn read_covered_body(
        &self,
        parameters: &mut Parameters<'_>,
        body: &Bytes,
    ) -> Result<(), Fault> {
        self.webhooks().read_covered_body(parameters, body)
    }

    fn answer_unsigned(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>> {
        self.webhooks().answer_unsigned(method, uri)
    }

    fn asks_in_body(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        self.webhooks().asks_in_body(method, uri, headers)
    }

    fn answer_unsigned_body(&self, uri: &Uri, body: &Bytes) -> Option<Response<Bytes>> {
        self.webhooks().answer_unsigned_body(uri, body)
    }

    fn answer_verified(
        &self,
        path: &str,
        body: &Bytes,
        secrets: &mut dyn Iterator<Item = &MacKey>,
    ) -> Option<Response<Bytes>> {
        self.webhooks().answer_verified(path, body, secrets)
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        self.webhooks().prepare(parts, signing)
    }

    fn write(
        &self,
        parts: &mut Parts,
        unsigned: &Unsigned,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        self.webhooks().write(parts, unsigned, mac)
    }
}
