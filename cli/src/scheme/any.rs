//! One of the library's schemes, chosen while the command runs.

use std::fmt;

use countersign::{
    ConfigError, HeaderScheme, HttpMessageSignatures, Signer, Verifier, inspect::Inspector,
    request::VerifierBuilder, webhooks,
};

macro_rules! schemes {
    ($($(#[$docs:meta])* $variant:ident($of:ty);)*) => {
        /// One of the library's schemes.
        #[derive(Clone)]
        #[expect(clippy::large_enum_variant, reason = "a command line names one scheme")]
        pub(crate) enum AnyScheme {
            $($(#[$docs])* $variant($of),)*
        }

        impl AnyScheme {
            /// A signer for a scheme whose requests name no key.
            pub(crate) fn signer(&self, secret: &str) -> Result<Signer, ConfigError> {
                match self.clone() {
                    $(Self::$variant(scheme) => Signer::with_secret(scheme, secret),)*
                }
            }

            /// A signer under this key.
            pub(crate) fn signer_under(
                &self,
                key_id: &str,
                secret: countersign::Secret,
            ) -> Result<Signer, ConfigError> {
                match self.clone() {
                    $(Self::$variant(scheme) => Signer::new(scheme, key_id, secret),)*
                }
            }

            /// An inspector, for any authority.
            pub(crate) fn inspector(&self) -> Inspector {
                match self.clone() {
                    $(Self::$variant(scheme) => Inspector::new(scheme),)*
                }
            }

            /// Configures a verifier.
            pub(crate) fn verifier(&self) -> VerifierBuilder<Verifier> {
                match self.clone() {
                    $(Self::$variant(scheme) => Verifier::builder(scheme),)*
                }
            }
        }
    };
}

schemes! {
    HttpMessageSignatures(HttpMessageSignatures);
    /// A sender that is a row of the library's catalogue.
    Preset(webhooks::AnyPreset);
    Twilio(webhooks::Twilio);
    Mailgun(webhooks::Mailgun);
    /// A house format from a scheme file.
    Header(HeaderScheme);
}

impl AnyScheme {
    /// Takes this key id for a sender, whose requests name none.
    pub(super) fn under(self, key_id: &str) -> Self {
        match self {
            Self::Preset(scheme) => Self::Preset(scheme.key_id(key_id)),
            Self::Twilio(scheme) => Self::Twilio(scheme.key_id(key_id)),
            Self::Mailgun(scheme) => Self::Mailgun(scheme.key_id(key_id)),
            // Signatures of these schemes name their keys, or a file has said the key id.
            other @ (Self::HttpMessageSignatures(_) | Self::Header(_)) => other,
        }
    }

    /// Finds the sender of this name.
    pub(super) fn sender(name: &str) -> Option<Self> {
        let mut named = Self::named().into_iter();
        let found = named
            .find(|(known, _)| *known == name)
            .map(|(_, scheme)| scheme);
        found.filter(|scheme| !matches!(scheme, Self::HttpMessageSignatures(_)))
    }

    /// Lists every name, and the scheme behind it: the library's default first, then all senders in
    /// the order of their names.
    pub(super) fn named() -> Vec<(&'static str, Self)> {
        let presets = webhooks::AnyPreset::all();
        let presets = presets.map(|preset| (preset.name(), Self::Preset(preset)));
        let by_code = [
            ("twilio", Self::Twilio(webhooks::Twilio::new())),
            ("mailgun", Self::Mailgun(webhooks::Mailgun::new())),
        ];
        let mut senders: Vec<_> = presets.chain(by_code).collect();
        senders.sort_by_key(|(name, _)| *name);
        let default = Self::HttpMessageSignatures(HttpMessageSignatures::default());
        [("http-message-signatures", default)]
            .into_iter()
            .chain(senders)
            .collect()
    }
}

impl fmt::Debug for AnyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyScheme")
    }
}
