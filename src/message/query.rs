//! Parameters of a query or a form: decoded, and encoded in the one way of RFC 9421 (section
//! 2.2.8).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A fault of a query, for the log.
type Why = Cow<'static, str>;

/// Values that are wanted of one input, by their names: it is read once for all of them.
pub(crate) struct Wanted<'n>(Vec<(&'n str, Option<String>)>);

impl<'n> Wanted<'n> {
    pub(crate) fn new(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut wanted: Vec<_> = names.into_iter().map(|name| (name, None)).collect();
        wanted.sort_unstable();
        Self(wanted)
    }

    /// Returns the place of the value with this name, if it is wanted.
    pub(crate) fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        let at = self.0.binary_search_by(|(other, _)| (*other).cmp(name));
        self.0.get_mut(at.ok()?).map(|(_, value)| value)
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        self.place(name)?.take()
    }
}

/// The bytes that the `application/x-www-form-urlencoded` percent-encode set of the URL standard leaves as it
/// is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

pub(crate) fn encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, ENCODED).into()
}

/// Returns the value of the parameter with this name, which is encoded.
pub(crate) fn param(query: &str, name: &str) -> Result<String, Why> {
    let mut wanted = Wanted::new([name]);
    params(query, &mut wanted)?;
    wanted.take(name).ok_or_else(|| absent(name))
}

/// Reads the query once for all parameters that are wanted, by their encoded names. A value that is
/// no UTF-8 cannot be told apart once it is decoded, and is refused.
pub(crate) fn params(query: &str, wanted: &mut Wanted<'_>) -> Result<(), Why> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(key) = decode(key) else { continue };
        let name = encode(&key);
        let Some(place) = wanted.place(&name) else {
            continue;
        };
        let value = decode(value)
            .ok_or_else(|| Why::from(format!("the query parameter `{name}` is not UTF-8")))?;
        if place.replace(value.into_owned()).is_some() {
            return Err(format!("the query parameter `{name}` occurs more than once").into());
        }
    }
    Ok(())
}

pub(crate) fn absent(name: &str) -> Why {
    format!("the covered query parameter `{name}` is not there").into()
}

pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8().ok();
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421, section 2.2.8.
    #[test]
    fn values_are_encoded_anew() {
        let query = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace\
                     &fa%C3%A7ade%22%3A%20=something";
        let value = |name| param(query, name).map(|value| encode(&value).into_owned());
        assert_eq!(
            value("var").unwrap(),
            "this%20is%20a%20big%0Amultiline%20value"
        );
        assert_eq!(value("bar").unwrap(), "with%20plus%20whitespace");
        assert_eq!(value("fa%C3%A7ade%22%3A%20").unwrap(), "something");
        assert!(value("fa%c3%a7ade%22%3A%20").is_err(), "encoded otherwise");
    }

    #[test]
    fn a_parameter_that_is_missing_or_occurs_twice_is_refused() {
        assert_eq!(param("a=1&b&=", "b").unwrap(), "");
        for query in ["", "b=1", "a=1&a=2", "a=1&%61=2", "a=%ff"] {
            assert!(param(query, "a").is_err(), "{query}");
        }
    }
}
