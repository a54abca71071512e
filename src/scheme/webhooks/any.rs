//! A preset that is chosen by its name while the program runs.

use super::{catalogue::SENDERS, format::Webhooks};
use crate::scheme::Format;

/// Any preset that is a row of the catalogue, chosen by its name while the program runs: for a sender
/// that a file of settings names.
///
/// The name is the key id that the documentation of each preset states, such as `stripe`, and `svix`
/// for [`StandardWebhooks::svix`](super::StandardWebhooks::svix). [`Twilio`](super::Twilio) and
/// [`Mailgun`](super::Mailgun) are not rows: take them by their types.
///
/// ```
/// use countersign::{MemoryStore, VerifyLayer, webhooks::AnyPreset};
///
/// let preset = AnyPreset::named("stripe").ok_or("no such sender")?;
/// let layer = VerifyLayer::builder(preset)
///     .secret("whsec_the signing secret of the endpoint")
///     .store(MemoryStore::new())
///     .build()?;
/// assert!(AnyPreset::named("strip").is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A preset found by name verifies and signs exactly as its own type does with every default. Only
/// that type has the options of one sender, such as the answer to its challenge.
#[derive(Clone, Debug)]
pub struct AnyPreset(Webhooks);

impl AnyPreset {
    /// Returns the preset of this name, or `None` if no preset has it. Case counts.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|preset| preset.name() == name)
    }

    /// Lists all presets that [`named`](Self::named) finds, in no order that is promised.
    pub fn all() -> impl Iterator<Item = Self> {
        SENDERS.iter().map(|sender| Self(Webhooks::of(sender)))
    }

    /// Returns the name that [`named`](Self::named) finds this preset by, whatever its key id is now.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.sender.key_id
    }

    /// Sets the key id that deliveries are verified under: 1 to 128 visible ASCII characters
    /// (checked when a verifier or a signer is built). Default: that of the preset.
    ///
    /// The key id keeps deliveries apart in a shared store: see
    /// [`Stripe::key_id`](super::Stripe::key_id).
    #[must_use]
    pub fn key_id(mut self, id: impl Into<String>) -> Self {
        self.0.set_key_id(id.into());
        self
    }

    /// Takes the key id from this parameter of Axum's route, so that one layer serves many accounts:
    /// see [`Stripe::key_id_from_path`](super::Stripe::key_id_from_path).
    #[must_use]
    pub fn key_id_from_path(mut self, parameter: impl Into<String>) -> Self {
        self.0.set_key_parameter(parameter.into());
        self
    }
}

impl Format for AnyPreset {
    type Described = Webhooks;

    fn format(self) -> Webhooks {
        self.0
    }
}
