//! Requests of a sender that makes the mistakes of rows.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign::scheme::MacAlgorithm;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderValue, Request};

use super::{
    message::Message,
    reading::readings,
    search::{Input, Limits, Outcome, Search, State, rank, search},
    secret::{Key, Reading},
    shape::Shape,
    table::{Change, PrefixFault, Row},
};
use crate::{
    scheme::{Chosen, SecretForm, resolve},
    secret::SecretText,
    time::Fixed,
};

const NOW: u64 = 1_700_000_000;

/// The schemes that differ most: where the MAC, the time and the URL are, and what the secret is.
pub(super) fn schemes() -> Vec<Chosen> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let file = |name: &str| format!("{folder}/{name}.toml");
    [
        "stripe".to_owned(),
        "standard-webhooks".to_owned(),
        "svix".to_owned(),
        "github".to_owned(),
        "shopify".to_owned(),
        "slack".to_owned(),
        "paddle".to_owned(),
        "square".to_owned(),
        "hubspot".to_owned(),
        "twilio".to_owned(),
        "box".to_owned(),
        "trello".to_owned(),
        "contentful".to_owned(),
        "http-message-signatures".to_owned(),
        file("schemes/house"),
        file("schemes/fastapi-transfer"),
        file("schemes/django-payment-intent"),
        file("tests/schemes/dots"),
        file("tests/schemes/millis"),
        file("tests/schemes/old"),
        file("tests/schemes/tenant"),
        file("tests/schemes/target"),
    ]
    .iter()
    .map(|name| resolve(name).unwrap_or_else(|failure| panic!("{name}: {failure:?}")))
    .collect()
}

/// Bodies in which there is something to write otherwise.
fn bodies() -> Vec<Vec<u8>> {
    let json = r#"{"id":"evt_1","b/c": [1.50, 2e3],"a":"caf\u00e9 über 😀 \/x","n":null}"#;
    let lines = "[\"a\",\r\n{\"b\": 1}]\r\n";
    let gzip = {
        use std::io::Write as _;
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(json.as_bytes()).unwrap();
        writer.finish().unwrap()
    };
    vec![
        br#"{"b":1,"a":"x"}"#.to_vec(),
        json.as_bytes().to_vec(),
        lines.as_bytes().to_vec(),
        lines.replace('\r', "").into_bytes(),
        b"b=1+2&a=%20x&c=%2F".to_vec(),
        [b"\xef\xbb\xbf".as_slice(), json.as_bytes()].concat(),
        gzip,
        STANDARD.encode(json).into_bytes(),
        b"{\"a\":\"caf\xe9\"}".to_vec(),
        " [<a/>] ".into(),
        "[\"café\"]".into(),
    ]
}

/// Returns whether the scheme decodes its secrets, by its own word: it refuses what is not base64.
fn decodes(chosen: &Chosen) -> bool {
    !chosen.names_key()
        && chosen
            .scheme
            .signer("! not base64, 25 bytes long !")
            .is_err()
}

pub(super) fn secrets(chosen: &Chosen) -> Vec<SecretText> {
    let base64 = STANDARD.encode(b"\xfb\xef\xff a secret of 32 bytes, as is");
    let hex = "9f1c1b2e0a7d4c559f1c1b2e0a7d4c55".to_owned();
    let texts = match chosen.secret {
        SecretForm::Hex => vec![hex],
        SecretForm::Base64 => vec![base64],
        SecretForm::OfScheme if decodes(chosen) => vec![format!("whsec_{base64}")],
        SecretForm::OfScheme => vec![
            hex,
            base64.clone(),
            base64.replace('+', "-").replace('/', "_"),
            format!("whsec_{}", STANDARD.encode(b"a secret behind its prefix")),
            "\"a secret between quotes\"".to_owned(),
        ],
    };
    texts
        .iter()
        .map(|text| SecretText::of_example(text))
        .collect()
}

/// Each body, to a URL with everything and to one with little.
pub(super) fn requests() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let urls = [
        "https://api.example.com:8443/api/v1/hooks%20x/?b=2%20x&a=1",
        "http://api.example.com/hooks",
    ];
    urls.into_iter()
        .flat_map(|url| bodies().into_iter().map(move |body| (url, body)))
}

/// A signed request, and what a search is given.
pub(super) struct Case<'c> {
    chosen: &'c Chosen,
    shape: Option<&'c Shape>,
    secret: SecretText,
    previous: Vec<SecretText>,
    unsigned: Request<Bytes>,
    pub(super) signed: Request<Bytes>,
}

impl<'c> Case<'c> {
    pub(super) fn new(
        chosen: &'c Chosen,
        shape: Option<&'c Shape>,
        secret: SecretText,
        url: &str,
        body: &[u8],
    ) -> Option<Self> {
        let is_form = body.starts_with(b"b=");
        let form = "application/x-www-form-urlencoded";
        let unsigned = Request::post(url)
            .version(http::Version::HTTP_2)
            .header("content-type", if is_form { form } else { "text/plain" })
            .header("accept", "Text/HTML, text/plain")
            .header("x-tenant", "Seven Eleven")
            .header("x-forwarded-host", "public.example.com")
            .header("x-original-uri", "/public/hooks?z=1")
            .body(Bytes::copy_from_slice(body))
            .unwrap();
        let mut case = Self {
            chosen,
            shape,
            secret,
            previous: vec![SecretText::of_example("the secret that was valid before")],
            signed: unsigned.clone(),
            unsigned,
        };
        case.signed = case.sign(&case.unsigned)?;
        Some(case)
    }

    fn sign(&self, request: &Request<Bytes>) -> Option<Request<Bytes>> {
        let key_id = self.chosen.names_key().then_some("partner-1");
        let clock = Fixed(countersign::Timestamp::from_secs(NOW).unwrap());
        let signer = self.chosen.signer(key_id, &self.secret).ok()?.clock(clock);
        signer.sign_body(request.clone(), "nonce-1").ok()
    }

    pub(super) fn search(&self, request: &Request<Bytes>) -> Outcome {
        self.search_with(request, &self.secret)
    }

    pub(super) fn search_within(&self, request: &Request<Bytes>, limits: Limits) -> Outcome {
        self.search_for(request, &self.secret, limits)
    }

    pub(super) fn search_with(&self, request: &Request<Bytes>, secret: &SecretText) -> Outcome {
        self.search_for(request, secret, Limits::WORK)
    }

    fn search_for(&self, request: &Request<Bytes>, secret: &SecretText, limits: Limits) -> Outcome {
        let input = Input {
            chosen: self.chosen,
            shape: self.shape,
            request,
            origin: None,
            secrets: std::slice::from_ref(secret),
            previous: &self.previous,
        };
        search(&input, limits, &mut |_, _| {})
    }

    /// The message of the signed request, and every state that the rows make of it.
    fn states(&self, rows: &[&'static Row]) -> Vec<(State, State, MacAlgorithm)> {
        let input = Input {
            chosen: self.chosen,
            shape: self.shape,
            request: &self.signed,
            origin: None,
            secrets: std::slice::from_ref(&self.secret),
            previous: &self.previous,
        };
        let (head, body) = self.signed.clone().into_parts();
        let inspector = self.chosen.inspector(None);
        let (readings, _) = readings(&inspector, None, &head, &body, &|| false);
        let reading = &readings[0];
        let search = Search::for_tests(&input);
        let base = search.base(reading, &self.secret, &body);
        let mut states = vec![base.clone()];
        for row in rows {
            states = states
                .iter()
                .flat_map(|state| search.apply(row, state))
                .collect();
        }
        states
            .into_iter()
            .map(|state| (base.clone(), state, reading.algorithm))
            .collect()
    }

    /// The signed request with this text for its MAC, if its MAC is in a header.
    fn with_mac(&self, text: &str) -> Option<Request<Bytes>> {
        let shape = self.shape?;
        let value = self.signed.headers()[&shape.header].to_str().unwrap();
        let own = self.own_mac();
        let place = value.find(&own)?;
        let value = format!("{}{text}{}", &value[..place], &value[place + own.len()..]);
        let mut request = self.signed.clone();
        request
            .headers_mut()
            .insert(&shape.header, HeaderValue::from_str(&value).ok()?);
        Some(request)
    }

    fn own_mac(&self) -> String {
        let (head, body) = self.signed.clone().into_parts();
        let signatures = self.chosen.inspector(None).inspect(&head, &body).unwrap();
        self.shape.unwrap().encoding.encode(signatures[0].mac())
    }
}

/// A MAC, computed apart from the library.
fn mac(algorithm: MacAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    macro_rules! of {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).unwrap();
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        }};
    }
    match algorithm {
        MacAlgorithm::HmacSha256 => of!(sha2::Sha256),
        MacAlgorithm::HmacSha512 => of!(sha2::Sha512),
        MacAlgorithm::HmacSha1 => of!(sha1::Sha1),
        _ => panic!("an algorithm that is not known here"),
    }
}

fn whole(message: &Message) -> Vec<u8> {
    message
        .iter()
        .flat_map(|part| part.bytes.to_vec())
        .collect()
}

/// The bytes of the key, decoded apart from the library.
fn key_bytes(chosen: &Chosen, key: &Key) -> Vec<u8> {
    if key.reading != Reading::OfScheme {
        return key.bytes().unwrap().to_vec();
    }
    match (chosen.secret, key.text.strip_prefix(b"whsec_")) {
        (SecretForm::Hex, _) => super::secret::hex(&key.text).unwrap(),
        (SecretForm::Base64, _) => STANDARD.decode(&*key.text).unwrap(),
        (_, Some(text)) if decodes(chosen) => STANDARD.decode(text).unwrap(),
        _ => key.text.to_vec(),
    }
}

/// Requests of a sender that makes these mistakes.
pub(super) fn planted(case: &Case<'_>, rows: &[&'static Row]) -> Vec<Request<Bytes>> {
    let mut in_order = rows.to_vec();
    in_order.sort_by_key(|row| rank(row));
    let (of_header, of_state): (Vec<_>, Vec<_>) =
        in_order.into_iter().partition(|row| rank(row).0 == 3);
    let mut requests = Vec::new();
    for (base, state, own) in case.states(&of_state) {
        if state.secret.is_none() {
            continue;
        }
        let is_body = state.body != base.body;
        let is_digest = !base
            .message
            .iter()
            .any(|p| p.sources.contains(&countersign::inspect::Source::Body));
        // If the head holds a digest, the sender signs the digest of its own body.
        if is_body && is_digest {
            let mut other = case.unsigned.clone();
            *other.body_mut() = state.body.clone();
            let Some(mut signed) = case.sign(&other) else {
                continue;
            };
            *signed.body_mut() = case.unsigned.body().clone();
            if of_header.is_empty() && of_state.len() == 1 {
                requests.push(signed);
            }
            continue;
        }
        let key = key_bytes(case.chosen, &state.key);
        requests.extend(with_header_faults(
            case,
            &of_header,
            own,
            &key,
            &state.message,
        ));
    }
    requests
}

fn with_header_faults(
    case: &Case<'_>,
    rows: &[&'static Row],
    own: MacAlgorithm,
    key: &[u8],
    message: &Message,
) -> Option<Request<Bytes>> {
    let shape = case.shape?;
    let mut algorithm = own;
    let mut message = message.clone();
    let (mut write, mut length) = (None, usize::MAX);
    let (mut prefix, mut time) = (None, None);
    for row in rows {
        match row.change {
            Change::Algorithm(other) if other != own => algorithm = other,
            Change::CutOff => length = 16,
            Change::Mac(form) => write = Some(form.write),
            Change::Prefix(fault) if shape.is_fixed() => prefix = Some(fault),
            Change::TimeHeader => {
                let place = shape.time.as_ref()?;
                let text = if place.is_millis {
                    NOW.to_string()
                } else {
                    format!("{NOW}123")
                };
                for part in &mut message {
                    if part.sources.contains(&countersign::inspect::Source::Time) {
                        part.bytes = Bytes::copy_from_slice(text.as_bytes());
                    }
                }
                time = Some((place, text));
            }
            _ => return None,
        }
    }
    let mut mac = mac(algorithm, key, &whole(&message));
    mac.truncate(length);
    let own_text = shape.encoding.encode(&mac);
    let text = write.map_or(own_text.clone(), |write| write(&mac));
    // The same text is not a mistake, and digits alone have no case.
    if write.is_some() && (text == own_text || text.to_lowercase() == own_text) {
        return None;
    }
    let mut request = case.with_mac(&text)?;
    if let Some(fault) = prefix {
        let value = match fault {
            PrefixFault::Missing if shape.before.is_empty() => return None,
            PrefixFault::Missing => text,
            PrefixFault::Other => format!("sha1={text}"),
        };
        request
            .headers_mut()
            .insert(&shape.header, value.parse().unwrap());
    }
    if let Some((place, text)) = time {
        let value = request.headers().get(&place.header)?.to_str().unwrap();
        let value = match value.starts_with(|first: char| first.is_ascii_digit()) {
            true => text,
            false => value.replacen(&format!("={NOW}"), &format!("={text}"), 1),
        };
        request
            .headers_mut()
            .insert(&place.header, value.parse().unwrap());
    }
    Some(request)
}
