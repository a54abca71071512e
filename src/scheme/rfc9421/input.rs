//! The statements of a signature about itself and its coverage: the members of `Signature-Input`
//! (RFC 9421, section 4.1) and of `Accept-Signature`, read strictly. A parameter that appears twice
//! has two readings, and is refused.

use std::{borrow::Cow, convert::Infallible, ops::Range};

use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{
        DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
    },
};
use smallvec::SmallVec;

use super::{
    canonical::Why,
    canonical::push_parameter,
    component::{Identifier, IdentifierVisitor, Read, text},
    fields::{check_length, new_label},
};
use crate::message::{Part, TimeUnit};

/// Components that one signature may cover, and parameters that it may have.
pub(super) const MAX_COMPONENTS: usize = 64;

/// One member of `Signature-Input`, or of `Accept-Signature`.
#[derive(Debug)]
pub(crate) struct Input<'de> {
    pub(crate) listed: Listed<'de>,
    pub(crate) parameters: SignatureParameters<'de>,
}

/// The components that a signature says it covers.
#[derive(Debug)]
pub(crate) struct Listed<'de> {
    pub(crate) label: Cow<'de, str>,
    /// The components and parameters as they are signed: the value of `@signature-params`.
    pub(crate) text: Cow<'de, str>,
    /// Each identifier, with its place in the text.
    pub(crate) components: Vec<(Identifier<'de>, Range<usize>)>,
    pub(super) places: Places,
}

/// Where in the text those parameters have their values that are parts of a message.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) created: Place,
    pub(super) expires: Place,
    pub(super) nonce: Place,
    pub(super) key_id: Place,
    /// Whether one of the strings has an escape.
    has_escapes: bool,
}

/// From where to where; nowhere if it is empty. A field is never as long as 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(u32, u32);

impl Place {
    pub(super) fn new(range: Range<usize>) -> Self {
        let [start, end] = [range.start, range.end].map(u32::try_from);
        Self(start.unwrap_or_default(), end.unwrap_or_default())
    }

    fn range(self) -> Option<Range<usize>> {
        let [start, end] = [self.0, self.1].map(usize::try_from);
        Some(start.ok()?..end.ok()?).filter(|range| !range.is_empty())
    }
}

impl Listed<'_> {
    /// The parameters that are parts of a message, and where in the text each has its value; with
    /// the value itself, if it is escaped there.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part, Range<usize>, Option<Box<[u8]>>)> {
        let places = [
            (Part::Time(TimeUnit::Seconds), self.places.created),
            (Part::Expires(TimeUnit::Seconds), self.places.expires),
            (Part::Nonce, self.places.nonce),
            (Part::KeyId, self.places.key_id),
        ];
        places.into_iter().filter_map(|(part, place)| {
            let place = place.range()?;
            let value = match self.text.get(place.clone()) {
                Some(text) if self.places.has_escapes => Some(unescaped(text)),
                _ => None,
            };
            Some((part, place, value))
        })
    }

    pub(crate) fn into_owned(self) -> Listed<'static> {
        let components = self.components.into_iter();
        Listed {
            label: Cow::Owned(self.label.into_owned()),
            text: Cow::Owned(self.text.into_owned()),
            components: components
                .map(|(identifier, range)| (identifier.into_owned(), range))
                .collect(),
            places: self.places,
        }
    }
}

/// Returns what a string (RFC 9651, section 3.3.3) holds that is written so between its quotes.
fn unescaped(text: &str) -> Box<[u8]> {
    let mut bytes = text.bytes();
    let next = || {
        let byte = bytes.next()?;
        if byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        }
    };
    std::iter::from_fn(next).collect()
}

/// The parameters of a signature (RFC 9421, section 2.3).
#[derive(Debug, Default)]
pub(crate) struct SignatureParameters<'de> {
    pub(crate) created: Option<u64>,
    pub(crate) expires: Option<u64>,
    pub(crate) nonce: Option<Cow<'de, str>>,
    pub(crate) alg: Option<Cow<'de, str>>,
    pub(crate) key_id: Option<Cow<'de, str>>,
    pub(crate) tag: Option<Cow<'de, str>>,
    /// The parameters without a value. In `Accept-Signature` they ask to include one.
    pub(crate) wanted: Vec<&'de str>,
}

/// A member that can be told apart from the others, but may not be usable.
pub(crate) struct Member<'de> {
    pub(crate) label: &'de str,
    pub(crate) tag: Option<Cow<'de, str>>,
    pub(crate) input: Result<Input<'de>, Why>,
}

/// Reads `Accept-Signature`, where `created` and `expires` have no value.
pub(crate) fn read_accepted(field: &str) -> Result<Members<'_>, Why> {
    read_by_sfv(field, true)
}

/// Nearly always there is one.
pub(super) type Members<'f> = SmallVec<[Member<'f>; 1]>;

pub(super) fn read_by_sfv(field: &str, accept: bool) -> Result<Members<'_>, Why> {
    check_length(field)?;
    let mut inputs = Inputs {
        accept,
        members: SmallVec::new(),
        fault: None,
    };
    Parser::new(field)
        .parse_dictionary_with_visitor(&mut inputs)
        .map_err(|error| format!("`signature-input` cannot be read: {error}"))?;
    match inputs.fault {
        Some(fault) => Err(fault),
        None => Ok(inputs.members),
    }
}

struct Inputs<'de> {
    accept: bool,
    members: Members<'de>,
    fault: Option<Why>,
}

impl<'de> DictionaryVisitor<'de> for &mut Inputs<'de> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, label: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let label = label.as_str();
        if self.fault.is_none() {
            self.fault = new_label(label, self.members.iter().map(|member| member.label));
        }
        if self.fault.is_some() {
            return Ok(None);
        }
        self.members.push(Member {
            label,
            tag: None,
            input: Err("it has no list of components".into()),
        });
        let accept = self.accept;
        let member = self.members.last_mut();
        Ok(member.map(|member| InputVisitor { member, accept }))
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct InputVisitor<'m, 'de> {
    member: &'m mut Member<'de>,
    accept: bool,
}

impl<'de> EntryVisitor<'de> for InputVisitor<'_, 'de> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(Ignored)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        // Enough for what most signatures say. It grows with what is read: 16 of them must not each
        // reserve the length of the whole field.
        let mut text = String::with_capacity(256);
        text.push('(');
        Ok(ListVisitor {
            text,
            input: Input {
                listed: Listed {
                    label: Cow::Borrowed(self.member.label),
                    // Taken in at the end.
                    text: Cow::Borrowed(""),
                    components: Vec::with_capacity(8),
                    places: Places::default(),
                },
                parameters: SignatureParameters::default(),
            },
            read: None,
            member: self.member,
            accept: self.accept,
            fault: None,
            seen: Vec::with_capacity(8),
        })
    }
}

/// The components of one signature, and then its parameters.
struct ListVisitor<'m, 'de> {
    member: &'m mut Member<'de>,
    accept: bool,
    input: Input<'de>,
    text: String,
    read: Option<Read<'de>>,
    seen: Vec<&'de str>,
    fault: Option<Why>,
}

impl<'de> ListVisitor<'_, 'de> {
    fn fail(&mut self, fault: impl Into<Why>) {
        self.fault.get_or_insert_with(|| fault.into());
    }

    /// Takes in the component that was read last.
    fn settle(&mut self) {
        let Some((identifier, start)) = self.read.take().filter(|_| self.fault.is_none()) else {
            return;
        };
        match identifier {
            Err(fault) => self.fail(fault),
            Ok(_) if self.input.listed.components.len() == MAX_COMPONENTS => {
                self.fail(format!("it covers more than {MAX_COMPONENTS} components"));
            }
            Ok(identifier)
                if self
                    .input
                    .listed
                    .components
                    .iter()
                    .any(|(other, _)| *other == identifier) =>
            {
                self.fail(format!("it covers {identifier} twice"));
            }
            Ok(identifier) => {
                let range = start..self.text.len();
                self.input.listed.components.push((identifier, range));
            }
        }
    }

    /// Notes the place of the value of the parameter that begins at `start`.
    fn place(&mut self, key: &str, start: usize) {
        let (text, places) = (&self.text, &mut self.input.listed.places);
        let place = match key {
            "created" => &mut places.created,
            "expires" => &mut places.expires,
            "nonce" => &mut places.nonce,
            "keyid" => &mut places.key_id,
            _ => return,
        };
        // A semicolon, the key, and an equals sign.
        let (start, end) = (start + key.len() + 2, text.len());
        let is_string = text.ends_with('"');
        let range = if is_string {
            start + 1..end - 1
        } else {
            start..end
        };
        *place = Place::new(range.clone());
        places.has_escapes |= text.get(range).is_some_and(|text| text.contains('\\'));
    }

    fn parameter(&mut self, key: &'de str, value: BareItemFromInput<'de>) -> Result<(), Why> {
        if self.seen.contains(&key) {
            return Err(format!("its parameter `{key}` appears more than once").into());
        }
        if self.seen.len() == MAX_COMPONENTS {
            return Err(format!("it has more than {MAX_COMPONENTS} parameters").into());
        }
        self.seen.push(key);
        let parameters = &mut self.input.parameters;
        let place = match key {
            "created" | "expires" => {
                let seconds = match value {
                    BareItemFromInput::Boolean(true) if self.accept => {
                        parameters.wanted.push(key);
                        return Ok(());
                    }
                    BareItemFromInput::Integer(seconds) => u64::try_from(seconds).ok(),
                    _ => None,
                };
                if seconds.is_none() {
                    return Err(format!("its `{key}` is not in whole seconds since 1970").into());
                }
                if key == "created" {
                    parameters.created = seconds;
                } else {
                    parameters.expires = seconds;
                }
                return Ok(());
            }
            "nonce" => &mut parameters.nonce,
            "alg" => &mut parameters.alg,
            "keyid" => &mut parameters.key_id,
            "tag" => &mut parameters.tag,
            // It is signed with the others, and has no meaning here.
            _ => return Ok(()),
        };
        match value {
            BareItemFromInput::String(value) => *place = Some(text(value)),
            BareItemFromInput::Boolean(true) if self.accept => parameters.wanted.push(key),
            _ => return Err(format!("its `{key}` is not a string").into()),
        }
        Ok(())
    }
}

impl<'de> InnerListVisitor<'de> for ListVisitor<'_, 'de> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Infallible> {
        self.settle();
        if self.text.len() > 1 {
            self.text.push(' ');
        }
        Ok(ComponentVisitor {
            read: &mut self.read,
            visitor: IdentifierVisitor {
                canonical: &mut self.text,
            },
        })
    }

    fn finish(mut self) -> Result<impl ParameterVisitor<'de>, Infallible> {
        self.settle();
        self.text.push(')');
        self.seen.clear();
        Ok(self)
    }
}

impl<'de> ParameterVisitor<'de> for ListVisitor<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        // The tag is read of a faulty one too, to tell whether it is for us.
        if self.fault.is_some() && key.as_str() != "tag" {
            return Ok(());
        }
        let start = self.text.len();
        push_parameter(&mut self.text, key, &value);
        match Self::parameter(self, key.as_str(), value) {
            Ok(()) => self.place(key.as_str(), start),
            Err(fault) => self.fail(fault),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Infallible> {
        self.input.listed.text = Cow::Owned(self.text);
        self.member.tag.clone_from(&self.input.parameters.tag);
        self.member.input = match self.fault {
            None => Ok(self.input),
            Some(fault) => Err(fault),
        };
        Ok(())
    }
}

/// Reads a component, and hands it to the list when it is complete.
struct ComponentVisitor<'l, 'de> {
    read: &'l mut Option<Read<'de>>,
    visitor: IdentifierVisitor<'l>,
}

impl<'de> ItemVisitor<'de> for ComponentVisitor<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        let Self { read, visitor } = self;
        Ok(sfv::visitor::parameter_visitor_with(
            visitor.begin(&item),
            move |found| {
                *read = Some(found);
                Ok(())
            },
        ))
    }
}
