//! `Signature-Input` in its usual form: one member, written as RFC 9651 (section 4.1) serializes it.
//! It is read in one pass, and nothing of it is written again. Every other field is left to `sfv`,
//! which alone says what is malformed.

use std::{borrow::Cow, ops::Range};

use memchr::memchr;
use smallvec::smallvec;

use super::{
    canonical::Why,
    component::{Identifier, Name},
    fields::member,
    input::{
        Input, Listed, MAX_COMPONENTS, Member, Members, Place, Places, SignatureParameters,
        read_by_sfv,
    },
};

/// Reads `Signature-Input`.
pub(crate) fn read_inputs(field: &str) -> Result<Members<'_>, Why> {
    match input(field) {
        Some(member) => Ok(smallvec![member]),
        None => read_by_sfv(field, false),
    }
}

/// Longer fields are few. A field that is too long is refused where the others are read.
const MAX_USUAL: usize = 4096;

/// Reads a `Signature-Input` of one signature, whose components have no parameters, and whose own
/// parameters are those of RFC 9421.
fn input(field: &str) -> Option<Member<'_>> {
    let (label, text) = member(field).filter(|_| field.len() <= MAX_USUAL)?;
    let mut cursor = Cursor { text, at: 0 };
    let components = components(&mut cursor)?;
    let (mut parameters, mut places) = (SignatureParameters::default(), Places::default());
    while cursor.at < text.len() {
        cursor.take(b';')?;
        match cursor.key()? {
            "created" if parameters.created.is_none() => {
                let (value, place) = cursor.integer()?;
                (parameters.created, places.created) = (Some(value), place);
            }
            "expires" if parameters.expires.is_none() => {
                let (value, place) = cursor.integer()?;
                (parameters.expires, places.expires) = (Some(value), place);
            }
            "nonce" if parameters.nonce.is_none() => {
                let (value, place) = cursor.string()?;
                (parameters.nonce, places.nonce) = (Some(value.into()), Place::new(place));
            }
            "keyid" if parameters.key_id.is_none() => {
                let (value, place) = cursor.string()?;
                (parameters.key_id, places.key_id) = (Some(value.into()), Place::new(place));
            }
            "alg" if parameters.alg.is_none() => parameters.alg = Some(cursor.string()?.0.into()),
            "tag" if parameters.tag.is_none() => parameters.tag = Some(cursor.string()?.0.into()),
            _ => return None,
        }
    }
    Some(Member {
        label,
        tag: parameters.tag.clone(),
        input: Ok(Input {
            listed: Listed {
                label: Cow::Borrowed(label),
                text: Cow::Borrowed(text),
                components,
                places,
            },
            parameters,
        }),
    })
}

type Components = Vec<(Identifier<'static>, Range<usize>)>;

fn components(cursor: &mut Cursor<'_>) -> Option<Components> {
    cursor.take(b'(')?;
    let mut components: Components = Vec::with_capacity(8);
    while cursor.take(b')').is_none() {
        if !components.is_empty() {
            cursor.take(b' ')?;
        }
        let (name, place) = cursor.string()?;
        let name = Name::parse(name).ok()?;
        let is_known = components.iter().any(|(known, _)| known.name == name);
        // `@query-param` names its parameter of the query in a parameter of its own.
        if is_known || name == Name::QueryParam || components.len() == MAX_COMPONENTS {
            return None;
        }
        // With its quotes.
        let place = place.start - 1..place.end + 1;
        components.push((Identifier::of(name), place));
    }
    Some(components)
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        let is_next = self.rest().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next.then_some(())
    }

    /// The key of a parameter that has a value.
    fn key(&mut self) -> Option<&'t str> {
        let start = self.at;
        let len = memchr(b'=', self.rest())?;
        self.at += len + 1;
        self.text.get(start..start + len)
    }

    /// A string without escapes, and its place between the quotes.
    fn string(&mut self) -> Option<(&'t str, Range<usize>)> {
        self.take(b'"')?;
        let place = self.at..self.at + memchr(b'"', self.rest())?;
        let text = self.text.get(place.clone())?;
        // Without a way out of the loop, so that it takes many bytes at a time.
        let is_plain = |b: u8| (0x20..0x7f).contains(&b) & (b != b'\\');
        if !text.bytes().fold(true, |all, b| all & is_plain(b)) {
            return None;
        }
        self.at = place.end + 1;
        Some((text, place))
    }

    /// An integer that is not negative, and its place.
    fn integer(&mut self) -> Option<(u64, Place)> {
        let start = self.at;
        let len = self
            .rest()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let digits = self.text.get(start..start + len)?;
        if len > 15 || (len > 1 && digits.starts_with('0')) {
            return None;
        }
        self.at += len;
        Some((digits.parse().ok()?, Place::new(start..self.at)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::rfc9421::{
        fields::{read_signatures_by_sfv, usual_bytes},
        generated_tests::{hostile, inputs},
    };

    /// `sfv` reads each field that is read here, and to the same values.
    fn is_read_alike(field: &str) -> bool {
        let Some(usual) = input(field) else {
            return false;
        };
        let mut members = read_by_sfv(field, false).unwrap();
        assert_eq!(members.len(), 1, "{field}");
        let member = members.remove(0);
        assert_eq!((usual.label, &usual.tag), (member.label, &member.tag));
        let (usual, read) = (usual.input.unwrap(), member.input.unwrap());
        assert_eq!(format!("{usual:?}"), format!("{read:?}"), "{field}");
        true
    }

    const USUAL: &str = r#"sig1=("@method" "@authority" "@path" "@query" "content-digest" "content-type");created=1795000000;nonce="a b";alg="hmac-sha256";keyid="partner-1""#;

    #[test]
    fn the_usual_form_is_read() {
        assert!(is_read_alike(USUAL));
        assert!(is_read_alike("*=()"));
        assert!(is_read_alike(r#"a=("@path");expires=0;tag="";nonce="""#));
    }

    #[test]
    fn everything_else_is_left_to_the_parser() {
        for unusual in [
            "",
            "sig1",
            "=()",
            "A=()",
            "a= ()",
            "a=( )",
            r#"a=("@path" )"#,
            r#"a=( "@path")"#,
            r#"a=("@path"  "@query")"#,
            r#"a=("@path""@query")"#,
            r#"a=("@path" "@path")"#,
            r#"a=("@path";req)"#,
            r#"a=("@query-param")"#,
            r#"a=("X-Upper")"#,
            r#"a=("@path"#,
            r#"a=("@path""#,
            r#"a=("@path");"#,
            r#"a=("@path"); created=1"#,
            r#"a=("@path");created"#,
            r#"a=("@path");created="#,
            r#"a=("@path");created=01"#,
            r#"a=("@path");created=-1"#,
            r#"a=("@path");created=1.0"#,
            r#"a=("@path");created="1""#,
            r#"a=("@path");created=1;created=1"#,
            r#"a=("@path");created=1000000000000000"#,
            r#"a=("@path");nonce=token"#,
            r#"a=("@path");nonce="\"""#,
            r#"a=("@path");other="x""#,
            r#"a=("@path"),b=("@path")"#,
            r#"a=("@path");nonce="x", b=()"#,
            "a=(\"@path\");nonce=\"\u{7f}\"",
        ] {
            assert!(input(unusual).is_none(), "{unusual}");
        }
        let sequence = "A".repeat(43);
        assert!(usual_bytes(&format!("sig1=:{sequence}=:")).is_some());
        for unusual in [
            format!("sig1=:{sequence}:"),
            format!("sig1=:{sequence}B:"),
            format!("sig1=: {sequence}=:"),
            format!("sig1=:{sequence}=:;a"),
            format!("sig1=:{sequence}=:, b=:{sequence}=:"),
            format!("Sig1=:{sequence}=:"),
            "sig1=:AAAA:".to_owned(),
        ] {
            assert!(usual_bytes(&unusual).is_none(), "{unusual}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_read_alike_by_the_parser(field in hostile(inputs())) {
            is_read_alike(&field);
        }

        /// One byte more, less, or another, at any place.
        #[test]
        fn neighbours_of_the_usual_form_are_read_alike(
            at in 0..USUAL.len(),
            byte in 0x1f..0x80u8,
            way in 0..3u8,
        ) {
            let mut field = USUAL.as_bytes().to_vec();
            match way {
                0 => { field.remove(at); }
                1 => field.insert(at, byte),
                _ => field[at] = byte,
            }
            is_read_alike(&String::from_utf8(field).unwrap());
        }

        #[test]
        fn byte_sequences_are_read_alike(field in "[a-z*A]{0,2}=:[AB+/=]{43,45}:[;, ]?") {
            if let Some((key, read)) = usual_bytes(&field) {
                let members = read_signatures_by_sfv(&field).unwrap();
                prop_assert_eq!(members.len(), 1);
                let (label, mac) = members[0];
                let mac = mac.unwrap();
                prop_assert_eq!(label, key);
                prop_assert_eq!(mac.as_ref(), read.as_ref());
            }
        }
    }
}
