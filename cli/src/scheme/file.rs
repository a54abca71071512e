//! Scheme files: a house format in TOML, with everything that the library's builders can say.

use std::{ops::Range, path::Path};

use countersign::request::Supplied;
use serde::Deserialize;
use toml::Spanned;

use super::{any::AnyScheme, chosen::Chosen, header::Header, profile::Profile, sender::Sender};
use crate::{
    exit::Failure,
    nearest::nearest,
    page::page,
    toml_file::{Fault, Kind},
};

const KIND: Kind = Kind {
    name: "scheme file",
    advice: concat!(
        page!("README.md#scheme-files"),
        " describes each key, and has files to begin with"
    ),
};

/// The content of a scheme file.
enum File {
    Header(Box<Header>),
    HttpMessageSignatures(Box<Profile>),
    Sender(Sender, Box<AnyScheme>),
}

/// The kind of the scheme. The rest of the file is read once the kind is known.
#[derive(Debug, Deserialize)]
struct Kinded {
    kind: Spanned<String>,
}

/// Reads a scheme file. Its name is the scheme's.
pub(crate) fn read(path: &Path) -> Result<Chosen, Failure> {
    KIND.read(path, |text| parse(text, path))
}

fn parse(text: &str, path: &Path) -> Result<Chosen, Fault> {
    let file = File::parse(text)?;
    let name = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(match file {
        File::Sender(sender, scheme) => sender.build(&name, *scheme)?,
        File::Header(header) => Chosen {
            name,
            secret: header.secret,
            key_id: header.fixed_key_id.as_ref().map(|id| id.get_ref().clone()),
            headers: header.headers(),
            path: header.fixed_path(),
            supplied: header
                .supplied()
                .into_iter()
                .fold(Supplied::new(), |all, name| all.with(name, 1)),
            awaits: header.supplied(),
            scheme: AnyScheme::Header(header.build()?),
        },
        File::HttpMessageSignatures(profile) => Chosen {
            name,
            secret: profile.secret,
            key_id: profile.fixed_key_id.as_ref().map(|id| id.get_ref().clone()),
            headers: profile.headers(),
            path: None,
            supplied: Supplied::new(),
            awaits: Vec::new(),
            scheme: AnyScheme::HttpMessageSignatures(profile.build()?),
        },
    })
}

impl File {
    fn parse(text: &str) -> Result<Self, Fault> {
        let kind = toml::from_str::<Kinded>(text)?.kind;
        match kind.get_ref().as_str() {
            "header" => Ok(Self::Header(toml::from_str(text)?)),
            "http-message-signatures" => Ok(Self::HttpMessageSignatures(toml::from_str(text)?)),
            other => match AnyScheme::sender(other) {
                Some(scheme) => Ok(Self::Sender(toml::from_str(text)?, Box::new(scheme))),
                None => Err(unknown(other, kind.span())),
            },
        }
    }
}

fn unknown(kind: &str, at: Range<usize>) -> Fault {
    let named = AnyScheme::named();
    let known = named.iter().map(|(name, _)| *name).chain(["header"]);
    Fault {
        advice: nearest(kind, known).map(|near| format!("did you mean \"{near}\"?")),
        ..Fault::at(
            at,
            format!(
                "`{kind}` is neither \"header\" nor \"http-message-signatures\" nor the name of a \
                 sender"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 4] = [
        include_str!("../../schemes/house.toml"),
        include_str!("../../schemes/payments.toml"),
        include_str!("../../schemes/django-payment-intent.toml"),
        include_str!("../../tests/schemes/dots.toml"),
    ];

    /// Letters changed, dropped, doubled and moved, the same in each run (xorshift).
    #[test]
    fn no_file_ends_the_command() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(end.max(1)).unwrap()).unwrap()
        };
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..4000 {
            let mut letters: Vec<char> = FILES[round % FILES.len()].chars().collect();
            for _ in 0..=below(3) {
                let at = below(letters.len());
                let end = letters.len().min(at + 1 + below(12));
                match below(4) {
                    0 => letters.truncate(at),
                    1 => letters.insert(
                        at,
                        ['"', '\u{e9}', '\u{1f600}', '\n', '{', '\u{0}'][below(6)],
                    ),
                    2 => drop(letters.splice(at..end, [])),
                    _ => {
                        let piece = letters.get(at..end).unwrap_or_default().to_vec();
                        let place = below(letters.len() + 1);
                        drop(letters.splice(place..place, piece));
                    }
                }
            }
            let (text, path) = (String::from_iter(letters), Path::new("house.toml"));
            match parse(&text, path) {
                Ok(_) => accepted += 1,
                Err(fault) => {
                    let text = &text;
                    let failure = KIND.refusal(fault, text, path);
                    assert!(failure.report.is_some_and(|report| !report.is_empty()));
                    refused += 1;
                }
            }
        }
        assert!(accepted > 100 && refused > 1000, "{accepted}, {refused}");
    }
}
