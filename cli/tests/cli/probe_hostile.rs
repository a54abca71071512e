//! Servers that answer as no server should, and how `countersign probe` ends then.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    probe::{ids, write_schemes},
    session::Session,
};

type Hostile = fn(&mut TcpStream);

/// Longer than any of these probes takes on a busy machine, and shorter than their servers would hold
/// them up.
const LONG: Duration = Duration::from_secs(50);

/// A server that accepts the first requests, and then answers as no server should.
fn hostile(accepted: usize, answer: Hostile) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            thread::spawn(move || {
                let mut stream = stream;
                if at < accepted {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                } else {
                    answer(&mut stream);
                }
            });
        }
    });
    address
}

#[test]
fn hostile_answers_end_a_probe_within_its_bounds() {
    let session = Session::new();
    write_schemes(&session);
    let answers: [(&str, Hostile); 8] = [
        ("an endless body", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(b"5\r\nabcde\r\n").is_ok() {}
        }),
        ("an endless head", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"a: b\r\n").is_ok() {}
        }),
        ("10,000 headers", |stream| {
            let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(10_000));
            let _ = stream.write_all(head.as_bytes());
        }),
        ("no HTTP", |stream| {
            let _ = stream.write_all(b"\0\x01\xff SSH-2.0 \r\n\r\n\r\n");
        }),
        ("a lie about its length", |stream| {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nx");
        }),
        ("nothing", |stream| {
            let _ = stream.read(&mut [0; 4096]);
        }),
        // Unread bytes reset a connection when it is closed.
        ("a reset", |_| {}),
        ("slow bytes", |stream| {
            for byte in b"HTTP/1.1 200 OK".iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }),
    ];
    let started = Instant::now();
    let running: Vec<_> = answers
        .into_iter()
        .map(|(what, answer)| {
            let address = hostile(1, answer);
            let mut command = session.shell(&format!(
                "exec countersign probe --json --secret-file secret --timeout 1 --max-time 8 \
                 no-time.toml --data '{{\"a\":1}}' POST http://{address}/"
            ));
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            (what, command.spawn().unwrap())
        })
        .collect();
    for (what, child) in running {
        let output = child.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["ended"].is_string(), "{what}: {report:#}");
        assert_eq!(output.status.code(), Some(3), "{what}: {report:#}");
    }
    assert!(started.elapsed() < LONG);
}

/// A server that neither reads nor answers holds nobody up: neither what is sent nor what is waited
/// for has no end.
#[test]
fn a_server_that_does_nothing_ends_a_probe_within_its_bounds() {
    let session = Session::new();
    write_schemes(&session);
    let idle: Hostile = |_| thread::sleep(2 * LONG);
    for (options, ended) in [
        (
            "--timeout 100 --max-time 2 --check replay",
            "--max-time was over",
        ),
        (
            "--timeout 1 --max-time 100 --check large-body --check altered-body",
            "the endpoint answers valid requests no longer",
        ),
    ] {
        let started = Instant::now();
        let output = session.output(&format!(
            "countersign probe --json --secret-file secret {options} no-time.toml --data '{{\"a\":1}}' \
             POST http://{}/",
            hostile(1, idle)
        ));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let outcomes = [
            &report["checks"][0]["outcome"],
            &report["checks"][1]["outcome"],
        ];
        assert!(started.elapsed() < LONG, "{report:#}");
        assert!(
            report["ended"] == ended || outcomes.contains(&&"inconclusive".into()),
            "{report:#}"
        );
    }
    let said = session.run(
        "countersign probe --secret-file secret --max-time 18446744073709551615 no-time.toml POST \
         http://127.0.0.1:9/",
    );
    assert!(said.contains("longer than 2592000 s"), "{said}");
}

/// An answer that does not wait for the last byte is none of a race.
#[test]
fn copies_that_are_answered_early_do_not_count() {
    let session = Session::new();
    write_schemes(&session);
    let address = hostile(usize::MAX, |_| {});
    // On a busy machine the server may wake up too late, and then it is one that waits.
    let mut reports = (0..10).map(|_| {
        let output = session.output(&format!(
            "countersign probe --json --secret-file secret --check race --rounds 2 no-time.toml \
             --data '{{\"a\":1}}' POST http://{address}/"
        ));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let report = reports
        .find(|report| ids(report).is_empty())
        .expect("answers that are early");
    let check = &report["checks"][0];
    assert_eq!(check["outcome"], "inconclusive", "{report:#}");
    let note = check["note"].as_str().unwrap();
    assert!(note.contains("before their last bytes were sent"), "{note}");
}

/// The state and the document are read within the same bounds, and so is HTTP/2.
#[test]
fn hostile_answers_to_readings_end_a_probe() {
    let session = Session::new();
    write_schemes(&session);
    let endless: Hostile = |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"5\r\nabcde\r\n").is_ok() {}
    };
    let silent: Hostile = |stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let of = "--secret-file secret --timeout 1 --max-time 8 no-time.toml";
    for answer in [endless, silent] {
        let started = Instant::now();
        let [good, bad] = [hostile(usize::MAX, |_| {}), hostile(0, answer)];
        for command in [
            format!("{of} --effect 'GET http://{bad}/' POST http://{good}/"),
            format!("{of} --openapi http://{bad}/api.json"),
            format!("{of} --http2 POST http://{bad}/"),
        ] {
            let said = session.run(&format!("countersign probe {command}"));
            assert!(said.contains("(exit code 3)"), "{command}: {said}");
        }
        assert!(started.elapsed() < 2 * LONG);
    }
}

/// Ctrl-C ends a probe with what it has.
#[test]
fn an_interrupted_probe_reports_what_it_has() {
    let session = Session::new();
    write_schemes(&session);
    // The server accepts a few requests and then answers nothing for long, or answers nothing from
    // the start.
    for accepted in [6, 0] {
        let report = interrupted(&session, accepted);
        assert_eq!(report["ended"], "it was interrupted");
        let is_found = ids(&report).contains(&"uncovered-time".to_owned());
        assert_eq!(is_found, accepted > 0, "{report:#}");
    }
}

/// The report of a probe that is interrupted once the server answers nothing any more.
fn interrupted(session: &Session, accepted: usize) -> Value {
    static HANGING: AtomicUsize = AtomicUsize::new(0);
    HANGING.store(0, Ordering::SeqCst);
    let address = hostile(accepted, |stream| {
        HANGING.fetch_add(1, Ordering::SeqCst);
        // Until the probe ends.
        while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    });
    let mut command = session.shell(&format!(
        "exec countersign probe --json --secret-file secret --timeout 60 no-time.toml \
         --data '{{\"id\":\"{{uuid}}\"}}' --check uncovered-time --check replay --check altered-body \
         POST http://{address}/"
    ));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while HANGING.load(Ordering::SeqCst) == 0 {
        assert!(started.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
