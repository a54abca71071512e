//! Bodies that are read, and bodies that are refused because they could be read in two ways.

use serde_json::Value;

use super::event::{MAX_ID, member, read_event_id, read_event_ids};
use crate::{error::Fault, proof::Parameters};

fn read(body: &str) -> Result<Option<Value>, ()> {
    member(body.as_bytes(), "id").map_err(|_| ())
}

#[test]
fn a_member_is_found_at_the_top_of_an_object_alone() {
    let id = Some(Value::from("evt_1"));
    assert_eq!(read(r#"{"a":{"id":"x"},"id":"evt_1"}"#), Ok(id.clone()));
    assert_eq!(read(r#"{"i\u0064":"evt_1"}"#), Ok(id));
    for body in [
        "",
        "{}",
        "[]",
        r#"[{"id":"evt_1"}]"#,
        r#""id""#,
        "null",
        r#"{"a":{"id":"x"}}"#,
        r#"{"ID":"x"}"#,
    ] {
        assert_eq!(read(body), Ok(None), "{body}");
    }
}

#[test]
fn a_member_that_stands_there_twice_is_refused_however_it_is_written() {
    for body in [
        r#"{"id":"1","id":"1"}"#,
        r#"{"id":"1","id":2}"#,
        r#"{"id":"1","i\u0064":"2"}"#,
    ] {
        assert_eq!(read(body), Err(()), "{body}");
    }
}

#[test]
fn what_is_no_json_has_no_member() {
    for body in [
        r#"{"id":"1"} x"#,
        r#"{"id":"1""#,
        r#"{"id":'1'}"#,
        r#"{"id":"1",}"#,
        "\u{feff}{\"id\":\"1\"}",
        "id=1",
    ] {
        assert_eq!(read(body), Ok(None), "{body}");
    }
    assert_eq!(member(b"{\"id\":\"\xff\"}", "id").ok(), Some(None));
    let deep = format!(r#"{{"id":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    assert_eq!(read(&deep), Ok(None), "too deep to be read");
}

/// Deeper than `serde_json` reads a value.
fn nested(body: &str) -> String {
    body.replace('…', &format!("{}1{}", "[".repeat(200), "]".repeat(200)))
}

fn read_id(
    body: &str,
    read: impl Fn(&mut Parameters<'_>, &[u8]) -> Result<(), Fault>,
) -> Result<Option<String>, ()> {
    let mut parameters = Parameters {
        delivery_id: None,
        key_id: "key".into(),
        signed_at: None,
        expires_at: None,
        nonce: None,
    };
    read(&mut parameters, body.as_bytes()).map_err(|_| ())?;
    let nonce = parameters.nonce.map(|(_, id)| id.into_owned());
    Ok(nonce.map(|id| String::from_utf8(id).unwrap()))
}

/// Otherwise nested values would choose how the event is told from others.
#[test]
fn a50_an_id_is_read_or_refused_however_deep_its_neighbours_are() {
    let read = |body: &str| read_id(&nested(body), |to, body| read_event_id(to, body, &["id"]));
    for body in [r#"{"x":…,"id":"1"}"#, r#"{"id":"1","x":[{"id":…}]}"#] {
        assert_eq!(read(body), Ok(Some("1".into())), "{body}");
    }
    for body in [
        r#"{"id":…}"#,
        r#"{"id":"1","id":…}"#,
        r#"{"id":…,"id":"1"}"#,
    ] {
        assert_eq!(read(body), Err(()), "{body}");
    }
    assert_eq!(
        read_all(&nested(r#"[{"x":…,"id":7}]"#)),
        Ok(Some("[7,null]".into()))
    );
}

/// Readers differ in how they take these. No reading of them is an event without an id.
#[test]
fn a50_an_id_that_cannot_be_read_is_no_missing_id() {
    let read = |body: &[u8]| {
        let body = body.to_vec();
        read_id("", move |to, _| read_event_id(to, &body, &["id"]))
    };
    for body in [
        r#"{"id":1e999}"#,
        r#"{"id":-1e999,"x":1}"#,
        r#"{"id":"\ud800"}"#,
        r#"{"id":"\udc00\ud800"}"#,
        r#"{"\ud800":1,"id":"1"}"#,
        r#"{"id":"1","x":NaN}"#,
        r#"{"id":"1","x":01}"#,
        r#"{"id":"1","x":'y'}"#,
        r#"{"id":"1",}"#,
        r#"{"id":"1"} x"#,
        r#"{"id":"1"}{"id":"2"}"#,
        r#"{"id":"1""#,
        r#"{id:"1"}"#,
        "{\"id\":\"a\nb\"}",
        "{/**/\"id\":\"1\"}",
        " \r\n\t{\"id\":\"1\"",
        "\u{feff}{\"id\":\"1\"}",
        "\u{feff} {}",
    ] {
        assert_eq!(read(body.as_bytes()), Err(()), "{body}");
    }
    assert_eq!(read(b"{\"id\":\"\xff\"}"), Err(()));
    // Neighbours say nothing about the id.
    for body in [
        &br#"{"x":1e999,"id":"1"}"#[..],
        br#"{"x":{"\ud800":"\ud800"},"id":"1"}"#,
        b"{\"x\":\"\xff\",\"id\":\"1\"}",
    ] {
        assert_eq!(read(body), Ok(Some("1".into())), "{body:?}");
    }
    for body in [
        "",
        "null",
        "[]",
        "[{\"id\":\"1\"}]",
        "\"{\"",
        "id=1&x={",
        "\u{feff}",
    ] {
        assert_eq!(read(body.as_bytes()), Ok(None), "{body}");
    }
}

/// Intercom's ping says `"id": null`. A name that comes twice stays two readings.
#[test]
fn a50_an_id_that_is_null_is_a_missing_id() {
    let read = |body: &str| read_id(body, |to, body| read_event_id(to, body, &["id"]));
    for body in [r#"{"id":null}"#, r#"{"x":{"id":"1"},"id" : null }"#] {
        assert_eq!(read(body), Ok(None), "{body}");
    }
    for body in [
        r#"{"id":null,"id":"1"}"#,
        r#"{"id":"1","id":null}"#,
        r#"{"id":null,"i\u0064":"1"}"#,
        r#"{"id":null,"id":null}"#,
        r#"{"id":null"#,
        r#"{"id":nul}"#,
    ] {
        assert_eq!(read(body), Err(()), "{body}");
    }
    // A reader that takes the last one finds an id beside the `null`.
    let naive: Value = serde_json::from_str(r#"{"id":null,"id":"1"}"#).unwrap();
    assert_eq!(naive["id"], "1");
}

/// A reader for which everything unreadable is an event without an id.
#[test]
fn a50_twin_a_reader_that_passes_over_what_it_cannot_read_is_found() {
    let naive = |body: &str| {
        let value: Option<Value> = serde_json::from_str(body).ok();
        value.and_then(|value| Some(value.get("id")?.as_str()?.to_owned()))
    };
    assert_eq!(naive(r#"{"id":"1"}"#), Some("1".into()));
    for body in [
        r#"{"id":1e999}"#,
        r#"{"id":"\ud800"}"#,
        r#"{"x":1e999,"id":"1"}"#,
    ] {
        assert_eq!(naive(body), None, "{body}");
    }
}

/// A parser that reads whole values finds no id beside a value that is too deep for it.
#[test]
fn a50_twin_a_reader_of_whole_values_is_found() {
    let naive = |body: &str| member(nested(body).as_bytes(), "id").map_err(|_| ());
    for body in [r#"{"id":…}"#, r#"{"id":"1","id":…}"#] {
        assert_eq!(naive(body), Ok(None), "{body}");
    }
}

/// If an id is below the top, each object on the way is read as strictly.
#[test]
fn a50_an_id_is_read_along_its_path() {
    let read = |body: &str| {
        read_id(&nested(body), |to, body| {
            read_event_id(to, body, &["event", "id"])
        })
    };
    for body in [
        r#"{"id":"2","event":{"id":"1","x":{"id":"3"}},"x":…}"#,
        r#"{"event":{"x":…,"i\u0064":"1"},"attempt":2}"#,
        r#"{"\u0065vent":{"id":"1"}}"#,
    ] {
        assert_eq!(read(body), Ok(Some("1".into())), "{body}");
    }
    for body in [
        "{}",
        r#"{"id":"1"}"#,
        r#"{"event":{}}"#,
        r#"{"event":null}"#,
        r#"{"event":"1"}"#,
        r#"{"event":1.5}"#,
        r#"{"event":true}"#,
        r#"{"event":[{"id":"1"}]}"#,
        r#"{"x":{"event":{"id":"1"}}}"#,
        r#"[{"event":{"id":"1"}}]"#,
    ] {
        assert_eq!(read(body), Ok(None), "{body}");
    }
    for body in [
        r#"{"event":{"id":"1"},"event":{"id":"1"}}"#,
        r#"{"event":{"id":"1"},"event":{}}"#,
        r#"{"event":{},"event":{"id":"1"}}"#,
        r#"{"event":null,"event":{"id":"1"}}"#,
        r#"{"event":{"id":"1","id":"1"}}"#,
        r#"{"event":{"id":1}}"#,
        r#"{"event":{"id":…}}"#,
        r#"{"event":{"id":{}}}"#,
        r#"{"event":{"id":"1"}"#,
        r#"{"event":{"id":1e999}}"#,
    ] {
        assert_eq!(read(body), Err(()), "{body}");
    }
}

#[test]
fn the_events_of_a_member_count_as_a_set() {
    let read = |body: &str| {
        read_id(body, |to, body| {
            read_event_ids(to, body, Some("events"), &["id"])
        })
    };
    let one = Ok(Some(r#"["a"]"#.into()));
    assert_eq!(read(r#"{"x":[{"id":"b"}],"events":[{"id":"a"}]}"#), one);
    assert_eq!(
        read(r#"{"events":[{"id":"a","again":true},{"id":"a"}]}"#),
        one
    );
    for body in [
        "{}",
        r#"{"events":[]}"#,
        r#"{"events":{}}"#,
        r#"{"events":"a"}"#,
        r#"{"events":[{"x":"a"}]}"#,
        r#"[{"id":"a"}]"#,
    ] {
        assert_eq!(read(body), Ok(None), "{body}");
    }
    for body in [
        r#"{"events":[{"id":"a"}],"events":[]}"#,
        r#"{"events":[],"events":[{"id":"a"}]}"#,
        r#"{"events":["a"]}"#,
        r#"{"events":[{"id":"a"}]"#,
    ] {
        assert_eq!(read(body), Err(()), "{body}");
    }
}

fn read_all(body: &str) -> Result<Option<String>, ()> {
    read_id(body, |to, body| {
        read_event_ids(to, body, None, &["id", "of"])
    })
}

#[test]
fn the_events_of_an_array_count_as_a_set() {
    for (body, id) in [
        (r#"[{"of":"a","id":7,"x":{"id":8}}]"#, Some(r#"[7,"a"]"#)),
        (r#"[{"i\u0064":7},{"id":7}]"#, Some("[7,null]")),
        (r#"[{"of":"a"},{"id":8}]"#, None),
        (r#"[{"id":8},{"of":"a"}]"#, None),
        (r#"{"id":7}"#, None),
        ("[]", None),
        ("", None),
    ] {
        assert_eq!(read_all(body), Ok(id.map(Into::into)), "{body}");
    }
    let of = |body: &str| read_all(body).unwrap().unwrap();
    let two = of(r#"[{"id":1},{"id":2}]"#);
    for same in [
        r#"[{"id":2},{"id":1}]"#,
        r#"[{"id":1},{"id":2,"x":1},{"id":1}]"#,
    ] {
        assert_eq!(of(same), two, "{same}");
    }
    for other in [
        r#"[{"id":1}]"#,
        r#"[{"id":1},{"id":3}]"#,
        r#"[{"id":1},{"id":2},{"id":3}]"#,
        r#"[{"id":1},{"id":"2"}]"#,
        r#"[{"id":1},{"id":2,"of":1}]"#,
        r#"[{"id":12}]"#,
    ] {
        assert_ne!(of(other), two, "{other}");
    }
}

#[test]
fn an_event_whose_id_can_be_read_in_two_ways_is_refused() {
    let long = format!(r#"[{{"id":"{}"}}]"#, "x".repeat(MAX_ID));
    for body in [
        r#"[{"id":7,"id":7}]"#,
        r#"[{"id":7,"i\u0064":8}]"#,
        r#"[{"id":7,"of":1,"of":2}]"#,
        r#"[{"id":-7}]"#,
        r#"[{"id":null}]"#,
        r#"[{"id":7,"of":[]}]"#,
        &nested(r#"[{"id":7,"of":…}]"#),
        &nested(r#"[{"id":7,"id":…}]"#),
        &long,
        r#"[7,{"id":8}]"#,
        r#"[{"id":8},7]"#,
        r#"[{"id":8},{"id":-7}]"#,
        r#"[{"of":1},{"id":7,"id":7}]"#,
        r#"[{"id":7}] x"#,
        r#"[{"id":7},"#,
        r#"[{"id":1e999}]"#,
        r#"[{"id":7},{"x":NaN}]"#,
        r#"[{"id":"\ud800"}]"#,
    ] {
        assert_eq!(read_all(body), Err(()), "{body}");
    }
}
