//! Applications that check no signature, unchanged behind `countersign proxy`.

use std::{collections::BTreeMap, thread, time::Duration};

use crate::{
    probed::Probed,
    proxied::{KEYS, ORDER, Proxied, Signed, configure, get, send},
    proxy_load::{CLIENTS, load},
    session::Session,
};

fn transfers(app: &Probed) -> u32 {
    let answer = send(&app.address.to_string(), get("/transfers").as_bytes());
    let (_, body) = answer.0.split_once("\r\n\r\n").unwrap();
    let digits: String = body.chars().filter(char::is_ascii_digit).collect();
    // The size of a chunk, if there is one, comes first.
    digits.chars().last().unwrap().to_digit(10).unwrap()
}

fn acts_once_behind_the_proxy(script: &str) {
    let session = Session::new();
    let Some(app) = Probed::start(&session, script) else {
        return;
    };
    configure(&session, &format!("http://{}", app.address), KEYS);
    let proxied = Proxied::of(&session);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let raw = signed.raw();
    let address = proxied.listening.address();
    let answers = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| send(address, raw.as_bytes())))
            .collect();
        let answers = sending.into_iter().map(|one| one.join().unwrap());
        answers.collect::<Vec<_>>()
    });
    let done: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status() == 200)
        .collect();
    assert_eq!(done.len(), 1, "{script}: {answers:?}");
    let body: String = done[0].0.split_whitespace().collect();
    assert!(
        body.contains("\"amount\":10") && body.contains("partner-1"),
        "{script}: {body}"
    );
    let altered = proxied.send(raw.replace("10}", "99}"));
    assert_eq!(altered.status(), 401, "{script}: {altered:?}");
    assert_eq!(transfers(&app), 1, "{script}");
    // The twin: the application by itself acts on each.
    let direct = signed.with("countersign-key-id: \"forged\"\r\n");
    for _ in 0..3 {
        let answer = send(&app.address.to_string(), direct.as_bytes());
        assert_eq!(answer.status(), 200, "{script}: {answer:?}");
    }
    assert_eq!(transfers(&app), 4, "{script}");
}

#[test]
fn fastapi_acts_once_behind_the_proxy() {
    acts_once_behind_the_proxy("open_fastapi.py");
}

#[test]
fn django_acts_once_behind_the_proxy() {
    acts_once_behind_the_proxy("open_django.py");
}

#[test]
fn express_acts_once_behind_the_proxy() {
    acts_once_behind_the_proxy("open_express.mjs");
}

/// How often the application has acted on each amount.
fn effects(app: &Probed) -> BTreeMap<u64, usize> {
    let answer = send(&app.address.to_string(), get("/amounts").as_bytes());
    let list = answer.0.find("\r\n\r\n").and_then(|at| {
        let body = &answer.0[at..];
        body.get(body.find('[')?..=body.rfind(']')?)
    });
    let amounts: Vec<u64> = serde_json::from_str(list.unwrap()).unwrap();
    let mut effects = BTreeMap::new();
    for amount in amounts {
        *effects.entry(amount).or_default() += 1;
    }
    effects
}

/// The proxy is killed while clients send, starts again, and gets each request once more.
fn acts_once_though_the_proxy_is_killed(script: &str) {
    const ROUNDS: usize = 3;
    const EACH: usize = 40;

    for (processing, most) in [("at-most-once", 0), ("retryable\"\nlease = \"1", CLIENTS)] {
        let session = Session::new();
        let Some(app) = Probed::start(&session, script) else {
            return;
        };
        let route = format!("{KEYS}processing = \"{processing}\"\n").replace("\"1\"", "1");
        configure(&session, &format!("http://{}", app.address), &route);
        let mut proxied = Proxied::of(&session);
        for (round, part) in Signed::many(ROUNDS * EACH).chunks(EACH).enumerate() {
            let address = proxied.listening.address().to_owned();
            let twice =
                |effects: &BTreeMap<u64, usize>| effects.values().filter(|n| **n > 1).count();
            let before = twice(&effects(&app));
            load(
                &address,
                part,
                || true,
                || {
                    while effects(&app).len() < round * EACH + 10 {
                        thread::yield_now();
                    }
                    proxied.listening.kill();
                },
            );
            proxied = Proxied::of(&session);
            for request in part {
                while proxied.send(request.raw()).code() == "request_in_flight" {
                    thread::sleep(Duration::from_millis(50));
                }
            }
            let effects = effects(&app);
            assert!(
                effects.values().all(|count| *count <= 2),
                "{script}: {effects:?}"
            );
            assert!(
                twice(&effects) - before <= most,
                "{script}, {processing}: {effects:?}"
            );
            // Whatever was on its way at the kill may have got lost, and nothing else.
            let there = effects.len() - round * EACH;
            assert!(
                (10..=EACH).contains(&there),
                "{script}, {processing}: {effects:?}"
            );
        }
    }
}

#[test]
fn fastapi_acts_once_though_the_proxy_is_killed() {
    acts_once_though_the_proxy_is_killed("open_fastapi.py");
}

#[test]
fn django_acts_once_though_the_proxy_is_killed() {
    acts_once_though_the_proxy_is_killed("open_django.py");
}

#[test]
fn express_acts_once_though_the_proxy_is_killed() {
    acts_once_though_the_proxy_is_killed("open_express.mjs");
}

/// The faults of these applications are those of `background/`: nothing is checked, and what was read is
/// written after a wait.
fn probe_finds_nothing_behind_the_proxy(script: &str) {
    let session = Session::new();
    let Some(app) = Probed::start(&session, script) else {
        return;
    };
    configure(&session, &format!("http://{}", app.address), KEYS);
    let proxied = Proxied::of(&session);
    let probe = |address: &str, more: &str| {
        let command = format!(
            "http-message-signatures --key-id partner-1 \
             --data '{{\"amount\":10,\"id\":\"{{uuid}}\"}}' -H 'content-type: application/json' \
             --effect 'GET http://{}/transfers' {more} POST http://{address}/transfer",
            app.address
        );
        crate::probe::probe(&session, &command)
    };
    let report = probe(proxied.listening.address(), "");
    let found = crate::probe::ids(&report);
    assert!(found.is_empty(), "{script}: {:#}", report["findings"]);
    // The twin: the application by itself.
    let direct = app.address.to_string();
    let report = probe(
        &direct,
        "-H 'countersign-key-id: \"a\"' --check signature-missing --check replay",
    );
    let found = crate::probe::ids(&report);
    for id in ["signature-missing", "replay"] {
        assert!(found.iter().any(|known| known == id), "{script}: {found:?}");
    }
}

#[test]
fn probe_finds_fastapi_clean_behind_the_proxy() {
    probe_finds_nothing_behind_the_proxy("open_fastapi.py");
}

#[test]
fn probe_finds_django_clean_behind_the_proxy() {
    probe_finds_nothing_behind_the_proxy("open_django.py");
}

#[test]
fn probe_finds_express_clean_behind_the_proxy() {
    probe_finds_nothing_behind_the_proxy("open_express.mjs");
}
