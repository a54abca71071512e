//! Faults of a server, and of the way to it: never a second acceptance, an error
//! meanwhile, and service again by itself.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use countersign::{
    KeyId,
    error::{StoreError, StoreErrorKind},
    store::{
        Claim, ClaimOutcome, ConsumeIn as _, LeaseOutcome, LeaseStore as _, Nonce, NonceKind,
        PostgresStore, StepOutcome,
    },
    testing::conformance,
};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

use super::{
    HOUR, SKEW, ask, claim, claim_signed, now,
    server::{Proxy, Server, open, options},
};
use crate::{
    common::{assert_place, database, log::Log, of_store},
    history::{Answer, Event, faults},
    race,
};

/// Long enough for a claim on a busy machine. Some of these tests wait for it to pass.
const WAIT: Duration = Duration::from_secs(3);
const MOMENT: Duration = Duration::from_millis(10);

/// Claims new nonces until it is told to stop, each again and again until a copy is refused.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Event>>>,
}

impl Load {
    fn on(store: &Arc<PostgresStore>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..32).map(|task| {
            let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut events: Vec<Event> = Vec::new();
                for nonce in (1000 + task..).step_by(32) {
                    if stop.load(SeqCst) {
                        break;
                    }
                    let signed = now();
                    loop {
                        let claim = claim_signed(nonce, signed);
                        let event = race::ask(&*store, nonce, &claim).await;
                        events.push(event);
                        match event.answer {
                            Answer::New => {}
                            Answer::Replayed => break,
                            // A server that is down refuses at once.
                            Answer::Unknown => tokio::time::sleep(MOMENT).await,
                        }
                    }
                }
                events
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// Every nonce was accepted once at most, and some claims failed.
    async fn end(self) {
        self.stop.store(true, SeqCst);
        let mut events = Vec::new();
        for task in self.tasks {
            events.extend(task.await.unwrap());
        }
        let faults = faults(&events);
        assert!(faults.is_empty(), "{faults:?}");
        let of = |answer| events.iter().filter(move |event| event.answer == answer);
        let (new, unknown) = (of(Answer::New).count(), of(Answer::Unknown).count());
        println!("{new} accepted, {unknown} failed");
        assert!(new > 100 && unknown > 0);
    }
}

/// Claims nonces from this one on until one is accepted: service goes on by itself.
async fn goes_on(store: &PostgresStore, first: u64) {
    let start = Instant::now();
    for nonce in first.. {
        match ask(store, &claim(nonce)).await {
            Ok(answer) => {
                assert_eq!(answer, ClaimOutcome::New);
                return;
            }
            Err(kind) => assert_eq!(kind, StoreErrorKind::Unavailable),
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(MOMENT).await;
    }
}

async fn accepts_some(store: &PostgresStore) {
    for nonce in 1 << 40..(1 << 40) + 50 {
        assert_eq!(ask(store, &claim(nonce)).await, Ok(ClaimOutcome::New));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a26_a_server_that_is_killed_or_stalls_under_load_accepts_nothing_twice() {
    let Some(server) = Server::migrated("a server that is killed").await else {
        return;
    };
    let store = Arc::new(open(&server.folder, WAIT).await);
    let load = Load::on(&store);
    for round in 1..=3 {
        accepts_some_more(&store, round).await;
        server.tell("kill");
        assert!(store.check().await.is_err());
        let refused = ask(&store, &claim(round << 50)).await;
        assert_eq!(refused, Err(StoreErrorKind::Unavailable));
        server.tell("again");
        goes_on(&store, (round << 50) + 1).await;

        server.tell("pause");
        let start = Instant::now();
        let refused = ask(&store, &claim((round << 50) + 1000)).await;
        assert_eq!(refused, Err(StoreErrorKind::Unavailable));
        assert!(start.elapsed() < 4 * WAIT, "the wait has a bound");
        server.tell("resume");
        goes_on(&store, (round << 50) + 1001).await;
        store.check().await.unwrap();
    }
    load.end().await;
}

async fn accepts_some_more(store: &PostgresStore, round: u64) {
    for nonce in 0..50 {
        goes_on(store, (round << 45) + nonce * 1000).await;
    }
}

/// A limit on the size of files acts as a disk without room.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a27_a_full_disk_refuses_and_forgets_nothing() {
    let Some(server) = Server::migrated("a full disk").await else {
        return;
    };
    let store = open(&server.folder, Duration::from_secs(10)).await;
    accepts_some(&store).await;
    server.tell("cramp");
    let pool = server.pool().await;
    // Down to the last row that there is room for.
    for rows in [20_000, 1000, 50, 1] {
        let fill = "INSERT INTO countersign_nonces
            SELECT sha256(random()::text::bytea), sha256(''), $1, NULL FROM generate_series(1, $2)";
        let filled = async || {
            let query = sqlx::query(fill).bind(i64::MAX).bind(rows);
            query.execute(&pool).await
        };
        while filled().await.is_ok() {}
    }
    drop(store);
    let store = open(&server.folder, Duration::from_secs(10)).await;
    let mut refused = 0;
    for nonce in 0..50 {
        refused += u64::from(ask(&store, &claim(nonce)).await.is_err());
    }
    assert!(refused > 25, "{refused}");
    for nonce in 1 << 40..(1 << 40) + 50 {
        assert_ne!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::New));
    }

    server.tell("ease");
    drop(store);
    let store = open(&server.folder, Duration::from_secs(10)).await;
    assert_eq!(ask(&store, &claim(1 << 41)).await, Ok(ClaimOutcome::New));
    for nonce in 1 << 40..(1 << 40) + 50 {
        assert_eq!(ask(&store, &claim(nonce)).await, Ok(ClaimOutcome::Replayed));
    }
}

/// The command is done, and nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a26_a_lost_reply_is_unknown_and_its_nonce_is_not_accepted_later() {
    let Some(server) = Server::migrated("a reply that is lost").await else {
        return;
    };
    let proxy = Proxy::before(&server);
    let store = Arc::new(open(proxy.folder(), WAIT).await);
    assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
    let lost = claim(2);
    proxy.cuts.store(true, SeqCst);
    assert_eq!(
        ask(&store, &lost).await,
        Err(StoreErrorKind::Unavailable),
        "the reply was lost"
    );
    proxy.cuts.store(false, SeqCst);
    let recorded = "SELECT count(*) FROM countersign_nonces";
    while server.number(recorded).await < 2 {
        tokio::time::sleep(MOMENT).await;
    }
    assert_eq!(ask(&store, &claim(2)).await, Ok(ClaimOutcome::Replayed));

    let load = Load::on(&store);
    for round in 1..=10 {
        goes_on(&store, round << 50).await;
        proxy.cuts.store(true, SeqCst);
        assert!(ask(&store, &claim((round << 50) + 1000)).await.is_err());
        proxy.cuts.store(false, SeqCst);
        accepts_some_more(&store, round).await;
    }
    load.end().await;
}

/// A standby that has not got the last transactions. The twin does away with the fence: what was
/// forgotten is then accepted again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a27_a_failover_that_loses_what_was_acknowledged_accepts_none_of_it_again() {
    let Some(server) = Server::migrated("a failover").await else {
        return;
    };
    let signed = now();
    {
        let store = open(&server.folder, WAIT).await;
        assert_eq!(
            ask(&store, &claim_signed(1, signed)).await,
            Ok(ClaimOutcome::New)
        );
    }
    let standby = server.standby();
    let refused = PostgresStore::builder()
        .timeout(WAIT)
        .open(super::server::options(&standby.folder))
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("is a standby"), "{refused}");
    let store = open(&server.folder, WAIT).await;
    assert_eq!(
        ask(&store, &claim_signed(2, signed)).await,
        Ok(ClaimOutcome::New)
    );
    server.tell("kill");
    standby.tell("promote");
    let successor = open(&standby.folder, WAIT).await;
    for nonce in [1, 2, 3] {
        assert_eq!(
            ask(&successor, &claim_signed(nonce, signed)).await,
            Err(StoreErrorKind::SignAgain)
        );
    }
    let later = now().saturating_add(2 * super::SKEW);
    assert_eq!(
        ask(&successor, &claim_signed(4, later)).await,
        Ok(ClaimOutcome::New)
    );

    standby
        .run("UPDATE countersign_store SET since_ms = 0, written_by = DEFAULT")
        .await;
    let unfenced = [Ok(ClaimOutcome::Replayed), Ok(ClaimOutcome::New)];
    for (nonce, answer) in [1, 2].into_iter().zip(unfenced) {
        let claim = claim_signed(nonce, signed);
        assert_eq!(ask(&successor, &claim).await, answer, "{nonce}");
    }
}

/// Whichever way a standby is asked, it is said that it is a standby, and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_answer_of_a_standby_is_reported_with_its_cause() {
    let Some(server) = Server::migrated("a standby's answer").await else {
        return;
    };
    let says = |error: StoreError, cause: &str| {
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(
            error.to_string().contains("connect to the primary"),
            "{error}"
        );
        assert!(source.contains(cause), "{source}");
    };
    let standby = server.standby();
    let connected = PostgresStore::open(options(&standby.folder)).await;
    says(of_store(connected.unwrap_err()), "during recovery");
    let pool = standby.pool().await;
    let consumed = pool.begin().await.unwrap().consume(&claim(1), WAIT).await;
    says(consumed.unwrap_err(), "recovery is in progress");
    let fenced = PostgresStore::fence(&pool).await;
    says(fenced.unwrap_err(), "read-only transaction");
    // A standby that takes no connections.
    standby.tell("kill");
    standby.tell_of("again", &["hot_standby=off"]);
    let connected = PostgresStore::open(options(&standby.folder)).await;
    says(
        of_store(connected.unwrap_err()),
        "not accepting connections",
    );

    // The twin: an outage has another cause, and is reported as an outage.
    server.tell("kill");
    let connected = PostgresStore::open(options(&server.folder)).await;
    let outage = connected.unwrap_err();
    assert!(!outage.to_string().contains("standby"), "{outage}");
}

#[tokio::test]
async fn a26_a_database_that_becomes_read_only_refuses_or_is_made_to_write() {
    let Some(server) = Server::migrated("a database that is read-only").await else {
        return;
    };
    let store = open(&server.folder, WAIT).await;
    server
        .run("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .await;
    accepts_some(&store).await;
    let pool = server.pool().await;
    sqlx::raw_sql(
        "BEGIN READ WRITE; CREATE ROLE reader LOGIN;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; COMMIT",
    )
    .execute(&pool)
    .await
    .unwrap();
    let reader = super::server::options(&server.folder).username("reader");
    let error = PostgresStore::open(reader).await.unwrap_err();
    assert_eq!(of_store(error).kind(), StoreErrorKind::Unavailable);
}

/// An operator forgot `migrate`.
#[tokio::test]
async fn a_database_without_tables_is_not_opened() {
    let Some((url, schema)) = database::schema("no tables").await else {
        return;
    };
    let pool = database::pool_of(&url, &schema, 1).await;
    let options = pool.connect_options().as_ref().clone();
    let refused = PostgresStore::open(options.clone()).await.unwrap_err();
    assert_place(&refused, "`migrate`");
    PostgresStore::migrate(&pool).await.unwrap();
    PostgresStore::open(options).await.unwrap();
}

/// Rows are locked by somebody for longer than a claim may wait.
#[tokio::test]
async fn a26_a_slow_database_refuses_in_time() {
    let Some(server) = Server::migrated("a slow database").await else {
        return;
    };
    let store = open(&server.folder, WAIT).await;
    let pool = server.pool().await;
    let mut stranger = pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE countersign_nonces IN EXCLUSIVE MODE")
        .execute(&mut *stranger)
        .await
        .unwrap();
    let start = Instant::now();
    let refused = ask(&store, &claim(1)).await;
    assert_eq!(refused, Err(StoreErrorKind::Unavailable));
    assert!(start.elapsed() < 4 * WAIT, "the wait has a bound");
    stranger.rollback().await.unwrap();
    goes_on(&store, 2).await;
}

#[tokio::test]
async fn a27_the_stores_transactions_are_durable_whatever_is_set_elsewhere() {
    let Some(server) = Server::migrated("durable transactions").await else {
        return;
    };
    server
        .run(
            "ALTER DATABASE postgres SET synchronous_commit = off;
            CREATE TABLE seen (setting text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO seen VALUES (current_setting('synchronous_commit') || ', '
                    || current_setting('transaction_isolation'));
                RETURN NEW; END $$;
            CREATE TRIGGER note BEFORE INSERT ON countersign_nonces
                FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
    let store = open(&server.folder, WAIT).await;
    assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
    let kept = "SELECT count(*) FROM seen WHERE setting = 'on, read committed'";
    assert_eq!(server.number(kept).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_pgbouncer_every_promise_is_kept() {
    let Some(server) = Server::migrated("the suite behind PgBouncer").await else {
        return;
    };
    let bouncer = server.bouncer();
    let open = async || open(&bouncer.folder, Duration::from_secs(20)).await;
    conformance::run(&conformance::Time::real(), open)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_role_that_owns_nothing_needs_no_rights_but_those_of_the_manual() {
    let Some(server) = Server::migrated("a role of its own").await else {
        return;
    };
    server
        .run(
            "CREATE ROLE orders LOGIN;
            GRANT SELECT, INSERT, UPDATE ON countersign_store, countersign_namespaces TO orders;
            GRANT SELECT, INSERT, UPDATE, DELETE ON countersign_nonces TO orders",
        )
        .await;
    let open = async || {
        let builder = PostgresStore::builder().timeout(Duration::from_secs(20));
        let orders = options(&server.folder).username("orders");
        builder.open(orders).await.unwrap()
    };
    conformance::run(&conformance::Time::real(), open)
        .await
        .unwrap();
    server
        .run("REVOKE DELETE ON countersign_nonces FROM orders")
        .await;
    let without = conformance::run(&conformance::Time::real(), open).await;
    assert!(without.is_err(), "the suite uses every right");
}

/// Where the functions are missing, as in tables of an earlier version, it is said what to do.
#[tokio::test]
async fn without_its_functions_the_store_does_not_start() {
    let Some(server) = Server::migrated("no functions").await else {
        return;
    };
    server.run("DROP FUNCTION countersign_hold").await;
    let builder = PostgresStore::builder().timeout(WAIT);
    let error = builder.open(options(&server.folder)).await.unwrap_err();
    assert!(
        error.to_string().contains("`migrate` of the store"),
        "{error}"
    );
    let pool = server.pool().await;
    PostgresStore::migrate(&pool).await.unwrap();
    let store = open(&server.folder, WAIT).await;
    assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
}

/// A plan that is made while the table is small is kept while it grows.
#[tokio::test]
async fn what_a_holder_does_goes_by_the_index_of_a_small_table_too() {
    let Some(server) = Server::migrated("plans that are kept").await else {
        return;
    };
    server.run("VACUUM ANALYZE countersign_nonces").await;
    let looking = PgPoolOptions::new().max_connections(1);
    let looking = looking.connect_with(options(&server.folder)).await.unwrap();
    // The sweep may read a small table as it likes. It lets it be while somebody has its lock.
    let swept = "SELECT count(pg_advisory_lock(x'63736773'::integer, hashtext(current_schema())))";
    assert_eq!(database::count(&looking, swept).await, 1);
    let store = open(&server.folder, Duration::from_secs(20)).await;
    // More often than until a plan is kept.
    for nonce in 0..20 {
        let (done, given_up) = (claim(nonce), claim(nonce + 100));
        for claim in [&done, &given_up] {
            assert_eq!(store.lease(claim, HOUR).await.unwrap(), LeaseOutcome::Held);
            assert_eq!(store.renew(claim, HOUR).await.unwrap(), StepOutcome::Done);
        }
        assert_eq!(store.complete(&done).await.unwrap(), StepOutcome::Done);
        assert_eq!(store.release(&given_up).await.unwrap(), StepOutcome::Done);
    }
    drop(store);
    // A session has said what it read once it has ended. The one that looks is none of them: a pool that is
    // made for each look would leave a session behind that the next look finds.
    let others = "SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let ended = async {
        while database::count(&looking, others).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HOUR / 60, ended).await.unwrap();
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'countersign_nonces'";
    assert_eq!(database::count(&looking, read).await, 0);
    let found = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'countersign_nonces'";
    let found = database::count(&looking, found).await;
    assert!(found > 0, "the statistics are there");
}

/// Both are asked for before the writer looks: what it is to record for the first namespace must not
/// be its own replay once the second one is registered.
#[tokio::test]
async fn a_new_namespace_costs_others_of_its_batch_nothing() {
    let Some(server) = Server::migrated("a new namespace").await else {
        return;
    };
    let builder = PostgresStore::builder().connections(1).timeout(WAIT);
    let store = builder.open(options(&server.folder)).await.unwrap();
    assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
    let of = |namespace: &str, nonce| {
        let nonce = Nonce::new(NonceKind::Covered, [nonce]);
        let key = KeyId::new("k").unwrap();
        Claim::new(namespace.into(), key, nonce, now().saturating_add(HOUR)).signed(now(), SKEW)
    };
    for round in 2..6 {
        let new = format!("new {round}");
        let (old, new) = (of("tests", round), of(&new, round));
        let answers = tokio::join!(ask(&store, &old), ask(&store, &new));
        assert_eq!(answers, (Ok(ClaimOutcome::New), Ok(ClaimOutcome::New)));
    }
}

/// An old holder meets a new one in one batch, with steps of its own.
#[tokio::test]
async fn a35_an_old_and_a_new_holder_in_one_batch() {
    let Some(server) = Server::migrated("two holders").await else {
        return;
    };
    let store = open(&server.folder, Duration::from_secs(10)).await;
    let (old, new) = (claim(1), claim(1));
    let millisecond = Duration::from_millis(1);
    assert_eq!(
        store.lease(&old, millisecond).await.unwrap(),
        LeaseOutcome::Held
    );
    while store.lease(&new, super::HOUR).await.unwrap() != LeaseOutcome::Held {}
    for _ in 0..10 {
        let answers = tokio::join!(
            store.complete(&old),
            store.renew(&new, super::HOUR),
            store.release(&old)
        );
        let answers = (answers.0.unwrap(), answers.1.unwrap(), answers.2.unwrap());
        assert_eq!(
            answers,
            (StepOutcome::Lost, StepOutcome::Done, StepOutcome::Lost)
        );
    }
    assert_eq!(store.complete(&new).await.unwrap(), StepOutcome::Done);
    let answer = store.lease(&claim(1), super::HOUR).await.unwrap();
    assert_eq!(answer, LeaseOutcome::Completed);
}

#[tokio::test]
async fn the_sweep_survives_errors_and_ends_with_its_store() {
    let Some(server) = Server::migrated("a sweep that fails").await else {
        return;
    };
    let log = Log::captured();
    let store = open(&server.folder, Duration::from_secs(5)).await;
    server
        .run(
            "ALTER TABLE countersign_nonces RENAME TO elsewhere;
            INSERT INTO elsewhere SELECT sha256(n::text::bytea), '', n FROM generate_series(1, 2500) n",
        )
        .await;
    while !log.text().contains("expired nonces were not dropped") {
        tokio::time::sleep(MOMENT).await;
    }
    server
        .run("ALTER TABLE elsewhere RENAME TO countersign_nonces")
        .await;
    let left = "SELECT count(*) FROM countersign_nonces";
    while server.number(left).await > 0 {
        tokio::time::sleep(MOMENT).await;
    }
    goes_on(&store, 1).await;
    drop(store);
    let connections = "SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while server.number(connections).await > 0 {
        tokio::time::sleep(MOMENT).await;
    }
}

/// The lost request may have been signed, with all of its skew, by a clock that is ahead of the new
/// primary's by nearly five seconds.
#[tokio::test]
async fn a27_a_fence_allows_for_clocks_that_differ() {
    let Some(server) = Server::migrated("a fence and clocks that differ").await else {
        return;
    };
    let store = open(&server.folder, Duration::from_secs(10)).await;
    assert_eq!(ask(&store, &claim(0)).await, Ok(ClaimOutcome::New));
    let second = Duration::from_secs(1);
    let lost = claim_signed(1, now().saturating_add(super::SKEW + second * 4));
    let ended = "UPDATE countersign_store SET timeline = 'that ended', written_by = DEFAULT";
    server.run(ended).await;
    assert_eq!(ask(&store, &lost).await, Err(StoreErrorKind::SignAgain));
    let later = claim_signed(2, now().saturating_add(super::SKEW + second * 60));
    assert_eq!(ask(&store, &later).await, Ok(ClaimOutcome::New));

    // The twin: without the margin it is accepted.
    server
        .run("UPDATE countersign_store SET since_ms = since_ms - 5000, written_by = DEFAULT")
        .await;
    assert_eq!(ask(&store, &lost).await, Ok(ClaimOutcome::New));
}

/// Row 38, and the clock of the database instead of the application's.
#[tokio::test]
async fn a38_a_deadline_that_passes_while_the_claim_waits_is_refused() {
    let Some(server) = Server::migrated("a deadline that passes").await else {
        return;
    };
    let store = open(&server.folder, Duration::from_secs(10)).await;
    assert_eq!(ask(&store, &claim(0)).await, Ok(ClaimOutcome::New));
    server.tell("pause");
    let signed = now()
        .saturating_sub(super::HOUR)
        .saturating_add(Duration::from_millis(200));
    let late = claim_signed(1, signed);
    let waiting = ask(&store, &late);
    let resumed = async {
        while now() < late.deadline() {
            tokio::time::sleep(MOMENT).await;
        }
        server.tell("resume");
    };
    let (answer, ()) = tokio::join!(waiting, resumed);
    assert_eq!(answer, Err(StoreErrorKind::SignAgain));
    let recorded = "SELECT count(*) FROM countersign_nonces";
    assert_eq!(server.number(recorded).await, 1);
    let pool = server.pool().await;
    PostgresStore::drop_expired(&pool).await.unwrap();
    assert_eq!(ask(&store, &claim(0)).await, Ok(ClaimOutcome::Replayed));
}
