//! The scheme that a command line names, with what it knows of secrets.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::{
    ConfigError, KeySet, KeyStore, Secret, Signer, Verifier,
    error::ConfigErrorKind,
    inspect::Inspector,
    key::KeyFuture,
    request::{Supplied, VerifierBuilder},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::any::AnyScheme;
use crate::{exit::Failure, printer::escaped, secret::SecretText};

/// The scheme that a command line names.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    pub(crate) scheme: AnyScheme,
    pub(crate) secret: SecretForm,
    /// The key id that a scheme file fixes.
    pub(super) key_id: Option<String>,
    /// The headers that a scheme file wants covered.
    pub(super) headers: Vec<String>,
    /// The path that a scheme file fixes.
    pub(super) path: Option<String>,
    /// The values that are signed and not sent: those of an example, unless the command line gives
    /// others.
    pub(crate) supplied: Supplied,
    /// Their names.
    pub(crate) awaits: Vec<String>,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SecretForm {
    /// As the scheme's provider shows it.
    #[default]
    #[serde(rename = "text")]
    OfScheme,
    Hex,
    Base64,
}

impl Chosen {
    /// A scheme of the library, with every default.
    pub(super) fn named(name: &str, scheme: AnyScheme) -> Self {
        Self {
            name: name.to_owned(),
            scheme,
            secret: SecretForm::OfScheme,
            key_id: None,
            headers: Vec::new(),
            path: None,
            supplied: Supplied::new(),
            awaits: Vec::new(),
        }
    }

    /// Returns whether requests of the scheme name their key.
    pub(crate) fn names_key(&self) -> bool {
        // The library says so when a signer is made without a key id.
        self.scheme
            .signer("0123456789abcdef0123456789abcdef")
            .is_err_and(|error| matches!(error.kind(), ConfigErrorKind::Missing(_)))
    }

    /// A signer under this secret, and this key id if the requests of the scheme name their key.
    pub(crate) fn signer(
        &self,
        key_id: Option<&str>,
        secret: &SecretText,
    ) -> Result<Signer, Failure> {
        if !self.names_key() {
            self.refuse_key_id(key_id)?;
            return self.refused_secret(match (&self.key_id, self.decoded(secret)?) {
                (Some(id), Some(secret)) => self.scheme.signer_under(id, secret),
                _ => self.scheme.signer(secret.as_str()?),
            });
        }
        let Some(key_id) = key_id else {
            return Err(Failure::usage(
                "no key id is given",
                format!(
                    "requests of `{}` name the key that they are signed under",
                    self.name
                ),
                "add --key-id ID, with the id that the receiver knows the secret by",
            ));
        };
        let secret = self.read_secret(secret)?;
        self.refused_secret(self.scheme.signer_under(key_id, secret))
    }

    /// Refuses a key id where requests name no key.
    fn refuse_key_id(&self, key_id: Option<&str>) -> Result<(), Failure> {
        match key_id {
            None => Ok(()),
            Some(key_id) => Err(Failure::usage(
                format!("requests of `{}` name no key", self.name),
                format!("--key-id {} is nowhere in a request", escaped(key_id)),
                "leave out --key-id",
            )),
        }
    }

    /// Writes these bytes as a secret of the scheme.
    pub(crate) fn write_secret(&self, bytes: &[u8]) -> Zeroizing<String> {
        let base64 = || STANDARD.encode(bytes);
        let text = match self.secret {
            SecretForm::Base64 => base64(),
            SecretForm::OfScheme if self.decodes_secrets() => format!("whsec_{}", base64()),
            SecretForm::OfScheme | SecretForm::Hex => {
                let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                std::iter::once(self.secret_prefix().to_owned())
                    .chain(digits)
                    .collect()
            }
        };
        Zeroizing::new(text)
    }

    /// The text before the secrets that the provider shows, of a scheme that uses the whole text.
    fn secret_prefix(&self) -> &'static str {
        match &self.scheme {
            AnyScheme::Preset(sender) => match sender.name() {
                "stripe" => "whsec_",
                "linear" => "lin_wh_",
                _ => "",
            },
            _ => "",
        }
    }

    /// A secret that protects nothing, for an example.
    pub(super) fn example_secret(&self) -> SecretText {
        SecretText::of_example(&self.write_secret(b"a secret that is an example only"))
    }

    /// Returns whether the scheme decodes its secrets: it then refuses a text that is not base64.
    fn decodes_secrets(&self) -> bool {
        !self.names_key() && self.scheme.signer("! not base64, 25 bytes long !").is_err()
    }

    fn decoded(&self, secret: &SecretText) -> Result<Option<Secret>, Failure> {
        let decoded = match self.secret {
            SecretForm::OfScheme => return Ok(None),
            SecretForm::Hex => Secret::from_hex(secret.as_str()?),
            SecretForm::Base64 => Secret::from_base64(secret.as_str()?),
        };
        self.refused_secret(decoded).map(Some)
    }

    /// The secret of a scheme whose requests name their key: as text, or as a scheme file says.
    pub(crate) fn read_secret(&self, secret: &SecretText) -> Result<Secret, Failure> {
        match self.decoded(secret)? {
            Some(secret) => Ok(secret),
            None => self.refused_secret(Secret::new(secret.as_bytes())),
        }
    }

    /// The secret in the form in which the scheme's provider shows it, or as a scheme file says.
    pub(crate) fn secret_from(&self, secret: &SecretText) -> Result<Secret, Failure> {
        if self.secret == SecretForm::OfScheme && !self.names_key() {
            let read = self.scheme.inspector().read_secret(secret.as_str()?);
            return self.refused_secret(read);
        }
        self.read_secret(secret)
    }

    /// An inspector, with this public origin if it is one.
    pub(crate) fn inspector(&self, origin: Option<&str>) -> Inspector {
        let inspector = || self.scheme.inspector().supplied(self.supplied.clone());
        let with_origin = origin.and_then(|origin| inspector().public_origin(origin).ok());
        with_origin.unwrap_or_else(inspector)
    }

    /// The key that the scheme reads from this text; `None` if it refuses the text.
    pub(crate) fn secret_of(&self, text: &[u8]) -> Option<Secret> {
        let as_text = || std::str::from_utf8(text).ok();
        match self.secret {
            SecretForm::Hex => Secret::from_hex(as_text()?).ok(),
            SecretForm::Base64 => Secret::from_base64(as_text()?).ok(),
            SecretForm::OfScheme if self.names_key() => Secret::new(text).ok(),
            SecretForm::OfScheme => self.scheme.inspector().read_secret(as_text()?).ok(),
        }
    }

    pub(crate) fn refused_secret<T>(&self, result: Result<T, ConfigError>) -> Result<T, Failure> {
        result.map_err(|error| {
            Failure::usage(
                format!("`{}` cannot use this secret", self.name),
                error.to_string(),
                format!(
                    "copy the secret again as its provider shows it; `countersign keygen {}` makes \
                     one",
                    self.name
                ),
            )
        })
    }

    /// Configures a verifier with these secrets. Without a key id, whatever key id a request names
    /// is known.
    pub(crate) fn verifier(
        &self,
        key_id: Option<&str>,
        secrets: &[SecretText],
    ) -> Result<VerifierBuilder<Verifier>, Failure> {
        let mut builder = self.scheme.verifier();
        let names_key = self.names_key();
        if !names_key {
            self.refuse_key_id(key_id)?;
        }
        let fixed = match names_key {
            true => None,
            false if self.secret == SecretForm::OfScheme => {
                for secret in secrets {
                    self.secret_from(secret)?;
                    builder = builder.secret(secret.as_str()?);
                }
                return Ok(builder);
            }
            false => self.key_id.as_deref(),
        };
        let secrets: Result<Vec<_>, _> = secrets.iter().map(|s| self.read_secret(s)).collect();
        let secrets = secrets?;
        let key_id = fixed.or(key_id).map(str::to_owned);
        Ok(builder.keys(Keys { key_id, secrets }))
    }
}

/// The secrets that were given, under one key id or under any.
struct Keys {
    key_id: Option<String>,
    secrets: Vec<Secret>,
}

impl KeyStore for Keys {
    fn find<'a>(&'a self, key_id: &'a str) -> KeyFuture<'a> {
        if self.key_id.as_deref().is_some_and(|known| known != key_id) {
            return KeyFuture::ready(Ok(None));
        }
        // A name that is not a valid key id has no key.
        let set = KeySet::new(key_id).ok().map(|set| {
            let secrets = self.secrets.iter().cloned();
            Arc::new(secrets.fold(set, KeySet::with))
        });
        KeyFuture::ready(Ok(set))
    }
}
