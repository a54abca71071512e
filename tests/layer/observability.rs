//! The view of an operator: spans, lines of the log that say what to do, metrics, and the dashboard.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response},
};
use countersign::{
    HeaderScheme, MemoryStore, Part, Processing, RejectionKind, Signer, VerifiedPayload, Verifier,
    VerifyLayer, metrics as measure, testing::ManualClock,
};
use http_body_util::Full;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use tower::ServiceExt as _;

use crate::common::{
    self, Effects, HOST, KEY, OTHER_KEY,
    log::Log,
    parts::{Asked, Fault, FaultyStore},
    verdict,
};

const SOURCE: &str = include_str!("../../src/metrics.rs");
const DASHBOARD: &str = include_str!("../../examples/grafana.json");
const ALERTS: &str = include_str!("../../examples/alerts.yml");
const OBSERVING: &str = include_str!("../../src/guide/observing.md");

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Prefix("countersign_".to_owned()), measure::BUCKETS)
        .unwrap()
        .build_recorder()
}

/// The value of one series.
fn value(exposed: &str, series: &str) -> f64 {
    let mut lines = exposed.lines().filter_map(|line| line.strip_prefix(series));
    let value = lines.next().and_then(|rest| rest.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {series} in:\n{exposed}"))
        .parse()
        .unwrap()
}

/// A name without what the exposition of a histogram adds to it.
fn base(name: &str) -> &str {
    ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name)
}

/// Our names in any text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("countersign_") && !word.ends_with('_'))
        .collect()
}

fn exposed_names(exposed: &str) -> BTreeSet<&str> {
    let series = exposed.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The table in the documentation.
fn documented() -> BTreeSet<&'static str> {
    let rows = SOURCE
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| row.split('`').next().unwrap()).collect()
}

/// Every expression of the dashboard.
fn expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

fn app(layer: VerifyLayer) -> Router {
    common::echo(&Effects::default()).layer(layer)
}

async fn send(app: &Router, request: Request<Body>) -> Response<Body> {
    app.clone().oneshot(request).await.unwrap()
}

/// Each way in which a claim can end, and some in which a request does not come to one.
async fn traffic(clock: &ManualClock) {
    let store = FaultyStore::around(common::store(clock));
    let app = app(common::layer(clock).store(store.clone()).build().unwrap());
    let signed = || common::signed(clock, "POST", "/transfer", "{}");
    let (first, copy) = {
        let (head, _) = signed().into_parts();
        let copy = Request::from_parts(head.clone(), Body::from("{}"));
        (Request::from_parts(head, Body::from("{}")), copy)
    };
    assert_eq!(send(&app, first).await.status(), 200);
    let replayed = verdict(send(&app, copy).await).await;
    assert_eq!(replayed, (409, "request_replayed".to_owned()));
    store.fault(Asked::Claim, Fault::Fails);
    assert_eq!(send(&app, signed()).await.status(), 503);
    let unsigned = common::request("POST", "/", "{}").map(Body::from);
    assert_eq!(send(&app, unsigned).await.status(), 401);
    let mut altered = signed();
    *altered.body_mut() = Body::from("{ }");
    assert_eq!(send(&app, altered).await.status(), 401);
}

/// The same, where copies of a request that is being handled are told to wait.
async fn in_flight(clock: &ManualClock) {
    let verifier = Verifier::builder(common::scheme())
        .public_origin(common::ORIGIN)
        .keys(common::keys())
        .store(common::store(clock))
        .clock(clock.clone())
        .processing(Processing::Retryable {
            lease: Duration::from_secs(60),
        })
        .build()
        .unwrap();
    let (head, _) = common::signed(clock, "POST", "/", "{}").into_parts();
    let body = || Full::new(Bytes::from_static(b"{}"));
    let lease = verifier.verify(&head, body()).await.unwrap();
    let copy = verifier.verify(&head, body()).await.unwrap_err();
    assert_eq!(copy.kind(), RejectionKind::RequestInFlight);
    drop(lease);
}

#[tokio::test]
async fn each_verification_claim_and_rejection_is_counted_once() {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    traffic(&clock).await;
    in_flight(&clock).await;

    let exposed = recorder.handle().render();
    for (series, count) in [
        ("countersign_claims_total{outcome=\"new\"}", 2.0),
        ("countersign_claims_total{outcome=\"replayed\"}", 1.0),
        ("countersign_claims_total{outcome=\"failed\"}", 1.0),
        ("countersign_claims_total{outcome=\"in_flight\"}", 1.0),
        ("countersign_claim_seconds_count", 5.0),
        (
            "countersign_verification_seconds_count{outcome=\"verified\"}",
            2.0,
        ),
        (
            "countersign_verification_seconds_count{outcome=\"refused\"}",
            5.0,
        ),
        (
            "countersign_rejections_total{code=\"request_replayed\"}",
            1.0,
        ),
        (
            "countersign_rejections_total{code=\"request_in_flight\"}",
            1.0,
        ),
        (
            "countersign_rejections_total{code=\"store_unavailable\"}",
            1.0,
        ),
        (
            "countersign_rejections_total{code=\"signature_missing\"}",
            1.0,
        ),
        (
            "countersign_rejections_total{code=\"signature_invalid\"}",
            1.0,
        ),
        ("countersign_body_budget_used_bytes", 0.0),
    ] {
        assert_eq!(value(&exposed, series), count, "{series} in:\n{exposed}");
    }
}

#[tokio::test]
async fn the_budget_is_in_use_while_a_payload_lives() {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    let verifier = Verifier::builder(common::scheme())
        .public_origin(common::ORIGIN)
        .keys(common::keys())
        .store(common::store(&clock))
        .clock(clock.clone())
        .build()
        .unwrap();
    let (head, _) = common::signed(&clock, "POST", "/", "12345").into_parts();
    let verified = verifier
        .verify(&head, Full::new(Bytes::from_static(b"12345")))
        .await
        .unwrap();
    let used = || {
        value(
            &recorder.handle().render(),
            "countersign_body_budget_used_bytes",
        )
    };
    assert_eq!(used(), 5.0);
    drop(verified);
    assert_eq!(used(), 0.0);
}

/// Four schemes hold the bytes of one body.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_signed_under_several_schemes_is_charged_once() {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    let scheme = |n| {
        HeaderScheme::builder(format!("x-signature-{n}"))
            .fixed_key_id(format!("key-{n}"))
            .time(format!("x-time-{n}"))
            .signs([Part::Time, Part::text("."), Part::Body])
            .build()
            .unwrap()
    };
    let secret = |n| format!("the secret of scheme {n}");
    let store = FaultyStore::around(common::store(&clock));
    store.fault(Asked::Claim, Fault::Hangs);
    let (mut layer, mut request) = (
        VerifyLayer::builder(scheme(0)).secret(secret(0)),
        Request::post("/").body("12345".to_owned()).unwrap(),
    );
    for n in 0..4 {
        if n > 0 {
            layer = layer.or(scheme(n)).secret(secret(n));
        }
        let signer = Signer::new(scheme(n), format!("key-{n}"), secret(n)).unwrap();
        request = signer.clock(clock.clone()).sign(request).unwrap();
    }
    let layer = layer
        .danger_unrelated_signatures()
        .danger_any_authority()
        .store(store)
        .clock(clock.clone())
        .build()
        .unwrap();
    let app = app(layer);
    let mut claiming = std::pin::pin!(send(&app, request.map(Body::from)));
    let waited = tokio::time::timeout(Duration::from_millis(20), claiming.as_mut());
    assert!(waited.await.is_err(), "the store hangs");
    let exposed = recorder.handle().render();
    assert_eq!(value(&exposed, "countersign_body_budget_used_bytes"), 5.0);
}

#[tokio::test]
async fn live_nonces_are_shown_where_the_store_can_tell() {
    let clock = common::clock();
    let shown = async |layer: VerifyLayer| {
        let recorder = recorder();
        let _local = metrics::set_default_local_recorder(&recorder);
        let response = send(&app(layer), common::signed(&clock, "POST", "/", "{}")).await;
        assert_eq!(response.status(), 200);
        recorder.handle().render()
    };
    let layer = || common::layer(&clock).namespace("payments");
    let series = "countersign_live_nonces{namespace=\"payments\"}";
    let told = shown(layer().build().unwrap()).await;
    assert_eq!(value(&told, series), 1.0);
    // This one does not tell.
    let store = FaultyStore::around(common::store(&clock));
    let told = shown(layer().store(store).build().unwrap()).await;
    assert!(!told.contains("live_nonces"), "{told}");
}

/// Returns what is exposed, given all that can be measured.
async fn all_exposed() -> String {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    measure::describe();
    let clock = common::clock();
    traffic(&clock).await;
    let layer = common::layer(&clock).build().unwrap();
    send(&app(layer), common::signed(&clock, "POST", "/", "{}")).await;
    recorder.handle().render()
}

#[tokio::test]
async fn what_is_exposed_is_what_is_documented_and_the_dashboard_shows_all_of_it() {
    let exposed = all_exposed().await;
    let exposed_names = exposed_names(&exposed);
    let bases: BTreeSet<_> = exposed_names.iter().map(|name| base(name)).collect();
    assert_eq!(bases, documented(), "exposed, and documented");
    for name in &bases {
        let help = format!("# HELP {name} ");
        assert!(exposed.contains(&help), "{name} is not described");
    }

    let expressions = expressions();
    let mut shown = BTreeSet::new();
    for expression in &expressions {
        let named = names(expression);
        assert!(!named.is_empty(), "nothing of ours in `{expression}`");
        for name in named {
            assert!(exposed_names.contains(name), "{name} in `{expression}`");
            shown.insert(base(name));
        }
    }
    assert_eq!(shown, bases, "on the dashboard, and exposed");
    // Its variables look at our names too.
    for name in names(DASHBOARD) {
        assert!(exposed_names.contains(name), "{name}");
    }
}

/// The values that a text compares a label with, in `label="one"` or `label=~"one|other"`.
fn compared<'t>(text: &'t str, label: &str) -> BTreeSet<&'t str> {
    let places = text.split(label).skip(1);
    let values = places.filter_map(|rest| {
        rest.strip_prefix('=')?
            .trim_start_matches('~')
            .strip_prefix('"')
    });
    values
        .flat_map(|rest| rest.split('"').next().unwrap().split('|'))
        .collect()
}

#[tokio::test]
async fn the_alerts_are_about_what_is_exposed_and_the_page_has_each() {
    let exposed = all_exposed().await;
    let exposed_names = exposed_names(&exposed);
    assert!(names(ALERTS).len() >= 4);
    for name in names(ALERTS) {
        assert!(exposed_names.contains(name), "{name}");
    }
    let codes: BTreeSet<_> = RejectionKind::ALL.iter().map(|kind| kind.code()).collect();
    let compared_codes = compared(ALERTS, "code");
    assert!(compared_codes.len() > 10, "{compared_codes:?}");
    assert!(compared_codes.is_subset(&codes), "{compared_codes:?}");
    for outcome in compared(ALERTS, "outcome") {
        assert!(
            exposed.contains(&format!("outcome=\"{outcome}\"")),
            "{outcome}"
        );
    }
    let alerts = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<_> = alerts.collect();
    let rows = OBSERVING
        .lines()
        .filter_map(|line| line.strip_prefix("| `Countersign"));
    let rows: BTreeSet<_> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let named = alerts
        .iter()
        .filter_map(|alert| alert.strip_prefix("Countersign"));
    assert_eq!(rows, named.collect());
}

#[test]
fn twin_a_name_that_is_wrong_is_seen() {
    let exposed = exposed_names("# TYPE x counter\ncountersign_a_total{b=\"c\"} 1\n\n");
    assert_eq!(exposed, BTreeSet::from(["countersign_a_total"]));
    let shown = names("sum(rate(countersign_b_total{job=~\"x\"}[5m]))");
    assert_eq!(shown, BTreeSet::from(["countersign_b_total"]));
    assert_ne!(shown, exposed);
    assert_eq!(
        base("countersign_c_seconds_bucket"),
        "countersign_c_seconds"
    );
    assert!(documented().len() >= 6 && expressions().len() >= 6);
}

/// The dashboard is as Grafana imports it: ids that differ, panels that do not overlap, a
/// data source that is chosen on import.
#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert_eq!(dashboard["title"], "countersign");
    assert!(dashboard.get("id").is_none_or(serde_json::Value::is_null));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let named: BTreeSet<_> = variables
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    let used = DASHBOARD.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        &rest[..end.unwrap()]
    });
    for variable in used.filter(|v| !v.starts_with("__")) {
        assert!(named.contains(variable), "${variable}");
    }
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()));
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(
                    x < 24 && taken.insert((x, y)),
                    "{} at {x}, {y}",
                    panel["title"]
                );
            }
        }
    }
}

/// Senders choose key ids, nonces and paths: none may become a label.
#[tokio::test]
async fn labels_have_few_values_whoever_sends() {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .danger_assume_no_history();
    let layer = common::layer(&clock).store(store.build().unwrap());
    let app = app(layer.build().unwrap());
    let series = || recorder.handle().render().lines().count();
    let mut counts = Vec::new();
    for n in 0..50 {
        let genuine = common::signed(&clock, "POST", &format!("/account/{n}"), "{}");
        assert_eq!(send(&app, genuine).await.status(), 200);
        let mut unknown = common::signed(&clock, "POST", "/", "{}");
        let key = format!("stranger-{n}").parse().unwrap();
        unknown.headers_mut().insert("x-key-id", key);
        assert_eq!(send(&app, unknown).await.status(), 401);
        counts.push(series());
    }
    assert!(counts.iter().all(|count| count == &counts[0]), "{counts:?}");
    let exposed = recorder.handle().render();
    for sent in [KEY, OTHER_KEY, HOST, "stranger", "/account"] {
        assert!(!exposed.contains(sent), "{sent} in:\n{exposed}");
    }
}

#[tokio::test]
async fn each_request_has_one_span_with_the_fields_that_are_documented() {
    let clock = common::clock();
    let layer = common::layer(&clock).namespace("payments");
    let app = app(layer.build().unwrap());
    let spans_of = async |request: Request<Body>| {
        let log = Log::captured();
        send(&app, request).await;
        let text = log.text();
        let closed = text.lines().filter(|line| line.contains(": close "));
        closed.map(str::to_owned).collect::<Vec<_>>()
    };

    let spans = spans_of(common::signed(&clock, "POST", "/", "{}")).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    let fields = "countersign.verify{namespace=\"payments\" key_id=\"partner-1\" body_bytes=2 \
                  outcome=\"claimed\"}";
    assert!(spans[0].contains(fields), "{spans:?}");

    let unsigned = common::request("POST", "/", "{}").map(Body::from);
    let spans = spans_of(unsigned).await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    let fields = "countersign.verify{namespace=\"payments\" outcome=\"signature_missing\"}";
    assert!(spans[0].contains(fields), "{spans:?}");

    let altered = common::signed(&clock, "POST", "/", "{}").map(|_| Body::from("[]"));
    let spans = spans_of(altered).await;
    let fields = "countersign.verify{namespace=\"payments\" key_id=\"partner-1\" body_bytes=2 \
                  outcome=\"signature_invalid\"}";
    assert!(spans[0].contains(fields), "{spans:?}");

    // The key id of a stranger is no key of ours.
    let mut unknown = common::signed(&clock, "POST", "/", "{}");
    let key = "stranger".parse().unwrap();
    unknown.headers_mut().insert("x-key-id", key);
    let spans = spans_of(unknown).await;
    assert!(
        spans[0].contains("outcome=\"signature_invalid\"}"),
        "{spans:?}"
    );
    assert!(!spans[0].contains("key_id"), "{spans:?}");
}

#[tokio::test]
async fn a_refusal_is_one_line_that_says_what_to_do() {
    let clock = common::clock();
    let store = FaultyStore::around(common::store(&clock));
    let app = app(common::layer(&clock).store(store.clone()).build().unwrap());
    for (fails, level, kind) in [
        (false, "INFO", RejectionKind::SignatureMissing),
        (true, "ERROR", RejectionKind::StoreUnavailable),
    ] {
        let log = Log::captured();
        let request = if fails {
            store.fault(Asked::Claim, Fault::Fails);
            common::signed(&clock, "POST", "/", "{}")
        } else {
            common::request("POST", "/", "{}").map(Body::from)
        };
        send(&app, request).await;
        let text = log.text();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("request refused"))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        let advice = format!("advice={:?}", kind.advice());
        assert!(lines[0].contains(&advice), "{}", lines[0]);
        assert!(lines[0].contains(kind.code()) && lines[0].contains(level));
        assert!(lines[0].contains("countersign.verify{"), "in the span");
    }
}

#[test]
fn every_kind_says_something_else_to_its_operator() {
    let pieces: BTreeSet<_> = RejectionKind::ALL.iter().map(|k| k.advice()).collect();
    assert_eq!(pieces.len(), RejectionKind::ALL.len());
    for kind in RejectionKind::ALL {
        let advice = kind.advice();
        assert!(advice.len() > 20 && advice.ends_with('.'), "{advice}");
        assert_ne!(advice, kind.public_detail());
    }
}

/// Refusals of an extractor are counted and logged as those of the layer are.
#[tokio::test]
async fn what_an_extractor_refuses_is_counted_too() {
    let recorder = recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let clock = common::clock();
    let versioned = async |_: VerifiedPayload, _: countersign::SignedVersion| "";
    let app = Router::new()
        .route("/", axum::routing::post(versioned))
        .layer(common::layer(&clock).build().unwrap());
    let response = send(&app, common::signed(&clock, "POST", "/", "{}")).await;
    assert_eq!(verdict(response).await.1, "version_required");
    let exposed = recorder.handle().render();
    let series = "countersign_rejections_total{code=\"version_required\"}";
    assert_eq!(value(&exposed, series), 1.0);
}
