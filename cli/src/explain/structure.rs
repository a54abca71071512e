//! Signed messages that are put together otherwise: parts missing, delimiters, order.

use countersign::inspect::Source;

use super::message::{Message, Part, without};

/// Each part left out, with the text behind it or before it, or alone; and the body alone.
pub(super) fn missing_part(message: &[Part]) -> Vec<Message> {
    let mut all: Vec<Message> = Vec::new();
    let mut push = |other: Message| {
        if !other.is_empty() && other != message && !all.contains(&other) {
            all.push(other);
        }
    };
    if message.len() > 1 {
        push(
            message
                .iter()
                .filter(|part| part.is(&Source::Body))
                .cloned()
                .collect(),
        );
    }
    let parts = message
        .iter()
        .enumerate()
        .filter(|(_, part)| !part.is_text());
    for (at, _) in parts {
        let is_delimiter = |at: usize| message.get(at).is_some_and(Part::is_delimiter);
        if is_delimiter(at + 1) {
            push(without(message, &[at, at + 1]));
        }
        if let Some(before) = at.checked_sub(1).filter(|before| is_delimiter(*before)) {
            push(without(message, &[before, at]));
        }
        push(without(message, &[at]));
    }
    all
}

/// Text with letters, such as `v0:`, left out.
pub(super) fn missing_text(message: &[Part]) -> Vec<Message> {
    let texts = message
        .iter()
        .enumerate()
        .filter(|(_, p)| p.is_text() && !p.is_delimiter());
    texts
        .filter(|_| message.len() > 1)
        .map(|(at, _)| without(message, &[at]))
        .collect()
}

/// The delimiters, all of them or one, left out.
pub(super) fn missing_delimiter(message: &[Part]) -> Vec<Message> {
    let places = message
        .iter()
        .enumerate()
        .filter(|(_, part)| part.is_delimiter());
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    let mut all = Vec::new();
    if !places.is_empty() {
        all.push(without(message, &places));
    }
    if places.len() > 1 {
        all.extend(places.iter().map(|at| without(message, &[*at])));
    }
    all
}

pub(super) fn other_delimiter(message: &[Part]) -> Vec<Message> {
    let others = ["\n", ".", ":", "|", "&", ",", " ", "\r\n", ";", "-", "\0"];
    let with = |delimiter: &str| -> Message {
        let parts = message.iter().map(|part| {
            if part.is_delimiter() {
                Part::text(delimiter.as_bytes())
            } else {
                part.clone()
            }
        });
        parts.collect()
    };
    others
        .into_iter()
        .map(with)
        .filter(|other| other != message)
        .collect()
}

/// The parts in another order, with the text between them as it is. RFC 9421 says the order itself.
pub(super) fn other_order(message: &[Part]) -> Vec<Message> {
    let places: Vec<usize> = (0..message.len())
        .filter(|at| message.get(*at).is_some_and(|p| !p.is_text()))
        .collect();
    if !(2..=8).contains(&places.len()) {
        return Vec::new();
    }
    let orders = if places.len() <= 4 {
        permutations(places.len())
    } else {
        moves(places.len())
    };
    let in_order = |order: &Vec<usize>| -> Message {
        let mut other = message.to_vec();
        for (to, from) in places.iter().zip(order) {
            let from = places.get(*from).and_then(|from| message.get(*from));
            if let (Some(slot), Some(part)) = (other.get_mut(*to), from) {
                *slot = part.clone();
            }
        }
        other
    };
    orders
        .iter()
        .map(in_order)
        .filter(|other| other != message)
        .collect()
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        let longer = all.into_iter().flat_map(|order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut order = order.clone();
                order.insert(at, next);
                order
            })
        });
        all = longer.collect();
    }
    all
}

/// One part moved to the beginning, to the end or past its neighbour; or all turned around.
fn moves(count: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![(0..count).rev().collect()];
    for from in 0..count {
        for to in [0, from + 1, count - 1] {
            let mut order: Vec<usize> = (0..count).collect();
            let part = order.remove(from);
            order.insert(to.min(count - 1), part);
            if !all.contains(&order) {
                all.push(order);
            }
        }
    }
    all
}

pub(super) fn final_line_end(message: &[Part]) -> Vec<Message> {
    // A body that ends so is a row of its own.
    if message.last().is_none_or(|part| part.is(&Source::Body)) {
        return Vec::new();
    }
    let with = |end: &[u8]| [message, &[Part::text(end)]].concat();
    vec![with(b"\n"), with(b"\r\n")]
}
