//! Whether a signed message can be taken apart in one way only.
//!
//! Two different requests share a message exactly if the message can be split into its elements in
//! two ways. A description passes if there is an element, the pivot, such that for each varying
//! element before it, the first byte that cannot be its own stands at a fixed distance from its
//! end, and likewise from its beginning for each after it. The ends are then found from outside to
//! inside, and whatever is left is the pivot. JSON tells by itself where it ends, once its
//! beginning is found.

use super::element::Element;

type Bytes = fn(u8) -> bool;

/// The varying element that cannot be told from its neighbour, if there is one.
pub(super) fn undelimited(elements: &[Element]) -> Option<&Element> {
    let after = |i: usize| elements.get(i + 1..).unwrap_or_default();
    let before = |i: usize| elements.get(..i).unwrap_or_default();
    let from_left = elements
        .iter()
        .enumerate()
        .take_while(|(i, element)| is_text(element) || ends_before(element, after(*i)))
        .count();
    let from_right = elements
        .iter()
        .enumerate()
        .rev()
        .take_while(|(i, element)| is_text(element) || begins_after(element, before(*i)))
        .count();
    // All but the pivot have to be found.
    (from_left + from_right + 1 < elements.len())
        .then(|| elements.get(from_left))
        .flatten()
}

fn is_text(element: &Element) -> bool {
    matches!(element, Element::Text(_))
}

fn ends_before(element: &Element, after: &[Element]) -> bool {
    let own = alphabet(element);
    match (element, after.first()) {
        (Element::Quoted(..), _) => return true,
        // A number ends only with what follows it.
        (Element::Document(_), Some(Element::Text(text))) => {
            let of_number = |b: &u8| b.is_ascii_digit() || b"+-.eE".contains(b);
            if text.first().is_some_and(|b| !of_number(b)) {
                return true;
            }
        }
        _ => {}
    }
    match after.split_first() {
        Some((Element::Text(text), after)) => {
            text.iter().any(|&b| !own(b)) || ends_before(element, after)
        }
        Some((Element::Path | Element::PathAndQuery, _)) => !own(b'/'),
        Some((next, _)) => is_never_empty(next) && are_disjoint(own, alphabet(next)),
        None => false,
    }
}

fn begins_after(element: &Element, before: &[Element]) -> bool {
    let own = alphabet(element);
    match before.split_last() {
        Some((Element::Text(text), before)) => {
            text.iter().any(|&b| !own(b)) || begins_after(element, before)
        }
        Some((previous, _)) => is_never_empty(previous) && are_disjoint(own, alphabet(previous)),
        None => false,
    }
}

fn are_disjoint(one: Bytes, other: Bytes) -> bool {
    (0..=u8::MAX).all(|b| !(one(b) && other(b)))
}

pub(super) fn is_never_empty(element: &Element) -> bool {
    !matches!(
        element,
        Element::Authority | Element::Query | Element::Header(_) | Element::Body
    )
}

/// The bytes that an element may hold, rather too many than too few.
pub(super) fn alphabet(element: &Element) -> Bytes {
    match element {
        Element::Text(_) | Element::Body => |_| true,
        // A token (RFC 9110, section 5.6.2).
        Element::Method => |b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b),
        Element::Authority => |b| b.is_ascii_graphic() && !b"@/?#\\".contains(&b),
        Element::Path => |b| b > b' ' && b != b'?' && b != b'#',
        Element::Query | Element::PathAndQuery => |b| b > b' ' && b != b'#',
        Element::Header(_) => |b| b >= b' ' && b != 0x7f || b == b'\t',
        Element::Time => |b| b.is_ascii_digit(),
        Element::Nonce | Element::KeyId => |b| b.is_ascii_graphic(),
        Element::Document(form) | Element::Quoted(form, _) if form.is_ascii() => {
            |b| matches!(b, b' '..=b'~')
        }
        Element::Document(_) | Element::Quoted(..) => |b| b >= b' ',
    }
}
