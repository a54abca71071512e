//! Each row of the table is planted as a mistake, by a sender that makes it, and is found by its
//! name; pairs of rows too; and other alterations are never explained.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    planted_tests::{Case, planted, requests, schemes, secrets},
    search::{Limits, Outcome},
    shape::Shape,
    table::TABLE,
};

fn names(outcome: &Outcome) -> Option<BTreeSet<&'static str>> {
    outcome
        .found
        .as_ref()
        .map(|found| found.rows.iter().map(|row| row.id).collect())
}

/// Rows that few schemes have, and how many do here.
const FEW: [(&str, usize); 9] = [
    ("body.as-sent", 2),
    ("secret.prefix-decoded", 2),
    ("algorithm.sha-256", 2),
    ("text.missing", 3),
    ("header.joined", 3),
    ("header.lower", 3),
    ("header.spaces", 3),
    ("mac.hex-upper", 3),
    ("time.seconds", 1),
];

#[test]
fn each_row_is_found_by_name_in_at_least_four_schemes() {
    let schemes = schemes();
    let mut cases = 0;
    let mut by_row: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for chosen in &schemes {
        let shape = Shape::of(chosen);
        for row in TABLE {
            'row: for secret in secrets(chosen) {
                for (url, body) in requests() {
                    let case = Case::new(chosen, shape.as_ref(), secret.clone(), url, &body);
                    let Some(case) = case else {
                        continue;
                    };
                    for request in planted(&case, &[row]).into_iter().take(2) {
                        let outcome = case.search(&request);
                        let found = names(&outcome);
                        let found = found.unwrap_or_else(|| {
                            panic!(
                                "{}: `{}` is not explained: {request:?}",
                                chosen.name, row.id
                            )
                        });
                        if found == BTreeSet::from([row.id]) {
                            cases += 1;
                            by_row
                                .entry(row.id)
                                .or_default()
                                .insert(chosen.name.clone());
                            break 'row;
                        }
                    }
                }
            }
        }
    }
    let mut few = Vec::new();
    for row in TABLE {
        let found = by_row.get(row.id).map_or(0, BTreeSet::len);
        let least = FEW
            .iter()
            .find(|(id, _)| *id == row.id)
            .map_or(4, |(_, least)| *least);
        if found < least {
            few.push(format!("{}: {found}", row.id));
        }
    }
    assert!(few.is_empty(), "{few:?}");
    assert!(cases >= 120, "{cases}");
    println!("{cases} cases of {} rows", TABLE.len());
}

/// A sender of milliseconds, for every scheme that writes the time beside the MAC.
#[test]
fn a_time_in_the_other_unit_is_found_beside_the_mac() {
    let row = TABLE.iter().find(|row| row.id == "time.header").unwrap();
    let mut found = BTreeSet::new();
    for chosen in crate::scheme::all() {
        let Some(shape) = Shape::of(&chosen) else {
            continue;
        };
        if shape.time.as_ref().map(|time| &time.header) != Some(shape.header()) {
            continue;
        }
        let secret = secrets(&chosen)[0].clone();
        let (url, body) = requests().next().unwrap();
        let case = Case::new(&chosen, Some(&shape), secret, url, &body).unwrap();
        let planted = planted(&case, &[row]);
        assert_eq!(planted.len(), 1, "{}", chosen.name);
        let names = names(&case.search(&planted[0]));
        assert_eq!(names, Some(BTreeSet::from([row.id])), "{}", chosen.name);
        found.insert(chosen.name);
    }
    for name in ["stripe", "paddle", "calendly"] {
        assert!(found.contains(name), "{found:?}");
    }
    println!("{found:?}");
}

#[test]
fn pairs_of_mistakes_are_found() {
    let mut by_name = 0;
    for chosen in schemes().iter().filter(|chosen| {
        ["slack", "square", "house", "tenant", "standard-webhooks"].contains(&&*chosen.name)
    }) {
        let shape = Shape::of(chosen);
        let secret = &secrets(chosen)[0];
        // One row with another, far enough from it in the table to be of another kind.
        for (at, row) in TABLE.iter().enumerate() {
            let other = &TABLE[(at + 23) % TABLE.len()];
            if row.group == other.group {
                continue;
            }
            for (url, body) in requests().take(2) {
                let case = Case::new(chosen, shape.as_ref(), secret.clone(), url, &body);
                let Some(case) = case else { continue };
                let Some(request) = planted(&case, &[row, other]).into_iter().next() else {
                    continue;
                };
                let found = names(&case.search(&request)).unwrap_or_else(|| {
                    panic!(
                        "{}: `{}` with `{}` is not explained",
                        chosen.name, row.id, other.id
                    )
                });
                assert!(found.len() <= 2, "{found:?}");
                by_name += usize::from(found == BTreeSet::from([row.id, other.id]));
            }
        }
    }
    assert!(by_name >= 20, "{by_name}");
    println!("{by_name} pairs by name");
}

/// Numbers that are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn letters(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| char::from(b'a' + u8::try_from(self.below(26)).unwrap()))
            .collect()
    }
}

#[test]
fn other_alterations_are_never_explained() {
    let schemes = schemes();
    let shapes: Vec<_> = schemes.iter().map(Shape::of).collect();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut altered, mut tried) = (0, 0);
    while altered < 200 {
        let at = numbers.below(schemes.len());
        let chosen = &schemes[at];
        let secret = &secrets(chosen)[0];
        let url = "https://api.example.com/hooks/orders?b=2&a=1";
        let text = numbers.letters(24);
        let (body, other) = (format!(r#"{{"id":"{text}"}}"#), numbers.letters(24));
        let case = Case::new(
            chosen,
            shapes[at].as_ref(),
            secret.clone(),
            url,
            body.as_bytes(),
        );
        let Some(case) = case else {
            continue;
        };
        let mut request = case.signed.clone();
        let mut given = secret.clone();
        match numbers.below(4) {
            0 => *request.body_mut() = body.replace(&text, &other).into(),
            1 => *request.body_mut() = format!("{body}{other}").into(),
            2 => {
                let shown = chosen.write_secret(other.repeat(2).as_bytes());
                given = crate::secret::SecretText::of_example(&shown);
            }
            _ => {
                let Some(shape) = &shapes[at] else { continue };
                let value = request.headers()[&shape.header].to_str().unwrap();
                let end = value.len() - shape.after.len();
                let place = end - 20 - numbers.below(8);
                let digit = if value.as_bytes()[place] == b'1' {
                    "2"
                } else {
                    "1"
                };
                let value = format!("{}{digit}{}", &value[..place], &value[place + 1..]);
                request
                    .headers_mut()
                    .insert(&shape.header, value.parse().unwrap());
            }
        }
        let outcome = case.search_with(&request, &given);
        assert_eq!(names(&outcome), None, "{}: {request:?}", chosen.name);
        assert!(!outcome.is_cut_short);
        altered += 1;
        tried += outcome.tried;
    }
    println!("{altered} alterations, {tried} hypotheses");
}

/// The work of a search that finds nothing: a machine that hashes 500 MB a second does it in less
/// than 2 seconds.
#[test]
fn a_search_at_64_kib_is_bounded() {
    let members: Vec<String> = (0..1600)
        .map(|n| format!(r#""member {n}": {{"b/c": "caf\u00e9 {n}", "a": [{n}.50]}}"#))
        .collect();
    let body = format!("{{{}}}\r\n", members.join(",\r\n"));
    assert!(body.len() >= 64 * 1024);
    for chosen in schemes()
        .iter()
        .filter(|chosen| ["stripe", "house"].contains(&&*chosen.name))
    {
        let shape = Shape::of(chosen);
        let secret = &secrets(chosen)[0];
        let url = "https://api.example.com/hooks/orders?b=2&a=1";
        let case = Case::new(chosen, shape.as_ref(), secret.clone(), url, body.as_bytes()).unwrap();
        let mut request = case.signed.clone();
        *request.body_mut() = body.replace("member 7", "member x").into();
        let started = std::time::Instant::now();
        let outcome = case.search(&request);
        assert_eq!(names(&outcome), None);
        let mib = outcome.bytes / 1024 / 1024;
        println!(
            "{}: {} hypotheses, {mib} MiB, {:?}",
            chosen.name,
            outcome.tried,
            started.elapsed()
        );
        assert!(mib < 900, "{}: {mib} MiB", chosen.name);
    }
}

/// Any value of the header of the signature.
#[test]
fn no_signature_ends_the_command() {
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let limits = Limits {
        deadline: None,
        bytes: 64 * 1024,
    };
    for chosen in &schemes() {
        let shape = Shape::of(chosen);
        let secret = &secrets(chosen)[0];
        let (url, body) = requests().next().unwrap();
        let Some(case) = Case::new(chosen, shape.as_ref(), secret.clone(), url, &body) else {
            continue;
        };
        for _ in 0..30 {
            let mut request = case.signed.clone();
            let names: Vec<_> = request.headers().keys().cloned().collect();
            let name = &names[numbers.below(names.len())];
            let mut value = request.headers()[name].as_bytes().to_vec();
            for _ in 0..=numbers.below(6) {
                let at = numbers.below(value.len() + 1);
                match numbers.below(3) {
                    0 => value.truncate(at),
                    1 => value.insert(at, b" ,;:=\"v1a/+-_\xe9"[numbers.below(14)]),
                    _ => value.extend_from_within(at..),
                }
            }
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                request.headers_mut().insert(name, value);
            }
            let _ = case.search_within(&request, limits);
        }
    }
}
