//! For how long namespaces are remembered, as this process has read it last: for those who must not
//! wait for a database.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::{clock::Timestamp, lock::lock};

/// There are as many as namespaces are configured in this process.
#[derive(Debug, Default)]
pub(in crate::store) struct Retentions(Mutex<HashMap<Box<str>, Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    retention: Duration,
    /// When it was read, by the database's clock.
    read_at: Timestamp,
}

impl Retentions {
    /// A namespace is remembered for so long, by a database whose clock shows `read_at`.
    pub(in crate::store) fn learn(&self, namespace: &str, retention: Duration, read_at: Timestamp) {
        let mut all = lock(&self.0);
        let known = Known { retention, read_at };
        match all.get_mut(namespace) {
            // Answers may come in another order than they were given in.
            Some(earlier) if earlier.read_at > read_at => {}
            Some(earlier) => *earlier = known,
            None => {
                all.insert(namespace.into(), known);
            }
        }
    }

    /// See [`NonceStore::taken_until`](crate::store::NonceStore::taken_until).
    ///
    /// A retention that was raised after it was read refuses what was signed until then. So it says
    /// nothing of what was signed later than it was read.
    pub(in crate::store) fn taken_until(
        &self,
        namespace: &str,
        signed_at: Timestamp,
    ) -> Option<Timestamp> {
        let all = lock(&self.0);
        let known = all.get(namespace)?;
        (signed_at <= known.read_at).then(|| signed_at.saturating_add(known.retention))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    #[test]
    fn a42_a_retention_says_nothing_of_what_was_signed_after_it_was_read() {
        let all = Retentions::default();
        let minute = Duration::from_secs(60);
        assert_eq!(all.taken_until("one", at(0)), None);
        all.learn("one", minute, at(1000));
        assert_eq!(all.taken_until("one", at(1000)), Some(at(1060)));
        assert_eq!(all.taken_until("one", at(1001)), None);
        assert_eq!(all.taken_until("other", at(1000)), None);
        // It is raised, and an answer from before comes late.
        all.learn("one", 2 * minute, at(2000));
        all.learn("one", minute, at(1500));
        assert_eq!(all.taken_until("one", at(2000)), Some(at(2120)));
    }
}
