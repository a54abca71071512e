//! The table of checks. An id never changes its meaning.

use super::{body, forged, open, replay, signature, size, time, way};
use crate::{
    args::Severity::{self, Critical, High, Info, Low, Medium},
    probe::{
        check::{
            Check,
            How::{self, Once, Raced, RacedIfKnown, Read, Waits},
            Owasp::{
                self, Authentication, BusinessFlows, Misconfiguration, ObjectLevel, Resources,
            },
        },
        mend::{BYTES, CLAIM, COVER, IDENTITY, LIMITS, LOCK, Mend, SIGNATURE, TIME},
    },
};

/// The id of the first check: a valid request is accepted. It is no finding; the probe ends if it
/// fails.
pub(crate) const VALID: &str = "valid-request";

macro_rules! checks {
    ($($id:literal $severity:ident CWE-$cwe:literal $owasp:ident $mend:ident $how:expr;
        $title:literal; $gain:literal)*) => {
        /// All checks, in the order in which they run.
        pub(crate) static CHECKS: &[Check] = &[$(row(
            $id, $severity, $cwe, $owasp, &$mend, $how, $title, $gain,
        ),)*];
    };
}

#[allow(clippy::too_many_arguments, reason = "a row has so many columns")]
const fn row(
    id: &'static str,
    severity: Severity,
    cwe: u16,
    owasp: Owasp,
    mend: &'static Mend,
    how: How,
    title: &'static str,
    gain: &'static str,
) -> Check {
    Check {
        id,
        title,
        severity,
        cwe,
        owasp,
        gain,
        mend,
        how,
    }
}

checks! {
    "uncovered-parts" Info CWE-345 ObjectLevel COVER Read(open::parts);
        "The scheme leaves parts of the request uncovered";
        "An attacker who captured a request can change these parts before it is used."
    "uncovered-time" Info CWE-294 Authentication COVER Read(open::time);
        "The scheme covers no time";
        "A captured request has no age, and stays valid for as long as the secret."
    "replay" High CWE-294 Authentication CLAIM Once(replay::again);
        "The same request acts again";
        "An attacker who captured one request repeats its effect at will."
    "race" High CWE-362 BusinessFlows CLAIM Raced(replay::at_once);
        "Copies at the same moment act several times";
        "An attacker who captured a request, or owns an account, multiplies an effect by sending copies at once."
    "replay-after-error" High CWE-294 Authentication CLAIM Once(replay::after_an_error);
        "A request acts again after an error";
        "An attacker causes an error, or hangs up, and repeats the effect of a captured request."
    "replay-after-others" High CWE-294 Authentication CLAIM Once(replay::after_others);
        "A request acts again once others have come";
        "An attacker fills the memory with other requests, and then repeats a captured one."
    "replay-respelled" High CWE-294 Authentication CLAIM Once(replay::respelled);
        "A request acts again in another spelling";
        "An attacker changes how the signature or the time of a captured request is written, and repeats \
         its effect."
    "event-signed-again" High CWE-837 BusinessFlows CLAIM Once(replay::event_signed_again);
        "A retry of an event acts again";
        "A sender that retries is enough for an event to act twice."
    "event-race" High CWE-367 BusinessFlows LOCK RacedIfKnown(replay::event_at_once);
        "One event acts several times if its requests come at the same moment";
        "A client multiplies an effect that it may have once, by asking for it several times at once."
    "nonce-reused" Medium CWE-323 Authentication CLAIM Once(replay::nonce_reused);
        "A nonce is accepted for several requests";
        "A sender that repeats nonces is not noticed, and its requests can be confused."
    "altered-body" Critical CWE-345 ObjectLevel BYTES Once(body::other_value);
        "A changed body is accepted";
        "An attacker who captured a request changes its content."
    "altered-path" Critical CWE-639 ObjectLevel BYTES Once(forged::path);
        "A changed path is accepted";
        "An attacker who captured a request sends it to another resource."
    "altered-query" High CWE-639 ObjectLevel BYTES Once(forged::query);
        "A changed query is accepted";
        "An attacker who captured a request changes its parameters."
    "altered-method" High CWE-650 ObjectLevel BYTES Once(forged::method);
        "A changed method is accepted";
        "An attacker who captured a request turns it into another operation."
    "altered-authority" Low CWE-346 Misconfiguration BYTES Once(forged::authority);
        "A changed host is accepted";
        "A request to one host is valid at another that has the same secret."
    "altered-header" High CWE-345 ObjectLevel BYTES Once(forged::header);
        "A changed covered header is accepted";
        "An attacker who captured a request changes the header, such as the tenant or the kind of the content."
    "altered-time" High CWE-345 Authentication TIME Once(forged::time);
        "A changed time is accepted";
        "An attacker who captured a request gives it a new time."
    "altered-nonce" High CWE-345 Authentication COVER Once(forged::nonce);
        "A changed nonce is accepted";
        "An attacker sends a captured request again with new nonces, as often as they like."
    "altered-key-id" High CWE-347 Authentication SIGNATURE Once(forged::key_id);
        "A changed key id is accepted";
        "A request counts as a request of another key."
    "path-identity" High CWE-367 ObjectLevel IDENTITY Once(forged::path_against_body);
        "The path chooses another resource than the signed body";
        "An attacker who captured a request, or may act on one resource, acts on any other."
    "time-stale" High CWE-613 Authentication TIME Once(time::stale);
        "Old requests are accepted";
        "A captured request stays valid, even after the endpoint has forgotten it."
    "time-future" Medium CWE-613 Authentication TIME Once(time::future);
        "Requests with a time in the future are accepted";
        "A request can be signed today that is valid for longer than the window."
    "time-malformed" Medium CWE-1286 Authentication TIME Once(time::malformed);
        "Times in another form are accepted";
        "A time that is read in two ways is valid for longer than the window, or is forgotten too early."
    "time-missing" High CWE-294 Authentication TIME Once(time::missing);
        "Requests without a time are accepted";
        "An attacker removes the time from a captured request, which then never expires."
    "signature-missing" Critical CWE-306 Authentication SIGNATURE Once(signature::missing);
        "Requests without a signature are accepted";
        "Nobody needs the secret."
    "signature-truncated" Critical CWE-347 Authentication SIGNATURE Once(signature::truncated);
        "Signatures of another length are accepted";
        "A short signature is guessed."
    "signature-algorithm" Medium CWE-327 Authentication SIGNATURE Once(signature::other_algorithm);
        "Signatures under another algorithm are accepted";
        "The weakest algorithm decides how safe the signature is."
    "unsigned-way" Critical CWE-288 Authentication SIGNATURE Once(way::unsigned);
        "There is a way in without a signature";
        "Nobody needs the secret for this way."
    "json-duplicate-keys" High CWE-436 ObjectLevel BYTES Once(body::duplicate_keys);
        "JSON with a key twice has the signature of JSON with the key once";
        "The signature is checked with one value, and another part of the application may read the other."
    "json-rewritten" Medium CWE-436 ObjectLevel BYTES Once(body::written_again);
        "JSON in another form has the same signature";
        "The signature is checked over other bytes than were sent: parsers that differ read other values."
    "large-body" Low CWE-770 Resources LIMITS Once(size::large);
        "A large body is read before it is refused";
        "Strangers fill the memory of the server."
    "slow-body" Low CWE-770 Resources LIMITS Waits(size::slow);
        "A slow body has no deadline";
        "Strangers keep connections and workers of the server busy."
    "window-memory" High CWE-294 Authentication CLAIM Waits(replay::after_most_of_the_window);
        "A request acts again before its signature expires";
        "An attacker waits until the endpoint has forgotten a request that is still valid."
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _};

    use super::*;

    /// The page of the checks, from the table. With `UPDATE_PAGE` in the environment it is written.
    #[test]
    fn the_page_of_checks_is_the_table() {
        let mut page = String::from(
            "# The checks of `countersign probe`\n\nMade from the table in `src/probe/checks/table.rs`; \
             a test compares them. `countersign probe --check ID` runs one check.\n\n\
             | id | severity | class | finds |\n| --- | --- | --- | --- |\n",
        );
        for check in CHECKS {
            let _ = writeln!(
                page,
                "| [`{0}`](#{0}) | {1} | CWE-{2}; {3} | {4} |",
                check.id,
                check.severity.name(),
                check.cwe,
                check.owasp.name(),
                check.title,
            );
        }
        for check in CHECKS {
            let _ = write!(
                page,
                "\n## {}\n{}. {}\n\n",
                check.id, check.title, check.gain
            );
            // The first of those that are mended alike says how.
            let mut alike = CHECKS.iter();
            let alike = alike.find(|other| other.mend.general == check.mend.general);
            let first = alike.unwrap().id;
            if first != check.id {
                let _ = writeln!(page, "Fix: as for [`{first}`](#{first}).");
                continue;
            }
            let _ = write!(page, "Fix: {}\n\n", check.mend.general);
            for (framework, mend) in check.mend.frameworks() {
                let _ = writeln!(page, "- {framework}: {mend}");
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/checks.md");
        if std::env::var_os("UPDATE_PAGE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page);
    }

    #[test]
    fn ids_are_unique_and_rows_are_whole() {
        let ids: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
        for check in CHECKS {
            assert!(
                check.title.len() < 80 && check.gain.ends_with('.'),
                "{}",
                check.id
            );
            let is_id = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(check.id.chars().all(is_id), "{}", check.id);
        }
    }
}
