//! Identifiers that are new for each fresh request and new in each run, and what a seed chooses.

use std::cell::Cell;

use sha2::{Digest as _, Sha256};

/// An identity: every template that is filled for one fresh request gets the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) uuid: String,
    pub(crate) n: u64,
}

impl Event {
    /// Fills `{uuid}`, `{n}` and `{now}`.
    pub(crate) fn fill(&self, template: &str, now: u64) -> String {
        template
            .replace("{uuid}", &self.uuid)
            .replace("{n}", &self.n.to_string())
            .replace("{now}", &now.to_string())
    }

    /// Returns whether a text holds one of the identifiers.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.uuid) || text.contains(&self.n.to_string())
    }
}

/// Returns whether a template holds an identifier.
pub(crate) fn has_identifier(template: &str) -> bool {
    template.contains("{uuid}") || template.contains("{n}")
}

/// Makes events and nonces out of the run's id, and choices out of the seed.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) run: String,
    pub(crate) seed: u64,
    made: Cell<u64>,
    chosen: Cell<u64>,
}

impl Source {
    pub(crate) fn new(run: String, seed: u64) -> Self {
        Self {
            run,
            seed,
            made: Cell::new(0),
            chosen: Cell::new(0),
        }
    }

    pub(crate) fn event(&self) -> Event {
        let digest = self.digest("event", &self.made);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(digest.split_at(16).0);
        // Version and variant of RFC 9562.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let uuid =
            [8, 4, 4, 4, 12]
                .iter()
                .fold((String::new(), hex.as_str()), |(uuid, rest), length| {
                    let (part, rest) = rest.split_at_checked(*length).unwrap_or((rest, ""));
                    let dash = if uuid.is_empty() { "" } else { "-" };
                    (format!("{uuid}{dash}{part}"), rest)
                });
        // JSON of every language holds it exactly.
        let n = u64::from_be_bytes(first_eight(&digest)) % 1_000_000_000_000_000;
        Event { uuid: uuid.0, n }
    }

    pub(crate) fn nonce(&self) -> String {
        let digest = self.digest("nonce", &self.made);
        let (nonce, _) = digest.split_at(16);
        nonce.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A number below `end`.
    pub(crate) fn choose(&self, end: usize) -> usize {
        let at = self.chosen.replace(self.chosen.get() + 1);
        let digest = Sha256::digest(format!("{}\n{at}", self.seed));
        let number = u64::from_be_bytes(first_eight(&digest));
        usize::try_from(number % u64::try_from(end.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    fn digest(&self, what: &str, counter: &Cell<u64>) -> [u8; 32] {
        let at = counter.replace(counter.get() + 1);
        Sha256::digest(format!("{}\n{what}\n{at}", self.run)).into()
    }
}

fn first_eight(digest: &[u8]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_new_and_a_run_id_repeats_them() {
        let (one, two) = (Source::new("a".into(), 1), Source::new("a".into(), 2));
        let (first, second) = (one.event(), one.event());
        assert_ne!(first, second);
        assert_eq!(first, two.event());
        assert_ne!(first, Source::new("b".into(), 1).event());
        assert_eq!(first.uuid.len(), 36);
        assert_eq!(
            first.fill("{uuid} {n} {now}", 7),
            format!("{} {} 7", first.uuid, first.n)
        );
    }

    #[test]
    fn a_seed_repeats_choices() {
        let choose = |seed| {
            let source = Source::new("a".into(), seed);
            (0..20).map(|_| source.choose(10)).collect::<Vec<_>>()
        };
        assert_eq!(choose(1), choose(1));
        assert_ne!(choose(1), choose(2));
        assert!(choose(3).iter().all(|chosen| *chosen < 10));
    }
}
