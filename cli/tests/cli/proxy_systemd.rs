//! `countersign proxy` tells systemd its state, over a real socket.

use std::{os::unix::net::UnixDatagram, time::Duration};

use crate::{
    listening::Listening,
    proxied::{configure, edit},
    session::Session,
};

#[test]
fn systemd_is_told_of_readiness_of_reloads_and_of_the_end() {
    let session = Session::new();
    let socket = UnixDatagram::bind(session.path().join("notify.sock")).unwrap();
    let limit = Some(Duration::from_secs(30));
    socket.set_read_timeout(limit).unwrap();
    let told = || {
        let mut bytes = [0; 1024];
        let read = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..read].to_vec()).unwrap()
    };
    configure(&session, "http://127.0.0.1:1", "danger-open = true\n");
    let mut listening = Listening::proxy_in(&session, "NOTIFY_SOCKET=$PWD/notify.sock");
    assert_eq!(told().trim(), "READY=1");
    // systemd is also told of a reload that fails, and that the proxy goes on.
    edit(&session, "path = \"/\"", "pathh = \"/\"");
    for expected in [false, true] {
        listening.signal("-HUP");
        let begun = told();
        let mut lines = begun.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"), "{begun}");
        let since = lines.next().unwrap().strip_prefix("MONOTONIC_USEC=");
        assert!(since.unwrap().parse::<u64>().unwrap() > 0, "{begun}");
        assert_eq!(told().trim(), "READY=1");
        assert_eq!(listening.object()["reloaded"], expected);
        if !expected {
            edit(&session, "pathh = \"/\"", "path = \"/\"");
        }
    }
    listening.signal("-TERM");
    assert_eq!(told().trim(), "STOPPING=1");
    let (said, code) = listening.end();
    assert_eq!(code, Some(0), "{said}");
}

/// The socket is a name of systemd's choice, which may be gone.
#[test]
fn without_systemd_the_proxy_serves_all_the_same() {
    let session = Session::new();
    configure(&session, "http://127.0.0.1:1", "danger-open = true\n");
    let listening = Listening::proxy_in(&session, "NOTIFY_SOCKET=$PWD/missing.sock");
    let (said, code) = listening.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("systemd cannot be told"), "{said}");
}
