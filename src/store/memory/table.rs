//! The records of one shard: an open-addressing table, ordered by fingerprint.
//!
//! Each record stands at its home or after it, and the whole table is in the order of the
//! fingerprints. A search ends at the first greater fingerprint, a removal leaves nothing behind,
//! and growing, shrinking and sweeping are one pass from front to back. The table takes any size,
//! so that it grows by a quarter rather than twofold: it is 70 to 88 % full.

use super::{quota::Place, scale, time::Second};

/// One record: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    fingerprint: u64,
    deadline: Second,
    /// Who it is counted for, and whether it is leased.
    owner: u32,
}

/// Marks a record that is leased, not yet recorded for good.
const LEASED: u32 = 1 << 31;

impl Record {
    const NONE: Self = Self {
        fingerprint: 0,
        deadline: Second::ZERO,
        owner: 0,
    };

    pub(super) fn new(fingerprint: u64, deadline: Second, place: Place, leased: bool) -> Self {
        Self {
            fingerprint,
            deadline,
            owner: place.0 | if leased { LEASED } else { 0 },
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn deadline(&self) -> Second {
        self.deadline
    }

    pub(super) fn place(&self) -> Place {
        Place(self.owner & !LEASED)
    }

    pub(super) fn is_leased(&self) -> bool {
        self.owner & LEASED != 0
    }

    pub(super) fn extend(&mut self, deadline: Second) {
        self.deadline = self.deadline.max(deadline);
    }

    pub(super) fn complete(&mut self) {
        self.owner &= !LEASED;
    }

    fn is_none(&self) -> bool {
        self.deadline == Second::ZERO
    }
}

/// No slot is free where one is needed.
#[derive(Debug)]
pub(super) struct NoSlot;

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Box<[Record]>,
    len: u32,
}

impl Table {
    /// The least number of slots of a table that has any.
    pub(super) const MIN_SLOTS: usize = 16;

    /// The bytes of so many slots.
    pub(super) const fn bytes(slots: usize) -> usize {
        slots * size_of::<Record>()
    }

    /// How many records so many slots take.
    pub(super) const fn room(slots: usize) -> usize {
        slots - slots / 8
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&mut self, fingerprint: u64) -> Option<&mut Record> {
        self.cluster(fingerprint)
            .iter_mut()
            .take_while(|record| !record.is_none())
            .find(|record| record.fingerprint >= fingerprint)
            .filter(|record| record.fingerprint == fingerprint)
    }

    /// Adds a record whose fingerprint is not in the table.
    pub(super) fn insert(&mut self, record: Record) -> Result<(), NoSlot> {
        if self.len() >= Self::room(self.slots()) {
            return Err(NoSlot);
        }
        let cluster = self.cluster(record.fingerprint);
        let greater = |other: &Record| other.fingerprint > record.fingerprint;
        let at = cluster
            .iter()
            .position(|r| r.is_none() || greater(r))
            .ok_or(NoSlot)?;
        let rest = cluster.get_mut(at..).unwrap_or_default();
        let free = rest.iter().position(Record::is_none).ok_or(NoSlot)?;
        rest.copy_within(..free, 1);
        if let Some(slot) = rest.first_mut() {
            *slot = record;
        }
        self.len += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, fingerprint: u64) -> Option<Record> {
        let home = self.home(fingerprint);
        let slots = self.slots();
        let cluster = self.cluster(fingerprint);
        let at = cluster
            .iter()
            .take_while(|record| !record.is_none())
            .position(|record| record.fingerprint == fingerprint)?;
        let removed = *cluster.get(at)?;
        // Whatever follows without a gap and away from its home moves up by one.
        let rest = cluster.get_mut(at..)?;
        let end = rest
            .iter()
            .enumerate()
            .skip(1)
            .find(|(i, r)| r.is_none() || home_in(slots, r.fingerprint) >= home + at + i)
            .map_or(rest.len(), |(i, _)| i);
        rest.copy_within(1..end, 0);
        *rest.get_mut(end - 1)? = Record::NONE;
        self.len -= 1;
        Some(removed)
    }

    /// Keeps the records for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Record) -> bool) {
        let slots = self.slots();
        let mut next = 0;
        let mut len = 0;
        for from in 0..slots {
            let Some(slot) = self.slots.get_mut(from) else {
                break;
            };
            let record = *slot;
            if record.is_none() {
                continue;
            }
            *slot = Record::NONE;
            if keep(&record) {
                let to = next.max(home_in(slots, record.fingerprint));
                if let Some(slot) = self.slots.get_mut(to) {
                    *slot = record;
                    len += 1;
                }
                next = to + 1;
            }
        }
        self.len = len;
    }

    /// The same records in so many slots; fails when they do not fit.
    pub(super) fn resized(&self, slots: usize) -> Result<Self, NoSlot> {
        let mut new = vec![Record::NONE; slots].into_boxed_slice();
        let mut next = 0;
        for record in self.slots.iter().filter(|record| !record.is_none()) {
            let to = next.max(home_in(slots, record.fingerprint));
            *new.get_mut(to).ok_or(NoSlot)? = *record;
            next = to + 1;
        }
        Ok(Self {
            slots: new,
            len: self.len,
        })
    }

    fn home(&self, fingerprint: u64) -> usize {
        home_in(self.slots(), fingerprint)
    }

    /// The slots from the home of `fingerprint` on.
    fn cluster(&mut self, fingerprint: u64) -> &mut [Record] {
        let home = self.home(fingerprint);
        self.slots.get_mut(home..).unwrap_or_default()
    }
}

/// The last slots are nobody's home, so that what is displaced at the end has somewhere to go.
fn home_in(slots: usize, fingerprint: u64) -> usize {
    scale(fingerprint, slots - (slots / 8).min(128))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn record(fingerprint: u64, deadline: u32) -> Record {
        Record::new(fingerprint, Second(deadline), Place(3), false)
    }

    /// Fingerprints that crowd: at the ends, and many to one home.
    fn fingerprint() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..20u64,
            u64::MAX - 20..=u64::MAX,
            (0..40u64).prop_map(|n| n << 58),
            any::<u64>()
        ]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u32),
        Find(u64),
        Remove(u64),
        Retain(u32),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (fingerprint(), 1..50u32).prop_map(|(f, d)| Step::Insert(f, d)),
            3 => fingerprint().prop_map(Step::Find),
            4 => fingerprint().prop_map(Step::Remove),
            1 => (1..50u32).prop_map(Step::Retain),
            2 => (0..200usize).prop_map(Step::Resize),
        ]
    }

    fn assert_ordered(table: &Table) {
        let slots = table.slots();
        let mut last = None;
        let mut gap = true;
        for (at, record) in table.slots.iter().enumerate() {
            if record.is_none() {
                gap = true;
                continue;
            }
            let home = home_in(slots, record.fingerprint);
            assert!(
                home == at || (home < at && !gap),
                "{record:?} at {at}, home {home}"
            );
            assert!(last < Some(record.fingerprint));
            last = Some(record.fingerprint);
            gap = false;
        }
    }

    proptest! {
        #[test]
        fn the_table_is_a_map(steps in prop::collection::vec(step(), 1..300)) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(f, d) => {
                        if !model.contains_key(&f) && table.insert(record(f, d)).is_ok() {
                            model.insert(f, d);
                        }
                    }
                    Step::Find(f) => {
                        let found = table.find(f).map(|r| r.deadline.0);
                        prop_assert_eq!(found, model.get(&f).copied());
                    }
                    Step::Remove(f) => {
                        let removed = table.remove(f).map(|r| r.deadline.0);
                        prop_assert_eq!(removed, model.remove(&f));
                    }
                    Step::Retain(from) => {
                        table.retain(|r| r.deadline.0 >= from);
                        model.retain(|_, d| *d >= from);
                    }
                    Step::Resize(slots) => {
                        if let Ok(resized) = table.resized(slots) {
                            table = resized;
                        }
                    }
                }
                assert_ordered(&table);
                prop_assert_eq!(table.len(), model.len());
            }
            let held: BTreeMap<_, _> = table
                .slots
                .iter()
                .filter(|r| !r.is_none())
                .map(|r| (r.fingerprint, r.deadline.0))
                .collect();
            prop_assert_eq!(held, model);
        }
    }

    #[test]
    fn a_table_takes_as_many_records_as_it_says() {
        let mut table = Table::default().resized(16_384).unwrap();
        let mut hash = 1u64;
        let mut taken = 0;
        while table.insert(record(hash, 1)).is_ok() {
            taken += 1;
            hash = hash
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
        }
        assert_eq!(taken, Table::room(16_384));
    }

    #[test]
    fn a_record_is_16_bytes() {
        assert_eq!(size_of::<Record>(), 16);
    }
}
