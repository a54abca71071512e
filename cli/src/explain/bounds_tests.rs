//! Requests that are made to keep the search busy, or to fill the memory.

use std::{io::Write as _, time::Instant};

use http::HeaderMap;

use super::{
    body::{self, longest},
    json::{self, Style},
    message::Part,
    planted_tests::{Case, schemes, secrets},
    search::Limits,
    shape::{Shape, tokens},
    url::forwarded_host,
};

/// Lists in lists, to a depth at which their indent is much longer than they are.
fn nested(times: usize) -> Vec<u8> {
    let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
    format!("[{}]", vec![deep; times].join(",")).into_bytes()
}

#[test]
fn an_indent_does_not_multiply_a_body() {
    let body = nested(2000);
    let document = json::parse(&body).unwrap();
    let twin = document.write(Style::indented(4), usize::MAX).unwrap();
    assert!(twin.len() > 80 * body.len(), "{}", twin.len());
    assert_eq!(document.write(Style::indented(4), longest(&body)), None);
    assert_eq!(body::indented_by_4(&body), body::Variants::new());
    // A short one is written in each style.
    let all = body::indented_by_4(br#"{"b":1.0,"a":"caf\u00e9"}"#);
    assert_eq!(all.len(), 6);
}

#[test]
fn a_document_of_too_many_values_is_not_read() {
    let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert!(json::parse(list(200_000).as_bytes()).is_some());
    assert!(json::parse(list(300_000).as_bytes()).is_none());
}

#[test]
fn a_list_of_hosts_and_of_macs_is_looked_at_in_part() {
    let part = Part {
        sources: vec![countersign::inspect::Source::Authority],
        bytes: "a.example".into(),
    };
    let mut headers = HeaderMap::new();
    let hosts = |count: usize| vec!["b.example"; count].join(",");
    headers.insert("x-forwarded-host", hosts(3).parse().unwrap());
    assert_eq!(
        forwarded_host(std::slice::from_ref(&part), &headers).len(),
        3
    );
    headers.insert("x-forwarded-host", hosts(50_000).parse().unwrap());
    headers.insert(
        "forwarded",
        "host=c.example;".repeat(50_000).parse().unwrap(),
    );
    assert!(forwarded_host(&[part], &headers).len() <= 48);
    assert_eq!(tokens(&hosts(3)).len(), 3);
    assert_eq!(tokens(&hosts(50_000)).len(), 16);
}

#[test]
fn a_deadline_ends_the_search_at_once() {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(&nested(40_000)).unwrap();
    let body = writer.finish().unwrap();
    for chosen in schemes()
        .iter()
        .filter(|chosen| ["stripe", "house"].contains(&&*chosen.name))
    {
        let shape = Shape::of(chosen);
        let secret = &secrets(chosen)[0];
        let case = Case::new(chosen, shape.as_ref(), secret.clone(), "http://a/", &body).unwrap();
        let mut request = case.signed.clone();
        *request.body_mut() = [&body[..], b"x"].concat().into();
        let limits = Limits {
            deadline: Some(Instant::now()),
            ..Limits::WORK
        };
        let outcome = case.search_within(&request, limits);
        assert!(outcome.is_cut_short && outcome.tried == 0);
        // The bytes that the rows make are work, too.
        let limits = Limits {
            deadline: None,
            bytes: 32 * 1024 * 1024,
        };
        let outcome = case.search_within(&request, limits);
        assert!(outcome.is_cut_short && outcome.bytes < 128 * 1024 * 1024);
    }
}
