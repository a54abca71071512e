//! The records of one shard: an open-addressing table with linear probing, of any size.
//!
//! A byte beside each slot holds eight bits of the fingerprint, so that a nonce which is new is
//! told from the bytes alone: at ten million records these are in the processor's cache, and the
//! records are not. For the same reason a record is not written to its slot at once. It waits with
//! a few others, and the memory is fetched for all of them at the same time.
//!
//! The table grows by a fifth rather than twofold, so that a large one is 75 to 90 % full.

use memchr::{memchr, memchr2};

use super::{hash::OF_MESSAGE, hash::scale, quota::Place, time::Second};

/// One record: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    fingerprint: u64,
    deadline: Second,
    /// The key that it is counted for, and whether it is leased.
    owner: u32,
}

/// Marks a record that is leased, not yet recorded for good.
const LEASED: u32 = 1 << 31;

impl Record {
    /// The content of a free slot.
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
}

/// No slot is free where one is needed.
#[derive(Debug)]
pub(super) struct NoSlot;

/// In this order, so that what each claim looks at is in one cache line.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Table {
    tags: Box<[u8]>,
    slots: Box<[Record]>,
    len: u32,
    waiting: Waiting,
}

/// The tag of a slot that is free.
const FREE: u8 = 0;

impl Table {
    /// The least number of slots of a table that has any.
    pub(super) const MIN_SLOTS: usize = 64;

    /// Returns the bytes that this number of slots takes.
    pub(super) const fn bytes(slots: usize) -> usize {
        slots * (size_of::<Record>() + size_of::<u8>())
    }

    /// Returns how many records this number of slots can hold.
    pub(super) const fn room(slots: usize) -> usize {
        slots - slots / 10
    }

    fn new(slots: usize) -> Self {
        Self {
            tags: vec![FREE; slots].into(),
            slots: vec![Record::NONE; slots].into(),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&mut self, fingerprint: u64) -> Option<&mut Record> {
        let at = self.position(fingerprint)?;
        match self.waiting.find(at) {
            Some(record) => Some(record),
            None => self.slots.get_mut(at),
        }
    }

    /// Returns how many records share the upper half of this fingerprint: those of one message.
    /// They have one home, or two beside each other.
    pub(super) fn count_of_message(&self, fingerprint: u64) -> usize {
        let tag = tag(fingerprint);
        let mut from = home(self.slots(), fingerprint & OF_MESSAGE);
        let last = home(self.slots(), fingerprint | !OF_MESSAGE);
        let mut count = 0;
        while let Some(tags) = self.tags.get(from..)
            && let Some(found) = memchr2(tag, FREE, tags)
        {
            let at = from + found;
            if self.tags.get(at) == Some(&FREE) {
                if at >= last {
                    break;
                }
            } else {
                let record = self.waiting.get(at).or_else(|| self.slots.get(at));
                let is_alike =
                    |record: &Record| (record.fingerprint ^ fingerprint) & OF_MESSAGE == 0;
                count += usize::from(record.is_some_and(is_alike));
            }
            from = at + 1;
        }
        count
    }

    /// Adds a record whose fingerprint is not in the table.
    pub(super) fn insert(&mut self, record: Record) -> Result<(), NoSlot> {
        if self.len() >= Self::room(self.slots()) {
            return Err(NoSlot);
        }
        let at = self.take_slot(record.fingerprint)?;
        if let Err(Full) = self.waiting.push(at, record) {
            self.write();
            let _ = self.waiting.push(at, record);
        }
        self.len += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, fingerprint: u64) -> Option<Record> {
        self.write();
        let at = self.position(fingerprint)?;
        let removed = *self.slots.get(at)?;
        self.len -= 1;
        // The removed record may have kept the following ones, up to a gap, from their home.
        let mut free = at;
        let mut next = at + 1;
        while let Some(tag) = self.tags.get(next).filter(|tag| **tag != FREE).copied() {
            let record = *self.slots.get(next)?;
            if home(self.slots(), record.fingerprint) <= free {
                self.put(free, tag, record);
                free = next;
            }
            next += 1;
        }
        self.put(free, FREE, Record::NONE);
        Some(removed)
    }

    /// Keeps the records for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Record) -> bool) {
        self.write();
        // Whether a slot has become free since the last one that was so before.
        let mut gap = false;
        for at in 0..self.slots() {
            let (Some(tag), Some(record)) = (self.tags.get_mut(at), self.slots.get(at)) else {
                break;
            };
            if *tag == FREE {
                gap = false;
            } else if !keep(record) {
                *tag = FREE;
                gap = true;
                self.len -= 1;
            } else if gap {
                let record = *record;
                *tag = FREE;
                if let Ok(to) = self.take_slot(record.fingerprint)
                    && let Some(slot) = self.slots.get_mut(to)
                {
                    *slot = record;
                }
            }
        }
    }

    /// Returns a table with the same records in this number of slots. Fails if they do not fit.
    pub(super) fn resized(&mut self, slots: usize) -> Result<Self, NoSlot> {
        self.write();
        let mut new = Self::new(slots);
        // Records come nearly in the order of their homes: most go to the end of the run that was
        // written last, or start the next one.
        let (mut run, mut next) = (0, 0);
        for (record, tag) in self
            .slots
            .iter()
            .zip(&self.tags)
            .filter(|(_, tag)| **tag != FREE)
        {
            let home = home(slots, record.fingerprint);
            let at = if home < run {
                new.take_slot(record.fingerprint)?
            } else {
                run = if home > next { home } else { run };
                next.max(home)
            };
            next = next.max(at + 1);
            if at >= slots {
                return Err(NoSlot);
            }
            new.put(at, *tag, *record);
        }
        new.len = self.len;
        Ok(new)
    }

    fn position(&self, fingerprint: u64) -> Option<usize> {
        let tag = tag(fingerprint);
        let mut from = home(self.slots(), fingerprint);
        loop {
            let at = from + memchr2(tag, FREE, self.tags.get(from..)?)?;
            if *self.tags.get(at)? == FREE {
                return None;
            }
            let record = self.waiting.get(at).or_else(|| self.slots.get(at))?;
            if record.fingerprint == fingerprint {
                return Some(at);
            }
            from = at + 1;
        }
    }

    /// Takes the first slot that is free from the home of `fingerprint` on.
    fn take_slot(&mut self, fingerprint: u64) -> Result<usize, NoSlot> {
        let home = home(self.slots(), fingerprint);
        let tags = self.tags.get_mut(home..).unwrap_or_default();
        // Mostly the first; a call costs more than a look.
        let free = match tags.first() {
            Some(&FREE) => 0,
            _ => memchr(FREE, tags).ok_or(NoSlot)?,
        };
        *tags.get_mut(free).ok_or(NoSlot)? = tag(fingerprint);
        Ok(home + free)
    }

    fn put(&mut self, at: usize, tag: u8, record: Record) {
        if let (Some(to), Some(slot)) = (self.tags.get_mut(at), self.slots.get_mut(at)) {
            (*to, *slot) = (tag, record);
        }
    }

    /// Writes what waits to its slots.
    fn write(&mut self) {
        for (at, record) in self.waiting.drain() {
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = record;
            }
        }
    }
}

/// Returns where a record is looked for first, by the upper bits of its fingerprint. The last slots
/// are nobody's home, so that what is displaced at the end has somewhere to go.
fn home(slots: usize, fingerprint: u64) -> usize {
    scale(fingerprint, slots - (slots / 8).min(128))
}

/// Returns eight bits of a fingerprint. They are bits of the message, so that tags distinguish the
/// records of one message from others. They are not among the upper bits, which determine the home.
fn tag(fingerprint: u64) -> u8 {
    let [.., lowest_of_message, _, _, _, _] = fingerprint.to_be_bytes();
    lowest_of_message.max(FREE + 1)
}

/// Records that have a slot, but are not written to it yet.
#[derive(Debug)]
#[repr(C)]
struct Waiting {
    len: u32,
    slots: [u32; 16],
    records: [Record; 16],
}

#[derive(Debug)]
struct Full;

impl Waiting {
    fn push(&mut self, at: usize, record: Record) -> Result<(), Full> {
        let at = u32::try_from(at).map_err(|_| Full)?;
        let len = self.len as usize;
        *self.slots.get_mut(len).ok_or(Full)? = at;
        *self.records.get_mut(len).ok_or(Full)? = record;
        self.len += 1;
        Ok(())
    }

    fn get(&self, at: usize) -> Option<&Record> {
        self.records.get(self.position(at)?)
    }

    fn find(&mut self, at: usize) -> Option<&mut Record> {
        let position = self.position(at)?;
        self.records.get_mut(position)
    }

    /// Kept out of line: a nonce that is new seldom comes here, and inline all of the slots would
    /// be read ahead of the first look at a tag.
    #[inline(never)]
    fn position(&self, at: usize) -> Option<usize> {
        let mut slots = self.slots.iter().take(self.len as usize);
        slots.position(|slot| *slot as usize == at)
    }

    fn drain(&mut self) -> impl Iterator<Item = (usize, Record)> {
        let len = std::mem::take(&mut self.len);
        let slots = self.slots.iter().map(|at| *at as usize);
        slots.zip(self.records.iter().copied()).take(len as usize)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            len: 0,
            slots: [0; 16],
            records: [Record::NONE; 16],
        }
    }
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

    fn assert_in_reach(table: &Table) {
        let mut free = 0;
        for (at, held) in table.tags.iter().enumerate() {
            if *held == FREE {
                free = at + 1;
                continue;
            }
            let record = table.waiting.get(at).unwrap_or(&table.slots[at]);
            let home = home(table.slots(), record.fingerprint);
            assert!(
                (free..=at).contains(&home),
                "{record:?} at {at}, free {free}"
            );
            assert_eq!(*held, tag(record.fingerprint));
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
                assert_in_reach(&table);
                prop_assert_eq!(table.len(), model.len());
            }
            table.write();
            let held: BTreeMap<_, _> = table
                .slots
                .iter()
                .zip(&table.tags)
                .filter(|(_, tag)| **tag != FREE)
                .map(|(r, _)| (r.fingerprint, r.deadline.0))
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
