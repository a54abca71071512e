//! A proxy that is reloaded, ended or killed while its clients send.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    proxied::{Answer, DONE, KEYS, Proxied, Signed, try_send},
    session::Session,
    upstream::Upstream,
};

pub(crate) const CLIENTS: usize = 6;

/// Returns how often each request had an effect, by its number.
fn effects(upstream: &Upstream) -> BTreeMap<usize, usize> {
    let mut effects = BTreeMap::new();
    for seen in upstream.seen() {
        let order: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let number = usize::try_from(order["amount"].as_u64().unwrap()).unwrap();
        *effects.entry(number).or_default() += 1;
    }
    effects
}

/// Sends requests by several clients, each on a connection of its own, until there are no more, or
/// `goes_on` says no; the answers by their numbers.
pub(crate) fn load(
    address: &str,
    requests: &[Signed],
    goes_on: impl Fn() -> bool + Sync,
    meanwhile: impl FnOnce(),
) -> BTreeMap<usize, Answer> {
    let next = Mutex::new(requests.iter().enumerate());
    let answers = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while goes_on() {
                    let Some((number, request)) = next.lock().unwrap().next() else {
                        break;
                    };
                    let answer = try_send(address, request.raw().as_bytes());
                    answers.lock().unwrap().insert(number, answer);
                }
            });
        }
        meanwhile();
    });
    answers.into_inner().unwrap()
}

/// Takes a moment for each, so that some are always on their way.
fn upstream() -> Upstream {
    use std::io::Write as _;
    Upstream::answering(|stream, _| {
        thread::sleep(Duration::from_millis(2));
        stream.write_all(DONE.as_bytes()).is_ok()
    })
}

#[test]
fn reloads_under_load_lose_no_request_and_double_none() {
    const RELOADS: usize = 20;

    let session = Session::new();
    let upstream = upstream();
    let mut proxied = Proxied::start(&session, &upstream, KEYS);
    let requests = Signed::many(6000);
    let address = proxied.listening.address().to_owned();
    let is_over = AtomicBool::new(false);
    let answers = load(
        &address,
        &requests,
        || !is_over.load(Ordering::Relaxed),
        || {
            for count in 1..=RELOADS {
                upstream.wait_for(count * 10);
                proxied.listening.signal("-HUP");
                assert_eq!(proxied.listening.object()["reloaded"], true);
            }
            is_over.store(true, Ordering::Relaxed);
        },
    );
    assert!(answers.len() >= RELOADS * 10, "{}", answers.len());
    for (number, answer) in &answers {
        assert_eq!(answer.statuses(), [200], "{number}: {answer:?}");
        let again = proxied.send(requests[*number].raw());
        assert_eq!((again.status(), again.code()), (409, "request_replayed"));
    }
    let effects = effects(&upstream);
    assert_eq!(effects.len(), answers.len());
    assert!(effects.values().all(|count| *count == 1), "{effects:?}");
}

#[test]
fn an_end_under_load_loses_no_request_and_doubles_none() {
    let session = Session::new();
    let upstream = upstream();
    let proxied = Proxied::start(&session, &upstream, KEYS);
    let requests = Signed::many(600);
    let address = proxied.listening.address().to_owned();
    let answers = load(
        &address,
        &requests,
        || true,
        || {
            upstream.wait_for(20);
            proxied.listening.signal("-TERM");
        },
    );
    let (said, code) = proxied.listening.end();
    assert_eq!(code, Some(0), "{said}");
    let proxied = Proxied::of(&session);
    let mut unanswered = 0;
    for (number, answer) in &answers {
        if answer.0.is_empty() {
            // The request was not acted on: the same request passes now.
            unanswered += 1;
            let answer = proxied.send(requests[*number].raw());
            assert_eq!(answer.statuses(), [200], "{number}: {answer:?}");
        } else {
            assert_eq!(answer.statuses(), [200], "{number}: {answer:?}");
        }
    }
    assert!(unanswered > 0, "the proxy ended behind the last request");
    let effects = effects(&upstream);
    assert_eq!(effects.len(), requests.len());
    assert!(effects.values().all(|count| *count == 1), "{effects:?}");
}

#[test]
fn a_kill_under_load_with_retryable_has_at_most_one_more_effect_of_what_was_on_its_way() {
    let session = Session::new();
    let upstream = upstream();
    let route = format!("{KEYS}processing = \"retryable\"\nlease = 1\n");
    let mut proxied = Proxied::start(&session, &upstream, &route);
    let requests = Signed::many(300);
    let mut on_their_way = 0;
    for (round, part) in requests.chunks(100).enumerate() {
        let address = proxied.listening.address().to_owned();
        let answers = load(
            &address,
            part,
            || true,
            || {
                upstream.wait_for(round * 100 + 30);
                proxied.listening.kill();
            },
        );
        proxied = Proxied::of(&session);
        for (number, answer) in answers {
            if answer.0.is_empty() {
                let raw = part[number].raw();
                // Until its lease has ended, the proxy says that it is in flight.
                let ended = loop {
                    let answer = proxied.send(&raw);
                    if answer.code() != "request_in_flight" {
                        break answer;
                    }
                    thread::sleep(Duration::from_millis(50));
                };
                let is_done = ended.status() == 200 || ended.code() == "request_replayed";
                assert!(is_done, "{number}: {ended:?}");
                continue;
            }
            assert_eq!(answer.statuses(), [200], "{number}: {answer:?}");
        }
        let effects = effects(&upstream);
        let twice = effects.values().filter(|count| **count == 2).count();
        assert!(effects.values().all(|count| *count <= 2), "{effects:?}");
        // Each client had one request on its way when the proxy was killed.
        assert!(twice - on_their_way <= CLIENTS, "{twice}: {effects:?}");
        on_their_way = twice;
        assert_eq!(effects.len(), round * 100 + part.len());
    }
}
