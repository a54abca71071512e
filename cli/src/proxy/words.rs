//! The library's words, with those of the configuration in place of Rust's.

use crate::scheme::in_names;

/// Settings that the file has under names like the library's.
const SETTINGS: [(&str, &str); 7] = [
    ("`body_deadline`", "`body-deadline`"),
    ("`max_age`", "`max-age`"),
    ("`max_body_bytes`", "`max-body-bytes`"),
    ("`max_running`", "`requests` of [limits]"),
    ("`max_skew`", "`max-skew`"),
    ("`on_duplicate`", "`on-duplicate`"),
    ("`public_origin`", "`public-origin`"),
];

/// Other words of the library, of which the file says the same in its own way, or nothing.
const PHRASES: [(&str, &str); 11] = [
    ("call `public_origin` with ", "set `public-origin` to "),
    (
        "give each layer a `namespace` of its own, or give both the same `max_age`, retention, \
         `clock_difference` and `store_timeout`",
        "give the routes other names, or the same `max-age`; it changes at the next start",
    ),
    (
        "give each layer a `namespace`, or a key id, of its own, or give both the same `KeyRing`",
        "give the routes other names, or their keys other ids",
    ),
    (
        "call `namespace` with the name of this service, or the preset's `key_id` with the name of \
         this account",
        "give the route a name of its own",
    ),
    ("configure `forwarded`", "set `host` of [forwarders]"),
    (
        "; `danger_websocket_handshakes` lets it pass",
        "; the proxy lets none pass",
    ),
    ("; see `danger_delivery_id`", ""),
    (
        "keep a `high_watermark`",
        "write `memory:FILE` in place of `memory`",
    ),
    ("within the `store_timeout`", "in time"),
    (
        "let the handler ask `VerifiedPayload::once` for each event",
        "let the server look at the id of each event",
    ),
    (
        "`migrate` of the store makes them",
        "`countersign store migrate` makes them",
    ),
];

/// Returns a text of the library as somebody reads it who knows the file alone.
pub(super) fn in_file_words(text: &str) -> String {
    let pairs = PHRASES.iter().chain(&SETTINGS);
    let text = pairs.fold(in_names(text), |text, (rust, file)| {
        text.replace(rust, file)
    });
    text.replace("another layer on this store", "another route on this store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_the_library_names_keys_of_the_file() {
        for (rust, file) in [
            (
                "`max_skew` must be at most `max_age`",
                "`max-skew` must be at most `max-age`",
            ),
            (
                "as many handlers as `max_running` allows are running",
                "as many handlers as `requests` of [limits] allows are running",
            ),
            // A code is the same in both.
            ("refused (`sign_again`)", "refused (`sign_again`)"),
        ] {
            assert_eq!(in_file_words(rust), file);
        }
    }

    /// A phrase that the library does not use would have no effect here.
    #[test]
    fn each_phrase_is_one_of_the_library() {
        let library = [
            include_str!("../../../src/error/config.rs"),
            include_str!("../../../src/message/origin.rs"),
            include_str!("../../../src/once/turns.rs"),
            include_str!("../../../src/request/build.rs"),
            include_str!("../../../src/request/parse.rs"),
            include_str!("../../../src/scheme/webhooks/reading.rs"),
            include_str!("../../../src/store/sqlite/error.rs"),
        ];
        // A text goes on in the next line behind a backslash.
        let joined = |text: &str| {
            let lines: Vec<&str> = text.split("\\\n").collect();
            lines
                .join("\n")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let library = joined(&library.concat());
        for (phrase, _) in PHRASES {
            assert!(library.contains(phrase), "{phrase}");
        }
    }
}
