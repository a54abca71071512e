//! Each row of the attacks that a store decides has a test on every store, or a reason why it
//! is no matter of that store.

use std::{fs, path::Path};

const STORES: [&str; 4] = ["memory", "SQLite", "PostgreSQL", "Redis and Valkey"];

enum Cover {
    /// Tests, by their file and name. Tests that run on every store are in `attacks/stores.rs`.
    By(&'static [(&'static str, &'static str)]),
    Not(&'static str),
}

use Cover::{By, Not};

const EVERYWHERE: &str = "attacks/stores.rs";

const PROCESSES: &str =
    "a20_each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes";
const NOT_OF_A_STORE: Cover = Not("the verifier decides it before it asks a store");
const NO_MORE_THAN_A_PROCESS: Cover = Not("it ends with its process, and has nothing to fail over");

#[rustfmt::skip]
const ROWS: &[(u8, [Cover; 4])] = &[
    (16, [
        By(&[("attacks/time.rs", A16)]), By(&[(EVERYWHERE, A16)]), By(&[(EVERYWHERE, A16)]),
        By(&[(EVERYWHERE, A16)]),
    ]),
    (17, [
        By(&[("attacks/time.rs", A17)]),
        By(&[(EVERYWHERE, A17), ("stores/sqlite/limits.rs", "a_server_that_needs_longer_is_fenced")]),
        By(&[
            (EVERYWHERE, A17),
            ("layer/in_transaction.rs", "a_server_that_needs_a_longer_memory_is_refused_until_it_is_made"),
        ]),
        By(&[
            (EVERYWHERE, A17),
            ("stores/redis/faults.rs", "a_namespace_whose_retention_is_raised_refuses_what_was_remembered_for_less"),
        ]),
    ]),
    (18, [
        By(&[("attacks/time.rs", "a18_a_slow_body_that_outlives_its_window_over_a_socket")]),
        NOT_OF_A_STORE, NOT_OF_A_STORE, NOT_OF_A_STORE,
    ]),
    (19, [
        By(&[("attacks/once.rs", A19)]), By(&[(EVERYWHERE, A19)]), By(&[(EVERYWHERE, A19)]),
        By(&[(EVERYWHERE, A19)]),
    ]),
    (20, [
        By(&[("attacks/once.rs", "a20_copies_at_once_over_sockets_have_one_effect")]),
        By(&[(EVERYWHERE, A20), ("stores/sqlite/races.rs", "each_of_a_hundred_thousand_nonces_is_accepted_once_by_several_processes")]),
        By(&[(EVERYWHERE, A20), ("stores/postgres/races.rs", PROCESSES)]),
        By(&[(EVERYWHERE, A20), ("stores/redis/races.rs", PROCESSES)]),
    ]),
    (21, [
        By(&[("attacks/limits.rs", "a21_a_flood_to_capacity_reopens_nothing")]),
        By(&[("stores/sqlite/limits.rs", "a_full_store_refuses_knows_every_nonce_and_has_room_again")]),
        By(&[("stores/postgres/faults.rs", "a27_a_full_disk_refuses_and_forgets_nothing")]),
        By(&[("stores/redis/faults.rs", "a_server_without_memory_refuses_and_evicts_nothing")]),
    ]),
    (22, [
        By(&[("attacks/limits.rs", "a22_one_key_does_not_use_up_everybodys_capacity")]),
        By(&[(EVERYWHERE, "a22_a40_one_key_does_not_use_up_the_capacity_of_sqlite")]),
        By(&[(EVERYWHERE, A44_QUOTA)]),
        By(&[(EVERYWHERE, A44_QUOTA)]),
    ]),
    (23, [
        By(&[("attacks/once.rs", A23)]), By(&[(EVERYWHERE, A23)]), By(&[(EVERYWHERE, A23)]),
        By(&[(EVERYWHERE, A23)]),
    ]),
    (24, [
        By(&[
            ("attacks/restart.rs", A24),
            ("stores/high_watermark.rs", "a_process_that_is_killed_at_any_moment_leaves_a_file_that_covers_what_it_accepted"),
        ]),
        By(&[(EVERYWHERE, A24)]), By(&[(EVERYWHERE, A24)]), By(&[(EVERYWHERE, A24)]),
    ]),
    (25, [
        By(&[("attacks/restart.rs", A25)]), By(&[(EVERYWHERE, A25)]), By(&[(EVERYWHERE, A25)]),
        By(&[
            (EVERYWHERE, A25),
            ("stores/redis/faults.rs", "a_server_whose_clock_goes_off_is_not_used_any_more"),
        ]),
    ]),
    (26, [
        By(&[
            ("layer/processing.rs", "a_store_that_fails_lets_nothing_through_and_says_when_to_come_back"),
            ("layer/processing.rs", "a_reply_that_was_lost_lets_nothing_through_and_nothing_twice"),
        ]),
        By(&[("stores/sqlite/damage.rs", "a_locked_database_refuses_and_records_nothing")]),
        By(&[
            ("stores/postgres/faults.rs", "a26_a_server_that_is_killed_or_stalls_under_load_accepts_nothing_twice"),
            ("stores/postgres/faults.rs", "a26_a_lost_reply_is_unknown_and_its_nonce_is_not_accepted_later"),
            ("stores/postgres/faults.rs", "a26_a_slow_database_refuses_in_time"),
        ]),
        By(&[
            ("stores/redis/faults.rs", "a_server_that_hangs_is_given_up_in_time_and_resumes"),
            ("stores/redis/faults.rs", "a_reply_that_is_cut_off_is_told_from_a_copy"),
        ]),
    ]),
    (27, [
        NO_MORE_THAN_A_PROCESS,
        By(&[
            ("stores/sqlite/damage.rs", "a_write_that_was_torn_takes_nothing_along"),
            ("stores/sqlite/damage.rs", "a_log_that_lost_what_was_acknowledged_is_found_out"),
            ("stores/sqlite/damage.rs", "a_full_disk_refuses_and_forgets_nothing"),
        ]),
        By(&[
            ("stores/postgres/faults.rs", "a27_a_failover_that_loses_what_was_acknowledged_accepts_none_of_it_again"),
            ("stores/postgres/faults.rs", "a27_a_full_disk_refuses_and_forgets_nothing"),
        ]),
        By(&[
            ("stores/redis/replicated.rs", "a27_a_failover_that_a_sentinel_makes_accepts_nothing_twice"),
            ("stores/redis/replicated.rs", "a27_a_failover_in_a_cluster_under_load_accepts_nothing_twice"),
            ("stores/redis/faults.rs", "a_server_that_evicts_is_not_used"),
            ("stores/redis/faults.rs", "a27_a_full_disk_accepts_nothing_twice"),
        ]),
    ]),
    (28, [
        By(&[("attacks/handling.rs", "a28_a_request_that_is_dropped_at_any_point_has_at_most_one_effect")]),
        By(&[(EVERYWHERE, A28)]), By(&[(EVERYWHERE, A28)]), By(&[(EVERYWHERE, A28)]),
    ]),
    (32, [
        By(&[("attacks/once.rs", A32)]), By(&[(EVERYWHERE, A32)]), By(&[(EVERYWHERE, A32)]),
        By(&[(EVERYWHERE, A32)]),
    ]),
    (35, [
        By(&[("attacks/handling.rs", A35), ("attacks/holders.rs", A35_AT_RANDOM)]),
        By(&[(EVERYWHERE, A35), (EVERYWHERE, A35_AT_RANDOM)]),
        By(&[(EVERYWHERE, A35), (EVERYWHERE, A35_AT_RANDOM)]),
        By(&[(EVERYWHERE, A35), (EVERYWHERE, A35_AT_RANDOM)]),
    ]),
    (36, [
        By(&[("attacks/handling.rs", A36)]), By(&[(EVERYWHERE, A36)]), By(&[(EVERYWHERE, A36)]),
        By(&[(EVERYWHERE, A36)]),
    ]),
    (37, [
        Not("no handler has a transaction in it"),
        By(&[
            ("layer/in_transaction.rs", "on_sqlite_a_savepoint_that_takes_the_nonce_with_it_is_noticed_by_the_look_up"),
            ("stores/sqlite/consume.rs", "the_nonce_is_recorded_with_the_effect_or_not_at_all"),
        ]),
        By(&[
            ("layer/in_transaction.rs", "a37_consumed_and_rolled_back_and_answered_with_200_is_no_success"),
            ("layer/in_transaction.rs", "a37_of_two_clones_that_take_the_payload_one_gets_it"),
        ]),
        Not("no handler has a transaction in it"),
    ]),
    (38, [
        By(&[("stores/memory.rs", "a_claim_whose_deadline_has_passed_is_refused")]),
        By(&[(EVERYWHERE, A38)]),
        By(&[(EVERYWHERE, A38), ("stores/postgres/faults.rs", "a38_a_deadline_that_passes_while_the_claim_waits_is_refused")]),
        By(&[(EVERYWHERE, A38), ("stores/redis/faults.rs", "a_deadline_that_is_past_on_arrival_is_refused_by_the_clock_of_the_server")]),
    ]),
    (56, [
        Not("it has no eviction policy, and refuses when it is full"),
        Not("it has no eviction policy, and refuses when it is full"),
        Not("nothing but the store deletes its rows"),
        By(&[
            ("stores/redis/lost.rs", "a56_a_policy_that_evicts_for_a_moment_reopens_nothing"),
            ("stores/redis/lost.rs", "a56_the_first_claim_after_an_eviction_is_told_of_it"),
            ("stores/redis/lost.rs", "a56_counters_that_are_reset_after_an_eviction_hide_nothing"),
            ("stores/redis/lost.rs", "a56_a_policy_that_was_another_one_is_remembered"),
        ]),
    ]),
    (60, [
        By(&[("attacks/restart.rs", A25)]), By(&[(EVERYWHERE, A25)]), By(&[(EVERYWHERE, A25)]),
        By(&[
            ("stores/redis/lost.rs", "a60_a_clock_that_is_ahead_for_a_moment_reopens_nothing"),
            ("stores/redis/lost.rs", "a60_a_jump_while_no_process_runs_reopens_nothing"),
            ("stores/redis/lost.rs", "a60_a_jump_of_a_few_seconds_loses_no_record"),
        ]),
    ]),
    (57, [
        Not("no handler has a transaction in it"),
        Not("it has one writer, so that whatever waits, waits for that one"),
        By(&[
            ("layer/in_transaction/duplicates.rs", "a57_duplicates_in_one_process_wait_without_a_connection"),
            ("layer/in_transaction/duplicates.rs", "a57_a_duplicate_in_another_process_gives_its_connection_back"),
            ("layer/in_transaction/duplicates.rs", "a57_a_connection_without_an_answer_is_closed_and_not_returned"),
            ("layer/in_transaction/duplicates.rs", "a57_one_delivery_sent_to_many_places_holds_one_connection"),
            ("schemes/tokens/once.rs", "a57_duplicates_of_a_token_wait_without_a_connection"),
            ("schemes/tokens/once.rs", "a57_of_the_copies_of_a_token_in_transactions_one_waits"),
        ]),
        Not("no handler has a transaction in it"),
    ]),
    (58, [
        NO_MORE_THAN_A_PROCESS,
        Not("an older copy of its file is row 59"),
        By(&[
            ("stores/postgres/copies.rs", "a58_a_copy_within_the_same_cluster_is_fenced"),
            ("stores/postgres/copies.rs", "a58_a_base_backup_in_place_is_found_by_a_server_that_lives_through_it"),
        ]),
        Not("a replication id that changes is row 27"),
    ]),
    (45, [
        By(&[
            ("attacks/shared.rs", "a45_a_tenants_event_uses_up_no_other_tenants"),
            ("attacks/shared.rs", "a45_a_preset_on_a_shared_store_needs_a_name"),
        ]),
        By(&[(EVERYWHERE, A45)]), By(&[(EVERYWHERE, A45)]), By(&[(EVERYWHERE, A45)]),
    ]),
    (61, [
        By(&[
            ("attacks/shared.rs", "a61_what_a_short_window_accepted_a_longer_one_does_not_accept"),
            ("attacks/shared.rs", "a61_what_needs_less_is_remembered_for_as_long_as_its_namespace"),
        ]),
        By(&[(EVERYWHERE, A61)]), By(&[(EVERYWHERE, A61)]), By(&[(EVERYWHERE, A61)]),
    ]),
    (40, [
        By(&[("attacks/limits.rs", "a40_one_key_that_dates_everything_ahead_gets_no_more_than_its_share")]),
        By(&[(EVERYWHERE, A40)]), By(&[(EVERYWHERE, A40)]), By(&[(EVERYWHERE, A40)]),
    ]),
    (44, [
        By(&[
            ("attacks/place.rs", A44),
            ("attacks/place.rs", "a44_made_up_paths_at_once_leave_no_more_than_16_records"),
        ]),
        By(&[(EVERYWHERE, A44), (EVERYWHERE, A44_AT_ONCE), (EVERYWHERE, A44_QUOTA)]),
        By(&[(EVERYWHERE, A44), (EVERYWHERE, A44_AT_ONCE), (EVERYWHERE, A44_QUOTA)]),
        By(&[(EVERYWHERE, A44), (EVERYWHERE, A44_AT_ONCE), (EVERYWHERE, A44_QUOTA)]),
    ]),
    (59, [
        Not("it has no file of its records, and the high watermark is row 62"),
        By(&[
            ("stores/sqlite/copies.rs", "a59_an_older_copy_beside_the_mark_is_found"),
            ("stores/sqlite/copies.rs", "a59_an_older_copy_without_a_mark_is_found"),
            ("stores/sqlite/copies.rs", "a59_a_mark_that_is_foreign_or_unreadable_is_found"),
            ("stores/sqlite/copies.rs", "a59_a_database_that_is_gone_while_its_mark_is_there_is_found"),
            ("stores/sqlite/copies.rs", "a59_the_mark_is_beside_the_database_and_not_beside_a_link_to_it"),
        ]),
        Not("row 58 is about copies of its databases"),
        Not("it is no embedded database"),
    ]),
    (62, [
        By(&[
            ("stores/high_watermark.rs", "a62_the_file_behind_a_link_is_written_and_the_link_stays"),
            ("stores/high_watermark.rs", "a62_only_a_regular_file_is_accepted_and_nothing_waits_for_another"),
            ("stores/high_watermark.rs", "a62_what_is_in_the_place_of_the_new_file_is_not_written_through"),
        ]),
        By(&[
            ("stores/sqlite/copies.rs", "a59_the_mark_is_beside_the_database_and_not_beside_a_link_to_it"),
            ("stores/sqlite/copies.rs", "a_mark_that_is_no_file_is_refused_at_once"),
        ]),
        Not("it has no high watermark"),
        Not("it has no high watermark"),
    ]),
];

const A16: &str = "a16_dated_in_the_future_and_replayed_after_receipt_and_window";
const A17: &str = "a17_a_record_is_kept_for_longer_than_window_and_skew";
const A19: &str = "a19_a_forged_request_does_not_burn_the_nonce";
const A20: &str = "a20_copies_at_once_through_two_servers_have_one_effect";
const A23: &str = "a23_a_delimiter_in_key_id_or_nonce_makes_no_other_claim";
const A24: &str = "a24_a_replay_after_a_restart";
const A25: &str = "a25_a_clock_that_is_stepped_forward_and_back_reopens_nothing";
const A28: &str = "a28_a_handler_that_panics_or_whose_client_has_gone_has_used_its_request";
const A32: &str = "a32_an_event_that_is_signed_anew_is_the_same_event";
const A35: &str = "a35_the_old_holder_of_a_lease_neither_completes_nor_releases_the_new_one";
const A35_AT_RANDOM: &str = "a35_of_several_at_random_one_at_a_time_holds_a_lease";
const A36: &str = "a36_a_sender_that_hangs_up_does_not_cut_its_handler_off";
const A38: &str = "a38_a_deadline_that_is_past_when_the_claim_arrives_records_nothing";
const A40: &str = "a40_two_copies_in_one_batch_have_one_effect";

const A44: &str = "a44_made_up_paths_leave_no_more_than_16_records";
const A44_QUOTA: &str = "a44_one_keys_flood_leaves_room_for_other_keys_and_namespaces";
const A44_AT_ONCE: &str =
    "a44_made_up_paths_at_once_through_two_servers_leave_no_more_than_16_records";
const A45: &str = "a45_two_tenants_on_one_store_need_names_of_their_own";
const A61: &str = "a61_a_longer_window_is_refused_until_its_namespace_is_extended";

/// Returns where a row is not covered as the table says.
fn gaps(rows: &[(u8, [Cover; 4])], source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut gaps = Vec::new();
    let concerned = (16..=28)
        .chain([32])
        .chain(35..=38)
        .chain([40, 44, 45, 56, 57, 58, 59, 60, 61, 62]);
    for row in concerned.filter(|row| !rows.iter().any(|(known, _)| known == row)) {
        gaps.push(format!("row {row} is missing"));
    }
    for (row, covers) in rows {
        for (store, cover) in STORES.iter().zip(covers) {
            let tests = match cover {
                By(tests) => *tests,
                Not("") => &[],
                Not(_) => continue,
            };
            if tests.is_empty() {
                gaps.push(format!("row {row} on {store}: nothing"));
            }
            for (file, test) in tests {
                if !source(file).is_some_and(|source| is_a_test(&source, test)) {
                    gaps.push(format!("row {row} on {store}: no test `{test}` in {file}"));
                }
            }
        }
    }
    gaps
}

/// A function with `#[test]` or the like above it, or one that a macro makes tests of, by its name.
fn is_a_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let is_above =
        |line: &&str| ["", "async"].contains(&line.trim()) || line.trim_start().starts_with("#[");
    let mut above = before.lines().rev().take_while(is_above);
    let listed = |line: &str| line.trim() == name;
    above.any(|line| line.contains("test")) || source.lines().any(listed)
}

fn source(file: &str) -> Option<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    fs::read_to_string(tests.join(file)).ok()
}

#[test]
fn each_row_has_a_test_on_every_store() {
    assert_eq!(gaps(ROWS, source), [""; 0]);
}

#[test]
fn a_gap_is_found() {
    let text = "#[test]\nfn there() {\n}\nfn no_test() {\n}\n";
    let source = |file: &str| (file == "there.rs").then(|| text.to_owned());
    let with = |cover| {
        let covers = [By(&[("there.rs", "there")]), cover, Not("why"), Not("why")];
        gaps(&[(16, covers)], source)
            .into_iter()
            .filter(|gap| gap.starts_with("row 16"))
            .count()
    };
    assert_eq!(with(Not("why")), 0);
    for gap in [
        By(&[]),
        By(&[("there.rs", "another")]),
        By(&[("there.rs", "no_test")]),
        By(&[("elsewhere.rs", "there")]),
        Not(""),
    ] {
        assert_eq!(with(gap), 1);
    }
    assert_eq!(gaps(&[], source).len(), 28);
}
