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
        ("`time_width`", "`time-width`"),
        ("`Part::method_of`", "`{ method-of = [\"POST\"] }`"),
        ("`Part::fixed_path`", "`{ fixed-path = \"/path\" }`"),
        ("`Part::path_without('", "`{ path-without = \""),
        ("')`, if no path", "\" }`, if no path"),
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

#[cfg(test)]
mod tests {
    use countersign::{HeaderScheme, Part};

    use super::*;

    #[test]
    fn what_makes_a_message_unambiguous_is_said_as_a_file_writes_it() {
        let refused = |parts: &[Part]| {
            let scheme = HeaderScheme::builder("x-signature")
                .fixed_key_id("partner")
                .time("x-time")
                .signs(parts.to_vec());
            in_words(&scheme.build().unwrap_err())
        };
        let text = refused(&[
            Part::Path,
            Part::text(":"),
            Part::Time,
            Part::text("\n"),
            Part::Body,
        ]);
        assert!(text.contains("`{ path-without = \":\" }`"), "{text}");
        let text = refused(&[Part::Time, Part::Body]);
        assert!(text.contains("`time-width`"), "{text}");
        assert!(!text.contains("Part::"), "{text}");
    }
}
