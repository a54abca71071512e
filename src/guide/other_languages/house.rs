// Each part of the request on a line of its own, and the body last.

use countersign::{ConfigError, HeaderScheme, Part};

pub fn scheme() -> Result<HeaderScheme, ConfigError> {
    HeaderScheme::builder("x-signature")
        .prefix("sha256=") // and the MAC in hexadecimal digits
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::Method,
            Part::Authority,
            Part::PathAndQuery,
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()
}
