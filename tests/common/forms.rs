//! In what forms bytes are written where they should not be.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

/// Bytes that must not be seen, in every form in which they are usually written, by a name of each.
pub(crate) fn forms(what: &str, bytes: &[u8]) -> Vec<(String, String)> {
    let list = format!("{bytes:?}");
    let mut forms = vec![
        ("hex", base16ct::lower::encode_string(bytes)),
        ("HEX", base16ct::upper::encode_string(bytes)),
        ("base64", STANDARD.encode(bytes)),
        ("base64 without padding", STANDARD_NO_PAD.encode(bytes)),
        ("base64 for URLs", URL_SAFE.encode(bytes)),
        (
            "base64 for URLs without padding",
            URL_SAFE_NO_PAD.encode(bytes),
        ),
        ("numbers", list[1..list.len() - 1].to_owned()),
        ("escaped", bytes.escape_ascii().to_string()),
        // As a text field of a log would have it.
        (
            "escaped twice",
            format!("{:?}", bytes.escape_ascii().to_string()),
        ),
    ];
    if let Ok(text) = std::str::from_utf8(bytes) {
        forms.push(("text", text.to_owned()));
    }
    forms
        .into_iter()
        .map(|(form, text)| (format!("{what} as {form}"), text))
        .collect()
}
