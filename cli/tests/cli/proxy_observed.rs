//! An operator of `countersign proxy` sees measurements, and the refusals that a route only
//! observes.

use std::{io::Write as _, net::TcpStream};

use crate::{
    proxied::{DONE, KEYS, ORDER, Proxied, Signed, configure, edit, get, send, with_admin},
    session::Session,
    upstream::Upstream,
};

/// A proxy with an address for operators, and that address.
fn measured<'s>(session: &'s Session, upstream: &Upstream, route: &str) -> (Proxied<'s>, String) {
    configure(session, &upstream.url, route);
    edit(session, "path = \"/\"", "path = \"/transfer\"");
    edit(session, "access-log = false", "access-log = true");
    with_admin(session)
}

/// The value of a measurement with these labels.
fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|l| line.contains(l))
    };
    let line = metrics.lines().find(is_it)?;
    line.rsplit(' ').next()?.parse().ok()
}

fn ask(admin: &str) -> String {
    let answer = send(admin, get("/metrics").as_bytes());
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.0
}

#[test]
fn measurements_count_requests_refusals_and_the_time_of_the_upstream() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let (proxied, admin) = measured(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer?token=hidden-token", ORDER);
    for status in [200, 409, 409] {
        assert_eq!(proxied.send(signed.raw()).status(), status);
    }
    assert_eq!(proxied.send(get("/other")).status(), 404);
    let metrics = ask(&admin);
    for (name, labels, expected) in [
        (
            "countersign_proxy_requests_total",
            &[("route", "all"), ("status", "200")][..],
            1.0,
        ),
        (
            "countersign_proxy_requests_total",
            &[("route", "all"), ("status", "409")],
            2.0,
        ),
        (
            "countersign_proxy_requests_total",
            &[("route", "none"), ("status", "404")],
            1.0,
        ),
        (
            "countersign_proxy_refusals_total",
            &[("route", "all"), ("code", "request_replayed")],
            2.0,
        ),
        (
            "countersign_proxy_refusals_total",
            &[("route", "none"), ("code", "route_unknown")],
            1.0,
        ),
        (
            "countersign_proxy_upstream_seconds_count",
            &[("upstream", "app")],
            1.0,
        ),
        (
            "countersign_rejections_total",
            &[("code", "request_replayed")],
            2.0,
        ),
        ("countersign_claims_total", &[("outcome", "new")], 1.0),
        ("countersign_proxy_requests_in_flight", &[], 0.0),
    ] {
        assert_eq!(
            value(&metrics, name, labels),
            Some(expected),
            "{name} {labels:?}\n{metrics}"
        );
    }
    // At least the one that asks.
    let connections = value(&metrics, "countersign_proxy_connections", &[]);
    assert!(connections >= Some(1.0), "{connections:?}");
    for hidden in ["partner-1", "hidden-token", crate::session::SECRET] {
        assert!(!metrics.contains(hidden), "{hidden}: {metrics}");
    }
}

/// Nobody sees its answer, and an operator sees that it was there.
#[test]
fn a_client_that_hangs_up_before_its_answer_is_logged_and_counted() {
    let session = Session::new();
    let (upstream, release) = Upstream::held(DONE);
    let (mut proxied, admin) = measured(&session, &upstream, KEYS);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER).raw();
    let mut client = TcpStream::connect(proxied.listening.address()).unwrap();
    client.write_all(signed.as_bytes()).unwrap();
    upstream.wait_for(1);
    drop(client);
    let line = proxied.listening.object();
    let logged = &line["request"];
    assert_eq!(
        (&logged["status"], &logged["reason"], &logged["route"]),
        (&499.into(), &"client_gone".into(), &"all".into()),
        "{line}"
    );
    assert_eq!(logged["key_id"], "partner-1", "{line}");
    let metrics = ask(&admin);
    let labels = [("route", "all"), ("status", "499")];
    let gone = value(&metrics, "countersign_proxy_requests_total", &labels);
    assert_eq!(gone, Some(1.0), "{metrics}");
    drop(release);
}

#[test]
fn a_route_that_observes_says_what_it_would_have_refused() {
    let session = Session::new();
    let upstream = Upstream::start(DONE);
    let route = format!("{KEYS}danger-observe-only = true\n");
    let (mut proxied, admin) = measured(&session, &upstream, &route);
    let signed = Signed::new(&session, "POST", "/transfer", ORDER);
    let unsigned = "POST /transfer HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\
                    connection: close\r\n\r\n{}";
    for (raw, would) in [
        (signed.raw(), None),
        (signed.raw(), Some("request_replayed")),
        (unsigned.to_owned(), Some("signature_missing")),
    ] {
        assert_eq!(proxied.send(raw).status(), 200);
        let line = proxied.listening.object();
        let logged = &line["request"];
        assert_eq!(logged["would_refuse"].as_str(), would, "{line}");
        assert_eq!(logged["reason"].is_string(), would.is_some(), "{line}");
        assert!(logged["code"].is_null(), "{line}");
    }
    let metrics = ask(&admin);
    for code in ["request_replayed", "signature_missing"] {
        let labels = [("route", "all"), ("code", code)];
        let name = "countersign_proxy_observed_refusals_total";
        assert_eq!(
            value(&metrics, name, &labels),
            Some(1.0),
            "{code}\n{metrics}"
        );
        let refused = value(&metrics, "countersign_proxy_refusals_total", &labels);
        assert_eq!(refused, None, "{code}\n{metrics}");
    }
    assert_eq!(upstream.seen().len(), 3);
    // A warning of the library is a line of the log.
    let (said, _) = proxied.listening.stop();
    assert!(said.contains("requests are observed only"), "{said}");
}
