//! Any `Content-Digest` that a holder of the key signed: accepted only where every digest that we
//! support is that of the body, and there is one.
#![no_main]

use arbitrary::Arbitrary;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign::HttpMessageSignatures;
use countersign_fuzz::rfc9421::{KEY, Text, mac, unsigned, verify, with};
use libfuzzer_sys::fuzz_target;
use sfv::{Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256, Sha512};

#[derive(Arbitrary, Debug)]
struct Input {
    field: Text,
    /// Whether the text that is edited names sha-512 too.
    both: bool,
    body: String,
}

fuzz_target!(|input: Input| {
    let body = &input.body;
    let digests = [
        ("sha-256", Sha256::digest(body).to_vec()),
        ("sha-512", Sha512::digest(body).to_vec()),
    ];
    let own = digests.iter().take(1 + usize::from(input.both));
    let own = own.map(|(name, digest)| format!("{name}=:{}:", STANDARD.encode(digest)));
    let own = own.collect::<Vec<_>>().join(", ");
    let field = input.field.of(&own);

    let params =
        format!("(\"content-type\" \"content-digest\");keyid=\"{KEY}\";created=1700000000");
    let signed = field.trim_matches([' ', '\t']);
    let base = format!(
        "\"content-type\": application/json\n\"content-digest\": {signed}\n\
         \"@signature-params\": {params}"
    );
    let request = with(unsigned(body), "content-digest", &field)
        .and_then(|request| with(request, "signature-input", &format!("a={params}")))
        .and_then(|request| with(request, "signature", &format!("a={}", mac(base.as_bytes()))));
    let Some(request) = request else { return };
    let profile = HttpMessageSignatures::builder()
        .danger_require_only([])
        .danger_without_nonce()
        .build()
        .expect("a valid profile");

    let read = Parser::new(signed)
        .parse::<Dictionary>()
        .unwrap_or_default();
    let claimed = |name: &str| match read.get(name) {
        None => None,
        Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence().or(Some(&[])),
        Some(ListEntry::InnerList(_)) => Some(&[][..]),
    };
    let claims = digests
        .iter()
        .filter_map(|(name, own)| Some((claimed(name)?, own)));
    let matches: Vec<_> = claims.map(|(claimed, own)| claimed == own).collect();
    let right = !matches.is_empty() && !matches.contains(&false);
    match verify(profile, &request) {
        Ok(payload) => assert!(
            right && payload.bytes() == body.as_bytes(),
            "accepted `{field}`"
        ),
        Err(refused) => assert_ne!(signed, own, "{refused}"),
    }
});
