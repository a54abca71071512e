//! The parts of a request that a signed message is made of.

use http::HeaderName;

use super::time::TimeUnit;

/// A part of a request, as a signed message holds it. A part that a message holds is covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Method,
    /// In lower case and without the default port.
    Authority,
    /// With its percent-encoding.
    Path,
    /// Without the `?`; empty if there is none.
    Query,
    /// All lines of a header as one value, without white space around it.
    Header(HeaderName),
    /// One member of a header that is a dictionary, by its key.
    Member(Box<(HeaderName, Box<str>)>),
    /// One parameter of the query, by its decoded name.
    QueryParam(Box<str>),
    /// When the request was signed.
    Time(TimeUnit),
    /// When the signature expires by its own word.
    Expires(TimeUnit),
    /// The nonce or event id.
    Nonce,
    KeyId,
    /// A value that is signed and not sent, by its name.
    Supplied(Box<str>),
}
