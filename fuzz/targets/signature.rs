//! Any `Signature`: never a panic, and accepted only where it has the MAC of the request.
#![no_main]

use countersign::{HttpMessageSignatures, RejectionKind};
use countersign_fuzz::rfc9421::{SIGNED, Text, verify, with};
use libfuzzer_sys::fuzz_target;
use sfv::{Dictionary, ListEntry, Parser};

fuzz_target!(|text: Text| {
    let genuine = SIGNED.headers()["signature"].to_str().expect("text");
    let field = text.of(genuine);
    let Some(request) = with(SIGNED.clone(), "signature", &field) else {
        return;
    };
    // As `sfv` reads it, the last one of several under a label counts.
    let mac = |field: &str| {
        let field: Dictionary = Parser::new(field.trim_matches([' ', '\t'])).parse().ok()?;
        match field.get("sig1")? {
            ListEntry::Item(item) => item.bare_item.as_byte_sequence().map(<[u8]>::to_vec),
            ListEntry::InnerList(_) => None,
        }
    };
    match verify(HttpMessageSignatures::default(), &request) {
        Ok(_) => assert_eq!(mac(&field), mac(genuine), "accepted `{field}`"),
        Err(refused) => {
            let kinds = [
                RejectionKind::SignatureMalformed,
                RejectionKind::SignatureInvalid,
            ];
            assert!(kinds.contains(&refused.kind()), "{refused}");
            assert_ne!(field, genuine);
        }
    }
});
