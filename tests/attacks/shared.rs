//! Rows 45 and 61: what two layers that share a store do to each other's requests.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::any};
use countersign::{
    Clock as _, ConfigError, HttpMessageSignatures, KeyId, KeyRing, KeySet, KeyStore, MemoryStore,
    OneTimeToken, Processing, Secret, Signer, VerifyLayer,
    error::{ConfigErrorKind, StoreErrorKind},
    idempotency::IdempotencyLayer,
    key::KeyFuture,
    request::VerifierBuilder,
    rfc9421::Component,
    scheme::Scheme,
    store::{
        Claim, ClaimOutcome, LeaseStore, MemoryAnswers, Nonce, NonceKind, NonceStore, Sharing,
        StoreFuture,
    },
    testing,
    testing::ManualClock,
    webhooks::{self, GitHub, Stripe},
};
use http::Request;
use tower::ServiceExt as _;

use crate::{
    common::{self, Effects},
    naive::MapStore,
    subject::{Breach, Finding, HOUSE, MISCONFIGURED, REPLAYED, Target, accepted, refused},
};

const SECOND: Duration = Duration::from_secs(1);

fn window(clock: &ManualClock, store: &Arc<impl NonceStore>, max_age: Duration) -> Target {
    Target::with_store(&HOUSE, clock, Arc::clone(store), |layer| {
        layer.max_age(max_age).max_skew(SECOND)
    })
}

/// A layer with a short window accepts a request, and is gone. Another one with a long window is given
/// a copy once the first one's record would have been dropped.
async fn a_longer_window_follows(clock: &ManualClock, store: Arc<impl NonceStore>) -> Finding {
    let genuine = HOUSE.signed(clock);
    accepted(&window(clock, &store, SECOND), genuine.clone()).await?;
    clock.advance(SECOND * 30);
    let longer = window(clock, &store, SECOND * 300);
    refused(&longer, genuine, MISCONFIGURED).await?;
    // And so is every other request, for as long as nobody mends it.
    refused(&longer, HOUSE.signed(clock), MISCONFIGURED).await
}

#[tokio::test]
async fn a61_what_a_short_window_accepted_a_longer_one_does_not_accept() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    a_longer_window_follows(&clock, store).await.unwrap();
}

/// A store whose records last for as long as each claim by itself needs.
#[tokio::test]
async fn a61_twin_a_store_without_a_retention_of_the_namespace_is_found() {
    let clock = common::clock();
    let found = a_longer_window_follows(&clock, Arc::new(MapStore::new(&clock))).await;
    assert!(matches!(found, Err(Breach::Effect(_))), "{found:?}");
}

#[tokio::test]
async fn a61_what_needs_less_is_remembered_for_as_long_as_its_namespace() {
    let clock = common::clock();
    let store: Arc<MemoryStore> = Arc::new(common::store(&clock));
    let first = HOUSE.signed(&clock);
    accepted(&window(&clock, &store, SECOND * 300), first.clone())
        .await
        .unwrap();
    let genuine = HOUSE.signed(&clock);
    accepted(&window(&clock, &store, SECOND), genuine.clone())
        .await
        .unwrap();
    clock.advance(SECOND * 290);
    for copy in [first, genuine] {
        let longer = window(&clock, &store, SECOND * 300);
        refused(&longer, copy, REPLAYED).await.unwrap();
    }
}

#[test]
fn a61_namespaces_take_no_more_room_than_the_store_has() {
    let clock = common::clock();
    let store = crate::subject::small(&clock).build().unwrap();
    let capacity = store.statistics().capacity_bytes;
    let mut refused = 0;
    for n in 0..2000 {
        let namespace = format!("tenant {n:0100}");
        let nonce = Nonce::new(NonceKind::Covered, "1");
        let key = KeyId::new("k").unwrap();
        let deadline = clock.now().saturating_add(SECOND);
        let claim = Claim::new(namespace.into(), key, nonce, deadline);
        let answer = common::ready(store.claim(&claim));
        if let Err(error) = answer {
            assert_eq!(error.kind(), StoreErrorKind::Full);
            refused += 1;
        }
        assert!(store.allocated_bytes() <= capacity);
    }
    assert!(refused > 0);
}

/// The layers of two tenants, each with a secret of its own for the one provider.
pub const TENANTS: [(&str, &str); 2] = [
    ("mallory", "the webhook secret of mallory"),
    ("victim", "the webhook secret of the victim"),
];

const EVENT: &str = r#"{"id":"evt_42"}"#;

/// Has a store, and passes for another one.
struct Disguised(Arc<MemoryStore>);

impl NonceStore for Disguised {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.0.leases()
    }

    fn survives_restart(&self) -> bool {
        false
    }

    fn sharing(&self) -> Sharing {
        Sharing::within_process(self)
    }
}

pub fn endpoint(
    preset: impl Scheme,
    secret: &str,
    clock: &ManualClock,
    store: impl NonceStore,
) -> VerifierBuilder<VerifyLayer> {
    let layer = VerifyLayer::builder(preset).secret(secret);
    layer.store(store).clock(clock.clone())
}

/// Returns whether the event, as it is delivered to an endpoint, is handled there.
pub async fn is_handled(
    layer: &VerifyLayer,
    preset: impl Scheme,
    secret: &str,
    clock: &ManualClock,
) -> bool {
    let effects = Effects::default();
    let handler = effects.clone();
    let app = Router::new()
        .route("/hook", any(async move || handler.happened()))
        .layer(layer.clone());
    let delivery = testing::delivery(preset, secret, EVENT).to("/hook");
    let request = delivery.clock(clock.clone()).request();
    let answer = app.oneshot(request.map(Body::new)).await.unwrap();
    assert_eq!(answer.status(), 200, "handled, or acknowledged");
    effects.count() == 1
}

#[tokio::test]
async fn a45_a_tenants_event_uses_up_no_other_tenants() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let mut layers = Vec::new();
    for (tenant, secret) in TENANTS {
        let preset = || Stripe::new().key_id(tenant);
        let layer = endpoint(preset(), secret, &clock, Arc::clone(&store));
        layers.push((layer.build().unwrap(), preset(), secret));
    }
    for (layer, preset, secret) in layers {
        assert!(is_handled(&layer, preset.clone(), secret, &clock).await);
        assert!(!is_handled(&layer, preset, secret, &clock).await, "twice");
    }
}

/// Both under the names that nobody chose, on stores that hide that they are one.
#[tokio::test]
async fn a45_twin_a_shared_key_id_and_namespace_are_found() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let mut handled = Vec::new();
    let mut layers = Vec::new();
    for (_, secret) in TENANTS {
        let store = Disguised(Arc::clone(&store));
        let layer = endpoint(Stripe::new(), secret, &clock, store);
        layers.push((layer.build().unwrap(), secret));
    }
    for (layer, secret) in layers {
        handled.push(is_handled(&layer, Stripe::new(), secret, &clock).await);
    }
    assert_eq!(handled, [true, false], "the victim's event is lost");
}

#[tokio::test]
async fn a45_two_services_that_receive_one_delivery_handle_it_each() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let (_, secret) = TENANTS[0];
    let mut layers = Vec::new();
    for service in ["orders", "deployments"] {
        let layer = endpoint(GitHub::new(), secret, &clock, Arc::clone(&store));
        layers.push(layer.namespace(service).build().unwrap());
    }
    for layer in layers {
        assert!(is_handled(&layer, GitHub::new(), secret, &clock).await);
    }
}

fn kind<T>(built: Result<T, ConfigError>) -> Option<ConfigErrorKind> {
    built.err().map(|error| error.kind().clone())
}

/// Where others can have the same store, under the names that every service with the preset has.
#[test]
fn a45_a_preset_on_a_shared_store_needs_a_name() {
    macro_rules! check {
        ($($preset:ident $own:literal,)*) => {$(
            let builder = |preset| {
                let builder = VerifyLayer::builder(preset).public_origin(common::ORIGIN);
                // The requested key id may be the preset's.
                builder.keys(Asked)
            };
            let unchosen = Some(ConfigErrorKind::UnchosenNames($own.into()));
            let new = webhooks::$preset::new;
            // Its own.
            assert_eq!(kind(builder(new()).store(MemoryStore::new()).build()), None);
            assert_eq!(kind(builder(new()).store(Arc::new(MemoryStore::new())).build()), None);

            let store = Arc::new(MemoryStore::new());
            let shared = || Arc::clone(&store);
            let dynamic: Arc<dyn NonceStore> = shared();
            assert_eq!(kind(builder(new()).store(shared()).build()), unchosen);
            assert_eq!(kind(builder(new()).store(dynamic).build()), unchosen);
            assert_eq!(kind(builder(new()).store(Durable(shared())).build()), unchosen);
            let chosen = builder(new()).store(shared()).namespace("default");
            assert_eq!(kind(chosen.build()), unchosen, "the name that all have");
            let in_transaction = || builder(new()).processing(Processing::InTransaction);
            assert_eq!(kind(in_transaction().build()), unchosen);

            let error = builder(new()).store(shared()).build().unwrap_err().to_string();
            assert!(error.contains("`namespace`") && error.contains("`key_id`"), "{error}");

            let named = || builder(new().key_id("a45-account"));
            assert_eq!(kind(named().store(shared()).build()), None);
            assert_eq!(kind(named().processing(Processing::InTransaction).build()), None);
            let chosen = builder(new()).store(shared()).namespace("shop");
            assert_eq!(kind(chosen.build()), None);
            assert_eq!(kind(in_transaction().namespace("shop").build()), None);

            let unusable = builder(new().key_id("a b")).store(MemoryStore::new());
            assert_eq!(kind(unusable.build()), Some(ConfigErrorKind::KeyId));
        )*};
    }
    check! {
        GitHub "github", HubSpot "hubspot", Linear "linear", Mailgun "mailgun", Meta "meta",
        Paddle "paddle", Shopify "shopify", Slack "slack", Square "square",
        StandardWebhooks "standard-webhooks", Stripe "stripe", Zoom "zoom",
    }
    // These claim nothing.
    let keys = || Asked;
    let twilio = VerifyLayer::builder(webhooks::Twilio::new().key_id("acme")).keys(keys());
    assert_eq!(kind(twilio.public_origin(common::ORIGIN).build()), None);
    let dropbox = VerifyLayer::builder(webhooks::Dropbox::new()).keys(keys());
    let store = Arc::new(MemoryStore::new());
    assert_eq!(kind(dropbox.store(Arc::clone(&store)).build()), None);
}

/// As another process could open it.
struct Durable(Arc<MemoryStore>);

impl NonceStore for Durable {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.0.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.0.leases()
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> Sharing {
        Sharing::between_processes(self)
    }
}

/// Keys that are known when they are asked for.
struct Asked;

impl KeyStore for Asked {
    fn find<'a>(&'a self, _: &'a str) -> KeyFuture<'a> {
        StoreFuture::ready(Ok(None))
    }
}

#[test]
fn a45_one_key_id_with_other_secrets_is_a_mistake_that_build_reports() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let ring = |pairs: &[(&str, &str)]| {
        pairs.iter().fold(KeyRing::new(), |ring, (id, secret)| {
            ring.with(id, *secret).unwrap()
        })
    };
    let on = |namespace: &str| {
        let layer = VerifyLayer::builder(common::scheme()).public_origin(common::ORIGIN);
        layer.store(Arc::clone(&store)).namespace(namespace)
    };
    let (one, two) = ("the secret of number one", "the secret of number two");
    let first = ring(&[("a", one), ("b", two)]);
    let layer = on("n").keys(first.clone()).build().unwrap();
    let other = |id: &str| Some(ConfigErrorKind::OtherSecrets("n".into(), id.into()));
    let built = |keys: KeyRing| kind(on("n").keys(keys).build());

    assert_eq!(built(first.clone()), None, "the same ring");
    assert_eq!(
        built(ring(&[("a", one), ("b", two)])),
        None,
        "the same keys"
    );
    assert_eq!(
        built(ring(&[("a", one), ("c", "another secret, of c")])),
        None
    );
    assert_eq!(built(ring(&[("a", two)])), other("a"));
    let set = KeySet::new("a").unwrap().with(Secret::new(one).unwrap());
    let rotating =
        KeyRing::new().with_set(set.with(Secret::new("the newer secret, of a").unwrap()));
    assert_eq!(
        built(rotating.unwrap()),
        other("a"),
        "one of two is another holder's"
    );
    assert_eq!(
        kind(on("m").keys(ring(&[("a", two)])).build()),
        None,
        "another namespace"
    );
    let elsewhere = on("n")
        .store(common::store(&clock))
        .keys(ring(&[("a", two)]));
    assert_eq!(kind(elsewhere.build()), None, "another store");

    // The key that is looked up could be any, except those of the same place.
    assert_eq!(kind(on("n").keys(Asked).build()), other("a"));
    let asked = Arc::new(Asked);
    let layers = [(); 2].map(|()| on("asked").keys(Arc::clone(&asked)).build().unwrap());
    let twice = Some(ConfigErrorKind::OtherSecrets("asked".into(), "*".into()));
    assert_eq!(kind(on("asked").keys(Asked).build()), twice);
    drop(layers);
    assert_eq!(
        kind(on("asked").keys(Asked).build()),
        None,
        "they have left"
    );

    // A rotation goes through the ring that all have.
    first.replace(ring(&[("a", two)]));
    assert_eq!(built(first), None);
    assert_eq!(built(ring(&[("a", two)])), None);
    // A clone keeps the place of its layer.
    let clone = layer.clone();
    drop(layer);
    assert_eq!(built(ring(&[("a", one)])), other("a"));
    drop(clone);
    assert_eq!(built(ring(&[("a", one)])), None, "it has left");
}

#[test]
fn a45_the_fixed_key_of_two_presets_is_one_only_if_its_name_is() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let (one, two) = (TENANTS[0].1, TENANTS[1].1);
    let built = |preset: Stripe, secret| {
        let layer = endpoint(preset, secret, &clock, Arc::clone(&store));
        layer.namespace("shop").build()
    };
    let _first = built(Stripe::new(), one).unwrap();
    assert_eq!(kind(built(Stripe::new(), one)), None);
    let other = ConfigErrorKind::OtherSecrets("shop".into(), "stripe".into());
    assert_eq!(kind(built(Stripe::new(), two)), Some(other));
    assert_eq!(kind(built(Stripe::new().key_id("stripe-2"), two)), None);

    // In rings too, of which each layer uses its own key alone.
    let of_ring = |own: &str, secrets: [&str; 2]| {
        let keys = KeyRing::new().with("a", secrets[0]).unwrap();
        let keys = keys.with("b", secrets[1]).unwrap();
        let layer = VerifyLayer::builder(Stripe::new().key_id(own)).keys(keys);
        let layer = layer.store(Arc::clone(&store)).clock(clock.clone());
        layer.namespace("rings").build()
    };
    let three = "the secret of number three";
    let _first = of_ring("a", [one, two]).unwrap();
    assert_eq!(kind(of_ring("b", [one, three])), None);
    let other = ConfigErrorKind::OtherSecrets("rings".into(), "a".into());
    assert_eq!(kind(of_ring("a", [three, two])), Some(other));
}

#[test]
fn a45_tokens_of_one_purpose_have_one_set_of_keys() {
    let store = Arc::new(MemoryStore::new());
    let tokens = |secret: &str, lifetime| {
        let keys = KeyRing::new().with("k", secret).unwrap();
        let tokens = OneTimeToken::<String>::builder("confirm").keys(keys);
        let tokens = tokens.issue_under("k").store(Arc::clone(&store));
        tokens.lifetime(lifetime).build()
    };
    let (one, two) = (TENANTS[0].1, TENANTS[1].1);
    let _first = tokens(one, SECOND).unwrap();
    assert_eq!(kind(tokens(one, SECOND)), None);
    let other = ConfigErrorKind::OtherSecrets("token:confirm".into(), "k".into());
    assert_eq!(kind(tokens(two, SECOND)), Some(other));
    let longer = kind(tokens(one, SECOND * 2));
    assert!(matches!(longer, Some(ConfigErrorKind::OtherRetention(..))));
}

/// A store that says which database it is on.
struct On(&'static str, Arc<MemoryStore>);

impl NonceStore for On {
    fn claim<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ClaimOutcome> {
        self.1.claim(claim)
    }

    fn leases(&self) -> Option<&dyn LeaseStore> {
        self.1.leases()
    }

    fn survives_restart(&self) -> bool {
        true
    }

    fn sharing(&self) -> Sharing {
        Sharing::of_database(self.0)
    }
}

/// In which database a handler records is not known, and so it may be any.
#[test]
fn a45_handlers_transactions_have_one_holder_for_one_name() {
    let on = |namespace: &str, secret| {
        let keys = KeyRing::new().with("k", secret).unwrap();
        let layer = VerifyLayer::builder(common::scheme()).public_origin(common::ORIGIN);
        layer.keys(keys).namespace(namespace)
    };
    let in_transaction = |namespace: &str, secret| {
        let layer = on(namespace, secret).processing(Processing::InTransaction);
        layer.build()
    };
    let (one, two) = (TENANTS[0].1, TENANTS[1].1);
    let other = |namespace: &str| {
        let (namespace, key_id) = (namespace.to_owned(), "k".to_owned());
        Some(ConfigErrorKind::OtherSecrets(namespace, key_id))
    };
    let first = in_transaction("a45 transactions", one).unwrap();
    assert_eq!(kind(in_transaction("a45 transactions", one)), None);
    assert_eq!(
        kind(in_transaction("a45 transactions", two)),
        other("a45 transactions")
    );
    assert_eq!(kind(in_transaction("a45 elsewhere", two)), None);

    let store = || Arc::new(MemoryStore::new());
    let database = |secret| on("a45 transactions", secret).store(On("a database", store()));
    assert_eq!(kind(database(one).build()), None);
    assert_eq!(kind(database(two).build()), other("a45 transactions"));
    let shorter = database(one).max_age(SECOND * 30);
    assert_eq!(
        kind(shorter.build()),
        None,
        "it remembers for as long as the others"
    );
    let memory = on("a45 transactions", two).store(store());
    assert_eq!(kind(memory.build()), None, "no handler records there");
    drop(first);
    assert_eq!(kind(in_transaction("a45 transactions", two)), None);

    let tokens = |secret| {
        let keys = KeyRing::new().with("k", secret).unwrap();
        let tokens = OneTimeToken::<String>::builder("a45").keys(keys);
        tokens.issue_under("k").in_transaction().build()
    };
    let _first = tokens(one).unwrap();
    assert_eq!(kind(tokens(one)), None);
    assert_eq!(kind(tokens(two)), other("token:a45"));
}

#[test]
fn a45_stores_of_one_database_are_one_store() {
    let built = |database, secret| {
        let clock = common::clock();
        let store = On(database, Arc::new(common::store(&clock)));
        let layer = endpoint(Stripe::new().key_id("acme"), secret, &clock, store);
        layer.build()
    };
    let (one, two) = (TENANTS[0].1, TENANTS[1].1);
    let _first = built("orders", one).unwrap();
    assert_eq!(kind(built("orders", one)), None);
    let other = ConfigErrorKind::OtherSecrets("default".into(), "acme".into());
    assert_eq!(kind(built("orders", two)), Some(other));
    assert_eq!(kind(built("billing", two)), None);
}

/// Two services whose partners have one name keep their answers in one store.
#[tokio::test]
async fn a45_answers_of_one_namespace_have_one_holder_for_one_name() {
    let clock = common::clock();
    let (one, two) = (TENANTS[0].1, TENANTS[1].1);
    let answers = Arc::new(MemoryAnswers::new());
    let layer = || IdempotencyLayer::builder(Arc::clone(&answers));
    let on = |secret| {
        VerifyLayer::builder(HttpMessageSignatures::default())
            .public_origin(common::ORIGIN)
            .keys(KeyRing::new().with("k", secret).unwrap())
            .clock(clock.clone())
            .store(common::store(&clock))
    };
    let default = layer().build().unwrap();
    let _first = on(one).answer_duplicates_from(&default).build().unwrap();
    let other = ConfigErrorKind::OtherSecrets("default".into(), "k".into());
    for layer in [&default, &layer().build().unwrap()] {
        assert_eq!(kind(on(one).answer_duplicates_from(layer).build()), None);
        let refused = on(two).answer_duplicates_from(layer).build();
        assert_eq!(kind(refused), Some(other.clone()));
    }
    let apart = layer().namespace("apart").build().unwrap();
    assert_eq!(kind(on(two).answer_duplicates_from(&apart).build()), None);
    let elsewhere = IdempotencyLayer::new(MemoryAnswers::new());
    assert_eq!(
        kind(on(two).answer_duplicates_from(&elsewhere).build()),
        None
    );

    // A verifier that has not named the layer is found out by its first request.
    let served = async |layer: IdempotencyLayer, secret| {
        let effects = Effects::default();
        let router = common::echo(&effects).layer(layer);
        let router = router.layer(on(secret).build().unwrap());
        let scheme =
            HttpMessageSignatures::builder().covers(Component::header("idempotency-key").unwrap());
        let signer = Signer::new(scheme.build().unwrap(), "k", secret).unwrap();
        let request = Request::post("/").header("host", common::HOST);
        let request = request
            .header("idempotency-key", "\"i\"")
            .body("{}")
            .unwrap();
        let request = signer.clock(clock.clone()).sign(request).unwrap();
        let answer = router.oneshot(request.map(Body::from)).await.unwrap();
        (answer.status().as_u16(), effects.count())
    };
    assert_eq!(served(default.clone(), one).await, (200, 1));
    assert_eq!(
        served(default, two).await,
        (500, 0),
        "no answer of another's"
    );
    assert_eq!(served(apart, two).await, (200, 1), "the twin");
}

/// Two layers each have a store of their own on one database, and the pool of a layer that is gone is
/// closed.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a45_a_layer_on_the_same_database_keeps_no_store_of_another_layer() {
    use countersign::store::SqliteAnswers;
    use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

    let clock = common::clock();
    let folder = tempfile::tempdir().unwrap();
    let opened = async || {
        let file = SqliteConnectOptions::new().filename(folder.path().join("answers.db"));
        let file = file.create_if_missing(true).pragma("journal_mode", "wal");
        let pool = SqlitePool::connect_with(file).await.unwrap();
        SqliteAnswers::migrate(&pool).await.unwrap();
        Arc::new(SqliteAnswers::open(pool).await.unwrap())
    };
    let answering = |store: Arc<SqliteAnswers>| {
        let answers = IdempotencyLayer::new(store);
        let layer = VerifyLayer::builder(HttpMessageSignatures::default());
        let layer = layer.public_origin(common::ORIGIN).keys(common::keys());
        let layer = layer.clock(clock.clone()).store(common::store(&clock));
        layer.answer_duplicates_from(&answers).build().unwrap()
    };
    let (first, second) = (opened().await, opened().await);
    let left = Arc::downgrade(&first);
    let first = answering(first);
    let _second = answering(second);
    assert_eq!(left.strong_count(), 1);
    drop(first);
    assert_eq!(left.strong_count(), 0);
}

#[test]
fn a61_another_window_beside_the_first_is_a_mistake_that_build_reports() {
    let clock = common::clock();
    let store = Arc::new(common::store(&clock));
    let window = |namespace: &str, max_age| {
        let layer = common::layer(&clock).store(Arc::clone(&store));
        layer.namespace(namespace).max_age(max_age).build()
    };
    for (namespace, first, second) in [("up", 30, 300), ("down", 300, 30)] {
        let [first, second] = [first, second].map(|seconds| SECOND * seconds);
        let layer = window(namespace, first).unwrap();
        assert_eq!(kind(window(namespace, first)), None);
        // The differences of clocks, the store's timeout and the skew.
        let [known, needed] = [first, second].map(|max_age| max_age + SECOND * 12);
        let other = ConfigErrorKind::OtherRetention(namespace.into(), known, needed);
        assert_eq!(kind(window(namespace, second)), Some(other));
        assert_eq!(kind(window("another", SECOND * 30)), None);
        drop(layer);
        assert_eq!(kind(window(namespace, second)), None);
    }
}
