//! The questions to a store, and its answers, in a run; and whether they can be true of a store that
//! accepts each nonce once.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// One claim, from the moment before it was asked to the moment after it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) nonce: u64,
    /// Nanoseconds, by a clock that all who asked share.
    pub(crate) asked: u128,
    pub(crate) answered: u128,
    pub(crate) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    New,
    Replayed,
    /// No answer: it may have been recorded or not.
    Unknown,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.answer {
            Answer::New => "new",
            Answer::Replayed => "replayed",
            Answer::Unknown => "unknown",
        };
        write!(
            f,
            "{} {} {} {answer}",
            self.nonce, self.asked, self.answered
        )
    }
}

impl FromStr for Event {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(());
        Ok(Self {
            nonce: word()?.parse().map_err(drop)?,
            asked: word()?.parse().map_err(drop)?,
            answered: word()?.parse().map_err(drop)?,
            answer: match word()? {
                "new" => Answer::New,
                "replayed" => Answer::Replayed,
                "unknown" => Answer::Unknown,
                _ => return Err(()),
            },
        })
    }
}

/// Returns what is wrong with a history: a nonce that was accepted twice; one that nobody was
/// given; one that was refused as a copy before anybody had asked for it.
pub(crate) fn faults(events: &[Event]) -> Vec<String> {
    let mut by_nonce: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_nonce.entry(event.nonce).or_default().push(event);
    }
    let mut faults = Vec::new();
    for (nonce, events) in by_nonce {
        let of = |answer| events.iter().filter(move |event| event.answer == answer);
        let accepted = of(Answer::New).count();
        let unknown = of(Answer::Unknown).count();
        if accepted > 1 || (accepted == 0 && unknown == 0) {
            faults.push(format!("{nonce} was accepted {accepted} times"));
        }
        // Whose claim a copy was refused for had been asked before the copy was answered.
        let recorded = of(Answer::New).chain(of(Answer::Unknown));
        let first = recorded.map(|event| event.asked).min();
        let too_early = |event: &&&Event| first.is_none_or(|first| event.answered < first);
        if of(Answer::Replayed).any(|event| too_early(&event)) {
            faults.push(format!("{nonce} was refused before it was asked for"));
        }
    }
    faults
}
