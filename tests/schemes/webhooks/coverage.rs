//! Which attack is tried on which preset, and that none is left out.

use std::{fs, path::Path};

use super::{
    provider::{Provider, Retries, Time},
    rows::ALL,
};

/// The rows of the attacks that concern webhooks: the others are about stores, keys that are named, and
/// what no preset has.
const ROWS: [u8; 22] = [
    1, 2, 4, 5, 6, 7, 10, 11, 13, 14, 15, 16, 17, 18, 19, 30, 31, 32, 33, 34, 35, 36,
];

type Is = fn(&Provider) -> bool;

/// Presets on which a row is not tried in the way of the others, by what they are.
const UNLIKE: &[(u8, Is, &str)] = &[
    (2, |p| p.list.is_none(), "it writes a single MAC"),
    (
        7,
        |p| p.message == "{body}",
        "the body is all that is signed",
    ),
    (14, UNTIMED, NO_TIME),
    (15, UNTIMED, NO_TIME),
    (16, UNTIMED, NO_TIME),
    (18, UNTIMED, NO_TIME),
    (17, UNCLAIMED, NO_CLAIM),
    (35, UNCLAIMED, NO_CLAIM),
];

const NO_TIME: &str = "no time is covered";
const UNTIMED: Is = |provider| provider.time == Time::None;

const NO_CLAIM: &str = "it makes no claim";
const UNCLAIMED: Is = |provider| provider.retries == Retries::Unclaimed;

/// And by their names: why not, or `see` the test that tries it.
const BUT: &[(u8, &[&str], &str)] = &[
    (
        6,
        &["Mailgun"],
        "see a06_what_stands_in_a_multipart_form_or_a_header_is_not_read",
    ),
    (
        7,
        &["HubSpot", "Square"],
        "see a07_bytes_cannot_move_between_url_and_body",
    ),
    (
        7,
        &["Mailgun"],
        "see a07_digits_cannot_move_between_time_and_token",
    ),
    (
        7,
        &["Trello"],
        "see a07_bytes_cannot_move_between_body_and_url",
    ),
    (
        7,
        &["Contentful"],
        "see a07_bytes_cannot_move_between_listed_headers",
    ),
    (
        7,
        &["Zendesk", "Box Webhooks"],
        "see a07_bytes_cannot_move_between_date_and_body",
    ),
    (
        7,
        &["Twilio"],
        "see a07_bytes_can_move_between_parameters_that_are_signed_without_delimiters",
    ),
    (
        10,
        &["Mailgun"],
        "see a10_a11_a_signature_that_cannot_be_read_one_way_is_refused",
    ),
    (
        11,
        &["Mailgun"],
        "see a10_a11_a_signature_that_cannot_be_read_one_way_is_refused",
    ),
    (
        13,
        &["Mailgun"],
        "of the body nothing is covered but the signature's own fields",
    ),
    (
        14,
        &["Linear"],
        "see a14_a_time_in_the_body_is_a_whole_number",
    ),
    (
        14,
        &["HubSpot"],
        "see a14_a_time_is_plain_digits_in_milliseconds",
    ),
    (
        14,
        &["Contentful"],
        "see a14_a_listed_time_is_plain_digits_in_milliseconds",
    ),
    (
        14,
        &["Zendesk", "Box Webhooks"],
        "see a14_a_date_is_written_in_one_form",
    ),
    (14, &["Mailgun"], "see a14_a_time_is_ten_plain_digits"),
    (
        32,
        &["Mailgun"],
        "see a32_a_token_is_used_once_whatever_else_the_body_says",
    ),
    (
        32,
        &["Twilio"],
        "see a32_what_is_alike_is_handled_each_time_and_no_store_is_asked",
    ),
    (
        32,
        &["Dropbox"],
        "see a32_notifications_that_are_alike_are_each_handled_and_no_store_is_asked",
    ),
];

/// The presets on which this row is tried.
pub fn concerned(row: u8) -> impl Iterator<Item = &'static Provider> {
    ALL.into_iter().filter(move |provider| {
        let mut unlike = UNLIKE.iter().filter(|(number, ..)| *number == row);
        let mut named = BUT.iter().filter(|(number, ..)| *number == row);
        !unlike.any(|(_, is_unlike, _)| is_unlike(provider))
            && !named.any(|(_, names, _)| names.contains(&provider.name))
    })
}

/// The names and the text of all the tests of this folder.
fn tests() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemes/webhooks");
    let mut tests = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for test in text.split("#[tokio::test").chain(text.split("#[test]")) {
            let Some((_, test)) = test.split_once("fn ") else {
                continue;
            };
            let (name, text) = test.split_once('(').unwrap();
            tests.push((name.to_owned(), text.to_owned()));
        }
    }
    tests
}

/// The presets that there are: rows of the catalogue, and those that are code.
fn presets() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheme/webhooks/catalogue");
    let files = fs::read_dir(folder).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let catalogue = texts.collect::<String>();
    let rows = catalogue.lines().filter_map(|line| {
        let (name, row) = line.strip_prefix("    ")?.split_once(" = ")?;
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric());
        (is_name && row.ends_with("\" {")).then(|| name.to_owned())
    });
    rows.chain(["Mailgun", "Twilio"].map(str::to_owned))
        .collect()
}

/// Returns what is not tried.
fn gaps(presets: &[String], tests: &[(String, String)]) -> Vec<String> {
    let mut gaps = Vec::new();
    let named = |name: &str| ALL.iter().any(|p| p.name.replace(' ', "") == name);
    let presets = presets.iter().filter(|preset| !named(preset));
    gaps.extend(presets.map(|preset| format!("{preset} is not in the table")));
    for row in ROWS {
        let is_tried = tests.iter().any(|(name, text)| {
            name.contains(&format!("a{row:02}_")) && text.contains(&format!("concerned({row})"))
        });
        if !is_tried {
            gaps.push(format!("row {row} is not tried"));
        }
    }
    for (row, names, why) in BUT {
        let unknown = names
            .iter()
            .filter(|name| ALL.iter().all(|p| p.name != **name));
        gaps.extend(unknown.map(|name| format!("row {row}: there is no {name}")));
        if let Some(test) = why.strip_prefix("see ")
            && !(test.contains(&format!("a{row:02}_"))
                && tests.iter().any(|(name, _)| name == test))
        {
            gaps.push(format!("row {row}: there is no {test}"));
        }
    }
    gaps
}

#[test]
fn every_attack_is_tried_on_every_preset() {
    assert_eq!(presets().len() + 1, ALL.len(), "and Svix");
    assert_eq!(gaps(&presets(), &tests()), Vec::<String>::new());
}

#[test]
fn twin_a_preset_or_an_attack_that_is_left_out_is_found() {
    let mut presets = presets();
    presets.push("Another".to_owned());
    let mut tests = tests();
    tests.retain(|(name, _)| !name.contains("a34_") && !name.contains("a06_what"));
    let expected = [
        "Another is not in the table",
        "row 34 is not tried",
        "row 6: there is no a06_what_stands_in_a_multipart_form_or_a_header_is_not_read",
    ];
    assert_eq!(gaps(&presets, &tests), expected);
}
