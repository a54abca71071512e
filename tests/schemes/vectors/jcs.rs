//! RFC 8785: its test data, and the published sequence of numbers.

use std::collections::BTreeMap;

use countersign::{Signer, scheme::JsonForm};
use sha2::Digest as _;

use super::*;

/// Returns what a handler is given of this body.
async fn canonical(body: impl Into<Bytes>) -> Bytes {
    const SECRET: &str = "the secret of the sender";
    let scheme = HeaderScheme::builder("x-signature")
        .fixed_key_id(SENDER)
        .danger_without_time(DAY)
        .signs([Part::canonical_body(JsonForm::Jcs)])
        .build()
        .unwrap();
    let signer = Signer::new(scheme.clone(), SENDER, SECRET).unwrap();
    let signed = signer.sign(Request::post("/").body(body.into()).unwrap());
    let (head, body) = signed.unwrap().into_parts();
    let verifier = Verifier::builder(scheme)
        .keys(KeyRing::new().with(SENDER, SECRET).unwrap())
        .store(MemoryStore::new().danger_assume_no_history())
        .build()
        .unwrap();
    let verified = verifier.verify(&head, Full::new(body)).await.unwrap();
    verified.payload().unwrap().bytes().clone()
}

#[tokio::test]
async fn the_test_data_of_rfc_8785() {
    for name in [
        "arrays",
        "french",
        "structures",
        "unicode",
        "values",
        "weird",
    ] {
        let Some(input) = text(&format!("jcs/testdata/input/{name}.json")) else {
            return;
        };
        let output = text(&format!("jcs/testdata/output/{name}.json")).unwrap();
        let in_hex = text(&format!("jcs/testdata/outhex/{name}.txt")).unwrap();
        let digits = in_hex.into_iter().filter(|b| !b.is_ascii_whitespace());
        let in_hex = hex(&String::from_utf8(digits.collect()).unwrap());
        let canonical = canonical(input).await;
        assert_eq!(canonical, output, "{name}");
        assert_eq!(canonical, in_hex, "{name}");
    }
}

#[derive(Deserialize)]
struct JcsNumbers {
    vectors: Vec<JcsNumber>,
    es6_sequence_sha256: BTreeMap<usize, String>,
}

#[derive(Deserialize)]
struct JcsNumber {
    ieee754_hex: String,
    json: String,
}

/// Each number as JCS writes it; given in a text that is not the canonical one.
async fn canonical_numbers(numbers: &[f64]) -> Vec<String> {
    let texts: Vec<_> = numbers.iter().map(|number| format!("{number:e}")).collect();
    let canonical = canonical(format!("[{}]", texts.join(", "))).await;
    let canonical = std::str::from_utf8(&canonical).unwrap();
    let canonical = canonical.strip_prefix('[').unwrap().strip_suffix(']');
    canonical.unwrap().split(',').map(str::to_owned).collect()
}

#[tokio::test]
async fn the_numbers_of_rfc_8785() {
    let Some(JcsNumbers { vectors, .. }) = vectors("jcs/numbers.json") else {
        return;
    };
    for JcsNumber { ieee754_hex, json } in &vectors {
        let bits = u64::from_str_radix(ieee754_hex, 16).unwrap();
        assert_eq!(
            canonical_numbers(&[f64::from_bits(bits)]).await,
            [json.as_str()]
        );
    }
    assert_eq!(vectors.len(), 7);
}

/// The first numbers of the published sequence of 100 million, made as its description says: a
/// table, 2000 in a row, and then blocks of hashes.
#[tokio::test]
async fn the_sequence_of_numbers_beside_rfc_8785() {
    let Some(numbers) = vectors::<JcsNumbers>("jcs/numbers.json") else {
        return;
    };
    let description = text("jcs/testdata/README.md").unwrap();
    let description = String::from_utf8(description).unwrap();
    let (table, _) = description.split_once("])").unwrap();
    let table = table.split("0x").skip(1).map(|entry| {
        let digits = entry.split('n').next().unwrap();
        u64::from_str_radix(digits, 16).unwrap()
    });
    let in_a_row = (0..2000).map(|i| 0x0010_0000_0000_0000 + i);
    let mut block = [0; 32];
    let hashed = std::iter::repeat_with(move || {
        block = Sha256::digest(block).into();
        let words = block.chunks(8).map(|word| word.try_into().unwrap());
        words.map(u64::from_le_bytes).collect::<Vec<_>>()
    });
    let hashed = hashed.flatten().filter(|bits| {
        let number = f64::from_bits(*bits);
        number != 0.0 && number.is_finite()
    });
    let (most, _) = numbers.es6_sequence_sha256.last_key_value().unwrap();
    let sequence: Vec<u64> = table.chain(in_a_row).chain(hashed).take(*most).collect();

    let mut lines = Vec::new();
    for bits in sequence.chunks(1000) {
        let numbers: Vec<_> = bits.iter().copied().map(f64::from_bits).collect();
        let canonical = canonical_numbers(&numbers).await;
        lines.extend(
            bits.iter()
                .zip(canonical)
                .map(|(bits, json)| format!("{bits:x},{json}\n")),
        );
    }
    for (count, sha256) in &numbers.es6_sequence_sha256 {
        let text = lines[..*count].concat();
        assert_eq!(
            Sha256::digest(text).as_slice(),
            hex(sha256),
            "of the first {count}"
        );
    }
    assert_eq!(*most, 10_000);
}
