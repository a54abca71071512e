//! The parts of a signed message as a user names them, and the elements that they mean.

use std::borrow::Cow;

use http::{
    HeaderName, Method,
    header::{HOST, TRANSFER_ENCODING},
    uri::PathAndQuery,
};

use super::{decodable::is_delimiter, element::Element};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    message::JsonForm,
};

/// A part of the signed message of a [`HeaderScheme`](crate::HeaderScheme).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Fixed text: a delimiter, or a version such as `v0:`.
    Text(String),
    /// The method, as it was sent: `POST`.
    Method,
    /// The method, which is one of these. None of them begins another, so that no delimiter is
    /// needed after it: [`method_of`](Self::method_of). Requests with another method are refused.
    MethodOf(Vec<String>),
    /// The authority, in lower case and without the default port: `api.example.com`. It must be a
    /// [public origin](crate::request::VerifierBuilder::public_origin).
    Authority,
    /// The path, with its percent-encoding as it was sent.
    Path,
    /// The path, which is always this one, as a route without parameters has:
    /// [`fixed_path`](Self::fixed_path). No delimiter is needed on either side. Requests to another
    /// path are refused.
    FixedPath(String),
    /// The path, as it was sent, in which this delimiter is neither raw nor percent-encoded, so
    /// that it can follow the path: [`path_without`](Self::path_without). Requests to another path
    /// are refused.
    PathWithout(char),
    /// The query without its `?`, or nothing if there is no query. A target that ends in `?` is
    /// refused.
    Query,
    /// The path and, if there is a query, `?` and the query, all as it was sent.
    PathAndQuery,
    /// The value of this header, which must be there, once. Its name is not part of the message.
    Header(String),
    /// The signed time, as it is in its header.
    Time,
    /// The nonce or event id, as it is in its header.
    Nonce,
    /// The key id, as it is in its header.
    KeyId,
    /// The body, as it was received.
    Body,
    /// The body, in a canonical form of JSON. A body without one is refused; see [`JsonForm`].
    ///
    /// The payload holds the canonical form, which is what was signed: a number that was sent as
    /// `1E2` is read as `100` (or `100.0`). Requests whose bodies have one form are one request,
    /// where no [`Nonce`](Self::Nonce) tells them apart.
    CanonicalBody(JsonForm),
    /// A value that is signed and not sent: [`supplied`](Self::supplied).
    Supplied(String),
    /// A JSON object that is not sent, but put together on either side, and whose members are
    /// parts.
    Json(JsonObject),
}

impl Part {
    /// Returns a part of fixed text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns the part for a method that is one of these. Range: 1 to 16 methods, none of which
    /// begins another.
    ///
    /// ```
    /// use countersign::{HeaderScheme, Part};
    ///
    /// // time + METHOD + path + body, with nothing between them
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("partner-1")
    ///     .time("x-timestamp")
    ///     .time_width(10)
    ///     .signs([
    ///         Part::Time,
    ///         Part::method_of(["POST", "GET"]),
    ///         Part::fixed_path("/hooks/orders"),
    ///         Part::Body,
    ///     ])
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    #[must_use]
    pub fn method_of<M: Into<String>>(methods: impl IntoIterator<Item = M>) -> Self {
        Self::MethodOf(methods.into_iter().map(Into::into).collect())
    }

    /// Returns the part for this path, as clients sign it, with its percent-encoding. Requests to
    /// another path are refused.
    #[must_use]
    pub fn fixed_path(path: impl Into<String>) -> Self {
        Self::FixedPath(path.into())
    }

    /// Returns the part for a path that does not contain this delimiter, neither raw nor
    /// percent-encoded. The delimiter is an ASCII punctuation character other than `/` and `%`.
    ///
    /// ```
    /// use countersign::{HeaderScheme, Part};
    ///
    /// // METHOD:path:time:body
    /// let parts = [Part::Method, Part::path_without(':'), Part::Time, Part::Body];
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("partner-1")
    ///     .time("x-timestamp")
    ///     .signs(Part::joined(":", parts))
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    #[must_use]
    pub fn path_without(delimiter: char) -> Self {
        Self::PathWithout(delimiter)
    }

    /// Returns the part for the value of this header.
    #[must_use]
    pub fn header(name: impl Into<String>) -> Self {
        Self::Header(name.into())
    }

    /// Returns the part for the body in a canonical form of JSON.
    #[must_use]
    pub fn canonical_body(form: impl Into<JsonForm>) -> Self {
        Self::CanonicalBody(form.into())
    }

    /// Returns the part for a value that is signed and not sent: each side takes it from its own
    /// state, such as the version of a row. The name has 1 to 64 lower-case letters, digits, `-`
    /// and `_`. The value has 1 to 256 visible ASCII characters.
    ///
    /// The MAC can be compared only once the value is known: such a format needs
    /// [`Processing::InTransaction`](crate::Processing::InTransaction), and a handler that takes an
    /// [`UnprovenPayload`](crate::request::UnprovenPayload). That page says what this costs: bodies
    /// are read, and transactions begin, before a request is known to be genuine. **The inner service
    /// of every route behind the layer runs before the MAC is compared**: a handler that takes no
    /// `UnprovenPayload` acts on a method and path that nobody has proven. If the sender can send
    /// the version, a covered `If-Match` costs less: [`SignedVersion`](crate::SignedVersion).
    ///
    /// ```
    /// use countersign::{HeaderScheme, Part};
    ///
    /// let scheme = HeaderScheme::builder("x-signature")
    ///     .fixed_key_id("partner-1")
    ///     .time("x-timestamp")
    ///     .nonce("x-nonce")
    ///     .signs(Part::lines([
    ///         Part::Method,
    ///         Part::Path,
    ///         Part::supplied("version"),
    ///         Part::Time,
    ///         Part::Nonce,
    ///         Part::Body,
    ///     ]))
    ///     .build()?;
    /// # Ok::<_, countersign::ConfigError>(())
    /// ```
    #[must_use]
    pub fn supplied(name: impl Into<String>) -> Self {
        Self::Supplied(name.into())
    }

    /// Parts with a line feed between them, which no part but the body and other text can hold.
    #[must_use]
    pub fn lines(parts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        Self::joined("\n", parts)
    }

    /// Parts with a delimiter between them.
    #[must_use]
    pub fn joined(delimiter: &str, parts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut joined = Vec::new();
        for part in parts {
            if !joined.is_empty() {
                joined.push(Self::text(delimiter));
            }
            joined.push(part);
        }
        joined
    }
}

/// A JSON object whose members are parts of the request, in the one canonical text of a
/// [`JsonForm`]: a [`Part`] of a [`HeaderScheme`](crate::HeaderScheme).
///
/// ```
/// use countersign::{scheme::{JsonObject, PythonJson}, HeaderScheme, Part};
///
/// // body = json.dumps(document, sort_keys=True, separators=(",", ":"))
/// // message = json.dumps({"method": method, "path": path, "body": body, "timestamp": timestamp},
/// //                      sort_keys=True)
/// let body = Part::canonical_body(PythonJson::sorted().compact());
/// let message = JsonObject::new(PythonJson::sorted())
///     .string("method", Part::Method)
///     .string("path", Part::Path)
///     .string("body", body)
///     .string("timestamp", Part::Time);
///
/// let scheme = HeaderScheme::builder("x-signature")
///     .fixed_key_id("shop")
///     .time("x-request-timestamp")
///     .signs([Part::Json(message)])
///     .build()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
///
/// A string takes only ASCII, and a body in UTF-8, from the request: languages read other bytes of
/// a header in different ways. Note that frameworks may hand out a path that is decoded
/// (`request.path` of Django); [`Part::Path`] is the path as it was sent, and differs from that
/// where the path holds percent-encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct JsonObject {
    form: JsonForm,
    members: Vec<(String, Member)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    String(Part),
    Value(Part),
}

impl JsonObject {
    /// Returns an object without members, in this form.
    pub fn new(form: impl Into<JsonForm>) -> Self {
        Self {
            form: form.into(),
            members: Vec::new(),
        }
    }

    /// Adds a member that is a string: a part of the request, or fixed text.
    ///
    /// [`Part::CanonicalBody`] is here the text of a document, written into a string.
    pub fn string(self, name: impl Into<String>, part: Part) -> Self {
        self.with(name, Member::String(part))
    }

    /// Adds a member that is not a string: [`Part::Time`] as an integer, [`Part::Supplied`] if it
    /// is a whole number, or [`Part::CanonicalBody`] in the form of this object, as the document
    /// that it is.
    pub fn value(self, name: impl Into<String>, part: Part) -> Self {
        self.with(name, Member::Value(part))
    }

    fn with(mut self, name: impl Into<String>, member: Member) -> Self {
        self.members.push((name.into(), member));
        self
    }

    /// The text before the value of the body's member, and the text between members.
    pub(super) fn body_member(&self) -> Option<(Vec<u8>, &'static str)> {
        let is_body = |part: &Part| matches!(part, Part::Body | Part::CanonicalBody(_));
        let (name, _) = self.members.iter().find(|(_, member)| match member {
            Member::String(part) | Member::Value(part) => is_body(part),
        })?;
        let (comma, colon) = self.form.separators();
        Some(([self.form.string(name), colon.into()].concat(), comma))
    }

    /// Returns the members in their fixed order, with the fixed text between them.
    fn elements(&self) -> Result<Vec<Element>, ConfigError> {
        let form = self.form;
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by(|(one, _), (other, _)| form.order(one, other));
        if !members.is_sorted_by(|(one, _), (other, _)| one != other) {
            return Err(refuse("two members of a JSON object have one name"));
        }
        let (comma, colon) = form.separators();
        let mut elements = vec![Element::text("{")];
        for (index, (name, member)) in members.into_iter().enumerate() {
            if index > 0 {
                elements.push(Element::text(comma));
            }
            elements.push(Element::Text(form.string(name)));
            elements.push(Element::text(colon));
            elements.push(match member {
                Member::String(Part::Text(text)) => Element::Text(form.string(text)),
                Member::String(part) => Element::Quoted(form, Box::new(element(part)?)),
                Member::Value(Part::Time) => Element::Time,
                Member::Value(Part::Supplied(name)) => {
                    Element::SuppliedNumber(supplied_name(name)?)
                }
                Member::Value(Part::CanonicalBody(body)) if *body == form => {
                    Element::Document(form)
                }
                Member::Value(_) => {
                    return Err(refuse(format!(
                        "member `{name}` is not a value by itself, as `Part::Time` is, and \
                         `Part::CanonicalBody` in the form of the object; add it as a string"
                    )));
                }
            });
        }
        elements.push(Element::text("}"));
        Ok(elements)
    }
}

pub(super) fn elements(parts: &[Part]) -> Result<Vec<Element>, ConfigError> {
    let mut elements: Vec<Element> = Vec::with_capacity(parts.len());
    for part in parts {
        let of_part = match part {
            Part::Json(object) => object.elements()?,
            part => vec![element(part)?],
        };
        for element in of_part {
            match (elements.last_mut(), element) {
                (_, Element::Text(text)) if text.is_empty() => {}
                (Some(Element::Text(before)), Element::Text(text)) => before.extend(text),
                (_, element) => elements.push(element),
            }
        }
    }
    Ok(elements)
}

fn element(part: &Part) -> Result<Element, ConfigError> {
    Ok(match part {
        Part::Text(text) => Element::text(text),
        Part::Method => Element::Method,
        Part::MethodOf(methods) => Element::MethodOf(method_list(methods)?),
        Part::Authority => Element::Authority,
        Part::Path => Element::Path,
        Part::FixedPath(path) => {
            let is_one = path
                .parse::<PathAndQuery>()
                .is_ok_and(|parsed| parsed.path() == path);
            if !path.starts_with('/') || !is_one {
                return Err(refuse(format!("`{path}` is not a path")));
            }
            Element::FixedPath(path.clone())
        }
        Part::PathWithout(delimiter) => match u8::try_from(*delimiter) {
            Ok(byte) if is_delimiter(byte) => Element::PathWithout(byte),
            _ => {
                return Err(refuse(format!(
                    "`{delimiter}` is not a delimiter that a path can lack: punctuation of ASCII \
                     other than `/` and `%`"
                )));
            }
        },
        Part::Query => Element::Query,
        Part::PathAndQuery => Element::PathAndQuery,
        Part::Header(name) => match header_name(name)? {
            HOST => return Err(refuse("cover `Part::Authority` instead of `host`")),
            TRANSFER_ENCODING => {
                return Err(refuse(
                    "`transfer-encoding` changes from one hop to the next",
                ));
            }
            name => Element::Header(name),
        },
        Part::Time => Element::Time,
        Part::Nonce => Element::Nonce,
        Part::KeyId => Element::KeyId,
        Part::Supplied(name) => Element::Supplied(supplied_name(name)?),
        Part::Body => Element::Body,
        Part::CanonicalBody(form) => Element::Document(*form),
        Part::Json(_) => return Err(refuse("a JSON object cannot be a member of another")),
    })
}

fn supplied_name(name: &str) -> Result<String, ConfigError> {
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if (1..=64).contains(&name.len()) && name.bytes().all(of_name) {
        return Ok(name.to_owned());
    }
    Err(refuse(format!(
        "`{}` is not a name of a supplied value: 1 to 64 lower-case letters, digits, `-` and `_`",
        name.escape_debug()
    )))
}

/// No method begins another, so that where one ends is known without what follows.
fn method_list(methods: &[String]) -> Result<Vec<String>, ConfigError> {
    if !(1..=16).contains(&methods.len()) {
        return Err(refuse("a list of methods has 1 to 16 of them"));
    }
    for (at, method) in methods.iter().enumerate() {
        if Method::from_bytes(method.as_bytes()).is_err() {
            return Err(refuse(format!("`{method}` is not a method")));
        }
        let mut others = methods.iter().enumerate().filter(|(other, _)| *other != at);
        if let Some((_, longer)) = others.find(|(_, other)| other.starts_with(method.as_str())) {
            return Err(refuse(format!("method `{method}` begins `{longer}`")));
        }
    }
    Ok(methods.to_vec())
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    name.parse()
        .map_err(|_| refuse(format!("`{name}` is not the name of a header")))
}

pub(super) fn refuse(what: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigErrorKind::Scheme(what.into()).into()
}
