//! The line of each section of the page on senders, as it is printed there.

use std::collections::BTreeSet;

use crate::{
    round_trip::{keygen, schemes},
    session::Session,
};

const PAGE: &str = include_str!("../../../src/guide/senders.md");

#[test]
fn the_line_of_each_sender_signs_what_is_verified() {
    let session = Session::new();
    let mut tried = BTreeSet::new();
    for line in PAGE
        .lines()
        .filter(|line| line.starts_with("countersign sign "))
    {
        let rest = line.strip_prefix("countersign sign ").unwrap();
        let (scheme, rest) = rest.split_once(" --secret-env ").unwrap();
        let (variable, _) = rest.split_once(' ').unwrap();
        let (_, data) = line.split_once("--data '").unwrap();
        let (body, _) = data.split_once('\'').unwrap();
        keygen(&session, scheme);
        let export = format!("export {variable}=\"$(cat {scheme}.secret)\"");
        let added = session.stdout(&format!("{export}; {line}"));
        let (added, body) = match scheme {
            "mailgun" => ("", added.trim_end()),
            _ => (added.as_str(), body),
        };
        let content_type = match scheme {
            "twilio" => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        let head = format!(
            "POST /hook HTTP/1.1\nhost: example.com\ncontent-type: {content_type}\n{added}"
        );
        session.file("request", format!("{head}\n{body}"));
        // A line that gives a time is read at that time, and all others now.
        let now = match line.contains("--at 1700000000") {
            true => "--now 1700000000",
            false => "",
        };
        let verify =
            format!("{export}; countersign verify {scheme} --secret-env {variable} {now} request");
        let verified = session.run(&verify);
        assert!(verified.contains("\nverified\n"), "{scheme}: {verified}");
        keygen(&session, scheme);
        let other = session.run(&verify);
        assert!(
            other.contains("refused signature_invalid"),
            "{scheme}: {other}"
        );
        tried.insert(scheme.to_owned());
    }
    let all = schemes(&session).into_iter();
    let all: BTreeSet<_> = all
        .filter(|name| name != "http-message-signatures")
        .collect();
    assert_eq!(tried, all);
}
