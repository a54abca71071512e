//! Rows 12, 33, 34 and 44: where a request was signed for, and where it arrives.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Path, Request},
    routing::{any, post},
};
use countersign::{
    KeyRing, MemoryStore, VerifiedPath, VerifyLayer, request::VerifierBuilder, store::NonceStore,
};
use http::{Method, Request as HttpRequest, header::ALLOW};
use tower::{Layer as _, ServiceExt as _, util::MapRequest};

use crate::{
    common::{self, Effects, HOST, KEY, OTHER_KEY, OTHER_SECRET, SECRET, exchange},
    naive::{self, MapStore, guard},
    subject::{
        ALL, Answer, BODY, Breach, Case, EVENTS, Finding, HOUSE, INVALID, MALFORMED, OK, PLACED,
        REPLAYED, RFC_9421, Subject, Target, WEBHOOK, accepted, app, assert_survived, breaches,
        case, effective, refused, set, to_wire, with, with_uri,
    },
};

/// The part that was signed, and the part that arrives in its place. A server that decodes, normalizes or sorts
/// before it verifies takes them for one.
const TARGETS: [(&str, &str); 20] = [
    ("/a%2Fb", "/a/b"),
    ("/a/b", "/a%2Fb"),
    ("/%61", "/a"),
    ("/a", "/%61"),
    ("/a%2fb", "/a%2Fb"),
    ("/b", "/a/../b"),
    ("/a/../b", "/b"),
    ("/b", "/a/%2e%2e/b"),
    ("/a", "/./a"),
    ("/a", "//a"),
    ("//a", "/a"),
    ("/a", "/a/"),
    ("/a", "/A"),
    ("/a", "/a;v=1"),
    ("/a", "/a?"),
    ("/a?x=1&y=2", "/a?y=2&x=1"),
    ("/a?x=1", "/a?x=1&x=2"),
    ("/a?x=1", "/a?x=1&"),
    ("/a?x=%20", "/a?x=+"),
    ("/a?x=1", "/a%3Fx=1"),
];

#[tokio::test]
async fn a12_the_signed_target_is_the_one_that_arrives() {
    for subject in PLACED {
        for (signed, sent) in TARGETS {
            if subject.one_target.contains(&(signed, sent)) {
                continue;
            }
            let target = Target::new(subject).on_a_socket().await;
            let genuine = subject.sign(&target.clock, common::request("POST", signed, BODY));
            let cases = vec![case(sent, with_uri(&genuine, sent), INVALID)];
            assert_survived(subject, &breaches(&target, &genuine, cases).await);
        }
    }
}

#[tokio::test]
async fn a12_targets_that_are_signed_alike_are_one_request() {
    for (one, other) in RFC_9421.one_target {
        let target = Target::new(&RFC_9421).on_a_socket().await;
        let genuine = RFC_9421.sign(&target.clock, common::request("POST", one, BODY));
        accepted(&target, with_uri(&genuine, other)).await.unwrap();
        refused(&target, genuine, REPLAYED).await.unwrap();
    }
}

#[tokio::test]
async fn a12_twin_a_server_that_normalizes_the_target_is_found() {
    let clock = common::clock();
    let mut found = Vec::new();
    for (signed, sent) in TARGETS {
        let signature = |parts: &http::request::Parts, body: &[u8]| {
            let mut parts = parts.clone();
            parts.uri = normalized(&parts.uri).parse().unwrap();
            naive::expected(&HOUSE, &parts, body)
        };
        let target = Target::of(&clock, |effects| {
            guard(effects, move |parts, body| {
                naive::header(parts, "x-signature") == signature(parts, body)
            })
        });
        let mut genuine = HOUSE.sign(&clock, common::request("POST", signed, BODY));
        let (parts, body) = genuine.clone().into_parts();
        set(
            &mut genuine,
            "x-signature",
            &signature(&parts, body.as_bytes()),
        );
        let cases = vec![case(sent, with_uri(&genuine, sent), INVALID)];
        let breached = breaches(&target, &genuine, cases).await;
        found.extend(effective(&breached).into_iter().map(str::to_owned));
    }
    assert!(found.len() >= 12, "{found:?}");
}

/// Decoded, without empty, `.` and `..` segments, the query sorted: as a router might see it.
fn normalized(uri: &http::Uri) -> String {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut segments = Vec::new();
    let path = decode(uri.path());
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.replace(['?', ' '], "_")),
        }
    }
    let query = decode(uri.query().unwrap_or_default()).replace(['+', ' '], "_");
    let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    format!("/{}?{}", segments.join("/"), pairs.join("&"))
}

#[tokio::test]
async fn a12_a_target_without_a_path_is_malformed() {
    for subject in PLACED {
        let target = Target::new(subject);
        let genuine = subject.signed(&target.clock);
        let mut asterisk = with_uri(&genuine, "*");
        *asterisk.method_mut() = http::Method::OPTIONS;
        refused(&target, asterisk, MALFORMED).await.unwrap();
        accepted(&target, genuine).await.unwrap();
    }
}

#[tokio::test]
async fn a12_a_target_in_absolute_form_is_the_same_target() {
    let authorities = [
        (HOST, OK),
        ("API.example.com:443", OK),
        ("other.example", 400),
    ];
    for subject in PLACED {
        for (authority, expected) in authorities {
            let target = Target::new(subject).on_a_socket().await;
            let wire = String::from_utf8(to_wire(&subject.signed(&target.clock))).unwrap();
            let absolute = wire.replacen("POST /", &format!("POST https://{authority}/"), 1);
            let (status, _) = exchange(target.addr.unwrap(), absolute.as_bytes()).await;
            assert_eq!(status, expected, "{authority}");
            assert_eq!(target.effects.count(), usize::from(expected == OK));
        }
    }
}

fn nested(guarded: impl Fn(Router) -> Router) -> impl Fn(&Effects) -> Router {
    move |effects| {
        let guarded = || guarded(app(effects));
        Router::new()
            .nest("/public", guarded())
            .nest("/admin", Router::new().nest("/v1", guarded()))
    }
}

async fn a_request_moved_between_nests(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(
        &target.clock,
        common::request("POST", "/public/transfer", BODY),
    );
    for uri in ["/admin/v1/transfer", "/admin/v1/public/transfer"] {
        refused(target, with_uri(&genuine, uri), INVALID).await?;
    }
    accepted(target, genuine).await?;
    let deep = subject.sign(
        &target.clock,
        common::request("POST", "/admin/v1/transfer?x=%2F", BODY),
    );
    accepted(target, deep).await
}

#[tokio::test]
async fn a12_in_a_nested_router_the_whole_path_is_signed() {
    for subject in PLACED {
        let clock = common::clock();
        let layer = subject.layer(&clock).store(common::store(&clock));
        let layer = layer.build().unwrap();
        let target = Target::of(&clock, nested(|app| app.layer(layer.clone())));
        a_request_moved_between_nests(&target, subject)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a12_twin_a_server_that_verifies_the_stripped_path_is_found() {
    // It looks at the URI that a nested router leaves over.
    let clock = common::clock();
    let guarded = |effects: &Effects| {
        guard(effects, |parts, body| {
            naive::header(parts, "x-signature") == naive::expected(&HOUSE, parts, body)
        })
    };
    let target = Target::of(&clock, |effects| {
        let admin = Router::new().nest("/v1", guarded(effects));
        Router::new()
            .nest("/public", guarded(effects))
            .nest("/admin", admin)
    });
    let for_public = HOUSE.sign(&clock, common::request("POST", "/transfer", BODY));
    let found = refused(
        &target,
        with_uri(&for_public, "/admin/v1/transfer"),
        INVALID,
    )
    .await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

fn rewriting(request: Request) -> Request {
    let (mut parts, body) = request.into_parts();
    if parts.uri.path() == "/accounts/1" {
        parts.uri = "/accounts/2".parse().unwrap();
    }
    Request::from_parts(parts, body)
}

#[tokio::test]
async fn a12_a_rewrite_after_verification_is_noticed() {
    let clock = common::clock();
    let layer = HOUSE
        .layer(&clock)
        .store(common::store(&clock))
        .build()
        .unwrap();
    let verified = async |VerifiedPath(id): VerifiedPath<u64>| id.to_string();
    let plain = async |Path(id): Path<u64>| id.to_string();
    let routes = [
        (
            Router::new().route("/accounts/{id}", post(verified)),
            (403, "resource_mismatch"),
        ),
        // The twin acts on what was not signed.
        (
            Router::new().route("/accounts/{id}", post(plain)),
            (OK, "2"),
        ),
    ];
    for (router, expected) in routes {
        let app = layer.layer(MapRequest::new(router, rewriting as fn(Request) -> Request));
        let send = async |path: &str| {
            let request = common::signed(&clock, "POST", path, BODY);
            common::verdict(app.clone().oneshot(request).await.unwrap()).await
        };
        let (status, answer) = send("/accounts/1").await;
        assert_eq!((status, answer.as_str()), expected);
        assert_eq!(
            send("/accounts/3").await,
            (OK, "3".into()),
            "what is not rewritten passes"
        );
    }
}

#[tokio::test]
async fn a12_a_rewrite_before_verification_is_another_target() {
    let clock = common::clock();
    let layer = HOUSE
        .layer(&clock)
        .store(common::store(&clock))
        .build()
        .unwrap();
    let effects = Effects::default();
    let rewrite = rewriting as fn(Request) -> Request;
    for rewritten in [
        MapRequest::new(app(&effects).layer(layer.clone()), rewrite),
        MapRequest::new(
            Router::new().fallback_service(layer.layer(app(&effects))),
            rewrite,
        ),
    ] {
        let request = common::signed(&clock, "POST", "/accounts/1", BODY);
        let (status, code) = common::verdict(rewritten.oneshot(request).await.unwrap()).await;
        assert_eq!(((status, code.as_str()), effects.count()), (INVALID, 0));
    }
}

/// Hosts that are not ours, with the answer for a scheme that covers the authority or not.
fn other_hosts(genuine: &http::Request<String>) -> Vec<Case> {
    let not_served = (421, "authority_not_served");
    let mut cases: Vec<_> = [
        "other.example",
        "api.example.com.other.example",
        "xapi.example.com",
        "api.example.com:8443",
        "api.example.com.",
        "localhost",
        "127.0.0.1",
        "[::1]:80",
    ]
    .into_iter()
    .map(|host| case(host, with(genuine, "host", host), not_served))
    .collect();
    for host in [
        "",
        "user@api.example.com",
        "api.example.com/x",
        "api.example.com,other.example",
        "a b",
    ] {
        cases.push(case(
            format!("`{host}`"),
            with(genuine, "host", host),
            MALFORMED,
        ));
    }
    let forwarded = with(
        &with(genuine, "host", "other.example"),
        "x-forwarded-host",
        HOST,
    );
    cases.push(case("forwarded by nobody", forwarded, not_served));
    cases
}

#[tokio::test]
async fn a33_a_request_for_another_authority() {
    for subject in ALL {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = other_hosts(&genuine);
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a33_a_request_signed_for_another_authority_and_sent_to_ours() {
    for subject in PLACED {
        let target = Target::new(subject).on_a_socket().await;
        let request = common::request("POST", "/transfer", BODY);
        let request = with(&request, "host", "other.example");
        let theirs = with(&subject.sign(&target.clock, request), "host", HOST);
        refused(&target, theirs, INVALID).await.unwrap();

        // Both are ours, and still they are two.
        let both =
            |layer: VerifierBuilder<VerifyLayer>| layer.public_origin("https://admin.example.com");
        let target = Target::with(subject, both).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = vec![case(
            "the other of ours",
            with(&genuine, "host", "admin.example.com"),
            INVALID,
        )];
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a33_twin_a_layer_for_any_authority_is_found() {
    for subject in ALL {
        let target = Target::of(&common::clock(), |effects| {
            let clock = common::clock();
            let layer = (subject.builder)()
                .danger_any_authority()
                .keys(common::keys());
            app(effects).layer(
                layer
                    .clock(clock.clone())
                    .store(common::store(&clock))
                    .build()
                    .unwrap(),
            )
        });
        let request = with(
            &common::request("POST", "/transfer", BODY),
            "host",
            "other.example",
        );
        let theirs = subject.sign(&target.clock, request);
        let found = refused(&target, theirs, (421, "authority_not_served")).await;
        assert!(
            matches!(found, Err(Breach::Effect(_))),
            "{}: {found:?}",
            subject.name
        );
    }
}

/// A request that we sent, under the key that we send under, comes back to us.
async fn our_own_request_reflected(target: &Target, subject: &Subject) -> Finding {
    let outbound = (subject.signer)("us", "the secret of what we send");
    let sent = outbound
        .clock(target.clock.clone())
        .sign(common::request("POST", "/transfer", BODY))
        .unwrap();
    refused(target, sent.clone(), INVALID).await?;
    refused(target, with(&sent, subject.key_id.unwrap(), KEY), INVALID).await
}

#[tokio::test]
async fn a33_our_own_outgoing_request_reflected_to_us() {
    for subject in PLACED {
        our_own_request_reflected(&Target::new(subject), subject)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a33_twin_one_ring_for_both_directions_is_found() {
    for subject in PLACED {
        let both = common::keys()
            .with("us", "the secret of what we send")
            .unwrap();
        let target = Target::with(subject, |layer| layer.keys(both));
        let found = our_own_request_reflected(&target, subject).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

/// Anybody who captured a delivery is first: at another path, at none, with another method.
async fn a_captured_delivery_elsewhere(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(&target.clock, common::request("POST", "/hook", BODY));
    for uri in [
        "/other",
        "/",
        "/hook/",
        "/Hook",
        "/h%6Fok",
        "/none/of/these",
    ] {
        target.send(with_uri(&genuine, uri)).await;
    }
    for method in ["PUT", "GET", "DELETE"] {
        let mut request = genuine.clone();
        *request.method_mut() = method.parse().unwrap();
        target.send(request).await;
    }
    accepted(target, genuine.clone()).await?;
    refused(target, genuine.clone(), REPLAYED).await?;
    // The query is no place: nobody routes by it.
    refused(target, with_uri(&genuine, "/hook?again"), REPLAYED).await
}

/// One route that has an effect, and 404 for all others.
fn one_route(effects: &Effects) -> Router {
    let effects = effects.clone();
    let handler = async move |body: String| {
        effects.happened();
        body
    };
    Router::new()
        .route("/hook", post(handler))
        .fallback(any(async || axum::http::StatusCode::NOT_FOUND))
}

#[tokio::test]
async fn a34_a_captured_delivery_posted_elsewhere_first_burns_nothing() {
    for subject in [&WEBHOOK, &EVENTS] {
        let target = Target::new(subject).on_a_socket().await;
        a_captured_delivery_elsewhere(&target, subject)
            .await
            .unwrap();

        let clock = common::clock();
        let layer = subject
            .layer(&clock)
            .store(common::store(&clock))
            .build()
            .unwrap();
        let target = Target::of(&clock, |effects| one_route(effects).layer(layer));
        a_captured_delivery_elsewhere(&target, subject)
            .await
            .unwrap();
        assert_eq!(target.effects.count(), 1);
    }
}

/// One captured delivery does nothing twice if neither host nor query is covered. But the
/// one that comes first is the one that counts.
#[tokio::test]
async fn a44_a_message_is_used_once_at_all_hosts_and_queries() {
    const OTHER: &str = "admin.example.com";
    for subject in [&WEBHOOK, &EVENTS] {
        let both =
            |layer: VerifierBuilder<VerifyLayer>| layer.public_origin(format!("https://{OTHER}"));
        let genuine = |target: &Target| {
            let request = common::request("POST", "/hook", BODY);
            subject.sign(&target.clock, request)
        };
        let elsewhere = |genuine: &HttpRequest<String>| {
            [
                with_uri(genuine, "/hook?tenant=b"),
                with_uri(genuine, "/hook?"),
                with(genuine, "host", OTHER),
                with_uri(&with(genuine, "host", OTHER), "/hook?tenant=b"),
            ]
        };
        let target = Target::with(subject, both).on_a_socket().await;
        let first = genuine(&target);
        accepted(&target, first.clone()).await.unwrap();
        for copy in elsewhere(&first) {
            refused(&target, copy, REPLAYED).await.unwrap();
        }
        // Each of them is enough to use up the genuine one. A host that is not ours does nothing.
        for at in 0..4 {
            let target = Target::with(subject, both).on_a_socket().await;
            let genuine = genuine(&target);
            let not_served = (421, "authority_not_served");
            let theirs = with(&genuine, "host", "other.example");
            refused(&target, theirs, not_served).await.unwrap();
            accepted(&target, elsewhere(&genuine)[at].clone())
                .await
                .unwrap();
            refused(&target, genuine.clone(), REPLAYED).await.unwrap();
            // The twin: a path is another place, and the same message has an effect there as well.
            accepted(&target, with_uri(&genuine, "/other"))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a34_where_the_place_is_covered_nothing_else_passes() {
    for subject in PLACED {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.sign(&target.clock, common::request("POST", "/hook", BODY));
        let mut cases: Vec<_> = ["/other", "/", "/hook/", "/hook?again", "/none"]
            .into_iter()
            .map(|uri| case(uri, with_uri(&genuine, uri), INVALID))
            .collect();
        let mut put = genuine.clone();
        *put.method_mut() = http::Method::PUT;
        cases.push(case("PUT", put, INVALID));
        assert_survived(subject, &breaches(&target, &genuine, cases).await);
    }
}

#[tokio::test]
async fn a34_twin_a_store_that_goes_by_the_nonce_alone_is_found() {
    for subject in [&WEBHOOK, &EVENTS] {
        let clock = common::clock();
        let store = MapStore::new(&clock).identity(|claim| claim.nonce().as_bytes().to_vec());
        let target = Target::with_store(subject, &clock, store, |layer| layer);
        let found = a_captured_delivery_elsewhere(&target, subject).await;
        assert!(
            matches!(found, Err(Breach::Answer(_))),
            "the genuine one is refused: {found:?}"
        );
    }
}

#[tokio::test]
async fn a33_one_key_does_not_speak_for_the_other() {
    for subject in PLACED {
        let target = Target::new(subject).on_a_socket().await;
        let genuine = subject.signed(&target.clock);
        let cases = vec![case(
            "the other's id",
            with(&genuine, subject.key_id.unwrap(), OTHER_KEY),
            INVALID,
        )];
        assert_survived(subject, &breaches(&target, &genuine, cases).await);

        let swapped = KeyRing::new()
            .with(KEY, OTHER_SECRET)
            .and_then(|ring| ring.with(OTHER_KEY, SECRET))
            .unwrap();
        let target = Target::with(subject, |layer| layer.keys(swapped));
        let genuine = subject.signed(&target.clock);
        refused(&target, genuine, INVALID).await.unwrap();
    }
}

/// The subjects whose signatures leave out where a request is for.
const UNPLACED: [&Subject; 2] = [&WEBHOOK, &EVENTS];

const NOT_ALLOWED: Answer = (405, "method_not_allowed");

const MADE_UP: [&str; 8] = [
    "OPTIONS", "TRACE", "QUERY", "PROPFIND", "post", "FOO", "M0", "M1",
];

fn with_method(request: &HttpRequest<String>, method: &str) -> HttpRequest<String> {
    let mut request = request.clone();
    *request.method_mut() = method.parse().unwrap();
    request
}

/// Each is refused, and none of them asks the store.
async fn made_up_methods(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(&target.clock, common::request("POST", "/hook", BODY));
    for method in MADE_UP {
        refused(target, with_method(&genuine, method), NOT_ALLOWED).await?;
    }
    accepted(target, genuine.clone()).await?;
    refused(target, genuine, REPLAYED).await
}

#[tokio::test]
async fn a44_a_made_up_method_is_refused_before_the_claim() {
    for subject in UNPLACED {
        let target = Target::new(subject).on_a_socket().await;
        made_up_methods(&target, subject).await.unwrap();

        let target = Target::with(subject, |layer| layer.methods([Method::POST]));
        made_up_methods(&target, subject).await.unwrap();
        let genuine = subject.sign(&target.clock, common::request("POST", "/else", BODY));
        let put = with_method(&genuine, "PUT").map(axum::body::Body::from);
        let answer = target.app.clone().oneshot(put).await.unwrap();
        assert_eq!(answer.headers()[ALLOW], "POST");
        assert_eq!(common::verdict(answer).await.1, NOT_ALLOWED.1);
    }
}

#[tokio::test]
async fn a44_a_method_that_is_covered_needs_no_list() {
    for subject in PLACED {
        let target = Target::new(subject);
        let query = subject.sign(&target.clock, common::request("QUERY", "/hook", BODY));
        accepted(&target, query).await.unwrap();
    }
}

#[tokio::test]
async fn a44_twin_a_layer_that_lets_made_up_methods_in_is_found() {
    for subject in UNPLACED {
        let target = Target::with(subject, |layer| {
            let made_up = MADE_UP.iter().map(|method| method.parse().unwrap());
            layer.methods(made_up.chain([Method::POST]))
        });
        let found = made_up_methods(&target, subject).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

/// A layer on one route's `post`, which wraps the 405 for other methods too.
async fn the_405_of_a_route(subject: &Subject, gives_back: bool) -> Finding {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let kept: Arc<dyn NonceStore> = if gives_back {
        Arc::new(MapStore::new(&clock).identity(|_| unique()))
    } else {
        Arc::<MemoryStore>::clone(&store)
    };
    let layer = subject.layer(&clock).store(kept).build().unwrap();
    let target = Target::of(&clock, |effects| {
        let effects = effects.clone();
        let handler = async move |body: String| {
            effects.happened();
            body
        };
        Router::new().route("/hook", post(handler).layer(layer))
    });
    let genuine = subject.sign(&clock, common::request("POST", "/hook", BODY));
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        let other = with_method(&genuine, method);
        let (status, _) = target.send(other.clone()).await;
        assert_eq!(status, 405, "{method}");
        // It was claimed: a handler can answer 405 or 404 after its effect.
        let (status, code) = target.send(other).await;
        if status != REPLAYED.0 {
            return Err(Breach::Answer(format!("{method}: {status} {code}")));
        }
    }
    accepted(&target, genuine.clone()).await?;
    refused(&target, genuine, REPLAYED).await?;
    assert_eq!(store.len(), 6, "one for each method");
    Ok(())
}

/// As if the claim had been given back.
fn unique() -> Vec<u8> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().into()
}

#[tokio::test]
async fn a44_the_405_of_a_route_leaves_a_record_for_each_known_method_and_keeps_it() {
    for subject in UNPLACED {
        the_405_of_a_route(subject, false).await.unwrap();
    }
}

#[tokio::test]
async fn a44_twin_a_server_that_gives_a_claim_back_for_its_status_is_found() {
    for subject in UNPLACED {
        let found = the_405_of_a_route(subject, true).await;
        assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
    }
}

const TOO_MANY: Answer = (429, "too_many_places");

/// How many records one message may leave at open places.
const MOST: usize = 16;

/// The captured delivery is sent to one made-up path after the other, and the genuine one is among
/// the first 16.
pub async fn made_up_paths(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(&target.clock, common::request("POST", "/hook/1", BODY));
    let made_up = |n: usize| with_uri(&genuine, &format!("/hook/{n}0?n={n}"));
    for n in 1..MOST {
        accepted(target, made_up(n)).await?;
    }
    accepted(target, genuine.clone()).await?;
    for n in MOST..MOST + 20 {
        refused_after_the_claim(target, made_up(n), TOO_MANY).await?;
    }
    refused(target, genuine.clone(), REPLAYED).await?;
    refused(target, made_up(1), REPLAYED).await?;
    // Another message is another matter.
    target.clock.advance(std::time::Duration::from_secs(1));
    let other = subject.sign(&target.clock, common::request("POST", "/hook/1", "other"));
    accepted(target, other).await
}

/// As [`refused`], by the store.
async fn refused_after_the_claim(
    target: &Target,
    request: HttpRequest<String>,
    expected: Answer,
) -> Finding {
    let effects = target.effects.count();
    let (status, code) = target.send(request).await;
    if target.effects.count() != effects {
        return Err(Breach::Effect(format!("{status} {code} and an effect")));
    }
    if (status, code.as_str()) != expected {
        return Err(Breach::Answer(format!("{status} {code}")));
    }
    Ok(())
}

/// All at one moment: the genuine delivery and its copies, with no more made-up paths than there
/// may be; then many more paths.
pub async fn made_up_paths_at_once(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(&target.clock, common::request("POST", "/hook/1", BODY));
    let made_up = |n: usize| with_uri(&genuine, &format!("/hook/{n}0"));
    let copies = (0..20).map(|_| genuine.clone());
    let first = (1..MOST).map(made_up).chain(copies).collect();
    all_have_one_effect(target, first, MOST).await?;
    refused(target, genuine.clone(), REPLAYED).await?;
    all_have_one_effect(target, (MOST..100).map(made_up).collect(), 0).await?;

    // None of them first.
    target.clock.advance(std::time::Duration::from_secs(1));
    let other = subject.sign(&target.clock, common::request("POST", "/hook/1", "other"));
    let made_up = |n: usize| with_uri(&other, &format!("/hook/{n}0"));
    all_have_one_effect(target, (0..100).map(made_up).collect(), MOST).await
}

/// This many of the requests have an effect, and the others are told why not.
async fn all_have_one_effect(
    target: &Target,
    requests: Vec<HttpRequest<String>>,
    expected: usize,
) -> Finding {
    let before = target.effects.count();
    let mut sending = tokio::task::JoinSet::new();
    for request in requests {
        let app = target.app.clone();
        sending.spawn(async move {
            common::verdict(
                app.oneshot(request.map(axum::body::Body::from))
                    .await
                    .unwrap(),
            )
            .await
        });
    }
    let mut accepted = 0;
    for (status, code) in sending.join_all().await {
        match (status, code.as_str()) {
            (OK, _) => accepted += 1,
            REPLAYED | TOO_MANY => {}
            _ => return Err(Breach::Answer(format!("{status} {code}"))),
        }
    }
    let effects = target.effects.count() - before;
    if (accepted, effects) != (expected, expected) {
        return Err(Breach::Effect(format!(
            "{accepted} accepted, {effects} effects, instead of {expected}"
        )));
    }
    Ok(())
}

/// Services in which there is no end of paths: behind a wildcard, behind parameters, in a fallback,
/// in a service that is nested, and without a router around the layer.
fn open_paths(subject: &Subject) -> Vec<(&'static str, Target, Arc<MemoryStore>)> {
    let clock = common::clock();
    let around = |wrap: fn(Router, VerifyLayer) -> Router, inner: fn(&Effects) -> Router| {
        let store = Arc::new(common::store(&clock));
        let layer = subject.layer(&clock).store(Arc::clone(&store));
        let layer = layer.build().unwrap();
        let target = Target::of(&clock, |effects| wrap(inner(effects), layer));
        (target, store)
    };
    let parameters = |effects: &Effects| {
        let effects = effects.clone();
        let handler = async move |body: String| {
            effects.happened();
            body
        };
        Router::new().route("/{one}/{two}", post(handler))
    };
    let in_a_fallback = |effects: &Effects| Router::new().fallback_service(app(effects));
    let inside = |app: Router, layer: VerifyLayer| app.layer(layer);
    let around_all =
        |app: Router, layer: VerifyLayer| Router::new().fallback_service(layer.layer(app));
    let nested =
        |app: Router, layer: VerifyLayer| Router::new().nest_service("/hook", app.layer(layer));
    [
        ("a wildcard", around(inside, app)),
        ("parameters", around(inside, parameters)),
        ("a fallback", around(inside, in_a_fallback)),
        ("no router", around(around_all, app)),
        ("a nested service", around(nested, app)),
    ]
    .map(|(name, (target, store))| (name, target, store))
    .into()
}

#[tokio::test]
async fn a44_made_up_paths_leave_no_more_than_16_records() {
    for subject in UNPLACED {
        for (name, target, store) in open_paths(subject) {
            let found = made_up_paths(&target, subject).await;
            found.unwrap_or_else(|breach| panic!("{name}: {breach:?}"));
            assert_eq!(store.len(), MOST + 1, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a44_made_up_paths_at_once_leave_no_more_than_16_records() {
    for subject in UNPLACED {
        for (name, target, store) in open_paths(subject) {
            let found = made_up_paths_at_once(&target, subject).await;
            found.unwrap_or_else(|breach| panic!("{name}: {breach:?}"));
            assert_eq!(store.len(), 2 * MOST, "{name}");
        }
    }
}

#[tokio::test]
async fn a44_what_is_refused_for_its_place_is_not_told_to_come_back() {
    let (_, target, _) = open_paths(&WEBHOOK).remove(0);
    let genuine = WEBHOOK.sign(&target.clock, common::request("POST", "/hook/1", BODY));
    for n in 0..MOST {
        let made_up = with_uri(&genuine, &format!("/{n}"));
        accepted(&target, made_up).await.unwrap();
    }
    let request = genuine.map(axum::body::Body::from);
    let answer = target.app.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), TOO_MANY.0);
    assert!(!answer.headers().contains_key(http::header::RETRY_AFTER));
}

/// A route without parameters is one of a known set, whatever arrives elsewhere.
async fn a_known_route(target: &Target, subject: &Subject) -> Finding {
    let genuine = subject.sign(&target.clock, common::request("POST", "/hook", BODY));
    for n in 0..100 {
        target.send(with_uri(&genuine, &format!("/{n}"))).await;
    }
    accepted(target, genuine.clone()).await?;
    refused(target, genuine, REPLAYED).await
}

#[tokio::test]
async fn a44_a_known_route_is_not_burned_by_any_number_of_made_up_paths() {
    for subject in UNPLACED {
        let clock = common::clock();
        let store = Arc::new(common::store(&clock));
        let layer = subject.layer(&clock).store(Arc::clone(&store));
        let layer = layer.build().unwrap();
        let target = Target::of(&clock, |effects| one_route(effects).layer(layer));
        a_known_route(&target, subject).await.unwrap();
        assert_eq!(store.len(), MOST + 1);

        let layer = subject.layer(&clock).store(common::store(&clock));
        let layer = layer.build().unwrap();
        let target = Target::of(&clock, |effects| {
            Router::new().nest("/in", one_route(effects).layer(layer))
        });
        let genuine = subject.sign(&clock, common::request("POST", "/in/hook", BODY));
        for n in 0..100 {
            target.send(with_uri(&genuine, &format!("/in/{n}"))).await;
        }
        accepted(&target, genuine.clone()).await.unwrap();
        refused(&target, genuine, REPLAYED).await.unwrap();
    }
}

#[tokio::test]
async fn a44_a_place_that_is_known_to_one_server_and_open_to_another_is_one_place() {
    for subject in UNPLACED {
        let clock = common::clock();
        let store = Arc::new(common::store(&clock));
        let layer = || {
            let layer = subject.layer(&clock).store(Arc::clone(&store));
            layer.build().unwrap()
        };
        let known = Target::of(&clock, |effects| one_route(effects).layer(layer()));
        let open = Target::of(&clock, |effects| {
            Router::new().fallback_service(layer().layer(one_route(effects)))
        });
        for (n, (one, other)) in [(&known, &open), (&open, &known)].into_iter().enumerate() {
            let request = common::request("POST", "/hook", &n.to_string());
            let genuine = subject.sign(&clock, request);
            accepted(one, genuine.clone()).await.unwrap();
            refused(other, genuine, REPLAYED).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a44_twin_a_store_that_does_not_count_places_is_found() {
    for subject in UNPLACED {
        let clock = common::clock();
        let target = Target::with_store(subject, &clock, MapStore::new(&clock), |layer| layer);
        let found = made_up_paths(&target, subject).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
        let target = Target::with_store(subject, &clock, MapStore::new(&clock), |layer| layer);
        let found = made_up_paths_at_once(&target, subject).await;
        assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a44_twin_a_store_that_refuses_a_message_at_its_second_place_is_found() {
    for subject in UNPLACED {
        let clock = common::clock();
        let store = MapStore::new(&clock).identity(|claim| claim.digest()[..16].to_vec());
        let target = Target::around(subject, &clock, store, one_route, |layer| layer);
        let found = a_known_route(&target, subject).await;
        assert!(matches!(found, Err(Breach::Answer(_))), "{found:?}");
    }
}
