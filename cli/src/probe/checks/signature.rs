//! Signatures that are missing, cut off, or under another algorithm.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};
use bytes::Bytes;
use countersign::inspect::Source;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, Request};

use crate::{
    exit::Failure,
    probe::{check::Case, lab::Lab, subject::with_header},
};

/// Where the MAC is in a header.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: HeaderName,
    before: String,
    mac: Vec<u8>,
    text: String,
    after: String,
    is_hex: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Place {
    pub(super) fn of(lab: &Lab, request: &Request<Bytes>) -> Option<Self> {
        let mac = lab.subject.signature(request)?.mac().to_vec();
        request.headers().iter().find_map(|(name, value)| {
            let value = value.to_str().ok()?;
            [(hex(&mac), true), (STANDARD.encode(&mac), false)]
                .into_iter()
                .find_map(|(text, is_hex)| {
                    let (before, after) = value.split_once(&text)?;
                    Some(Self {
                        name: name.clone(),
                        before: before.to_owned(),
                        mac: mac.clone(),
                        after: after.to_owned(),
                        text,
                        is_hex,
                    })
                })
        })
    }

    fn with(&self, text: &str) -> String {
        format!("{}{text}{}", self.before, self.after)
    }

    /// The first bytes of the MAC.
    fn cut(&self, keep: usize) -> String {
        self.written(self.mac.get(..keep).unwrap_or(&self.mac))
    }

    /// Another MAC in its place.
    fn written(&self, mac: &[u8]) -> String {
        self.with(&self.encoded(mac))
    }

    fn encoded(&self, mac: &[u8]) -> String {
        match self.is_hex {
            true => hex(mac),
            false => STANDARD.encode(mac),
        }
    }

    /// The same MAC, written otherwise.
    pub(super) fn spellings(&self) -> Vec<(&'static str, String)> {
        let encoded = match self.is_hex {
            true => vec![
                ("its signature in capital letters", self.text.to_uppercase()),
                ("its signature in base64", STANDARD.encode(&self.mac)),
            ],
            false => vec![
                (
                    "its signature without padding",
                    STANDARD_NO_PAD.encode(&self.mac),
                ),
                ("its signature in base64url", URL_SAFE.encode(&self.mac)),
                ("its signature in hex", hex(&self.mac)),
            ],
        };
        let mut spelled: Vec<_> = encoded
            .into_iter()
            .filter(|(_, text)| *text != self.text)
            .map(|(what, text)| (what, self.with(&text)))
            .collect();
        spelled.push((
            "its signature twice in one header",
            format!("{0},{0}", self.with(&self.text)),
        ));
        spelled
    }
}

type Change = fn(&Place) -> String;

fn changed(lab: &Lab, changes: &[(&'static str, Change)]) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for (what, change) in changes {
        let fresh = lab.fresh()?;
        let Some(place) = Place::of(lab, &fresh.request) else {
            return Ok(Vec::new());
        };
        if let Some(request) = with_header(fresh.request.clone(), &place.name, &change(&place)) {
            made.push(Case::forged(*what, &fresh.event, request));
        }
    }
    Ok(made)
}

pub(super) fn missing(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let fresh = lab.fresh()?;
    let Some(place) = Place::of(lab, &fresh.request) else {
        return Ok(Vec::new());
    };
    let mut request = fresh.request.clone();
    request.headers_mut().remove(&place.name);
    let mut made = vec![Case::forged("no signature", &fresh.event, request)];
    let fresh = lab.fresh()?;
    let unsigned = lab.subject.template.request(&fresh.event, fresh.at);
    if let Ok(request) = unsigned {
        made.push(Case::forged(
            "none of the headers that signing adds",
            &fresh.event,
            request,
        ));
    }
    made.extend(changed(
        lab,
        &[
            ("an empty header of the signature", |_| String::new()),
            ("an empty signature", |place| place.with("")),
            ("a signature of zeros", |place| {
                place.written(&vec![0; place.mac.len()])
            }),
            ("the word `null` as signature", |_| "null".to_owned()),
        ],
    )?);
    Ok(made)
}

pub(super) fn truncated(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let made: [(&'static str, Change); 3] = [
        ("the first half of the signature", |place| {
            place.cut(place.mac.len() / 2)
        }),
        ("the first byte of the signature", |place| place.cut(1)),
        ("the signature with a byte more", |place| {
            place.written(&[place.mac.as_slice(), &[0]].concat())
        }),
    ];
    changed(lab, &made)
}

/// MACs under other algorithms, with the same secret and the same message.
pub(super) fn other_algorithm(lab: &Lab) -> Result<Vec<Case>, Failure> {
    let mut made = Vec::new();
    for name in ALGORITHMS {
        let fresh = lab.fresh()?;
        let Some(place) = Place::of(lab, &fresh.request) else {
            return Ok(Vec::new());
        };
        let Some(mac) = mac_under(lab, &fresh.request, &place.mac, name) else {
            continue;
        };
        if mac == place.mac {
            continue;
        }
        let text = place.encoded(&mac);
        // A prefix often names the algorithm.
        let before = ALGORITHMS
            .iter()
            .fold(place.before.clone(), |before, known| {
                before.replace(known, name)
            });
        let value = format!("{before}{text}{}", place.after);
        if let Some(request) = with_header(fresh.request.clone(), &place.name, &value) {
            let what = format!("a signature under hmac-{name}");
            made.push(Case::forged(what, &fresh.event, request));
        }
    }
    Ok(made)
}

/// The MAC of the request's message under another algorithm, if the key is known to be right.
fn mac_under(lab: &Lab, request: &Request<Bytes>, known: &[u8], name: &str) -> Option<Vec<u8>> {
    let signature = lab.subject.signature(request)?;
    let message: Vec<u8> = signature
        .pieces()
        .iter()
        .flat_map(|p| p.bytes().to_vec())
        .collect();
    let (key, _) = key(lab, &message, known)?;
    mac(&key, &message, name)
}

/// Signs a request whose time was rewritten, over the new text; the first request is the original.
pub(super) fn signed_over_time(
    lab: &Lab,
    original: &Request<Bytes>,
    rewritten: &Request<Bytes>,
    (text, other): (&str, &str),
) -> Option<Request<Bytes>> {
    let place = Place::of(lab, original)?;
    let signature = lab.subject.signature(original)?;
    let (mut message, mut changed) = (Vec::new(), Vec::new());
    for piece in signature.pieces() {
        message.extend_from_slice(piece.bytes());
        match piece.sources().contains(&Source::Time) {
            true => {
                let piece = std::str::from_utf8(piece.bytes()).ok()?;
                changed.extend(piece.replacen(text, other, 1).bytes());
            }
            false => changed.extend_from_slice(piece.bytes()),
        }
    }
    if changed == message {
        return None;
    }
    let (key, name) = key(lab, &message, &place.mac)?;
    let mac = mac(&key, &changed, name)?;
    let value = rewritten.headers().get(&place.name)?.to_str().ok()?;
    let value = value.replacen(&place.text, &place.encoded(&mac), 1);
    with_header(rewritten.clone(), &place.name, &value)
}

const ALGORITHMS: [&str; 3] = ["sha1", "sha256", "sha512"];

/// The key and the algorithm under which this message has this MAC.
fn key(lab: &Lab, message: &[u8], known: &[u8]) -> Option<(Vec<u8>, &'static str)> {
    let text = lab.subject.secrets.first()?.as_bytes();
    let stripped = text.strip_prefix(b"whsec_").unwrap_or(text);
    let keys = [
        Some(text.to_vec()),
        STANDARD.decode(stripped).ok(),
        std::str::from_utf8(text).ok().and_then(unhex),
    ];
    keys.into_iter().flatten().find_map(|key| {
        let is_under = |name: &&str| mac(&key, message, name).as_deref() == Some(known);
        let name = ALGORITHMS.into_iter().find(is_under)?;
        Some((key, name))
    })
}

fn mac(key: &[u8], message: &[u8], name: &str) -> Option<Vec<u8>> {
    macro_rules! of {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).ok()?;
            mac.update(message);
            Some(mac.finalize().into_bytes().to_vec())
        }};
    }
    match name {
        "sha1" => of!(sha1::Sha1),
        "sha256" => of!(sha2::Sha256),
        _ => of!(sha2::Sha512),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
