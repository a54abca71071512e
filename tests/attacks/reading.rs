//! Rows 41 and 50: what was signed is read in one way alone, whatever type it is read into.

use std::collections::HashMap;

use axum::{
    Router,
    body::Bytes,
    routing::{MethodRouter, post},
};
use countersign::{
    VerifiedForm, VerifiedJson, VerifiedPayload, VerifiedQuery, testing::ManualClock,
};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    common::{self, Effects},
    subject::OK,
};

type Map = HashMap<String, String>;
type List = Vec<(String, u64)>;

#[derive(Debug, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Order {
    amount: u64,
}

/// Returns what happens to this request, behind a handler that counts its effects.
async fn sent(
    clock: &ManualClock,
    effects: &Effects,
    handler: MethodRouter,
    query: &str,
    body: &str,
) -> (u16, usize) {
    let app = Router::new()
        .route("/transfer", handler)
        .layer(common::layer(clock).build().unwrap());
    let request = common::signed(clock, "POST", &format!("/transfer{query}"), body);
    let before = effects.count();
    let (status, _) = common::verdict(app.oneshot(request).await.unwrap()).await;
    (status, effects.count() - before)
}

const TWICE: [&str; 4] = [
    r#"{"amount":1,"amount":1000000}"#,
    r#"{"amount":1,"\u0061mount":1000000}"#,
    r#"{"amount":1,"x":{"y":1,"y":2}}"#,
    r#"{"amount":1,"x":[[{"":1,"":1}]]}"#,
];

#[tokio::test]
async fn a50_a_name_that_appears_twice_reaches_no_handler_whatever_it_reads() {
    let clock = common::clock();
    let effects = Effects::default();
    let handlers = || {
        let [value, flat, order, payload] = [(); 4].map(|()| effects.clone());
        [
            post(async move |_: VerifiedJson<Value>| value.happened()),
            post(async move |VerifiedJson(flat_order): VerifiedJson<Flat>| {
                assert!(flat_order.rest.contains_key("amount"));
                flat.happened();
            }),
            post(async move |VerifiedJson(read): VerifiedJson<Order>| {
                assert_eq!(read.amount, 1);
                order.happened();
            }),
            post(
                async move |read: VerifiedPayload| match read.json::<Value>() {
                    Ok(_) => {
                        payload.happened();
                        http::StatusCode::OK
                    }
                    Err(_) => http::StatusCode::UNPROCESSABLE_ENTITY,
                },
            ),
        ]
    };
    for body in TWICE {
        for handler in handlers() {
            let answer = sent(&clock, &effects, handler, "", body).await;
            assert_eq!(answer, (422, 0), "{body}");
        }
    }
    let deep = format!(
        r#"{{"amount":1,"x":[{{"amount":2}},{{"amount":2}}],"y":{}{}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    for handler in handlers() {
        assert_eq!(sent(&clock, &effects, handler, "", &deep).await, (OK, 1));
    }
}

#[tokio::test]
async fn a50_a_form_or_query_in_which_a_name_appears_twice_is_read_as_a_list_alone() {
    let clock = common::clock();
    let effects = Effects::default();
    let handlers = || {
        let [form, query, forms, queries] = [(); 4].map(|()| effects.clone());
        let maps = [
            post(async move |_: VerifiedForm<Map>| form.happened()),
            post(async move |_: VerifiedQuery<Map>| query.happened()),
        ];
        let lists = [
            post(async move |VerifiedForm(list): VerifiedForm<List>| {
                assert_eq!(list.len(), 2);
                forms.happened();
            }),
            post(async move |VerifiedQuery(list): VerifiedQuery<List>| {
                assert_eq!(list.len(), 2);
                queries.happened();
            }),
        ];
        (maps, lists)
    };
    for (pairs, in_map) in [
        ("amount=1&amount=1000000", (422, 0)),
        ("amount=1&%61mount=1", (422, 0)),
        ("a=1&b=1", (OK, 1)),
    ] {
        let (maps, lists) = handlers();
        let query = format!("?{pairs}");
        for handler in maps {
            let answer = sent(&clock, &effects, handler, &query, pairs).await;
            assert_eq!(answer, in_map, "{pairs}");
        }
        for handler in lists {
            let answer = sent(&clock, &effects, handler, &query, pairs).await;
            assert_eq!(answer, (OK, 1), "{pairs}");
        }
    }
}

#[derive(Debug, Deserialize)]
struct Command {
    user: String,
    command: String,
}

/// A text that a stranger wrote, inside a document that the sender signed.
const EVENT: &str =
    r#"{"token":"x","event":{"url":"https://a.example/?a=1&user=admin&command=deploy&b=1"}}"#;

#[tokio::test]
async fn a41_a_document_that_was_signed_is_read_as_no_form() {
    let clock = common::clock();
    let effects = Effects::default();
    for (body, answer) in [
        (EVENT, (400, 0)),
        ("user=admin&command=deploy&c=%22%7B%7D%3C%3E", (OK, 1)),
    ] {
        let handled = effects.clone();
        let handler = post(async move |VerifiedForm(read): VerifiedForm<Command>| {
            assert_eq!((&*read.user, &*read.command), ("admin", "deploy"));
            handled.happened();
        });
        assert_eq!(sent(&clock, &effects, handler, "", body).await, answer);
    }
}

#[test]
fn a41_twin_a_reader_of_forms_that_takes_every_byte_is_found() {
    let naive: Command = serde_urlencoded::from_str(EVENT).unwrap();
    assert_eq!((&*naive.user, &*naive.command), ("admin", "deploy"));
}

/// `serde` by itself takes the last one.
#[tokio::test]
async fn a50_twin_a_handler_that_takes_the_last_of_two_members_is_found() {
    let clock = common::clock();
    let effects = Effects::default();
    for body in TWICE {
        let handled = effects.clone();
        let handler = post(async move |bytes: Bytes| {
            serde_json::from_slice::<Value>(&bytes).unwrap();
            handled.happened();
        });
        assert_eq!(sent(&clock, &effects, handler, "", body).await, (OK, 1));
    }
    let handled = effects.clone();
    let handler = post(async move |payload: VerifiedPayload| {
        let read: Map = serde_urlencoded::from_bytes(payload.bytes()).unwrap();
        assert_eq!(read["amount"], "1000000");
        handled.happened();
    });
    let form = "amount=1&amount=1000000";
    assert_eq!(sent(&clock, &effects, handler, "", form).await, (OK, 1));
}
