//! Component identifiers (RFC 9421, sections 1.1 and 2): what a signature says that it covers.

use std::{borrow::Cow, fmt, str::FromStr};

use http::HeaderName;
use sfv::{
    BareItemFromInput, KeyRef, Parser, StringRef,
    visitor::{ItemVisitor, ParameterVisitor},
};

use super::{
    canonical::{Why, push_bare_item, push_parameter, push_quoted},
    names::CONTENT_DIGEST,
};
use crate::{
    error::{ConfigError, ConfigErrorKind},
    message::query,
};

/// A part of a message that a signature covers: a derived component, such as `@method`, or a field.
///
/// ```
/// use countersign::rfc9421::Component;
///
/// assert_eq!(Component::METHOD.to_string(), r#""@method""#);
/// assert_eq!(Component::header("X-Tenant")?.to_string(), r#""x-tenant""#);
/// assert_eq!(
///     Component::query_param("account")?.to_string(),
///     r#""@query-param";name="account""#,
/// );
/// // As RFC 9421 writes them:
/// let component: Component = r#""example-dict";key="a""#.parse()?;
/// # Ok::<_, countersign::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Component(pub(super) Identifier<'static>);

/// A name, and the form in which its value is signed. Two that are equal are duplicates, whatever
/// the order of their parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identifier<'c> {
    pub(crate) name: Name,
    pub(crate) form: Form<'c>,
    /// The component is of the request that a response answers.
    pub(crate) req: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    QueryParam,
    Status,
    Field(HeaderName),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form<'c> {
    /// The value as it was sent. The lines of a field are trimmed, and joined by commas.
    Plain,
    /// `sf`: a structured field, serialized again.
    Structured,
    /// `key`: one member of a dictionary.
    Member(Cow<'c, str>),
    /// `bs`: each line of a field as a byte sequence.
    Binary,
    /// `name`: one parameter of the query.
    Param(Cow<'c, str>),
}

impl Component {
    /// `@method`: the method as it was sent.
    pub const METHOD: Self = Self::derived(Name::Method);
    /// `@target-uri`: scheme, authority, path and query in one.
    pub const TARGET_URI: Self = Self::derived(Name::TargetUri);
    /// `@authority`: in lower case, without the default port.
    pub const AUTHORITY: Self = Self::derived(Name::Authority);
    /// `@scheme`: `https` or `http`.
    pub const SCHEME: Self = Self::derived(Name::Scheme);
    /// `@request-target`: the target as it is in the request line.
    pub const REQUEST_TARGET: Self = Self::derived(Name::RequestTarget);
    /// `@path`: with its percent-encoding as it was sent.
    pub const PATH: Self = Self::derived(Name::Path);
    /// `@query`: with its `?`. An absent query is a `?` too.
    pub const QUERY: Self = Self::derived(Name::Query);
    /// `@status`: of a response.
    pub const STATUS: Self = Self::derived(Name::Status);

    const fn derived(name: Name) -> Self {
        Self(Identifier {
            name,
            form: Form::Plain,
            req: false,
        })
    }

    /// Returns the component of a header field.
    ///
    /// # Errors
    /// Returns an error if this is not the name of a header.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        let name = name.parse().map_err(|_| refuse(name))?;
        Ok(Self::derived(Name::Field(name)))
    }

    /// `@query-param`: one parameter of the query, by its name before any encoding. It must not
    /// occur more than once.
    ///
    /// # Errors
    /// Returns an error if the name is empty.
    pub fn query_param(name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() {
            return Err(refuse("@query-param"));
        }
        let name = query::encode(name).into_owned();
        Ok(Self(Identifier {
            name: Name::QueryParam,
            form: Form::Param(name.into()),
            req: false,
        }))
    }

    /// Returns the same component of the request that a response answers (`;req`). For responses
    /// only.
    #[must_use]
    pub fn of_request(mut self) -> Self {
        self.0.req = true;
        self
    }
}

/// As RFC 9421 writes a component identifier: `"@query-param";name="account"`.
impl FromStr for Component {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut canonical = String::new();
        let visitor = IdentifierVisitor {
            canonical: &mut canonical,
        };
        let parsed = Parser::new(text).parse_item_with_visitor(visitor);
        match parsed.map(|(identifier, _)| identifier) {
            Ok(Ok(identifier)) => Ok(Self(identifier.into_owned())),
            _ => Err(refuse(text)),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({self})")
    }
}

fn refuse(what: &str) -> ConfigError {
    let what = format!("`{what}` is not a component that a signature can cover");
    ConfigErrorKind::Scheme(what.into()).into()
}

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let push_text = |text: &mut String, value: &str| match StringRef::from_str(value) {
            Ok(value) => push_quoted(text, value),
            // No message can hold such a value, and it is shown all the same.
            Err(_) => text.push_str(value),
        };
        push_text(&mut text, self.name.as_str());
        match &self.form {
            Form::Plain => {}
            Form::Structured => text.push_str(";sf"),
            Form::Binary => text.push_str(";bs"),
            Form::Member(key) => {
                text.push_str(";key=");
                push_text(&mut text, key);
            }
            Form::Param(name) => {
                text.push_str(";name=");
                push_text(&mut text, name);
            }
        }
        if self.req {
            text.push_str(";req");
        }
        f.write_str(&text)
    }
}

impl Identifier<'_> {
    pub(crate) fn into_owned(self) -> Identifier<'static> {
        let form = match self.form {
            Form::Plain => Form::Plain,
            Form::Structured => Form::Structured,
            Form::Binary => Form::Binary,
            Form::Member(key) => Form::Member(key.into_owned().into()),
            Form::Param(name) => Form::Param(name.into_owned().into()),
        };
        Identifier {
            name: self.name,
            form,
            req: self.req,
        }
    }

    /// The name of a member of a dictionary, or of a parameter of the query.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.form {
            Form::Member(name) | Form::Param(name) => Some(name),
            Form::Plain | Form::Structured | Form::Binary => None,
        }
    }

    /// Returns whether a signature that covers this covers all of `other` too.
    pub(crate) fn includes(&self, other: &Identifier<'_>) -> bool {
        let scheme = self.name == Name::TargetUri && other.name == Name::Scheme;
        let name = self.name == other.name || scheme;
        // A field is covered wholly in any form but that of one member.
        let whole = |form: &Form<'_>| matches!(form, Form::Plain | Form::Structured | Form::Binary);
        let form = self.form == other.form || (whole(&self.form) && other.form == Form::Plain);
        name && form && self.req == other.req
    }
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, Why> {
        Ok(match text {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            "@query-param" => Self::QueryParam,
            "@status" => Self::Status,
            // Nearly always there, and not among those that `HeaderName` has at hand.
            "content-digest" => Self::Field(CONTENT_DIGEST),
            _ => match HeaderName::from_bytes(text.as_bytes()) {
                // The name is signed as it is written, and `HeaderName` writes it in lower case.
                Ok(name) if name.as_str() == text => Self::Field(name),
                _ => {
                    let shown = text.escape_debug();
                    return Err(format!(
                        "`{shown}` is neither a derived component nor a field in lower case"
                    )
                    .into());
                }
            },
        })
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            Self::QueryParam => "@query-param",
            Self::Status => "@status",
            Self::Field(name) => name.as_str(),
        }
    }
}

/// Reads one identifier, and appends it as it is signed, with its parameters in their order.
pub(super) struct IdentifierVisitor<'t> {
    pub(super) canonical: &'t mut String,
}

/// The parameters of an identifier, as far as they were read.
pub(super) struct ParametersVisitor<'t, 'de> {
    canonical: &'t mut String,
    start: usize,
    name: Result<Name, Why>,
    key: Option<Cow<'de, str>>,
    param: Option<Cow<'de, str>>,
    sf: bool,
    bs: bool,
    req: bool,
}

/// The item that was read, and where in the text it begins.
pub(super) type Read<'de> = (Result<Identifier<'de>, Why>, usize);

impl<'t, 'de> IdentifierVisitor<'t> {
    pub(super) fn begin(self, item: &BareItemFromInput<'de>) -> ParametersVisitor<'t, 'de> {
        let start = self.canonical.len();
        push_bare_item(self.canonical, item);
        let name = match item {
            BareItemFromInput::String(name) => Name::parse(name.as_str()),
            _ => Err("a component identifier that is not a string".into()),
        };
        ParametersVisitor {
            canonical: self.canonical,
            start,
            name,
            key: None,
            param: None,
            sf: false,
            bs: false,
            req: false,
        }
    }
}

impl<'de> ItemVisitor<'de> for IdentifierVisitor<'_> {
    type Out = Read<'de>;
    type Error = std::convert::Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = Read<'de>>, Self::Error> {
        Ok(self.begin(&item))
    }
}

impl<'de> ParametersVisitor<'_, 'de> {
    fn read(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Why> {
        let key = key.as_str();
        // Every other parameter is refused.
        let is_duplicate = match key {
            "sf" => self.sf,
            "bs" => self.bs,
            "req" => self.req,
            "key" => self.key.is_some(),
            "name" => self.param.is_some(),
            _ => false,
        };
        if is_duplicate {
            return Err(format!("the component parameter `{key}` appears more than once").into());
        }
        match (key, value) {
            ("sf", BareItemFromInput::Boolean(true)) => self.sf = true,
            ("bs", BareItemFromInput::Boolean(true)) => self.bs = true,
            ("req", BareItemFromInput::Boolean(true)) => self.req = true,
            ("key", BareItemFromInput::String(value)) => self.key = Some(text(value)),
            ("name", BareItemFromInput::String(value)) => self.param = Some(text(value)),
            ("tr", _) => return Err("`tr`: trailers are dropped, and cannot be covered".into()),
            _ => {
                return Err(format!(
                    "the component parameter `{key}` is unknown, or its value is not of its type"
                )
                .into());
            }
        }
        Ok(())
    }

    fn identifier(&mut self) -> Result<Identifier<'de>, Why> {
        let name = std::mem::replace(&mut self.name, Err(Why::Borrowed("")))?;
        let form = match (self.key.take(), self.param.take(), self.sf, self.bs) {
            (None, None, false, false) => Form::Plain,
            // A member is serialized strictly with `sf` and without.
            (Some(key), None, _, false) => Form::Member(key),
            (None, Some(param), false, false) => Form::Param(param),
            (None, None, true, false) => Form::Structured,
            (None, None, false, true) => Form::Binary,
            _ => return Err("component parameters that exclude each other".into()),
        };
        let fits = match (&name, &form) {
            (Name::QueryParam, Form::Param(_)) => true,
            (Name::QueryParam, _) | (_, Form::Param(_)) => false,
            (Name::Field(_), _) | (_, Form::Plain) => true,
            _ => false,
        };
        if !fits {
            return Err(format!(
                "the component `{}` has parameters that it cannot have, or lacks one",
                name.as_str()
            )
            .into());
        }
        Ok(Identifier {
            name,
            form,
            req: self.req,
        })
    }
}

impl<'de> ParameterVisitor<'de> for ParametersVisitor<'_, 'de> {
    type Out = Read<'de>;
    type Error = std::convert::Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Self::Error> {
        if self.name.is_ok() {
            push_parameter(self.canonical, key, &value);
            if let Err(fault) = self.read(key, value) {
                self.name = Err(fault);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Read<'de>, Self::Error> {
        Ok((self.identifier(), self.start))
    }
}

/// The text of a string, borrowed where it was.
pub(super) fn text(string: Cow<'_, StringRef>) -> Cow<'_, str> {
    match string {
        Cow::Borrowed(string) => Cow::Borrowed(string.as_str()),
        Cow::Owned(string) => Cow::Owned(string.into()),
    }
}
