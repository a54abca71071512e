//! Whether a signed message can be taken apart in one way only.
//!
//! Two different requests share a message exactly if the message can be split into its elements in
//! two ways. A description passes if there is an element, the pivot, such that for each varying
//! element before it, the first byte that cannot be its own is at a fixed distance from its end,
//! and likewise from its beginning for each after it. The ends are then found from outside to
//! inside, and whatever is left is the pivot. JSON tells by itself where it ends, once its
//! beginning is found. So does a method of a list in which none begins another, and an element
//! that has one length.

use super::element::Element;

type Bytes<'e> = Box<dyn Fn(u8) -> bool + 'e>;

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
    // All but the pivot must be found.
    (from_left + from_right + 1 < elements.len())
        .then(|| elements.get(from_left))
        .flatten()
}

fn is_text(element: &Element) -> bool {
    fixed(element).is_some()
}

/// The bytes of an element that are the same in every message.
fn fixed(element: &Element) -> Option<&[u8]> {
    match element {
        Element::Text(text) => Some(text),
        Element::FixedPath(path) => Some(path.as_bytes()),
        _ => None,
    }
}

fn ends_before(element: &Element, after: &[Element]) -> bool {
    let own = alphabet(element);
    match (element, after.first()) {
        (Element::Quoted(..) | Element::TimeOf(_) | Element::MethodOf(_), _) => return true,
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
        Some((next, after)) if let Some(text) = fixed(next) => {
            text.iter().any(|&b| !own(b)) || ends_before(element, after)
        }
        Some((Element::Path | Element::PathAndQuery | Element::PathWithout(_), _)) => !own(b'/'),
        Some((next, _)) => is_never_empty(next) && are_disjoint(&own, &alphabet(next)),
        None => false,
    }
}

fn begins_after(element: &Element, before: &[Element]) -> bool {
    if matches!(element, Element::TimeOf(_)) {
        return true;
    }
    let own = alphabet(element);
    match before.split_last() {
        Some((previous, before)) if let Some(text) = fixed(previous) => {
            text.iter().any(|&b| !own(b)) || begins_after(element, before)
        }
        Some((previous, _)) => is_never_empty(previous) && are_disjoint(&own, &alphabet(previous)),
        None => false,
    }
}

fn are_disjoint(one: &Bytes<'_>, other: &Bytes<'_>) -> bool {
    (0..=u8::MAX).all(|b| !(one(b) && other(b)))
}

pub(super) fn is_never_empty(element: &Element) -> bool {
    !matches!(
        element,
        Element::Authority | Element::Query | Element::Header(_) | Element::Body
    )
}

/// The bytes that an element may hold, rather too many than too few.
pub(super) fn alphabet(element: &Element) -> Bytes<'_> {
    // A token (RFC 9110, section 5.6.2).
    let of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let of_path = |b: u8| b > b' ' && b != b'?' && b != b'#';
    match element {
        Element::Text(_) | Element::FixedPath(_) | Element::Body | Element::Optional(..) => {
            Box::new(|_| true)
        }
        Element::Method => Box::new(of_token),
        Element::MethodOf(methods) => {
            Box::new(|b| methods.iter().any(|method| method.as_bytes().contains(&b)))
        }
        Element::Authority => Box::new(|b| b.is_ascii_graphic() && !b"@/?#\\".contains(&b)),
        Element::Path => Box::new(of_path),
        Element::PathWithout(delimiter) => Box::new(move |b| of_path(b) && b != *delimiter),
        Element::Query | Element::PathAndQuery => Box::new(|b| b > b' ' && b != b'#'),
        Element::Header(_) => Box::new(|b| b >= b' ' && b != 0x7f || b == b'\t'),
        Element::Time | Element::TimeOf(_) => Box::new(|b| b.is_ascii_digit()),
        Element::Nonce | Element::KeyId | Element::Supplied(_) => {
            Box::new(|b| b.is_ascii_graphic())
        }
        Element::SuppliedNumber(_) => Box::new(|b| b.is_ascii_digit() || b == b'-'),
        Element::Document(form) | Element::Quoted(form, _) if form.is_ascii() => {
            Box::new(|b| matches!(b, b' '..=b'~'))
        }
        Element::Document(_) | Element::Quoted(..) => Box::new(|b| b >= b' '),
    }
}

/// Returns what a user could say instead, so that the message can be taken apart in one way only.
pub(super) fn remedy(elements: &[Element]) -> Option<String> {
    let restricted = |element: &Element, next: Option<&Element>, chosen: u32| {
        let has = |bit: u32| chosen & (1 << bit) != 0;
        match element {
            Element::Time if has(0) => Element::TimeOf(10),
            Element::Method if has(1) => Element::MethodOf(vec!["POST".into()]),
            Element::Path if has(2) => match next.and_then(fixed).and_then(<[u8]>::first) {
                Some(&byte) if is_delimiter(byte) => Element::PathWithout(byte),
                _ => Element::Path,
            },
            Element::Path if has(3) => Element::FixedPath("/".into()),
            element => element.clone(),
        }
    };
    let try_out = |chosen: u32| -> Vec<Element> {
        let nexts = elements.iter().skip(1).map(Some).chain([None]);
        let pairs = elements.iter().zip(nexts);
        pairs
            .map(|(element, next)| restricted(element, next, chosen))
            .collect()
    };
    let mut choices: Vec<u32> = (1..16).filter(|chosen| chosen & 0b1100 != 0b1100).collect();
    choices.sort_by_key(|chosen| chosen.count_ones());
    let chosen = choices
        .into_iter()
        .map(try_out)
        .find(|tried| undelimited(tried).is_none())?;
    let said = elements.iter().zip(chosen).filter(|(was, is)| *was != is);
    let said: Vec<_> = said
        .map(|(_, is)| match is {
            Element::TimeOf(_) => "`time_width`, if all times have one number of digits".to_owned(),
            Element::MethodOf(_) => "`Part::method_of` with the methods that come".to_owned(),
            Element::PathWithout(byte) => {
                format!(
                    "`Part::path_without({:?})`, if no path has it",
                    char::from(byte)
                )
            }
            _ => "`Part::fixed_path`, if all requests go to one path".to_owned(),
        })
        .collect();
    Some(said.join(", and "))
}

/// Returns whether a path can be said to be without this byte.
pub(super) fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !b"/%".contains(&byte)
}
