//! Computes the slot of a cluster, of 16,384, that a key belongs to, by the [specification].
//!
//! [specification]: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model

pub(super) const SLOTS: u16 = 16_384;

pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

/// A name in braces that belongs to `wanted`.
pub(super) fn tag_in(wanted: u16) -> String {
    (0u32..)
        .map(|n| n.to_string())
        .find(|tag| slot(tag.as_bytes()) == wanted)
        .unwrap_or_default()
}

/// Returns the text between the first brace and the next closing one, or the whole key if there is
/// none.
fn tag(key: &[u8]) -> &[u8] {
    let tagged = || {
        let (_, rest) = key.split_at_checked(key.iter().position(|&b| b == b'{')? + 1)?;
        let (tag, _) = rest.split_at_checked(rest.iter().position(|&b| b == b'}')?)?;
        Some(tag).filter(|tag| !tag.is_empty())
    };
    tagged().unwrap_or(key)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the specification, and as `CLUSTER KEYSLOT` of Redis 7 answers.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn every_slot_has_a_tag() {
        for wanted in [0, 1, 5_461, 16_383] {
            assert_eq!(slot(format!("x{{{}}}", tag_in(wanted)).as_bytes()), wanted);
        }
    }
}
