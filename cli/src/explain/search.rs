//! The search: each row alone, and then each pair.

use std::time::Instant;

use bytes::Bytes;
use countersign::{
    Secret,
    inspect::{Source, matches},
};
use http::Request;
use zeroize::Zeroizing;

use super::{
    message::{Message, Part},
    reading::{Reading, readings},
    secret::{self, Key},
    shape::Shape,
    table::{Change, Row, TABLE},
};
use crate::{scheme::Chosen, secret::SecretText};

/// The input of a search.
pub(crate) struct Input<'i> {
    pub(crate) chosen: &'i Chosen,
    pub(crate) shape: Option<&'i Shape>,
    pub(crate) request: &'i Request<Bytes>,
    pub(crate) origin: Option<&'i str>,
    pub(crate) secrets: &'i [SecretText],
    pub(crate) previous: &'i [SecretText],
}

/// Where the search stops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    /// Bytes that go into MACs.
    pub(crate) bytes: u64,
}

impl Limits {
    /// A bound on the work, and none on the time.
    pub(crate) const WORK: Self = Self {
        deadline: None,
        bytes: 8 * 1024 * 1024 * 1024,
    };

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The result of a search.
pub(crate) struct Outcome {
    pub(crate) found: Option<Found>,
    /// How many hypotheses were tried: messages under a key.
    pub(crate) tried: usize,
    /// How many bytes went into MACs.
    #[cfg(test)]
    pub(crate) bytes: u64,
    /// The length of a MAC that is too short to tell anything, in bytes.
    pub(crate) too_short: Option<usize>,
    /// Whether the limits ended the search.
    pub(crate) is_cut_short: bool,
}

/// The change that makes the MAC match; no rows if it matches as it is.
pub(crate) struct Found {
    pub(crate) rows: Vec<&'static Row>,
    /// The message as a verifier builds it, and as the sender built it.
    pub(crate) expected: Vec<u8>,
    pub(crate) signed: Vec<u8>,
}

/// Nothing was signed before 1973.
const FIRST_SECOND: u64 = 94_694_400;

/// The most bytes that are held while pairs are tried. Messages beyond that are made again each
/// time.
const MAX_HELD: usize = 64 * 1024 * 1024;

/// A request with changes.
#[derive(Clone)]
pub(super) struct State {
    pub(super) message: Message,
    pub(super) body: Bytes,
    pub(super) key: Key,
    pub(super) secret: Option<Secret>,
}

/// Searches for the change that makes the MAC match. `progress` gets the number of steps that are
/// done, and of all steps.
pub(crate) fn search(
    input: &Input<'_>,
    limits: Limits,
    progress: &mut dyn FnMut(usize, usize),
) -> Outcome {
    let (head, body) = input.request.clone().into_parts();
    let inspector = input.chosen.inspector(input.origin);
    let is_late = || limits.is_late();
    let (readings, too_short) = readings(&inspector, input.shape, &head, &body, &is_late);
    let mut search = Search {
        input,
        limits,
        tried: 0,
        bytes: 0,
        is_cut_short: false,
        steps: (0, readings.len() * input.secrets.len() * TABLE.len()),
        progress: Some(progress),
    };
    let found = search.run(&readings, &body);
    Outcome {
        found,
        tried: search.tried,
        #[cfg(test)]
        bytes: search.bytes,
        too_short,
        is_cut_short: search.is_cut_short,
    }
}

pub(super) struct Search<'s, 'i> {
    input: &'s Input<'i>,
    limits: Limits,
    tried: usize,
    bytes: u64,
    is_cut_short: bool,
    steps: (usize, usize),
    progress: Option<&'s mut dyn FnMut(usize, usize)>,
}

#[cfg(test)]
impl<'s, 'i> Search<'s, 'i> {
    /// A search that makes changes, and tells nobody.
    pub(super) fn for_tests(input: &'s Input<'i>) -> Self {
        Self {
            input,
            limits: Limits::WORK,
            tried: 0,
            bytes: 0,
            is_cut_short: false,
            steps: (0, 0),
            progress: None,
        }
    }
}

impl Search<'_, '_> {
    fn run(&mut self, readings: &[Reading], body: &Bytes) -> Option<Found> {
        let bases: Vec<(&Reading, State)> = self
            .input
            .secrets
            .iter()
            .flat_map(|secret| readings.iter().map(move |reading| (reading, secret)))
            .map(|(reading, secret)| (reading, self.base(reading, secret, body)))
            .collect();
        // One change: of the reading, or of what is read.
        for (reading, base) in &bases {
            let found = match reading.rows.as_slice() {
                [] => self
                    .none(reading, base)
                    .or_else(|| self.singles(reading, base)),
                [_] => self.none(reading, base),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        for (reading, base) in &bases {
            let found = match reading.rows.as_slice() {
                [] => self.pairs(reading, base),
                [_] => self.singles(reading, base),
                [_, _] => self.none(reading, base),
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    pub(super) fn base(&self, reading: &Reading, secret: &SecretText, body: &Bytes) -> State {
        let key = Key {
            text: Zeroizing::new(secret.as_bytes().to_vec()),
            reading: secret::Reading::OfScheme,
        };
        State {
            message: reading.message.clone(),
            body: body.clone(),
            secret: self.secret_of(&key),
            key,
        }
    }

    fn secret_of(&self, key: &Key) -> Option<Secret> {
        if key.reading == secret::Reading::OfScheme {
            return self.input.chosen.secret_of(&key.text);
        }
        // HMAC takes any key; whether it is long enough is another question.
        key.bytes()
            .and_then(|bytes| Secret::danger_short(bytes.to_vec()).ok())
    }

    fn none(&mut self, reading: &Reading, state: &State) -> Option<Found> {
        self.is_match(reading, state)
            .then(|| found(reading, state, &[]))
    }

    fn singles(&mut self, reading: &Reading, base: &State) -> Option<Found> {
        for row in TABLE {
            for state in self.changed(row, base)? {
                if self.is_match(reading, &state) {
                    return Some(found(reading, &state, &[row]));
                }
            }
            self.step(1)?;
        }
        None
    }

    /// Each pair, in the order of the table; of the two, what the sender did first is done first.
    fn pairs(&mut self, reading: &Reading, base: &State) -> Option<Found> {
        let mut singles: Vec<Option<Vec<State>>> = Vec::with_capacity(TABLE.len());
        let mut room = MAX_HELD;
        for row in TABLE {
            let states = self.changed(row, base)?;
            let held = states.iter().map(|state| own(state, base)).sum();
            let left = room.checked_sub(held);
            room = left.unwrap_or(room);
            singles.push(left.map(|_| states));
        }
        for (at, later) in TABLE.iter().enumerate() {
            for (earlier, row) in TABLE.iter().enumerate().take(at) {
                if row.group == later.group {
                    continue;
                }
                let (first, done, second) = if rank(row) <= rank(later) {
                    (earlier, row, later)
                } else {
                    (at, later, row)
                };
                let again;
                let states = match singles.get(first) {
                    Some(Some(states)) => states,
                    _ => {
                        again = self.changed(done, base)?;
                        &again
                    }
                };
                for state in states {
                    for state in self.changed(second, state)? {
                        if self.is_match(reading, &state) {
                            return Some(found(reading, &state, &[row, later]));
                        }
                    }
                }
            }
            self.step(1)?;
        }
        None
    }

    /// `None` ends the search.
    fn step(&mut self, steps: usize) -> Option<()> {
        self.steps.0 += steps;
        let (done, all) = self.steps;
        if let Some(progress) = &mut self.progress {
            progress(done.min(all), all);
        }
        self.go_on()
    }

    /// `None` if the limits end the search.
    fn go_on(&mut self) -> Option<()> {
        if self.limits.is_late() || self.bytes >= self.limits.bytes {
            self.is_cut_short = true;
        }
        (!self.is_cut_short).then_some(())
    }

    /// Returns what a row makes of a request, within the limits. To make it is work, too.
    fn changed(&mut self, row: &Row, state: &State) -> Option<Vec<State>> {
        self.go_on()?;
        let states = self.apply(row, state);
        let made: usize = states.iter().map(|made| own(made, state)).sum();
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(made).unwrap_or(u64::MAX));
        Some(states)
    }

    pub(super) fn apply(&self, row: &Row, state: &State) -> Vec<State> {
        let with_message = |message: Message| State {
            message,
            ..state.clone()
        };
        let with_key = |key: Key| State {
            secret: self.secret_of(&key),
            key,
            ..state.clone()
        };
        match row.change {
            Change::Body(_, edit) => {
                let place = body_of(&state.message);
                let place = place.and_then(|at| state.message.get(at));
                let body = place.map_or(&state.body, |part| &part.bytes);
                edit(body)
                    .into_iter()
                    .map(|body| with_body(state, &body.into()))
                    .collect()
            }
            Change::BodyAsSent => {
                let sent = self.input.request.body();
                let place = body_of(&state.message).and_then(|at| state.message.get(at));
                let differs = place.is_some_and(|part| part.bytes != sent);
                differs
                    .then(|| with_body(state, sent))
                    .into_iter()
                    .collect()
            }
            Change::Forwarded(edit) => {
                let headers = self.input.request.headers();
                let others = edit(&state.message, headers).into_iter();
                others.map(with_message).collect()
            }
            Change::Message(_, edit) => {
                edit(&state.message).into_iter().map(with_message).collect()
            }
            Change::Secret(_, edit) => edit(&state.key).into_iter().map(with_key).collect(),
            Change::PreviousSecret => {
                let previous = self.input.previous.iter().map(|secret| Key {
                    text: Zeroizing::new(secret.as_bytes().to_vec()),
                    reading: state.key.reading,
                });
                previous.map(with_key).collect()
            }
            Change::Mac(_)
            | Change::Prefix(_)
            | Change::TimeHeader
            | Change::Algorithm(_)
            | Change::CutOff => Vec::new(),
        }
    }

    fn is_match(&mut self, reading: &Reading, state: &State) -> bool {
        let Some(secret) = &state.secret else {
            return false;
        };
        if self.go_on().is_none() {
            return false;
        }
        self.tried += 1;
        let message: Vec<&[u8]> = state.message.iter().map(|part| &*part.bytes).collect();
        let length: usize = message.iter().map(|bytes| bytes.len()).sum();
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(length).unwrap_or(u64::MAX) + 256);
        matches(reading.algorithm, secret, &message, &reading.mac)
            && reading.inspected.digests_match(&state.body) != Some(false)
    }
}

fn body_of(message: &Message) -> Option<usize> {
    message
        .iter()
        .position(|part| part.sources.contains(&Source::Body))
}

/// The bytes that a state holds beyond those that it shares with the one that it was made of.
fn own(state: &State, of: &State) -> usize {
    let is_shared = |bytes: &Bytes| {
        let mut others = of.message.iter().map(|part| &part.bytes).chain([&of.body]);
        others.any(|other| other.as_ptr() == bytes.as_ptr())
    };
    let body = if is_shared(&state.body) {
        0
    } else {
        state.body.len()
    };
    let parts = state.message.iter().map(|part| {
        let is_counted = part.bytes.as_ptr() == state.body.as_ptr() || is_shared(&part.bytes);
        size_of::<Part>() + if is_counted { 0 } else { part.bytes.len() }
    });
    parts.sum::<usize>().saturating_add(body)
}

fn with_body(state: &State, body: &Bytes) -> State {
    let mut state = state.clone();
    if let Some(part) = body_of(&state.message).and_then(|at| state.message.get_mut(at)) {
        part.bytes = body.clone();
    }
    state.body = body.clone();
    state
}

/// Orders changes as a sender makes them: the body, then the message, then the key.
pub(super) fn rank(row: &Row) -> (u8, u8) {
    match row.change {
        Change::BodyAsSent => (0, 0),
        Change::Body(rank, _) => (0, rank),
        Change::Forwarded(_) => (1, 0),
        Change::Message(rank, _) => (1, rank),
        Change::PreviousSecret => (2, 0),
        Change::Secret(rank, _) => (2, rank),
        Change::Mac(_)
        | Change::Prefix(_)
        | Change::TimeHeader
        | Change::Algorithm(_)
        | Change::CutOff => (3, 0),
    }
}

fn found(reading: &Reading, state: &State, rows: &[&'static Row]) -> Found {
    let whole = |message: &Message| {
        let parts: Vec<&[u8]> = message.iter().map(|part| &*part.bytes).collect();
        parts.concat()
    };
    let mut rows: Vec<_> = reading.rows.iter().chain(rows).copied().collect();
    rows.sort_by_key(|row| rank(row));
    // In a header of milliseconds, seconds are a day of 1970.
    if rows.is_empty()
        && reading
            .inspected
            .signed_at()
            .is_some_and(|time| time.as_secs() < FIRST_SECOND)
    {
        let row = TABLE
            .iter()
            .find(|row| matches!(row.change, Change::TimeHeader));
        rows.extend(row);
    }
    Found {
        rows,
        expected: whole(&reading.message),
        signed: whole(&state.message),
    }
}
