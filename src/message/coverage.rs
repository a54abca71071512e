//! Which parts of a request a signature covers.

use http::{HeaderName, HeaderValue};

/// Which parts of a request a signature covers, each wholly.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) method: bool,
    pub(crate) authority: bool,
    pub(crate) path: bool,
    pub(crate) query: bool,
    /// Each of one line, as it stands there.
    pub(crate) headers: Vec<HeaderName>,
    /// What is covered in another form.
    pub(crate) parts: Vec<CoveredPart>,
}

/// A part of a request whose value is not told by the name of a header alone.
#[derive(Clone, Debug)]
pub(crate) enum CoveredPart {
    /// A header, in the form in which it was signed.
    Header(HeaderName, HeaderValue),
    /// One member of a header that is a dictionary, by its key.
    Member(HeaderName, Box<str>, Box<str>),
    /// One parameter of the query, by its name.
    QueryParam(Box<str>, Box<str>),
}

impl Coverage {
    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        let rewritten =
            |part: &CoveredPart| matches!(part, CoveredPart::Header(other, _) if other == name);
        self.headers.contains(name) || self.parts.iter().any(rewritten)
    }

    pub(crate) fn has_member(&self, name: &HeaderName, key: &str) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, CoveredPart::Member(n, k, _) if n == name && **k == *key))
    }
}
