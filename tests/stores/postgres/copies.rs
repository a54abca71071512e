//! Row 58: an older state of the database that comes back as a copy, in the same cluster and on the
//! same timeline. Nonces that may have been used since are refused.

use std::{collections::BTreeMap, time::Duration};

use countersign::{
    error::StoreErrorKind,
    store::{Claim, ClaimOutcome, PostgresStore},
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::time::timeout;

use super::{
    SKEW, ask, claim_signed, now,
    server::{Server, options},
};
use crate::common::database;

const WAIT: Duration = Duration::from_secs(20);
const AGAIN: Result<ClaimOutcome, StoreErrorKind> = Err(StoreErrorKind::SignAgain);

/// A database of the server, as its clients name it.
const NAME: &str = "orders";

async fn connect(server: &Server, database: &str) -> PgPool {
    let options = options(&server.folder).database(database);
    let pool = PgPoolOptions::new().max_connections(2);
    pool.connect_with(options).await.unwrap()
}

/// A new store, as of a server that was started again.
async fn store(server: &Server) -> PostgresStore {
    let builder = PostgresStore::builder().timeout(WAIT);
    let options = options(&server.folder).database(NAME);
    builder.open(options).await.unwrap()
}

async fn database(server: &Server) {
    server.run("CREATE DATABASE orders").await;
    let pool = connect(server, NAME).await;
    PostgresStore::migrate(&pool).await.unwrap();
    PostgresStore::danger_assume_no_history(&pool)
        .await
        .unwrap();
    pool.close().await;
}

async fn in_database(server: &Server, sql: &'static str) {
    let pool = connect(server, NAME).await;
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

/// How an older state comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Template,
    DumpToAnotherDatabase,
    DumpOverTheTables,
    DumpOfTheRows,
}

const WAYS: [Way; 4] = [
    Way::Template,
    Way::DumpToAnotherDatabase,
    Way::DumpOverTheTables,
    Way::DumpOfTheRows,
];

impl Way {
    /// Keeps the state as it is now.
    async fn keep(self, server: &Server) {
        match self {
            Self::Template => server.run("CREATE DATABASE copy TEMPLATE orders").await,
            _ => server.tell_of("dump", &[NAME]),
        }
    }

    /// Puts the state back that was kept.
    async fn put_back(self, server: &Server) {
        match self {
            Self::Template => {}
            Self::DumpToAnotherDatabase => {
                server.run("CREATE DATABASE copy").await;
                server.tell_of("restore", &["copy", "--exit-on-error"]);
            }
            Self::DumpOverTheTables => {
                server.tell_of("restore", &[NAME, "--clean"]);
            }
            Self::DumpOfTheRows => {
                let empty =
                    "TRUNCATE countersign_store, countersign_namespaces, countersign_nonces";
                in_database(server, empty).await;
                server.tell_of("restore", &[NAME, "--data-only"]);
            }
        }
        if matches!(self, Self::Template | Self::DumpToAnotherDatabase) {
            server.run("DROP DATABASE orders WITH (FORCE)").await;
            server.run("ALTER DATABASE copy RENAME TO orders").await;
        }
    }
}

/// The identity that was recorded before, of a cluster that is asked now.
async fn cluster_and_timeline_are_as_recorded(server: &Server) -> bool {
    let sql = "SELECT store.system_identifier = control.system_identifier
            AND timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)
        FROM countersign_store AS store, pg_control_system() AS control ORDER BY id DESC LIMIT 1";
    let pool = connect(server, NAME).await;
    sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a58_a_copy_within_the_same_cluster_is_fenced() {
    let Some(server) = Server::start("copies within a cluster") else {
        return;
    };
    let mut found = BTreeMap::new();
    for way in WAYS {
        database(&server).await;
        let signed = now();
        let before = store(&server).await;
        assert_eq!(
            ask(&before, &claim_signed(1, signed)).await,
            Ok(ClaimOutcome::New)
        );
        drop(before);
        way.keep(&server).await;
        let after = store(&server).await;
        assert_eq!(
            ask(&after, &claim_signed(2, signed)).await,
            Ok(ClaimOutcome::New)
        );
        drop(after);
        way.put_back(&server).await;

        // The twin: the identities of cluster and timeline alone see nothing.
        let unseen = cluster_and_timeline_are_as_recorded(&server).await;
        let successor = store(&server).await;
        let mut answers = Vec::new();
        for nonce in [1, 2, 3] {
            answers.push(ask(&successor, &claim_signed(nonce, signed)).await);
        }
        let later = now().saturating_add(2 * SKEW);
        answers.push(ask(&successor, &claim_signed(4, later)).await);
        // And without the fence, the lost one is accepted again.
        let unfence = "UPDATE countersign_store SET since_ms = 0, written_by = DEFAULT";
        in_database(&server, unfence).await;
        answers.push(ask(&successor, &claim_signed(2, signed)).await);
        found.insert(way, (unseen, answers));
        drop(successor);
        server.run("DROP DATABASE orders WITH (FORCE)").await;
    }
    let new = Ok(ClaimOutcome::New);
    let expected = (true, vec![AGAIN, AGAIN, AGAIN, new, new]);
    assert_eq!(found, WAYS.map(|way| (way, expected.clone())).into());
}

/// The other side: what changes a database's files, name and tables without changing what it knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a58_maintenance_is_no_copy() {
    let Some(server) = Server::start("maintenance") else {
        return;
    };
    database(&server).await;
    let first = store(&server).await;
    let signed = now();
    assert_eq!(
        ask(&first, &claim_signed(0, signed)).await,
        Ok(ClaimOutcome::New)
    );
    drop(first);
    for (nonce, sql) in [
        "VACUUM (FREEZE)",
        "VACUUM (FULL)",
        "CLUSTER countersign_nonces USING countersign_nonces_pkey; REINDEX TABLE countersign_store",
        "CREATE SCHEMA other; ALTER TABLE countersign_store SET SCHEMA other;
        ALTER TABLE other.countersign_store SET SCHEMA public",
        "ANALYZE",
    ]
    .into_iter()
    .enumerate()
    {
        in_database(&server, sql).await;
        let nonce = u64::try_from(nonce).unwrap() + 1;
        let store = store(&server).await;
        assert_eq!(
            ask(&store, &claim_signed(nonce, signed)).await,
            Ok(ClaimOutcome::New),
            "{sql}"
        );
        assert_eq!(
            ask(&store, &claim_signed(0, signed)).await,
            Ok(ClaimOutcome::Replayed),
            "{sql}"
        );
    }
    server.run("ALTER DATABASE orders RENAME TO other").await;
    server.run("ALTER DATABASE other RENAME TO orders").await;
    server.tell("kill");
    server.tell("again");
    let pool = connect(&server, NAME).await;
    PostgresStore::migrate(&pool).await.unwrap();
    let store = store(&server).await;
    assert_eq!(
        ask(&store, &claim_signed(100, signed)).await,
        Ok(ClaimOutcome::New)
    );
    assert_eq!(
        ask(&store, &claim_signed(0, signed)).await,
        Ok(ClaimOutcome::Replayed)
    );
}

/// The answer, once a connection that ended with the server has been replaced.
async fn ask_until_connected(
    store: &PostgresStore,
    claim: &Claim,
) -> Result<ClaimOutcome, StoreErrorKind> {
    let connected = async {
        loop {
            let answer = ask(store, claim).await;
            if answer != Err(StoreErrorKind::Unavailable) {
                return answer;
            }
        }
    };
    timeout(WAIT, connected).await.expect("it connects again")
}

/// A base backup that is started without a recovery signal goes on on the same timeline, with all
/// identities. A server that lives through it misses its own last record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a58_a_base_backup_in_place_is_found_by_a_server_that_lives_through_it() {
    let Some(server) = Server::start("a base backup") else {
        return;
    };
    database(&server).await;
    let signed = now();
    let living = store(&server).await;
    server.tell("backup");
    assert_eq!(
        ask(&living, &claim_signed(1, signed)).await,
        Ok(ClaimOutcome::New)
    );
    server.tell("rewind");

    // The twin: a server that is started later knows of no record, and accepts it again.
    let started = store(&server).await;
    assert_eq!(
        ask(&started, &claim_signed(1, signed)).await,
        Ok(ClaimOutcome::New)
    );
    in_database(&server, "DELETE FROM countersign_nonces").await;

    let told = ask_until_connected(&living, &claim_signed(2, signed)).await;
    assert_eq!(told, AGAIN);
    // From then on every server refuses, and what is signed later is served.
    assert_eq!(
        ask(&store(&server).await, &claim_signed(1, signed)).await,
        AGAIN
    );
    let later = now().saturating_add(2 * SKEW);
    let told = ask_until_connected(&living, &claim_signed(3, later)).await;
    assert_eq!(told, Ok(ClaimOutcome::New));

    // Without such a server, an operator says so.
    in_database(
        &server,
        "UPDATE countersign_store SET since_ms = 0, written_by = DEFAULT",
    )
    .await;
    let started = store(&server).await;
    assert_eq!(
        ask(&started, &claim_signed(4, signed)).await,
        Ok(ClaimOutcome::New)
    );
    PostgresStore::fence(&connect(&server, NAME).await)
        .await
        .unwrap();
    assert_eq!(ask(&started, &claim_signed(5, signed)).await, AGAIN);
}

/// Consumers that roll back what is refused do not roll the fence back forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a58_a_fence_that_is_rolled_back_is_kept_by_the_sweep() {
    use countersign::store::ConsumeIn as _;
    let Some(pool) = database::pool("a fence that is rolled back").await else {
        return;
    };
    let ended = "UPDATE countersign_store SET timeline = 'that ended', written_by = DEFAULT";
    sqlx::raw_sql(ended).execute(&pool).await.unwrap();
    let fences = async || database::count(&pool, "SELECT count(*) FROM countersign_store").await;
    let refused = pool
        .begin()
        .await
        .unwrap()
        .consume(&claim_signed(1, now()), WAIT)
        .await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::SignAgain);
    assert_eq!(fences().await, 1);
    PostgresStore::drop_expired(&pool).await.unwrap();
    assert_eq!(fences().await, 2);
    let later = claim_signed(2, now().saturating_add(2 * SKEW));
    let consumed = pool.begin().await.unwrap().consume(&later, WAIT).await;
    assert_eq!(consumed.unwrap(), ClaimOutcome::New);
}

/// Applications that share a database, each in a schema of its own, share none of its locks.
#[tokio::test]
async fn the_sweep_of_another_schema_does_not_hold_up_this_one() {
    let Some(other) = database::pool("the sweep of another schema").await else {
        return;
    };
    let Some(pool) = database::pool("the sweep of another schema").await else {
        return;
    };
    let ended = "UPDATE countersign_store SET timeline = 'that ended', written_by = DEFAULT";
    sqlx::raw_sql(ended).execute(&pool).await.unwrap();
    let fences = async || database::count(&pool, "SELECT count(*) FROM countersign_store").await;
    let held =
        "SELECT count(pg_advisory_xact_lock(x'63736773'::integer, hashtext(current_schema())))";

    // The twin: a sweep of this schema that is under way does the work for this call.
    let mut own = pool.begin().await.unwrap();
    sqlx::raw_sql(held).execute(&mut *own).await.unwrap();
    PostgresStore::drop_expired(&pool).await.unwrap();
    assert_eq!(fences().await, 1);
    own.rollback().await.unwrap();

    let mut foreign = other.begin().await.unwrap();
    sqlx::raw_sql(held).execute(&mut *foreign).await.unwrap();
    PostgresStore::drop_expired(&pool).await.unwrap();
    assert_eq!(fences().await, 2);
}
