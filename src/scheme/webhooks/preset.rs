//! What every preset has.

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
