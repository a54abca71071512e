//! All short descriptions: tried with a few values each, and decided for all values.

use std::collections::HashSet;

use super::{
    super::{
        decodable::{alphabet, is_never_empty, undelimited},
        part::elements,
    },
    Values, builder, message, unchecked,
};
use crate::{
    scheme::header::{HeaderScheme, element::Element, part::Part},
    testing::cases,
};

/// A few values of each part, chosen so that they overlap with each other and with the delimiters.
pub(super) fn tiny(part: &Part) -> Vec<String> {
    let values: &[&str] = match part {
        Part::Text(_) => &[""],
        Part::Method | Part::MethodOf(_) => &["A", "A1", "1", "1A", "A.A", "1.1", ".", "1."],
        Part::Authority => &["a", "a1", "1", "1.1", "a.a", "1."],
        Part::Path | Part::FixedPath(_) | Part::PathWithout(_) => {
            &["/", "/1", "/1/1", "/.", "/1.1", "/a"]
        }
        Part::Query => &["", "1", "/1", ".1", "1.1", "?", "/"],
        Part::PathAndQuery => &["/", "/1", "/1/1", "/?1", "/?/1", "/.", "/?"],
        Part::Header(_) => &["", "1", ".", "1.1", "/1", "A", "/1/1", " "],
        Part::Time => &["1", "11", "111"],
        Part::Nonce | Part::KeyId | Part::Supplied(_) => &["1", "11", "1.1", "A", "/1", ".1", "/"],
        Part::Body => &["", "1", "\n", "1\n1", "1.1", "/1", ".1", "A"],
        Part::CanonicalBody(_) | Part::Json(_) => &[],
    };
    values.iter().copied().map(str::to_owned).collect()
}

/// All short values of each part, of characters that overlap with those of other parts and with the
/// delimiters: `tests/long.sh` has the time.
fn all_short(part: &Part) -> Vec<String> {
    let (first, rest, lens) = match part {
        Part::Text(_) => ("", "", 0..=0),
        Part::Method | Part::MethodOf(_) => ("", "A1.", 1..=3),
        Part::Authority => ("", "a1.", 1..=3),
        Part::Path | Part::FixedPath(_) | Part::PathWithout(_) => ("/", "1./", 0..=3),
        Part::Query => ("", "1./?", 0..=3),
        Part::PathAndQuery => ("/", "1./?", 0..=3),
        Part::Header(_) => ("", "1./A ", 0..=2),
        Part::Time => ("1", "19", 0..=2),
        Part::Nonce | Part::KeyId | Part::Supplied(_) => ("", "1./A", 1..=2),
        Part::Body => ("", "1./A\n", 0..=2),
        Part::CanonicalBody(_) | Part::Json(_) => return Vec::new(),
    };
    let mut words = vec![first.to_owned()];
    let mut all = Vec::new();
    for len in 0..=*lens.end() {
        if lens.contains(&len) {
            all.extend_from_slice(&words);
        }
        words = words
            .iter()
            .flat_map(|word| rest.chars().map(move |next| format!("{word}{next}")))
            .collect();
    }
    all
}

const ALL: [fn() -> Part; 12] = [
    || Part::text("\n"),
    || Part::text("."),
    || Part::text("1"),
    || Part::Method,
    || Part::Authority,
    || Part::Path,
    || Part::Query,
    || Part::PathAndQuery,
    || Part::header("x-a"),
    || Part::Time,
    || Part::Nonce,
    || Part::Body,
];

/// All descriptions of up to `max` parts.
fn descriptions(max: usize) -> impl Iterator<Item = Vec<Part>> {
    (1..=max).flat_map(|len| {
        (0..ALL.len().pow(u32::try_from(len).unwrap())).map(move |mut number| {
            let mut part = || {
                let part = ALL[number % ALL.len()]();
                number /= ALL.len();
                part
            };
            (0..len).map(|_| part()).collect()
        })
    })
}

/// Returns how many requests these values of the parts make; `None` if two of them share a message.
pub(super) fn distinct_messages(
    scheme: &HeaderScheme,
    parts: &[Part],
    values_of: impl Fn(&Part) -> Vec<String>,
) -> Option<usize> {
    let mut all = vec![Values::plain()];
    for part in parts {
        let of_part = values_of(part);
        all = all
            .iter()
            .flat_map(|values| {
                let with = |value: &String| values.clone().with(part, value.as_bytes());
                of_part.iter().map(with)
            })
            .collect::<Option<_>>()
            .unwrap();
    }
    let distinct: HashSet<_> = all.into_iter().collect();
    let mut seen = HashSet::new();
    let mut messages = distinct.iter().filter_map(|values| message(scheme, values));
    messages
        .all(|message| seen.insert(message))
        .then_some(seen.len())
}

#[test]
fn all_short_descriptions_that_are_accepted_are_free_of_collisions_among_tiny_values() {
    let (mut accepted, mut requests) = (0, 0);
    // The descriptions of up to three parts. `tests/long.sh` tries those of four parts too, and
    // more values.
    let usual = u32::try_from((1..4).map(|len| ALL.len().pow(len)).sum::<usize>()).unwrap();
    let all = cases(usual);
    let values_of = if all > usual { all_short } else { tiny };
    for parts in descriptions(4).take(usize::try_from(all).unwrap()) {
        if let Ok(scheme) = builder(&parts).build() {
            accepted += 1;
            let distinct = distinct_messages(&scheme, &parts, values_of);
            requests += distinct.unwrap_or_else(|| panic!("two of {parts:?}"));
        }
    }
    println!("{accepted} accepted descriptions, {requests} requests");
    assert!(accepted > 300 && requests > accepted, "{accepted}");
    let parts = [Part::Time, Part::Body];
    assert_eq!(
        distinct_messages(&unchecked(&parts), &parts, values_of),
        None
    );
}

/// Decides, for values that are independent of each other, whether some message can be taken apart
/// in two ways: by running two parsers over all messages side by side.
struct Parsers<'e> {
    elements: &'e [Element],
}

/// Which element took the last byte, and how many bytes it has so far: at most two count, or the
/// length of a text.
type State = (usize, usize);

impl Parsers<'_> {
    /// The bytes that tell the alphabets and the texts of these tests apart.
    const BYTES: [u8; 14] = *b"\n\t .1A/?#@:,\x80\x00";

    fn takes(&self, (element, len): State, byte: u8) -> bool {
        match &self.elements[element] {
            Element::Text(text) => text.get(len) == Some(&byte),
            Element::Path | Element::PathAndQuery if len == 0 => byte == b'/',
            element => alphabet(element)(byte),
        }
    }

    fn is_done(&self, (element, len): State) -> bool {
        match &self.elements[element] {
            Element::Text(text) => len == text.len(),
            element => len > 0 || !is_never_empty(element),
        }
    }

    fn steps(&self, from: Option<State>, byte: u8) -> Vec<State> {
        let mut steps = Vec::new();
        let (mut element, mut len) = from.unwrap_or((0, 0));
        while element < self.elements.len() {
            if self.takes((element, len), byte) {
                let is_text = matches!(self.elements[element], Element::Text(_));
                steps.push((element, if is_text { len + 1 } else { 1 }));
            }
            if !self.is_done((element, len)) {
                break;
            }
            (element, len) = (element + 1, 0);
        }
        steps
    }

    fn can_end(&self, (element, len): State) -> bool {
        let mut rest = element + 1..self.elements.len();
        self.is_done((element, len)) && rest.all(|i| self.is_done((i, 0)))
    }

    fn find_two_ways(&self) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![(None, None, false)];
        while let Some((one, other, differ)) = open.pop() {
            for byte in Self::BYTES {
                for next_one in self.steps(one, byte) {
                    for next_other in self.steps(other, byte) {
                        let differ = differ || next_one != next_other;
                        if differ && self.can_end(next_one) && self.can_end(next_other) {
                            return true;
                        }
                        let next = (Some(next_one), Some(next_other), differ);
                        if seen.insert(next) {
                            open.push(next);
                        }
                    }
                }
            }
        }
        false
    }
}

/// Over all descriptions of up to four parts, in which no part appears twice: what is accepted can
/// be taken apart in one way only, and what is refused could have been, except a few.
#[test]
fn the_check_is_exact_for_short_descriptions_but_for_a_few_that_it_refuses() {
    let (mut accepted, mut refused, mut strict) = (0, 0, Vec::new());
    for parts in descriptions(4) {
        let once = |part: &Part| {
            matches!(part, Part::Text(_))
                || parts.iter().filter(|other| *other == part).count() == 1
        };
        if !parts.iter().all(once) {
            continue;
        }
        let elements = elements(&parts).unwrap();
        let two_ways = Parsers {
            elements: &elements,
        }
        .find_two_ways();
        if undelimited(&elements).is_none() {
            accepted += 1;
            assert!(!two_ways, "{parts:?}");
        } else {
            refused += 1;
            if !two_ways {
                strict.push(elements);
            }
        }
    }
    println!(
        "{accepted} accepted, {refused} refused, {} of them without need",
        strict.len()
    );
    // In these descriptions, only two elements together tell where the element before them ends.
    assert_eq!(strict.len(), 10, "{strict:?}");
    assert!(accepted > 2500, "{accepted}");
}
