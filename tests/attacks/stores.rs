//! The rows that a store decides, on every store that lives outside of the process: SQLite, on a file
//! of the test's own; PostgreSQL, in a schema of its own; Redis, on a server of its own. The
//! assertions, and so their twins, are those of the rows on the memory store.
//!
//! Requests are dated years ahead, where the clocks of the servers take all for live; what those
//! clocks decide is tested with each store (row 38), as are its faults (26 and 27). Row 37 is in
//! `layer/in_transaction.rs`. A capacity (21) has SQLite alone (`stores/sqlite/limits.rs`): Redis
//! refuses where its memory is full (`stores/redis/faults.rs`), PostgreSQL where its disk is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request};
use countersign::{
    Clock, KeyId, Processing, Timestamp,
    clock::SystemClock,
    error::{ConfigErrorKind, OpenError, StoreErrorKind},
    store::{
        Claim, ClaimOutcome, Nonce, NonceKind, NonceStore, PostgresStore, RedisStore, SqliteStore,
    },
    testing::ManualClock,
    webhooks::Stripe,
};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::{
    common::{
        self, at, database,
        parts::OfAnotherProcess,
        redis_server::{self, Server},
    },
    handling::{
        LEASE, RETRYABLE, acknowledged, disconnects, gives_back, old_holder, outlives_its_lease,
        panics, panics_under_a_lease, sender_hangs_up,
    },
    holders::one_holds_at_a_time,
    limits::{OVER_QUOTA, one_key_floods},
    once::{
        RETRIES, SMUGGLED, copies_at_once, event_retried, forgeries_come_first, ring, rotation,
        two_copies_in_one_batch, two_pairs, two_signatures_over_one_message,
    },
    place::{made_up_paths, made_up_paths_at_once},
    restart::{a_clock_that_jumps, a_replay_to_another_server},
    shared::{TENANTS, endpoint, is_handled},
    subject::{
        ALL, EVENTS, HOUSE, MISCONFIGURED, PLACED, REPLAYED, SIGN_AGAIN, Subject, Target, WEBHOOK,
        accepted, refused,
    },
    time::{MAX_SKEW, SECOND, replayed_for_ever},
};

/// Where nonces are kept; anybody who opens it has the same ones.
#[allow(clippy::large_enum_variant, reason = "there is one in a test")]
enum Place {
    Sqlite(TempDir),
    Postgres(sqlx::postgres::PgConnectOptions),
    Redis(Server),
}

type Store = Arc<dyn NonceStore>;

impl Place {
    #[expect(clippy::unused_async, reason = "as the others")]
    async fn sqlite() -> Option<Self> {
        Some(Self::Sqlite(tempfile::tempdir().unwrap()))
    }

    async fn postgres() -> Option<Self> {
        let (pool, _) = database::pool_and_schema("attacks on the PostgreSQL store").await?;
        Some(Self::Postgres((*pool.connect_options()).clone()))
    }

    #[expect(clippy::unused_async, reason = "as the others")]
    async fn redis() -> Option<Self> {
        let program = redis_server::programs().into_iter().next()?;
        let server = Server::start(&program, &["--save", "", "--appendonly", "no"]);
        Some(Self::Redis(server))
    }

    /// Each time as another server of the service would.
    async fn open(&self, clock: impl Clock) -> Store {
        Arc::new(OfAnotherProcess(self.open_here(clock).await))
    }

    /// Another one of the same kind.
    async fn another(&self) -> Option<Self> {
        match self {
            Self::Sqlite(_) => Self::sqlite().await,
            Self::Postgres(_) => Self::postgres().await,
            Self::Redis(_) => Self::redis().await,
        }
    }

    /// SQLite goes by the clock given, the others by their servers'.
    async fn open_here(&self, clock: impl Clock) -> Store {
        match self {
            Self::Sqlite(folder) => {
                let builder = SqliteStore::builder().clock(clock).timeout(SECOND * 20);
                let builder = builder.danger_assume_no_history();
                Arc::new(builder.open(folder.path().join("nonces.db")).await.unwrap())
            }
            Self::Postgres(options) => {
                let builder = PostgresStore::builder().timeout(SECOND * 20);
                Arc::new(builder.open(options.clone()).await.unwrap())
            }
            Self::Redis(server) => {
                let builder = RedisStore::builder().timeout(SECOND * 20);
                let builder = builder.danger_assume_no_history();
                Arc::new(builder.open(&server.url()).await.unwrap())
            }
        }
    }

    /// As somebody does before servers start that need longer.
    async fn extend(&self, clock: &ManualClock, namespace: &str, retention: Duration) {
        match self {
            Self::Sqlite(folder) => {
                let builder = SqliteStore::builder().clock(clock.clone());
                let store = builder.open(folder.path().join("nonces.db")).await.unwrap();
                store.extend_retention(namespace, retention).await.unwrap();
            }
            Self::Postgres(options) => {
                let pool = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
                countersign::store::PostgresStore::extend_retention_in(&pool, namespace, retention)
                    .await
                    .unwrap();
            }
            Self::Redis(server) => {
                let store = RedisStore::open(&server.url()).await.unwrap();
                store.extend_retention(namespace, retention).await.unwrap();
            }
        }
    }

    async fn target(&self, subject: &Subject, clock: &ManualClock) -> Target {
        target(subject, clock, self.open(clock.clone()).await)
    }
}

fn target(subject: &Subject, clock: &ManualClock, store: Store) -> Target {
    Target::with_store(subject, clock, store, patient)
}

/// Many copies at once take their time on a machine that does other work.
fn patient(
    layer: countersign::request::VerifierBuilder<countersign::VerifyLayer>,
) -> countersign::request::VerifierBuilder<countersign::VerifyLayer> {
    layer.store_timeout(SECOND * 20)
}

/// In 2096.
fn clock() -> ManualClock {
    ManualClock::at(at(4_000_000_000))
}

/// So far from the end of a lease nothing is asked.
const MARGIN: Duration = Duration::from_millis(1500);

macro_rules! on_every_store {
    ($($row:ident)*) => {
        on_every_store! { @ sqlite $($row)* }
        on_every_store! { @ postgres $($row)* }
        on_every_store! { @ redis $($row)* }
    };
    (@ $store:ident $($row:ident)*) => {
        mod $store {
            use super::Place;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $row() {
                    if let Some(place) = Place::$store().await {
                        super::$row(&place).await;
                    }
                }
            )*
        }
    };
}

on_every_store! {
    a16_dated_in_the_future_and_replayed_after_receipt_and_window
    a17_a_record_is_kept_for_longer_than_window_and_skew
    a19_a_forged_request_does_not_burn_the_nonce
    a20_copies_at_once_through_two_servers_have_one_effect
    a23_a_delimiter_in_key_id_or_nonce_makes_no_other_claim
    a24_a_replay_after_a_restart
    a24_a25_a_replay_to_another_server_whose_clock_differs
    a24_two_services_do_not_burn_each_others_requests
    a25_a_clock_that_is_stepped_forward_and_back_reopens_nothing
    a28_a_handler_that_panics_or_whose_client_has_gone_has_used_its_request
    a31_a_second_signature_over_one_message_is_no_second_request
    a32_an_event_that_is_signed_anew_is_the_same_event
    a35_of_several_at_random_one_at_a_time_holds_a_lease
    a35_the_old_holder_of_a_lease_neither_completes_nor_releases_the_new_one
    a35_a_lease_is_renewed_while_its_handler_lives
    a36_a_sender_that_hangs_up_does_not_cut_its_handler_off
    a36_an_answer_that_is_no_success_gives_the_request_back
    a36_a_handler_that_panics_keeps_its_lease_until_it_ends
    a36_a_duplicate_is_acknowledged_only_after_completion
    a38_a_deadline_that_is_past_when_the_claim_arrives_records_nothing
    a40_two_copies_in_one_batch_have_one_effect
    a42_until_when_a_request_is_taken_is_said_by_the_namespace
    a44_made_up_paths_leave_no_more_than_16_records
    a44_one_keys_flood_leaves_room_for_other_keys_and_namespaces
    a44_twin_a_store_without_a_quota_is_found
    a44_a_server_learns_how_much_others_recorded
    a44_made_up_paths_at_once_through_two_servers_leave_no_more_than_16_records
    a45_two_tenants_on_one_store_need_names_of_their_own
    a45_two_stores_that_are_opened_on_one_database_are_one_store
    a61_a_longer_window_is_refused_until_its_namespace_is_extended
}

async fn a16_dated_in_the_future_and_replayed_after_receipt_and_window(place: &Place) {
    let clock = clock();
    let received = clock.now();
    let target = place.target(&HOUSE, &clock).await;
    replayed_for_ever(&target, &HOUSE, received.saturating_add(MAX_SKEW), received)
        .await
        .unwrap();
}

async fn a17_a_record_is_kept_for_longer_than_window_and_skew(place: &Place) {
    let clock = clock();
    let signed = clock.now();
    let target = place.target(&HOUSE, &clock).await;
    replayed_for_ever(&target, &HOUSE, signed, signed.saturating_add(SECOND * 150))
        .await
        .unwrap();
}

async fn a19_a_forged_request_does_not_burn_the_nonce(place: &Place) {
    for subject in ALL {
        let target = place.target(subject, &clock()).await.on_a_socket().await;
        forgeries_come_first(&target, subject).await.unwrap();
        assert_eq!(target.claims.count(), 2, "the genuine one and its copy");
    }
}

/// Two servers, each with a connection of its own, of which each gets every other request.
async fn two_servers(place: &Place, subject: &Subject, clock: &ManualClock) -> Target {
    let (one, other) = (
        place.open(clock.clone()).await,
        place.open(clock.clone()).await,
    );
    let next = Arc::new(AtomicUsize::new(0));
    let mut layers = Vec::new();
    for store in [one, other] {
        let layer = patient(subject.layer(clock).store(store));
        layers.push(layer.build().unwrap());
    }
    Target::of(clock, |effects| {
        let app = crate::subject::app(effects);
        let servers: Vec<Router> = layers
            .into_iter()
            .map(|layer| app.clone().layer(layer))
            .collect();
        Router::new().fallback(move |request: Request| {
            let server = servers[next.fetch_add(1, Ordering::Relaxed) % servers.len()].clone();
            server.oneshot(request)
        })
    })
}

async fn a20_copies_at_once_through_two_servers_have_one_effect(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let target = two_servers(place, subject, &clock).await;
        for (round, copies) in [2, 20, 1000].into_iter().enumerate() {
            let request = common::request("POST", "/transfer", &round.to_string());
            let genuine = subject.sign(&clock, request);
            copies_at_once(&target, &genuine, copies).await.unwrap();
            refused(&target, genuine, REPLAYED).await.unwrap();
        }
    }
}

async fn a23_a_delimiter_in_key_id_or_nonce_makes_no_other_claim(place: &Place) {
    let clock = clock();
    let store = place.open(clock.clone()).await;
    let same_nonce = [("a", "1"), ("b", "1")];
    for (n, pairs) in SMUGGLED.into_iter().chain([same_nonce]).enumerate() {
        for subject in PLACED {
            let keys = ring(&pairs.map(|(key, _)| key));
            let namespace = format!("{n} {}", subject.name);
            let target = Target::with_store(subject, &clock, Arc::clone(&store), |layer| {
                layer.keys(keys).namespace(namespace)
            });
            two_pairs(&target, subject, pairs).await.unwrap();
        }
    }
}

async fn a24_a_replay_after_a_restart(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let genuine = subject.signed(&clock);
        let before = place.target(subject, &clock).await;
        accepted(&before, genuine.clone()).await.unwrap();
        drop(before);
        clock.advance(SECOND);
        let after = place.target(subject, &clock).await;
        refused(&after, genuine, REPLAYED).await.unwrap();
        accepted(&after, subject.signed(&clock)).await.unwrap();
    }
}

async fn a24_a25_a_replay_to_another_server_whose_clock_differs(place: &Place) {
    for ahead in [-5_000, 5_000] {
        let (clock, other_clock) = (clock(), clock());
        let one = place.target(&HOUSE, &clock).await;
        // SQLite's store has one clock: that of the first that asked.
        let other = target(&HOUSE, &other_clock, place.open(clock.clone()).await);
        a_replay_to_another_server(&one, &other, &HOUSE, ahead)
            .await
            .unwrap();
    }
}

async fn a24_two_services_do_not_burn_each_others_requests(place: &Place) {
    let clock = clock();
    let genuine = HOUSE.signed(&clock);
    for service in ["one", "two"] {
        let store = place.open(clock.clone()).await;
        let target = Target::with_store(&HOUSE, &clock, store, |layer| layer.namespace(service));
        accepted(&target, genuine.clone()).await.unwrap();
        refused(&target, genuine.clone(), REPLAYED).await.unwrap();
    }
}

async fn a25_a_clock_that_is_stepped_forward_and_back_reopens_nothing(place: &Place) {
    let clock = clock();
    let target = place.target(&HOUSE, &clock).await;
    let codes = a_clock_that_jumps(&target, &HOUSE, SECOND * 3600)
        .await
        .unwrap();
    let told = [REPLAYED.1, SIGN_AGAIN.1];
    assert!(
        codes.iter().all(|code| told.contains(&code.as_str())),
        "{codes:?}"
    );
}

async fn a28_a_handler_that_panics_or_whose_client_has_gone_has_used_its_request(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let store = place.open(clock.clone()).await;
        panics(subject, &clock, Arc::clone(&store)).await.unwrap();
        // A webhook without a nonce is its text.
        clock.advance(SECOND);
        disconnects(subject, &clock, store).await.unwrap();
    }
}

async fn a31_a_second_signature_over_one_message_is_no_second_request(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let store = place.open(clock.clone()).await;
        let target = Target::with_store(subject, &clock, store, |layer| layer.keys(rotation()));
        two_signatures_over_one_message(&target, subject)
            .await
            .unwrap();
    }
}

async fn a32_an_event_that_is_signed_anew_is_the_same_event(place: &Place) {
    let target = place.target(&EVENTS, &clock()).await;
    event_retried(&target, &EVENTS, &RETRIES).await.unwrap();
}

async fn a35_of_several_at_random_one_at_a_time_holds_a_lease(place: &Place) {
    let mut stores = Vec::new();
    for _ in 0..2 {
        stores.push(place.open(SystemClock::default()).await);
    }
    let leases = one_holds_at_a_time(&stores, common::cases(40))
        .await
        .unwrap();
    println!("{leases} leases");
    assert!(leases > 40, "{leases}");
}

async fn a35_the_old_holder_of_a_lease_neither_completes_nor_releases_the_new_one(place: &Place) {
    let clock = clock();
    let store = place.open(SystemClock::default()).await;
    let holder = |outcome| old_holder(&HOUSE, &clock, Arc::clone(&store), outcome, MARGIN);
    let (completes, releases, fails, panics) =
        tokio::join!(holder(200), holder(404), holder(500), holder(0));
    for found in [completes, releases, fails, panics] {
        found.unwrap();
    }
}

async fn a35_a_lease_is_renewed_while_its_handler_lives(place: &Place) {
    let clock = clock();
    let store = place.open(SystemClock::default()).await;
    outlives_its_lease(&HOUSE, &clock, store, 3).await.unwrap();
}

async fn a36_a_sender_that_hangs_up_does_not_cut_its_handler_off(place: &Place) {
    let lease = SECOND * 60;
    for subject in ALL {
        let clock = clock();
        let store = place.open(SystemClock::default()).await;
        sender_hangs_up(subject, &clock, store, Processing::Retryable { lease })
            .await
            .unwrap();
    }
}

async fn a36_an_answer_that_is_no_success_gives_the_request_back(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let store = place.open(SystemClock::default()).await;
        for status in [301, 404, 429, 500] {
            clock.advance(SECOND);
            gives_back(subject, &clock, Arc::clone(&store), status)
                .await
                .unwrap();
        }
    }
}

async fn a36_a_handler_that_panics_keeps_its_lease_until_it_ends(place: &Place) {
    let clock = clock();
    let store = place.open(SystemClock::default()).await;
    panics_under_a_lease(&HOUSE, &clock, store, MARGIN)
        .await
        .unwrap();
}

async fn a36_a_duplicate_is_acknowledged_only_after_completion(place: &Place) {
    for subject in ALL {
        let clock = clock();
        let store = place.open(SystemClock::default()).await;
        acknowledged(subject, &clock, store, RETRYABLE)
            .await
            .unwrap();
    }
}

fn claim(deadline: Timestamp) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, "1");
    Claim::new("tests".into(), KeyId::new("k").unwrap(), nonce, deadline)
}

async fn a38_a_deadline_that_is_past_when_the_claim_arrives_records_nothing(place: &Place) {
    let now = SystemClock::default().now();
    let store = place.open(ManualClock::at(now)).await;
    for ago in [Duration::from_millis(1), SECOND, SECOND * 3600] {
        let refused = store.claim(&claim(now.saturating_sub(ago))).await;
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::SignAgain), "{ago:?} ago");
    }
    let live = claim(now.saturating_add(SECOND * 3600));
    assert_eq!(store.claim(&live).await.unwrap(), ClaimOutcome::New);
    let copy = claim(now.saturating_add(SECOND * 3600));
    assert_eq!(store.claim(&copy).await.unwrap(), ClaimOutcome::Replayed);
    let leases = store.leases().unwrap();
    let leased = leases
        .lease(&claim(now.saturating_sub(SECOND)), LEASE)
        .await;
    let kind = leased.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::SignAgain));
}

async fn a40_two_copies_in_one_batch_have_one_effect(place: &Place) {
    for subject in ALL {
        let target = place.target(subject, &clock()).await.on_a_socket().await;
        two_copies_in_one_batch(&target, subject).await;
    }
}

/// Each store can be opened by other processes: a preset's own key id is not enough on any.
async fn a45_two_tenants_on_one_store_need_names_of_their_own(place: &Place) {
    let clock = clock();
    for (tenant, secret) in TENANTS {
        let store = place.open(clock.clone()).await;
        let unnamed = endpoint(Stripe::new(), secret, &clock, Arc::clone(&store));
        let unchosen = ConfigErrorKind::UnchosenNames("stripe".into());
        assert_eq!(*unnamed.build().unwrap_err().kind(), unchosen);

        let preset = || Stripe::new().key_id(tenant);
        let layer = endpoint(preset(), secret, &clock, store).store_timeout(SECOND * 20);
        let layer = layer.build().unwrap();
        assert!(is_handled(&layer, preset(), secret, &clock).await);
        assert!(!is_handled(&layer, preset(), secret, &clock).await, "twice");
    }
}

/// A signed response says *never* by this. The twin is the window of the layer that asks.
async fn a42_until_when_a_request_is_taken_is_said_by_the_namespace(place: &Place) {
    let (clock, needed) = (clock(), SECOND * 10);
    let (longer, shorter) = (
        place.open(clock.clone()).await,
        place.open(clock.clone()).await,
    );
    let signed = SystemClock::default().now().saturating_sub(SECOND * 60);
    let taken_until = |store: &Store, signed| store.taken_until("n", needed, signed);
    assert_eq!(taken_until(&shorter, signed), None, "nobody has claimed");
    let claim = |nonce: &str, retention| {
        let nonce = Nonce::new(NonceKind::Covered, nonce);
        let deadline = clock.now().saturating_add(SECOND * 60);
        Claim::new("n".into(), KeyId::new("k").unwrap(), nonce, deadline)
            .signed(clock.now(), MAX_SKEW)
            .with_retention(retention)
    };
    let first = longer.claim(&claim("1", SECOND * 1000)).await.unwrap();
    let second = shorter.claim(&claim("2", needed)).await.unwrap();
    assert_eq!((first, second), (ClaimOutcome::New, ClaimOutcome::New));
    for store in [&longer, &shorter] {
        let end = signed.saturating_add(SECOND * 1000);
        assert_eq!(taken_until(store, signed), Some(end));
        // The retention may be raised before that is signed.
        let later = clock.now().saturating_add(SECOND);
        assert_eq!(taken_until(store, later), None);
    }
}

/// Each has a connection of its own. The twin is what another process does, which nobody sees here.
async fn a45_two_stores_that_are_opened_on_one_database_are_one_store(place: &Place) {
    let clock = clock();
    let preset = || Stripe::new().key_id("acme");
    let [(_, mallorys), (_, victims)] = TENANTS;
    let layer = |secret, store: &Store| {
        let layer = endpoint(preset(), secret, &clock, Arc::clone(store));
        layer.store_timeout(SECOND * 20)
    };
    let here = place.open_here(clock.clone()).await;
    let first = layer(mallorys, &here).build().unwrap();

    let there = place.open_here(clock.clone()).await;
    let refused = layer(victims, &there).build().unwrap_err();
    let other = ConfigErrorKind::OtherSecrets("default".into(), "acme".into());
    assert_eq!(*refused.kind(), other);
    let longer = layer(mallorys, &there).max_age(SECOND * 301).build();
    let longer = longer.unwrap_err();
    assert!(matches!(longer.kind(), ConfigErrorKind::OtherRetention(..)));
    layer(mallorys, &there).build().map(drop).unwrap();
    let named = layer(victims, &there).namespace("victim");
    named.build().map(drop).unwrap();
    if let Some(another) = place.another().await {
        let another = another.open_here(clock.clone()).await;
        layer(victims, &another).build().map(drop).unwrap();
    }

    let unseen = layer(victims, &place.open(clock.clone()).await);
    let unseen = unseen.build().unwrap();
    assert!(is_handled(&first, preset(), mallorys, &clock).await);
    assert!(!is_handled(&unseen, preset(), victims, &clock).await);
}

/// Two servers, of which the second one has a longer window: with its records gone, it would accept
/// what the first one accepted.
async fn a61_a_longer_window_is_refused_until_its_namespace_is_extended(place: &Place) {
    let clock = clock();
    let window = async |max_age| {
        let store = place.open(clock.clone()).await;
        Target::with_store(&HOUSE, &clock, store, |layer| {
            patient(layer).max_age(max_age).max_skew(SECOND)
        })
    };
    let (short, long) = (window(SECOND * 10).await, window(SECOND * 600).await);
    let genuine = HOUSE.signed(&clock);
    accepted(&short, genuine.clone()).await.unwrap();
    clock.advance(SECOND);
    for request in [&genuine, &HOUSE.signed(&clock)] {
        refused(&long, request.clone(), MISCONFIGURED)
            .await
            .unwrap();
    }
    place.extend(&clock, HOUSE.name, SECOND * 630).await;
    // SQLite goes by this clock: what was signed until now is refused.
    clock.advance(SECOND * 2);
    let later = HOUSE.signed(&clock);
    accepted(&short, later.clone()).await.unwrap();
    clock.advance(SECOND * 300);
    refused(&long, later, REPLAYED).await.unwrap();
    accepted(&long, HOUSE.signed(&clock)).await.unwrap();
}

async fn a44_made_up_paths_leave_no_more_than_16_records(place: &Place) {
    for subject in [&WEBHOOK, &EVENTS] {
        let target = place.target(subject, &clock()).await;
        made_up_paths(&target, subject).await.unwrap();
    }
}

async fn a44_made_up_paths_at_once_through_two_servers_leave_no_more_than_16_records(
    place: &Place,
) {
    for subject in [&WEBHOOK, &EVENTS] {
        let target = two_servers(place, subject, &clock()).await;
        made_up_paths_at_once(&target, subject).await.unwrap();
    }
}

const QUOTA: u64 = 300;

impl Place {
    /// With a quota for each key.
    async fn with_quota(&self, quota: u64) -> Store {
        match self {
            Self::Sqlite(folder) => {
                let builder = SqliteStore::builder().clock(SystemClock::default());
                let builder = builder.danger_assume_no_history().capacity(quota * 2);
                Arc::new(builder.open(folder.path().join("nonces.db")).await.unwrap())
            }
            Self::Postgres(options) => {
                let builder = PostgresStore::builder().timeout(SECOND * 20);
                let builder = builder.records_of_a_key(quota);
                Arc::new(builder.open(options.clone()).await.unwrap())
            }
            Self::Redis(server) => {
                let builder = RedisStore::builder().timeout(SECOND * 20);
                let builder = builder.danger_assume_no_history().records_of_a_key(quota);
                Arc::new(builder.open(&server.url()).await.unwrap())
            }
        }
    }
}

fn of(namespace: &str, key: &str, nonce: usize, keep: Duration) -> Claim {
    let nonce = Nonce::new(NonceKind::Covered, nonce.to_string());
    let deadline = SystemClock::default().now().saturating_add(keep);
    Claim::new(namespace.into(), KeyId::new(key).unwrap(), nonce, deadline).with_retention(keep)
}

/// Returns how many of this many claims of one key are new; the others are over its quota.
async fn flood(store: &Store, key: &str, nonces: std::ops::Range<usize>, keep: Duration) -> u64 {
    let mut claiming = tokio::task::JoinSet::new();
    for nonce in nonces {
        let (store, claim) = (Arc::clone(store), of("shop", key, nonce, keep));
        claiming.spawn(async move { store.claim(&claim).await });
    }
    let mut new = 0;
    for answer in claiming.join_all().await {
        match answer {
            Ok(ClaimOutcome::New) => new += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::KeyOverQuota, "{error}"),
        }
    }
    new
}

const HOUR: Duration = Duration::from_secs(3600);

async fn one_keys_flood(store: &Store) -> Result<(), String> {
    let made = flood(store, "one", 0..400, HOUR).await;
    if made > QUOTA {
        return Err(format!("one key made {made} records"));
    }
    // A duplicate is told one, and a lease is over the quota as a claim is.
    let copy = of("shop", "one", 0, HOUR);
    assert_eq!(store.claim(&copy).await.unwrap(), ClaimOutcome::Replayed);
    let leases = store.leases().unwrap();
    let lease = leases.lease(&of("shop", "one", 1000, HOUR), LEASE).await;
    assert_eq!(lease.unwrap_err().kind(), StoreErrorKind::KeyOverQuota);
    for (namespace, key) in [("shop", "other"), ("elsewhere", "one")] {
        for nonce in 0..20 {
            let claim = of(namespace, key, nonce, HOUR);
            assert_eq!(store.claim(&claim).await.unwrap(), ClaimOutcome::New);
        }
    }
    Ok(())
}

async fn a44_one_keys_flood_leaves_room_for_other_keys_and_namespaces(place: &Place) {
    let store = place.with_quota(QUOTA).await;
    one_keys_flood(&store).await.unwrap();
}

async fn a44_twin_a_store_without_a_quota_is_found(place: &Place) {
    let store = place.with_quota(1_000_000).await;
    one_keys_flood(&store).await.unwrap_err();
}

#[tokio::test]
async fn a44_a_quota_of_nothing_is_refused() {
    if let Some(Place::Redis(server)) = Place::redis().await {
        let none = RedisStore::builder().records_of_a_key(0);
        let refused = none.open(&server.url()).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
    }
    if let Some(Place::Postgres(options)) = Place::postgres().await {
        let none = PostgresStore::builder().records_of_a_key(0);
        let refused = none.open(options).await.unwrap_err();
        assert!(matches!(refused, OpenError::Config(_)), "{refused}");
    }
}

/// Asks until the store has learnt of it.
async fn in_time(what: &str, mut asked: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !asked().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(SECOND * 60, asking).await;
    assert!(told.is_ok(), "not within a minute: {what}");
}

async fn a44_a_server_learns_how_much_others_recorded(place: &Place) {
    // Longer than a busy machine needs to learn of it.
    let keep = SECOND * 15;
    let one = place.with_quota(QUOTA).await;
    assert_eq!(flood(&one, "one", 0..400, keep).await, QUOTA);
    let other = place.with_quota(QUOTA).await;
    let mut next = 400..;
    let mut refuses = async |store: &Store, key: &str| {
        let claim = of("shop", key, next.next().unwrap(), keep);
        store.claim(&claim).await.is_err()
    };
    in_time("the other refuses", async || refuses(&other, "one").await).await;
    assert!(!refuses(&other, "other").await, "another key");
    in_time("what has ended does not count", async || {
        !refuses(&one, "one").await && !refuses(&other, "one").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a22_a40_one_key_does_not_use_up_the_capacity_of_sqlite() {
    for ahead in [Duration::ZERO, MAX_SKEW] {
        let folder = tempfile::tempdir().unwrap();
        let clock = clock();
        let builder = SqliteStore::builder()
            .clock(clock.clone())
            .danger_assume_no_history();
        let store = builder
            .capacity(1000)
            .open(folder.path().join("nonces.db"))
            .await
            .unwrap();
        let target = target(&HOUSE, &clock, Arc::new(store));
        let codes = one_key_floods(&target, ahead).await.unwrap();
        assert!(codes.contains(OVER_QUOTA.1), "{codes:?}");
    }
}
