//! The setters that every preset has.

/// The setter of every preset, over what its format is called by.
macro_rules! key_id {
    ($own:literal, $($set_key_id:tt)+) => {
        /// The key id that deliveries are verified under: 1 to 128 visible ASCII characters
        /// (checked when a verifier or a signer is built).
        #[doc = concat!("Default: `", $own, "`.")]
        ///
        /// The key id keeps deliveries apart in a shared store: name it by the account that sends,
        /// such as `acme`. A delivery that was used under another key id is new under this one.
        #[must_use]
        pub fn key_id(mut self, id: impl Into<String>) -> Self {
            self.$($set_key_id)+(id.into());
            self
        }
    };
}

macro_rules! key_id_from_path {
    ($preset:ident, $($set:tt)+) => {
        /// Takes the key id from this parameter of Axum's route, so that one layer serves many
        /// accounts: each has its own secrets, claims and quota.
        /// [`keys`](crate::request::VerifierBuilder::keys) looks the accounts up, by a secret
        /// of the form that [`Secret`](crate::Secret) reads.
        ///
        /// The parameter is taken as it was sent, without decoding, and must be a
        /// [`KeyId`](crate::KeyId). The path need not be covered: a delivery that is sent to another
        /// account's path does not match that account's secret. A handler takes the account from
        /// [`key_id()`](crate::VerifiedPayload::key_id).
        ///
        /// On a route without the parameter, every request is refused (503,
        /// `store_unavailable`), and the log says why.
        ///
        /// ```
        /// # use axum::{Router, routing::post};
        #[doc = concat!("use countersign::{KeyRing, MemoryStore, VerifiedPayload, VerifyLayer, webhooks::", stringify!($preset), "};")]
        ///
        /// # fn main() -> Result<(), countersign::ConfigError> {
        #[doc = concat!("let layer = VerifyLayer::builder(", stringify!($preset), "::new().key_id_from_path(\"tenant\"))")]
        ///     .public_origin("https://api.example.com")
        ///     .keys(KeyRing::new().with("acme", "the secret of acme")?)
        ///     .store(MemoryStore::new())
        ///     .build()?;
        ///
        /// let handler = async |event: VerifiedPayload| format!("for {}", event.key_id());
        /// let app: Router = Router::new().route("/hooks/{tenant}", post(handler)).layer(layer);
        /// # Ok(()) }
        /// ```
        #[must_use]
        pub fn key_id_from_path(mut self, parameter: impl Into<String>) -> Self {
            self.$($set)+(parameter.into());
            self
        }
    };
}
