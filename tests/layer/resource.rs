//! One resource that the target and the signed body both name: they are the same, or the handler is
//! given neither.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Path, State},
    middleware::{Next, from_fn},
    routing::post,
};
use countersign::{
    HeaderScheme, OneTimeToken, Part, Processing, Signer, VerifiedJson, VerifyLayer,
    axum::{ExtractRejection, InTarget, NamesResource, PendingResource, SameResource},
    clock::SystemClock,
    request::VerifierBuilder,
    store::SqliteStore,
};
use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqlitePool, sqlite::SqlitePoolOptions};
use tower::ServiceExt as _;

use crate::common::{self, KEY, ORIGIN, SECRET, keys, scheme, store, verdict};

/// `POST /shops/{shop}/orders/{order}`
#[derive(Debug, Deserialize)]
struct Shipment {
    carrier: String,
}

impl NamesResource for Shipment {
    type Id = String;
    const IN_TARGET: InTarget = InTarget::Path("order");
    const IN_BODY: &'static str = "/order/id";
}

/// The same, with a number as its identifier.
#[derive(Debug, Deserialize)]
struct Numbered {
    carrier: String,
}

impl NamesResource for Numbered {
    type Id = i64;
    const IN_TARGET: InTarget = InTarget::Path("order");
    const IN_BODY: &'static str = "/order/id";
}

/// `POST /shipments?order=7`
#[derive(Debug, Deserialize)]
struct Queried {
    carrier: String,
}

impl NamesResource for Queried {
    type Id = String;
    const IN_TARGET: InTarget = InTarget::Query("order");
    const IN_BODY: &'static str = "/order/id";
}

/// A format that signs neither path nor query.
fn body_alone() -> HeaderScheme {
    HeaderScheme::builder("x-signature")
        .key_id("x-key-id")
        .time("x-timestamp")
        .nonce("x-nonce")
        .signs(Part::lines([
            Part::KeyId,
            Part::Time,
            Part::Nonce,
            Part::Body,
        ]))
        .build()
        .unwrap()
}

fn layer(scheme: &HeaderScheme) -> VerifierBuilder<VerifyLayer> {
    VerifyLayer::builder(scheme.clone())
        .public_origin(ORIGIN)
        .keys(keys())
}

fn at_most_once(scheme: &HeaderScheme) -> VerifyLayer {
    let clock = common::clock();
    let layer = layer(scheme).store(store(&clock)).clock(clock);
    layer.build().unwrap()
}

trait Carried {
    fn carrier(&self) -> &str;
}

macro_rules! carried {
    ($($body:ty),*) => {
        $(impl Carried for $body {
            fn carrier(&self) -> &str {
                &self.carrier
            }
        })*
    };
}

carried!(Shipment, Numbered, Queried);

/// Returns what a handler did with what it was given.
async fn ship<T: NamesResource<Id: std::fmt::Display> + Carried>(same: SameResource<T>) -> String {
    assert_eq!(same.payload.key_id().as_str(), KEY);
    assert_eq!(same.body.carrier(), "DHL");
    format!("shipped {}", same.id)
}

/// Below the prefixes of two routers.
fn nested(handler: axum::routing::MethodRouter) -> Router {
    let orders = Router::new().route("/{order}", handler);
    let shop = Router::new().nest("/orders", orders);
    Router::new().nest("/shops/{shop}", shop)
}

async fn told(app: Router, scheme: &HeaderScheme, target: &str, body: &str) -> (u16, String) {
    let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
    let signer = signer.clock(common::clock());
    let request = signer.sign(common::request("POST", target, body)).unwrap();
    verdict(
        app.oneshot(request.map(axum::body::Body::from))
            .await
            .unwrap(),
    )
    .await
}

fn mismatch() -> (u16, String) {
    (403, "resource_mismatch".to_owned())
}

fn shipped(id: &str) -> (u16, String) {
    (200, format!("shipped {id}"))
}

/// The end of the path, the value of `/order/id`, and the identifier that both name.
const NAMES: [(&str, &str, Option<&str>); 27] = [
    ("a7", r#""a7""#, Some("a7")),
    ("7", "7", Some("7")),
    ("7", r#""7""#, Some("7")),
    ("-7", "-7", Some("-7")),
    (
        "18446744073709551615",
        "18446744073709551615",
        Some("18446744073709551615"),
    ),
    ("a%20b", r#""a b""#, Some("a b")),
    ("a%2Fb", r#""a/b""#, Some("a/b")),
    ("%61", r#""\u0061""#, Some("a")),
    ("%2561", r#""%61""#, Some("%61")),
    ("%C3%A9", r#""é""#, Some("é")),
    // Another resource.
    ("a7", r#""a8""#, None),
    ("7", "8", None),
    // Another spelling.
    ("A7", r#""a7""#, None),
    ("a7", r#""a7 ""#, None),
    ("%2561", r#""a""#, None),
    ("%C3%A9", r#""e\u0301""#, None),
    ("07", "7", None),
    ("+7", "7", None),
    ("-0", "-0", None),
    ("0", "-0", None),
    ("7", "7.0", None),
    ("1e2", "1e2", None),
    ("18446744073709551616", "18446744073709551616", None),
    // Another type.
    ("true", "true", None),
    ("null", "null", None),
    ("7", "[7]", None),
    ("7", r#"{"id":7}"#, None),
];

fn body_with(name: &str) -> String {
    format!(r#"{{"carrier":"DHL","order":{{"id":{name}}}}}"#)
}

#[tokio::test]
async fn a_path_and_a_body_that_name_one_resource_lead_to_it_and_no_others_do() {
    for scheme in [scheme(), body_alone()] {
        for (path, name, id) in NAMES {
            let app = nested(post(ship::<Shipment>)).layer(at_most_once(&scheme));
            let target = format!("/shops/5/orders/{path}");
            let answer = told(app, &scheme, &target, &body_with(name)).await;
            let expected = id.map_or_else(mismatch, shipped);
            assert_eq!(answer, expected, "{path} and {name} under {scheme:?}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_missing_or_there_twice_leads_to_nothing() {
    for scheme in [scheme(), body_alone()] {
        for body in [
            r#"{"carrier":"DHL"}"#,
            r#"{"carrier":"DHL","order":7}"#,
            r#"{"carrier":"DHL","order":{"id":"7","id":"8"}}"#,
            r#"{"carrier":"DHL","order":{"id":"8","id":"7"}}"#,
            r#"{"carrier":"DHL","order":{"id":"7","\u0069d":"7"}}"#,
            r#"{"carrier":"DHL","order":{"id":"7"},"order":{"id":"8"}}"#,
            r#"{"carrier":"DHL","order/id":"7"}"#,
            "7",
            "",
            "order=7",
        ] {
            let app = nested(post(ship::<Shipment>)).layer(at_most_once(&scheme));
            let answer = told(app, &scheme, "/shops/5/orders/7", body).await;
            assert_eq!(answer, mismatch(), "{body}");
        }
    }
}

#[tokio::test]
async fn what_is_no_identifier_of_the_resource_leads_to_nothing() {
    for (path, name, answer) in [
        ("7", "7", shipped("7")),
        ("x", r#""x""#, mismatch()),
        ("9223372036854775808", "9223372036854775808", mismatch()),
    ] {
        let app = nested(post(ship::<Numbered>)).layer(at_most_once(&scheme()));
        let target = format!("/shops/5/orders/{path}");
        assert_eq!(
            told(app, &scheme(), &target, &body_with(name)).await,
            answer
        );
    }
    // The resource is the same, and the body is not of the expected shape.
    let app = nested(post(ship::<Numbered>)).layer(at_most_once(&scheme()));
    let answer = told(app, &scheme(), "/shops/5/orders/7", r#"{"order":{"id":7}}"#).await;
    assert_eq!(answer, (422, "payload_unprocessable".to_owned()));
}

#[tokio::test]
async fn a_parameter_of_the_query_names_a_resource_as_one_of_the_path_does() {
    for scheme in [scheme(), body_alone()] {
        for (query, name, answer) in [
            ("?order=7", "7", shipped("7")),
            ("?a=1&order=a+b%21&b=2", r#""a b!""#, shipped("a b!")),
            ("?order=7", "8", mismatch()),
            ("?order=7&order=7", "7", mismatch()),
            ("?order=8&order=7", "7", mismatch()),
            ("?order=7&%6Frder=8", "7", mismatch()),
            ("?order=", r#""""#, mismatch()),
            ("?order", r#""""#, mismatch()),
            ("?orders=7", "7", mismatch()),
            ("", "7", mismatch()),
        ] {
            let app = Router::new().route("/shipments", post(ship::<Queried>));
            let app = app.layer(at_most_once(&scheme));
            let target = format!("/shipments{query}");
            let told = told(app, &scheme, &target, &body_with(name)).await;
            assert_eq!(told, answer, "{query} and {name} under {scheme:?}");
        }
    }
}

/// With a path that is covered, the one that was signed must lead to this route.
#[tokio::test]
async fn a_path_that_was_rewritten_after_it_was_verified_leads_to_nothing() {
    let rewritten = |scheme: &HeaderScheme| {
        let rewrite = from_fn(async |mut request: axum::extract::Request, next: Next| {
            *request.uri_mut() = "/shops/5/orders/7".parse().unwrap();
            next.run(request).await
        });
        let inner = nested(post(ship::<Shipment>));
        let outer = Router::new().fallback_service(inner);
        outer.layer(rewrite).layer(at_most_once(scheme))
    };
    let (covered, uncovered) = (scheme(), body_alone());
    let answer = told(
        rewritten(&covered),
        &covered,
        "/shops/5/orders/8",
        &body_with("7"),
    )
    .await;
    assert_eq!(answer, mismatch());
    let answer = told(
        rewritten(&covered),
        &covered,
        "/shops/6/orders/7",
        &body_with("7"),
    )
    .await;
    assert_eq!(answer, mismatch());
    // Nobody has signed a path here, and the body says which order is meant.
    let answer = told(
        rewritten(&uncovered),
        &uncovered,
        "/nowhere",
        &body_with("7"),
    )
    .await;
    assert_eq!(answer, shipped("7"));
    let answer = told(
        rewritten(&uncovered),
        &uncovered,
        "/nowhere",
        &body_with("8"),
    )
    .await;
    assert_eq!(answer, mismatch());
}

// In the handler's transaction

async fn pool() -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    SqliteStore::migrate(&pool).await.unwrap();
    let tables = "CREATE TABLE shipments (id text); UPDATE countersign_store SET since = 0";
    sqlx::raw_sql(tables).execute(&pool).await.unwrap();
    pool
}

async fn ship_in(
    State(pool): State<SqlitePool>,
    pending: PendingResource<Shipment>,
) -> Result<String, ExtractRejection> {
    let work = async |tx: &mut SqliteConnection, same: SameResource<Shipment>| {
        assert_eq!(same.body.carrier, "DHL");
        let insert = sqlx::query("INSERT INTO shipments VALUES ($1)").bind(&same.id);
        insert.execute(tx).await.unwrap();
        Ok(format!("shipped {}", same.id))
    };
    pending.transact(&pool, work).await
}

async fn count(pool: &SqlitePool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn in_a_transaction_the_names_are_compared_in_it_and_a_refusal_uses_up_nothing() {
    for scheme in [scheme(), body_alone()] {
        for (path, name, id) in NAMES {
            let pool = pool().await;
            // The database goes by the clock of the machine.
            let layer = layer(&scheme).processing(Processing::InTransaction);
            let app = nested_in(&pool).layer(layer.build().unwrap());
            let signer = Signer::new(scheme.clone(), KEY, SECRET).unwrap();
            let target = format!("/shops/5/orders/{path}");
            let request = signer.clock(SystemClock::default());
            let request = request.sign(common::request("POST", &target, &body_with(name)));
            let request = request.unwrap().map(axum::body::Body::from);
            let answer = verdict(app.oneshot(request).await.unwrap()).await;
            assert_eq!(
                answer,
                id.map_or_else(mismatch, shipped),
                "{path} and {name}"
            );
            let made = i64::from(id.is_some());
            assert_eq!(count(&pool, "SELECT count(*) FROM shipments").await, made);
            assert_eq!(
                count(&pool, "SELECT count(*) FROM countersign_nonce").await,
                made
            );
        }
    }
}

fn nested_in(pool: &SqlitePool) -> Router {
    let orders = Router::new().route("/{order}", post(ship_in));
    let shop = Router::new().nest("/orders", orders.with_state(pool.clone()));
    Router::new().nest("/shops/{shop}", shop)
}

/// Each extractor works under one kind of processing, and says what is missing under the other.
#[tokio::test]
async fn an_extractor_of_the_other_processing_is_answered_with_500() {
    let pool = pool().await;
    let app = nested_in(&pool).layer(at_most_once(&scheme()));
    let answer = told(app, &scheme(), "/shops/5/orders/7", &body_with("7")).await;
    assert_eq!(answer, (500, "not_verified".to_owned()));
}

/// The twin: a handler that checks the one name and changes the other.
#[tokio::test]
async fn twin_a_handler_that_goes_by_the_path_changes_what_nobody_signed() {
    let changed = Arc::new(Mutex::new(Vec::new()));
    let naive = {
        let changed = Arc::clone(&changed);
        async move |Path((_, order)): Path<(String, String)>,
                    VerifiedJson(body): VerifiedJson<serde_json::Value>| {
            assert_eq!(body["order"]["id"], 7);
            changed.lock().unwrap().push(order);
        }
    };
    let scheme = body_alone();
    let app = nested(post(naive)).layer(at_most_once(&scheme));
    let answer = told(app, &scheme, "/shops/5/orders/8", &body_with("7")).await;
    assert_eq!(answer.0, 200);
    assert_eq!(*changed.lock().unwrap(), ["8"]);
}

// One-time tokens

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Delete {
    document: serde_json::Value,
}

#[tokio::test]
async fn a_token_is_used_for_the_resource_that_it_names_and_a_mismatch_uses_up_nothing() {
    let clock = common::clock();
    let tokens = OneTimeToken::<Delete>::builder("delete")
        .keys(keys())
        .issue_under(KEY)
        .store(store(&clock))
        .clock(clock)
        .build()
        .unwrap();
    for (document, resource, fits) in [
        (serde_json::json!(7), "7", true),
        (serde_json::json!("a b"), "a b", true),
        (serde_json::json!(7), "8", false),
        (serde_json::json!(7), "07", false),
        (serde_json::json!(7.0), "7.0", false),
        (serde_json::json!(""), "", false),
        (serde_json::json!(null), "null", false),
        (serde_json::json!([7]), "7", false),
    ] {
        let token = tokens.issue(&Delete { document }).await.unwrap();
        let pending = tokens.verify_for(&token, "/document", resource).await;
        match pending {
            Ok(pending) => {
                assert!(fits, "{resource}");
                pending.redeem().await.unwrap();
                let again = tokens
                    .verify_for(&token, "/document", resource)
                    .await
                    .unwrap();
                assert_eq!(
                    again.redeem().await.unwrap_err().kind().code(),
                    "token_redeemed"
                );
            }
            Err(refused) => {
                assert!(!fits, "{resource}");
                assert_eq!(refused.kind().code(), "resource_mismatch");
                assert!(tokens.redeem(&token).await.is_ok(), "{resource}");
            }
        }
        let elsewhere = tokens.verify_for(&token, "/documents", resource).await;
        assert_eq!(elsewhere.unwrap_err().kind().code(), "resource_mismatch");
    }
}
