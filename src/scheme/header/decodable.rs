//! Whether a signed message can be taken apart in one way only.
//!
//! Two different requests share a message exactly if the message can be split into its elements in
//! two ways. A description passes if there is an element, the pivot, such that each varying
//! element before it ends where a byte follows that cannot be its own, and each after it begins
//! where such a byte precedes it. The ends are then found from outside to inside, and whatever is
//! left is the pivot.

use super::Element;

type Bytes = fn(u8) -> bool;

/// The varying element that cannot be told from its neighbour, if there is one.
pub(super) fn undelimited(elements: &[Element]) -> Option<&Element> {
    let from_left = elements
        .iter()
        .enumerate()
        .take_while(|(i, element)| is_text(element) || ends_before(element, elements.get(i + 1)))
        .count();
    let previous = |i: usize| i.checked_sub(1).and_then(|i| elements.get(i));
    let from_right = elements
        .iter()
        .enumerate()
        .rev()
        .take_while(|(i, element)| is_text(element) || begins_after(element, previous(*i)))
        .count();
    // All but the pivot have to be found.
    (from_left + from_right + 1 < elements.len())
        .then(|| elements.get(from_left))
        .flatten()
}

fn is_text(element: &Element) -> bool {
    matches!(element, Element::Text(_))
}

fn ends_before(element: &Element, next: Option<&Element>) -> bool {
    let own = alphabet(element);
    match next {
        Some(Element::Text(text)) => text.first().is_some_and(|&b| !own(b)),
        Some(Element::Path | Element::PathAndQuery) => !own(b'/'),
        Some(next) if is_never_empty(next) => (0..=u8::MAX).all(|b| !own(b) || !alphabet(next)(b)),
        _ => false,
    }
}

fn begins_after(element: &Element, previous: Option<&Element>) -> bool {
    let own = alphabet(element);
    match previous {
        Some(Element::Text(text)) => text.last().is_some_and(|&b| !own(b)),
        Some(previous) if is_never_empty(previous) => {
            (0..=u8::MAX).all(|b| !own(b) || !alphabet(previous)(b))
        }
        _ => false,
    }
}

fn is_never_empty(element: &Element) -> bool {
    !matches!(
        element,
        Element::Authority | Element::Query | Element::Header(_) | Element::Body
    )
}

/// The bytes that an element may hold, rather too many than too few.
fn alphabet(element: &Element) -> Bytes {
    match element {
        Element::Text(_) | Element::Body => |_| true,
        // A token (RFC 9110, section 5.6.2).
        Element::Method => |b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b),
        Element::Authority => |b| b.is_ascii_graphic() && !b"@/?#\\,".contains(&b),
        Element::Path => |b| b > b' ' && b != b'?' && b != b'#',
        Element::Query | Element::PathAndQuery => |b| b > b' ' && b != b'#',
        Element::Header(_) => |b| b >= b' ' && b != 0x7f || b == b'\t',
        Element::Time => |b| b.is_ascii_digit(),
        Element::Nonce | Element::KeyId => |b| b.is_ascii_graphic(),
    }
}
