//! `listen --keep` and `--store`: what stays in files.

use std::{
    env,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Stdio},
};

use crate::{
    listen::{curl, github, run, send},
    listening::Listening,
    round_trip::keygen,
    session::Session,
};

#[test]
fn what_was_kept_is_verified_later_as_of_when_it_came() {
    let session = Session::new();
    keygen(&session, "stripe");
    let arguments = "stripe --secret-file stripe.secret --keep kept.db";
    let mut listening = Listening::json(&session, arguments);
    let curl = curl(&session, "stripe", &listening.url);
    run(&session, &curl, "");
    let first = listening.object();
    let first_url = listening.url.clone();
    let file = session.path().join("kept.db");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    for beside in ["kept.db-wal", "kept.db-shm"] {
        let mode = session.path().join(beside).metadata();
        let mode = mode.unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{beside}: {mode:o}");
    }
    // While the server runs, and after it.
    let verify = "countersign verify stripe --secret-file stripe.secret --json kept.db";
    let live: serde_json::Value = serde_json::from_str(&session.stdout(verify)).unwrap();
    for member in [
        "verified",
        "key_id",
        "signed_at",
        "nonce",
        "covered",
        "uncovered",
    ] {
        assert_eq!(live[member], first[member], "{member}");
    }
    let (said, code) = listening.stop();
    assert_eq!(code, Some(0));
    let warning = "warning: `kept.db` will contain requests that may still be valid";
    assert!(said.contains(warning), "{said}");

    // Numbers go on where they ended, and the permissions of a file are taken back.
    session.stdout("chmod 644 kept.db");
    let mut listening = Listening::json(&session, arguments);
    session.file("body", r#"{"id":"evt_2"}"#);
    run(&session, &curl.replace(&first_url, &listening.url), "");
    assert_eq!(listening.object()["id"], 2);
    listening.stop();
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let second = session.run(&format!("{verify} --entry 2"));
    assert!(second.contains(r#""code":"signature_invalid""#), "{second}");
    let late = "countersign verify stripe --secret-file stripe.secret --entry 1 kept.db";
    assert!(session.run(late).contains("\nverified\n"));
    let late = format!("{late} --now 4000000000");
    assert!(session.run(&late).contains("signature_expired"));

    session.file("kept.txt", "x".repeat(100));
    session.stdout(
        "python3 -c \"import sqlite3; sqlite3.connect('other.db').execute('CREATE TABLE a (b)')\"",
    );
    let transcript: Vec<String> = [
        "countersign verify stripe --secret-file stripe.secret kept.db",
        "countersign verify stripe --secret-file stripe.secret --entry 7 kept.db",
        "countersign verify stripe --secret-file stripe.secret other.db",
        "countersign listen stripe --secret-file stripe.secret --keep other.db",
        "countersign listen stripe --secret-file stripe.secret --keep kept.txt",
        "countersign listen stripe --secret-file stripe.secret --keep missing/kept.db",
        "countersign listen stripe --secret-file stripe.secret --store kept.txt",
        "countersign listen stripe --secret-file stripe.secret --store mysql://a:b@localhost",
        "countersign listen stripe --secret-file stripe.secret --store redis://127.0.0.1:1",
        "countersign listen stripe --secret-file stripe.secret --store postgres://a:b@127.0.0.1:1/a",
    ]
    .map(|command| session.run(command))
    .into();
    insta::assert_snapshot!(transcript.join("\n"));
}

/// The name may lie in a folder of all users.
#[test]
fn a_link_to_another_file_is_not_followed() {
    let session = Session::new();
    keygen(&session, "github");
    session.file("other", "");
    session.stdout("chmod 644 other && ln -s other kept.db && mkfifo pipe.db");
    for file in ["kept.db", "pipe.db"] {
        let listen = "countersign listen github --secret-file github.secret --keep";
        let said = session.run(&format!("{listen} {file}"));
        assert!(said.contains("(exit code 3)"), "{said}");
    }
    let other = session.path().join("other").metadata().unwrap();
    assert_eq!(
        (other.permissions().mode() & 0o777, other.len()),
        (0o644, 0)
    );
    // The twin: without the link it is a file of `--keep`.
    session.stdout("rm kept.db");
    let arguments = "github --secret-file github.secret --keep kept.db";
    let (_, code) = Listening::json(&session, arguments).stop();
    assert_eq!(code, Some(0));
}

#[test]
fn a_store_in_a_file_knows_a_duplicate_after_a_restart() {
    let session = Session::new();
    keygen(&session, "github");
    let signed = github(&session, "{}");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    for (store, second) in [
        ("--store used.db", "duplicate"),
        ("--store sqlite:other.db", "duplicate"),
        ("--store memory", "verified"),
        ("", "verified"),
    ] {
        for word in ["verified", second] {
            let arguments = format!("github --secret-file github.secret {store}");
            let mut listening = Listening::json(&session, &arguments);
            send(listening.address(), &request);
            assert_eq!(listening.object()["verdict"], word, "{store}");
            listening.stop();
        }
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two servers, and then a third one, share Redis or PostgreSQL.
#[test]
fn servers_with_one_store_accept_a_request_once() {
    let session = Session::new();
    keygen(&session, "github");
    let folder = session.path().display().to_string();
    let redis = format!("exec redis-server --port 0 --unixsocket {folder}/redis --save ''");
    let _redis = Server(session.shell(&redis).stdout(Stdio::null()).spawn().unwrap());
    session.stdout("until [ -S redis ]; do sleep 0.05; done");
    let mut stores = vec![format!("unix://{folder}/redis")];
    match env::var("COUNTERSIGN_POSTGRES_URL") {
        Ok(url) => stores.push(url),
        Err(_) => {
            let may_skip = env::var_os("COUNTERSIGN_NO_SKIP").is_none();
            assert!(may_skip, "COUNTERSIGN_POSTGRES_URL is not set");
            eprintln!("skipped: COUNTERSIGN_POSTGRES_URL is not set");
        }
    }
    // Another run of this test may have the same database.
    let body = folder.as_str();
    let signed = github(&session, body);
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    for store in stores {
        let arguments = format!("github --secret-file github.secret --store '{store}'");
        let mut listening = [(); 2].map(|()| Listening::json(&session, &arguments));
        let verdicts = listening.each_mut().map(|listening| {
            send(listening.address(), &request);
            listening.object()["verdict"].as_str().unwrap().to_owned()
        });
        assert_eq!(verdicts, ["verified", "duplicate"], "{store}");
        listening.into_iter().for_each(|one| drop(one.stop()));
        let mut later = Listening::json(&session, &arguments);
        send(later.address(), &request);
        assert_eq!(later.object()["verdict"], "duplicate", "{store}");
    }
}

/// On a disk of its own, of 400 KiB.
#[test]
fn a_full_disk_ends_the_record_and_not_the_server() {
    let session = Session::new();
    keygen(&session, "github");
    std::fs::create_dir(session.path().join("disk")).unwrap();
    session.file(
        "full",
        "mount -t tmpfs -o size=400k tmpfs disk && exec \"$@\"",
    );
    let program = "unshare --map-root-user --mount bash full";
    let arguments = "github --secret-file github.secret --keep disk/kept.db";
    let mut listening = Listening::json_in(&session, program, arguments);
    let mut ids = Vec::new();
    for n in 0..6 {
        let body = format!("{n}{}", "x".repeat(150_000));
        let signed = github(&session, &body);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{signed}\r\nContent-Length: {}\r\nConnection: close\
             \r\n\r\n{body}",
            body.len()
        );
        let answer = send(listening.address(), &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        ids.push(listening.object()["id"].as_u64().unwrap());
    }
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    let (said, code) = listening.stop();
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    let error = said.find("error: ").unwrap();
    let error: Vec<&str> = said[error..].lines().take(3).collect();
    insta::assert_snapshot!(error.join("\n"));
}

/// A disk without room says nothing about what the file is.
#[test]
fn a_full_disk_at_the_start_is_named() {
    let session = Session::new();
    keygen(&session, "github");
    std::fs::create_dir(session.path().join("disk")).unwrap();
    session.file(
        "full",
        "mount -t tmpfs -o size=64k tmpfs disk && head -c 128k /dev/zero > disk/rest 2> rest; exec \"$@\"",
    );
    let listen = "countersign listen github --secret-file github.secret --keep disk/kept.db";
    let command = format!("unshare --map-root-user --mount bash full {listen}");
    insta::assert_snapshot!(session.run(&command));
}
