//! Strict serialization of structured fields (RFC 9651, section 4.1), as it is signed: whatever is
//! parsed is written again.

use std::{borrow::Cow, collections::HashSet, convert::Infallible, error::Error, fmt};

use sfv::{
    BareItemFromInput, ItemSerializer, KeyRef, Parser, StringRef,
    visitor::{
        DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ListVisitor,
        ParameterVisitor,
    },
};

use crate::message::query::Wanted;

/// The fault of a signature, for the log.
pub(crate) type Why = Cow<'static, str>;

/// The kind of a structured field (RFC 9651, section 3). It decides how the field is serialized
/// again if a signature covers it with `sf` or `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldType {
    /// One item with parameters.
    Item,
    /// A list of items and inner lists.
    List,
    /// Members with a name each.
    Dictionary,
}

/// Appends an item that was parsed.
pub(super) fn push_bare_item(to: &mut String, item: &BareItemFromInput<'_>) {
    match item {
        // Text that is borrowed from the field had no escapes there, and needs none.
        BareItemFromInput::String(Cow::Borrowed(text)) => {
            to.push('"');
            to.push_str(text.as_str());
            to.push('"');
        }
        _ => {
            let _ = ItemSerializer::with_buffer(to).bare_item(item);
        }
    }
}

/// Appends a string of our own.
pub(super) fn push_quoted(to: &mut String, text: &StringRef) {
    let _ = ItemSerializer::with_buffer(to).bare_item(text);
}

pub(super) fn push_parameter(to: &mut String, key: &KeyRef, value: &BareItemFromInput<'_>) {
    to.push(';');
    to.push_str(key.as_str());
    if !matches!(value, BareItemFromInput::Boolean(true)) {
        to.push('=');
        push_bare_item(to, value);
    }
}

/// Appends the field as it is serialized again.
pub(super) fn push_field(to: &mut String, field: &str, kind: FieldType) -> Result<(), Why> {
    let parser = Parser::new(field);
    let mut members = Members::whole(to);
    match kind {
        FieldType::Item => parser.parse_item_with_visitor(ItemTo(members.to)),
        FieldType::List => parser.parse_list_with_visitor(&mut members),
        FieldType::Dictionary => parser.parse_dictionary_with_visitor(&mut members),
    }
    .map_err(|error| format!("a structured field that cannot be read: {error}").into())
}

/// Reads a dictionary once for all members that are wanted, each as it is written again.
pub(super) fn read_members(field: &str, wanted: &mut Wanted<'_>) -> Result<(), Why> {
    let members = Picked {
        wanted,
        names: HashSet::new(),
    };
    Parser::new(field)
        .parse_dictionary_with_visitor(members)
        .map_err(|error| format!("a dictionary that cannot be read: {error}").into())
}

/// The members of a dictionary that are wanted.
struct Picked<'w, 'n, 'de> {
    wanted: &'w mut Wanted<'n>,
    names: HashSet<&'de str>,
}

impl<'de> DictionaryVisitor<'de> for Picked<'_, '_, 'de> {
    type Out = ();
    type Error = Duplicate;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Duplicate> {
        let key = key.as_str();
        insert(&mut self.names, key)?;
        Ok(self.wanted.place(key).map(|value| MemberTo {
            to: value.insert(String::new()),
            named: false,
        }))
    }

    fn finish(self) -> Result<(), Duplicate> {
        Ok(())
    }
}

/// All members of a dictionary or a list.
struct Members<'t, 'de> {
    to: &'t mut String,
    names: HashSet<&'de str>,
    begun: bool,
}

impl<'t> Members<'t, '_> {
    fn whole(to: &'t mut String) -> Self {
        Self {
            to,
            names: HashSet::new(),
            begun: false,
        }
    }

    fn begin(&mut self) {
        if self.begun {
            self.to.push_str(", ");
        }
        self.begun = true;
    }
}

/// A dictionary, or parameters, of which two libraries could take different ones.
#[derive(Debug)]
struct Duplicate(String);

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` appears more than once", self.0)
    }
}

impl Error for Duplicate {}

impl From<Infallible> for Duplicate {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn insert<'de>(names: &mut HashSet<&'de str>, name: &'de str) -> Result<(), Duplicate> {
    if names.insert(name) {
        Ok(())
    } else {
        Err(Duplicate(name.to_owned()))
    }
}

impl<'de> DictionaryVisitor<'de> for &mut Members<'_, 'de> {
    type Out = ();
    type Error = Duplicate;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Duplicate> {
        let key = key.as_str();
        insert(&mut self.names, key)?;
        self.begin();
        self.to.push_str(key);
        Ok(MemberTo {
            to: self.to,
            named: true,
        })
    }

    fn finish(self) -> Result<(), Duplicate> {
        Ok(())
    }
}

impl<'de> ListVisitor<'de> for &mut Members<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Infallible> {
        self.begin();
        Ok(MemberTo {
            to: self.to,
            named: false,
        })
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// One member; where its name was written before it, `=` comes between, and true is left out.
struct MemberTo<'t> {
    to: &'t mut String,
    named: bool,
}

impl<'de> EntryVisitor<'de> for MemberTo<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        if self.named {
            self.to.push('=');
        }
        self.to.push('(');
        Ok(InnerListTo {
            to: self.to,
            begun: false,
        })
    }
}

impl<'de> ItemVisitor<'de> for MemberTo<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        match item {
            BareItemFromInput::Boolean(true) if self.named => {}
            item => {
                if self.named {
                    self.to.push('=');
                }
                push_bare_item(self.to, &item);
            }
        }
        Ok(ParametersTo::new(self.to))
    }
}

struct ItemTo<'t>(&'t mut String);

impl<'de> ItemVisitor<'de> for ItemTo<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        push_bare_item(self.0, &item);
        Ok(ParametersTo::new(self.0))
    }
}

struct InnerListTo<'t> {
    to: &'t mut String,
    begun: bool,
}

impl<'de> InnerListVisitor<'de> for InnerListTo<'_> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Infallible> {
        if self.begun {
            self.to.push(' ');
        }
        self.begun = true;
        Ok(ItemTo(self.to))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Infallible> {
        self.to.push(')');
        Ok(ParametersTo::new(self.to))
    }
}

struct ParametersTo<'t, 'de> {
    to: &'t mut String,
    names: HashSet<&'de str>,
}

impl<'t> ParametersTo<'t, '_> {
    fn new(to: &'t mut String) -> Self {
        Self {
            to,
            names: HashSet::new(),
        }
    }
}

impl<'de> ParameterVisitor<'de> for ParametersTo<'_, 'de> {
    type Out = ();
    type Error = Duplicate;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Duplicate> {
        insert(&mut self.names, key.as_str())?;
        push_parameter(self.to, key, &value);
        Ok(())
    }

    fn finish(self) -> Result<(), Duplicate> {
        Ok(())
    }
}

/// The structured fields among those that are registered, by name; others can be declared.
pub(super) fn registered(name: &str) -> Option<FieldType> {
    Some(match name {
        "accept-signature"
        | "cdn-cache-control"
        | "content-digest"
        | "priority"
        | "repr-digest"
        | "signature"
        | "signature-input"
        | "want-content-digest"
        | "want-repr-digest" => FieldType::Dictionary,
        "accept-ch" | "cache-status" | "client-cert-chain" | "proxy-status" => FieldType::List,
        "client-cert" | "cross-origin-embedder-policy" | "cross-origin-opener-policy" => {
            FieldType::Item
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(field: &str, kind: FieldType) -> Option<String> {
        let mut text = String::new();
        push_field(&mut text, field, kind).ok().map(|()| text)
    }

    #[test]
    fn fields_are_written_anew() {
        let dictionary = |text| field(text, FieldType::Dictionary);
        assert_eq!(
            dictionary(" a=1,    b=2;x=1;y=2,   c=(a   b   c)").as_deref(),
            Some("a=1, b=2;x=1;y=2, c=(a b c)")
        );
        assert_eq!(
            dictionary("a=?1, b;x=?1,c=(1 \"q\\\"\");y=?0, d=01.50").as_deref(),
            Some("a, b;x, c=(1 \"q\\\"\");y=?0, d=1.5")
        );
        assert_eq!(
            field("a,  (b c);x , ?1", FieldType::List).as_deref(),
            Some("a, (b c);x, ?1")
        );
        assert_eq!(field(" tok;a ", FieldType::Item).as_deref(), Some("tok;a"));
    }

    #[test]
    fn what_two_libraries_could_read_in_two_ways_is_refused() {
        for text in ["a=1, a=2", "a;x;x", "a=(b;x=1;x=2)", "a=(b);x;x"] {
            assert_eq!(field(text, FieldType::Dictionary), None, "{text}");
        }
        assert_eq!(field("a, b;x;x", FieldType::List), None);
    }

    #[test]
    fn one_member_of_a_dictionary_is_its_value() {
        let mut wanted = Wanted::new(["d", "a", "e", "c", "b"]);
        let dictionary = " a=1, b=2;x=1;y=2, c=(a   b    c), d";
        read_members(dictionary, &mut wanted).unwrap();
        let mut member = |key| wanted.take(key);
        assert_eq!(member("a").as_deref(), Some("1"));
        assert_eq!(member("b").as_deref(), Some("2;x=1;y=2"));
        assert_eq!(member("c").as_deref(), Some("(a b c)"));
        assert_eq!(member("d").as_deref(), Some("?1"));
        assert_eq!(member("e"), None);
    }
}
