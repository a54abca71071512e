//! Says which attack is tried on which preset, and fails if an attack is left out.

use std::{fs, path::Path};

use super::{
    provider::{Provider, Retries, Time},
    rows::ALL,
};

/// The rows of the attacks that differ from preset to preset.
const ROWS: [u8; 22] = [
    1, 2, 4, 5, 6, 7, 10, 11, 13, 14, 15, 16, 17, 18, 19, 30, 31, 32, 33, 34, 35, 36,
];

/// The other rows: no preset has a say in them. Each has the reason, and a test that tries the row
/// where it is decided.
const ELSEWHERE: &[(u8, &str, &str)] = &[
    (
        3,
        ONE_PIPELINE,
        "a_mac_takes_as_long_to_refuse_wherever_it_is_wrong",
    ),
    (
        8,
        ONE_PIPELINE,
        "a08_a_request_without_a_signature_finds_no_other_way_in",
    ),
    (
        9,
        "no preset reads a digest but Twilio's, in the query",
        "a41_a_signed_text_does_not_vouch_for_a_body",
    ),
    (
        12,
        "only five presets cover a URL, whose tests have files of their own",
        "every_change_of_one_byte_of_body_url_and_header_is_refused",
    ),
    (
        20,
        STORE,
        "a20_copies_at_once_through_two_servers_have_one_effect",
    ),
    (21, STORE, "a21_a_flood_to_capacity_reopens_nothing"),
    (22, STORE, "a22_one_key_does_not_use_up_everybodys_capacity"),
    (
        23,
        NO_KEY_NAMED,
        "a23_the_same_nonce_under_two_keys_is_legal",
    ),
    (24, STORE, "a24_a_replay_after_a_restart"),
    (
        25,
        STORE,
        "a25_a_clock_that_is_stepped_forward_and_back_reopens_nothing",
    ),
    (
        26,
        STORE,
        "a26_a_lost_reply_is_unknown_and_its_nonce_is_not_accepted_later",
    ),
    (
        27,
        STORE,
        "a27_a_failover_that_a_sentinel_makes_accepts_nothing_twice",
    ),
    (
        28,
        ONE_PIPELINE,
        "a28_a_request_that_is_dropped_at_any_point_has_at_most_one_effect",
    ),
    (
        29,
        ONE_PIPELINE,
        "a29_content_length_with_transfer_encoding",
    ),
    (
        37,
        ONE_PIPELINE,
        "a37_a_body_read_by_another_extractor_is_empty_and_its_success_no_success",
    ),
    (
        38,
        STORE,
        "a38_a_deadline_that_is_past_when_the_claim_arrives_records_nothing",
    ),
    (
        39,
        ONE_PIPELINE,
        "a13_a39_an_uncovered_content_encoding_is_refused",
    ),
    (40, STORE, "a40_two_copies_in_one_batch_have_one_effect"),
    (
        41,
        "a form of Twilio is the only text that can be read in two ways",
        "a41_json_is_read_as_no_form",
    ),
    (
        42,
        "no sender verifies an answer",
        "a42_a_refusal_of_an_altered_request_is_not_final",
    ),
    (
        43,
        ONE_PIPELINE,
        "a43_a_length_that_is_only_declared_takes_up_no_budget",
    ),
    (44, STORE, "a44_made_up_paths_leave_no_more_than_16_records"),
    (
        45,
        ONE_PIPELINE,
        "a45_a_tenants_event_uses_up_no_other_tenants",
    ),
    (46, ONE_PIPELINE, "a46_idle_strangers_delay_nobody"),
    (
        47,
        ONE_PIPELINE,
        "a47_time_and_key_are_checked_before_the_message_is_built",
    ),
    (
        48,
        ONE_PIPELINE,
        "a48_a_handler_that_blocks_its_thread_keeps_its_lease",
    ),
    (
        49,
        NO_KEY_NAMED,
        "the_sender_cannot_tell_an_unknown_key_from_a_wrong_mac",
    ),
    (
        50,
        "the presets with an event id in the body read it in one way",
        "a13_an_event_id_that_can_be_read_in_two_ways_is_refused",
    ),
    (
        51,
        ONE_PIPELINE,
        "a51_strangers_under_the_known_key_keep_no_genuine_delivery_out",
    ),
    (
        52,
        ONE_PIPELINE,
        "a52_no_more_handlers_run_than_may_whatever_their_senders_do",
    ),
    (
        53,
        ONE_PIPELINE,
        "a53_a_success_whose_body_fails_is_handled_again",
    ),
    (
        54,
        "eight presets answer a question, and each is asked at every path",
        "a54_a_handshake_is_answered_at_its_own_path_alone",
    ),
    (
        55,
        "a key id is part of what a store remembers, as each preset's `key_id` says",
        "a55_a_delivery_is_new_under_a_key_id_that_was_renamed",
    ),
    (
        56,
        STORE,
        "a56_a_policy_that_evicts_for_a_moment_reopens_nothing",
    ),
    (
        57,
        STORE,
        "a57_duplicates_in_one_process_wait_without_a_connection",
    ),
    (58, STORE, "a58_a_copy_within_the_same_cluster_is_fenced"),
    (59, STORE, "a59_an_older_copy_beside_the_mark_is_found"),
    (
        60,
        STORE,
        "a60_a_clock_that_is_ahead_for_a_moment_reopens_nothing",
    ),
    (
        61,
        STORE,
        "a61_a_longer_window_is_refused_until_its_namespace_is_extended",
    ),
    (
        62,
        STORE,
        "a62_only_a_regular_file_is_accepted_and_nothing_waits_for_another",
    ),
];

const STORE: &str = "the store decides it, whatever the preset";
const ONE_PIPELINE: &str = "all schemes go through the same stages";
const NO_KEY_NAMED: &str = "no request of a sender names a key";

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
        &["Contentful", "Webflow"],
        "see a14_a_time_in_milliseconds_is_plain_digits",
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

/// The text of every file of tests.
fn all_tests() -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// The text of the catalogue, file by file.
fn catalogue() -> impl Iterator<Item = String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scheme/webhooks/catalogue");
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
}

/// The preset whose row begins in this line: `Stripe = STRIPE "stripe" {`.
fn preset_of(line: &str) -> Option<&str> {
    let (name, row) = line.strip_prefix("    ")?.split_once(" = ")?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_name && row.ends_with("\" {")).then_some(name)
}

/// The presets that there are: rows of the catalogue, and those that are code.
fn presets() -> Vec<String> {
    let catalogue = catalogue().collect::<String>();
    let rows = catalogue.lines().filter_map(preset_of).map(str::to_owned);
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

/// Each row of the attacks is tried here, on every preset but those that are named with a reason, or
/// elsewhere.
#[test]
fn every_attack_has_its_place() {
    let tests = all_tests();
    for row in 1..=62 {
        let here = ROWS.contains(&row);
        let elsewhere: Vec<_> = ELSEWHERE
            .iter()
            .filter(|(number, ..)| *number == row)
            .collect();
        assert_eq!(elsewhere.len(), usize::from(!here), "row {row}");
        for (_, why, test) in elsewhere {
            assert!(!why.is_empty(), "row {row}");
            assert!(tests.contains(&format!("fn {test}(")), "row {row}: {test}");
        }
    }
}

/// Each preset that answers a question of its sender is asked at every path.
#[test]
fn every_handshake_is_tried_at_other_paths() {
    let asked = include_str!("../../attacks/handshake.rs");
    let mut count = 0;
    for file in catalogue() {
        let mut lines = file.lines();
        let answers = ["    challenge: Some(", "    form_check: Some("];
        if !lines.any(|line| answers.iter().any(|field| line.contains(field))) {
            continue;
        }
        let preset = file.lines().find_map(preset_of).unwrap();
        assert!(asked.contains(&format!("{preset}::new()")), "{preset}");
        count += 1;
    }
    assert_eq!(count, 8);
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
