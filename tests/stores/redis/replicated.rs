//! Failover: of a master that a Sentinel watches, and in a cluster of six; and `WAIT`. In the midst of
//! it claims go on, and of what was answered before, nothing is accepted a second time.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use countersign::store::{LeaseOutcome, LeaseStore as _, NonceStore, StepOutcome};
use redis::Value;

use super::{
    ClaimOutcome, RedisStore, SKEW, StoreErrorKind, ask, claim, claim_signed, now, programs, proxy,
    resumes,
};
use crate::{
    common::{ports::free_port, redis_server::Server},
    history::{Answer, Event, faults},
    race,
};

const NONE: &[&str] = &["--save", "", "--repl-diskless-sync-delay", "0"];

/// Until it is so; half a minute at most.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "not within 30 seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn replica_of(master: &Server, program: &str) -> Server {
    let port = master.port.to_string();
    let arguments = [NONE, &["--replicaof", "127.0.0.1", &port]].concat();
    Server::start(program, &arguments)
}

fn is_in_sync(replica: &Server) -> bool {
    let info: redis::RedisResult<String> = replica.ask(&["INFO", "replication"]);
    info.is_ok_and(|info| info.contains("master_link_status:up"))
}

/// Each nonce once, all along; a copy of each at the end.
async fn copies_after(store: &Arc<dyn NonceStore>, events: &mut Vec<Event>, claims: &[Tried]) {
    for (nonce, claim) in claims {
        events.push(race::ask(&**store, *nonce, claim).await);
    }
}

type Tried = (u64, countersign::store::Claim);

/// Claims new nonces until it is told to end.
async fn claims_until(
    store: Arc<dyn NonceStore>,
    first: u64,
    mut end: tokio::sync::oneshot::Receiver<()>,
) -> (Vec<Event>, Vec<Tried>) {
    let (mut events, mut claims) = (Vec::new(), Vec::new());
    for nonce in first.. {
        if end.try_recv().is_ok() {
            break;
        }
        let claim = claim_signed(nonce, now());
        let event = race::ask(&*store, nonce, &claim).await;
        if event.answer == Answer::Unknown {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        events.push(event);
        claims.push((nonce, claim_signed(nonce, claim.signed_at().unwrap())));
    }
    (events, claims)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a27_a_failover_that_a_sentinel_makes_accepts_nothing_twice() {
    for program in programs() {
        let mut master = Server::start(&program, NONE);
        let replica = replica_of(&master, &program);
        until("the replica is in sync", || is_in_sync(&replica)).await;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let config = format!(
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000\n",
            master.port
        );
        fs::write(&file, config).unwrap();
        let sentinel = Server::start(&program, &[file.to_str().unwrap(), "--sentinel"]);
        until("the Sentinel knows the replica", || {
            let replicas: Vec<Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).unwrap();
            replicas.len() == 1
        })
        .await;

        let store = RedisStore::builder().danger_assume_no_history();
        let like = "redis://like-this";
        let store = store
            .open_sentinel("main", &[&sentinel.url()], like)
            .await
            .unwrap();
        let store: Arc<dyn NonceStore> = Arc::new(store);
        let (end, ended) = tokio::sync::oneshot::channel();
        let claiming = tokio::spawn(claims_until(Arc::clone(&store), 0, ended));
        tokio::time::sleep(Duration::from_millis(300)).await;
        master.kill();
        until("the replica is the master", || {
            let role: Vec<Value> = replica.ask(&["ROLE"]).unwrap_or_default();
            role.first() == Some(&Value::BulkString(b"master".to_vec()))
        })
        .await;
        // Signed as late as can be, so that the fence lets it through.
        let start = Instant::now();
        while store.claim(&claim(u64::MAX - 1)).await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it did not resume"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        end.send(()).unwrap();
        let (mut events, claims) = claiming.await.unwrap();
        let accepted = events.iter().filter(|e| e.answer == Answer::New).count();
        let refused = events
            .iter()
            .filter(|e| e.answer == Answer::Unknown)
            .count();
        println!("{program}: {accepted} accepted, {refused} refused, one failover");
        assert!(accepted > 0 && refused > 0);
        copies_after(&store, &mut events, &claims).await;
        assert_eq!(faults(&events), [""; 0]);
        // Signed in time before the failover: the fence, whether or not the replica had the record.
        let (nonce, first) = claims.first().unwrap();
        let again = race::ask(&*store, *nonce, first).await;
        assert_ne!(again.answer, Answer::New);
    }
}

/// Six servers: three masters, each with a replica.
fn cluster(program: &str) -> Vec<Server> {
    let arguments = |server: usize| {
        let file = format!("nodes-{server}.state");
        let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000"];
        let own = own.into_iter().map(str::to_owned);
        let own = own.chain(["--cluster-config-file".to_owned(), file]);
        NONE.iter()
            .map(|&a| a.to_owned())
            .chain(own)
            .collect::<Vec<_>>()
    };
    let servers: Vec<_> = (0..6)
        .map(|server| {
            let arguments = arguments(server);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            Server::start(program, &arguments)
        })
        .collect();
    for (server, (from, to)) in servers
        .iter()
        .zip([(0, 5460), (5461, 10922), (10923, 16383)])
    {
        server.tell(&[
            "CLUSTER",
            "ADDSLOTSRANGE",
            &from.to_string(),
            &to.to_string(),
        ]);
    }
    for (epoch, server) in servers.iter().enumerate() {
        server.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()]);
        if epoch > 0 {
            let port = servers[0].port.to_string();
            server.tell(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
    }
    servers
}

fn knows_of_six(server: &Server) -> bool {
    let nodes: redis::RedisResult<String> = server.ask(&["CLUSTER", "NODES"]);
    nodes.is_ok_and(|nodes| {
        nodes
            .lines()
            .filter(|line| line.contains(" connected") && !line.contains("handshake"))
            .count()
            == 6
    })
}

fn is_ok(server: &Server) -> bool {
    let info: redis::RedisResult<String> = server.ask(&["CLUSTER", "INFO"]);
    info.is_ok_and(|info| info.contains("cluster_state:ok"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a27_a_failover_in_a_cluster_under_load_accepts_nothing_twice() {
    for program in programs() {
        let mut servers = cluster(&program);
        until("all know each other", || servers.iter().all(knows_of_six)).await;
        for (replica, master) in servers[3..].iter().zip(&servers) {
            let id: String = master.ask(&["CLUSTER", "MYID"]).unwrap();
            replica.tell(&["CLUSTER", "REPLICATE", &id]);
        }
        until("all slots are served", || servers.iter().all(is_ok)).await;
        until("the replicas are in sync", || {
            servers[3..].iter().all(is_in_sync)
        })
        .await;

        let urls: Vec<_> = servers.iter().map(Server::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let store = RedisStore::builder().danger_assume_no_history();
        let store = store.open_cluster(&urls).await.unwrap();
        store.check().await.unwrap();
        let store: Arc<dyn NonceStore> = Arc::new(store);
        let (end, ended) = tokio::sync::oneshot::channel();
        let claiming = tokio::spawn(claims_until(Arc::clone(&store), 0, ended));
        tokio::time::sleep(Duration::from_millis(300)).await;
        servers[1].kill();
        let promoted = &servers[4];
        until("the replica is the master", || {
            let role: Vec<Value> = promoted.ask(&["ROLE"]).unwrap_or_default();
            role.first() == Some(&Value::BulkString(b"master".to_vec()))
        })
        .await;
        // A good many, so that each master has some.
        let start = Instant::now();
        for nonce in u64::MAX - 50..u64::MAX {
            while store.claim(&claim(nonce)).await.is_err() {
                assert!(
                    start.elapsed() < Duration::from_secs(30),
                    "it did not resume"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        end.send(()).unwrap();
        let (mut events, claims) = claiming.await.unwrap();
        let accepted = events.iter().filter(|e| e.answer == Answer::New).count();
        let refused = events
            .iter()
            .filter(|e| e.answer == Answer::Unknown)
            .count();
        println!("{program}: {accepted} accepted, {refused} refused, one failover");
        assert!(accepted > 0 && refused > 0);
        copies_after(&store, &mut events, &claims).await;
        assert_eq!(faults(&events), [""; 0]);
    }
}

/// A nonce whose slot is on the move is refused, and one that has moved is remembered where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a27_a_slot_that_moves_to_another_server_accepts_nothing_twice() {
    for program in programs() {
        let servers = cluster(&program);
        until("all know each other", || servers.iter().all(knows_of_six)).await;
        until("all slots are served", || servers[..3].iter().all(is_ok)).await;
        let urls: Vec<_> = servers[..3].iter().map(Server::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        let store = RedisStore::builder().danger_assume_no_history();
        let store = store.open_cluster(&urls).await.unwrap();

        let moved = claim(1);
        assert_eq!(ask(&store, &moved).await, Ok(ClaimOutcome::New));
        let key = [b"cs:", &moved.digest()[..]].concat();
        let slot: u16 = servers[0]
            .ask(&[b"CLUSTER", b"KEYSLOT".as_slice(), &key])
            .unwrap();
        let slot = slot.to_string();
        let has_it = |server: &&Server| {
            let found: redis::RedisResult<u8> = server.ask(&[b"EXISTS".as_slice(), &key]);
            found == Ok(1)
        };
        let from = servers[..3].iter().find(has_it).unwrap();
        let to = servers[..3].iter().find(|server| !has_it(server)).unwrap();
        let id = |server: &Server| server.ask::<String>(&["CLUSTER", "MYID"]).unwrap();
        let (from_id, to_id) = (id(from), id(to));
        to.tell(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.tell(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        // It still is where it was.
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::Replayed));
        let port = to.port.to_string();
        let (migrate, host) = (b"MIGRATE".as_slice(), b"127.0.0.1".as_slice());
        from.tell(&[migrate, host, port.as_bytes(), &key, b"0", b"5000"]);
        assert_eq!(
            ask(&store, &claim(1)).await,
            Err(StoreErrorKind::Unavailable)
        );
        for server in [to, from] {
            server.tell(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        let start = Instant::now();
        while ask(&store, &claim(1)).await != Ok(ClaimOutcome::Replayed) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it is not known any more"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The replica is asked for, and is not there: the claim is refused, and its nonce is burned.
#[tokio::test]
async fn with_wait_a_claim_is_accepted_only_once_a_replica_has_it() {
    for program in programs() {
        let master = Server::start(&program, NONE);
        let mut replica = replica_of(&master, &program);
        until("the replica is in sync", || is_in_sync(&replica)).await;
        let builder = RedisStore::builder().danger_assume_no_history().replicas(1);
        let store = builder.open(&master.url()).await.unwrap();
        assert_eq!(ask(&store, &claim(1)).await, Ok(ClaimOutcome::New));
        let records: u64 = replica.ask(&["DBSIZE"]).unwrap();
        assert!(records > 0);
        // A lease is completed on a server without memory too.
        let lease = claim(3);
        assert_eq!(
            store.lease(&lease, super::HOUR).await.unwrap(),
            LeaseOutcome::Held
        );
        master.tell(&["CONFIG", "SET", "maxmemory", "1"]);
        assert_eq!(store.complete(&lease).await.unwrap(), StepOutcome::Done);
        master.tell(&["CONFIG", "SET", "maxmemory", "0"]);
        replica.kill();
        let late = claim(2);
        assert_eq!(ask(&store, &late).await, Err(StoreErrorKind::Unavailable));
        replica.start_again();
        until("the replica is in sync", || is_in_sync(&replica)).await;
        resumes(&store, 1000).await;
        assert_eq!(ask(&store, &claim(2)).await, Ok(ClaimOutcome::Replayed));
    }
}

/// An address that another master has taken over between two connections: what its replicas have says
/// nothing of what the first one was told.
#[tokio::test]
async fn with_wait_the_replicas_of_another_master_do_not_count() {
    for program in programs() {
        let (first, second) = (Server::start(&program, NONE), Server::start(&program, NONE));
        let replica = replica_of(&second, &program);
        until("the replica is in sync", || is_in_sync(&replica)).await;
        let faults = Arc::new(proxy::Faults::default());
        faults.successor.store(second.port, Ordering::SeqCst);
        let url = proxy::start(first.port, faults).await;
        let builder = RedisStore::builder().danger_assume_no_history().replicas(1);
        let store = builder.open(&url).await.unwrap();
        let refused = store.claim(&claim(1)).await.unwrap_err();
        assert!(refused.to_string().contains("another master"), "{refused}");
        // The twin: the first one has it, and the replicas of the second have what it was told.
        let has = |server: &Server, key: &str| {
            let keys: Vec<Vec<u8>> = server.ask(&["KEYS", key]).unwrap();
            !keys.is_empty()
        };
        assert!(has(&first, "cs:*") && !has(&replica, "cs:*"));
        assert!(has(&replica, "*:replicated"));
    }
}

/// An asynchronous failover loses records without the fence: the twin of the failovers above.
#[tokio::test]
async fn a_promoted_replica_that_lagged_behind_has_lost_what_the_fence_refuses() {
    for program in programs() {
        let mut master = Server::start(&program, NONE);
        let replica = replica_of(&master, &program);
        until("the replica is in sync", || is_in_sync(&replica)).await;
        let builder = || RedisStore::builder().danger_assume_no_history();
        let store = builder().open(&master.url()).await.unwrap();
        until("the replica knows the store's own record", || {
            replica.ask::<u64>(&["DBSIZE"]).unwrap() > 0
        })
        .await;
        // The replica hears nothing any more.
        replica.tell(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
        let signed = now();
        let timed = claim_signed(1, signed);
        let untimed = super::claim_until(2, now().saturating_add(super::HOUR));
        assert_eq!(ask(&store, &timed).await, Ok(ClaimOutcome::New));
        assert_eq!(ask(&store, &untimed).await, Ok(ClaimOutcome::New));
        master.kill();
        replica.tell(&["REPLICAOF", "NO", "ONE"]);
        let store = builder().open(&replica.url()).await.unwrap();
        let copy = claim_signed(1, signed);
        assert_eq!(ask(&store, &copy).await, Err(StoreErrorKind::SignAgain));
        // Covered by no time: nothing tells it from a new one, as the documentation says.
        let copy = super::claim_until(2, now().saturating_add(super::HOUR));
        assert_eq!(ask(&store, &copy).await, Ok(ClaimOutcome::New));
        let later = claim_signed(3, now().saturating_add(SKEW * 4));
        assert_eq!(ask(&store, &later).await, Ok(ClaimOutcome::New));
    }
}
