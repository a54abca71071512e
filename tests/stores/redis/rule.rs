//! The scripts of Redis say the same of time as [`History`].

use countersign::{Timestamp, store::History};

use super::{Duration, Server, claim_until, programs};

const RECORD: &str = include_str!("../../../src/store/redis/record.lua");
const NAMESPACE: &str = include_str!("../../../src/store/redis/namespace.lua");

/// For how much longer than its deadline a record stays.
const SPARE: u64 = 10_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

#[test]
fn a_deadline_is_past_in_the_script_when_it_is_past_in_rust() {
    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let mut found = [0; 2];
        for nonce in 0..2000 {
            let (seconds, micros): (u64, u64) = server.ask(&["TIME"]).unwrap();
            // The clock of the server reaches some of them on the way.
            let deadline = seconds * 1000 + micros / 1000 + nonce % 50;
            let key = format!("nonce {nonce}");
            let words = [
                "EVAL",
                RECORD,
                "1",
                &key,
                if nonce % 2 == 0 { "claim" } else { "lease" },
                "of 16 characters",
                "8 of a c",
                &deadline.to_string(),
                "60000",
                "0",
                &SPARE.to_string(),
            ];
            let (answer, now): (String, u64) = server.ask(&words).unwrap();
            let is_past = History::is_past(&claim_until(nonce, at(deadline)), at(now));
            assert_eq!(answer == "past", is_past, "{deadline} at {now}");
            found[usize::from(is_past)] += 1;
            let kept_until: i64 = server.ask(&["PEXPIRETIME", &key]).unwrap();
            let is_kept = kept_until >= i64::try_from(deadline + SPARE).unwrap();
            assert_eq!(is_kept, !is_past, "{deadline} until {kept_until}");
        }
        assert!(found.iter().all(|count| *count > 0), "{found:?}");
    }
}

#[test]
fn a_namespace_remembers_in_the_script_for_what_is_taken_in_rust() {
    const KNOWN_BY: u64 = 7000;
    for program in programs() {
        let server = Server::start(&program, &["--save", ""]);
        let ask = |retention: u64, extend: u64| -> (u64, u64, u64) {
            let [retention, known_by, extend] =
                [retention, KNOWN_BY, extend].map(|n| n.to_string());
            let words = ["EVAL", NAMESPACE, "1", "n", &retention, &known_by, &extend];
            server.ask(&words).unwrap()
        };
        let mut recorded = 300;
        let mut raised = 0;
        assert_eq!(ask(recorded, 0).0, recorded);
        for (asked, extend) in [
            (300, 0),
            (299, 0),
            (301, 0),
            (299, 1),
            (300, 1),
            (301, 1),
            (300, 0),
            (400, 1),
        ] {
            let history = History::COMPLETE.remembering(Duration::from_millis(recorded));
            let claim = claim_until(1, Timestamp::MAX).with_retention(Duration::from_millis(asked));
            let needs_more = history.takes(&claim, Timestamp::EPOCH).is_err();
            let (found, raised_at, now) = ask(asked, extend);
            if needs_more && extend == 1 {
                recorded = asked;
                raised = now + KNOWN_BY;
            }
            assert_eq!((found, raised_at), (recorded, raised), "{asked}, {extend}");
        }
    }
}
