//! The library's words, with the names of the command and its files in place of Rust's.

use countersign::ConfigError;

/// The library's words, with the names of the file in place of Rust's.
pub(super) fn in_words(error: &ConfigError) -> String {
    let mut text = error.to_string();
    for (rust, file) in [
        ("the scheme's description: ", ""),
        ("`Part::text(\"\\n\")`", "`{ text = \"\\n\" }`"),
        ("`Part::Time`", "the part `time`"),
        ("`Part::Nonce`", "the part `nonce`"),
        ("`Part::KeyId`", "the part `key-id`"),
        ("`Part::Authority`", "the part `authority`"),
        ("the Time", "the time"),
        ("the Nonce", "the nonce"),
        ("danger_without_time", "danger-without-time"),
        ("fixed_key_id", "fixed-key-id"),
    ] {
        text = text.replace(rust, file);
    }
    text
}

/// The library's words on a request, with the names of the command in place of Rust's.
pub(crate) fn in_names(text: &str) -> String {
    text.replace("`Twilio::json_at()`", "the scheme `twilio:/path`")
        .replace("`Twilio::new()`", "the scheme `twilio`")
}
