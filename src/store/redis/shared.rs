//! The connections at hand, and how new ones are made: one attempt at a time, and none in a hurry.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{
    error::{self, Failure, late, read, unexpected},
    inspected::Inspected,
    knowledge::{Knowledge, Namespace},
    link::{Link, Terms, connect},
    replication::Replication,
    servers::{Master, Servers},
    slot::{SLOTS, slot},
    time::{millis, timestamp},
};
use crate::{
    clock::{Clock as _, SystemClock},
    error::{StoreError, in_full},
    lock::lock,
    once::Claim,
    store::batched::{Exchange, Quota, Report},
};

/// How often connections and namespaces are looked after.
const EVERY: Duration = Duration::from_secs(1);

/// After a failure to connect, nobody tries again for so long.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Shared {
    servers: Servers,
    terms: Terms,
    /// How many replicas are waited for.
    replicas: u16,
    pub(super) knowledge: Arc<Knowledge>,
    pub(super) quota: Arc<Quota>,
    shards: Mutex<Arc<Vec<Shard>>>,
    /// The holder connects.
    connecting: tokio::sync::Mutex<Connecting>,
}

#[derive(Debug, Default)]
struct Connecting {
    /// Whether this process has had an answer: it would know of nonces that are lost.
    has_history: bool,
    failed: Option<(Instant, StoreError)>,
}

/// The master of these slots.
#[derive(Clone, Debug)]
struct Shard {
    slots: (u16, u16),
    server: Arc<Server>,
}

#[derive(Debug)]
pub(super) struct Server {
    address: redis::ConnectionAddr,
    /// Its replication id.
    pub(super) id: String,
    pub(super) link: Link,
    pub(super) replication: Option<Replication>,
}

impl Shared {
    pub(super) fn new(servers: Servers, terms: Terms, replicas: u16, quota: Arc<Quota>) -> Self {
        Self {
            servers,
            terms,
            replicas,
            knowledge: Arc::default(),
            quota,
            shards: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    fn shards(&self) -> Arc<Vec<Shard>> {
        Arc::clone(&lock(&self.shards))
    }

    fn at_hand(&self, slot: u16) -> Option<Arc<Server>> {
        let shards = self.shards();
        let has = |shard: &&Shard| (shard.slots.0..=shard.slots.1).contains(&slot);
        let shard = shards.iter().find(has)?;
        Some(Arc::clone(&shard.server)).filter(|server| !server.link.is_broken())
    }

    /// All masters that are connected.
    pub(super) fn connected(&self) -> Vec<Arc<Server>> {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        for shard in self.shards().iter() {
            if !servers
                .iter()
                .any(|known| Arc::ptr_eq(known, &shard.server))
            {
                servers.push(Arc::clone(&shard.server));
            }
        }
        servers
    }

    /// The master that has the slot; connects if need be.
    pub(super) async fn server(self: &Arc<Self>, slot: u16) -> Result<Arc<Server>, StoreError> {
        if let Some(server) = self.at_hand(slot) {
            return Ok(server);
        }
        let shared = Arc::clone(self);
        // A task of its own, which gets on when those who wait for it have given up.
        let connected = tokio::spawn(async move {
            let mut connecting = shared.connecting.lock().await;
            if let Some(server) = shared.at_hand(slot) {
                return Ok(server);
            }
            if let Some((at, error)) = &connecting.failed
                && at.elapsed() < PAUSE
            {
                return Err(error.clone());
            }
            let result = Box::pin(shared.connect(&mut connecting)).await;
            let unserved = || StoreError::unavailable("no server has this part of the cluster");
            let result = result.and_then(|()| shared.at_hand(slot).ok_or_else(unserved));
            connecting.failed = result.as_ref().err().map(|e| (Instant::now(), e.clone()));
            result
        });
        connected
            .await
            .map_err(|error| StoreError::unavailable("connecting was cut off").with_source(error))?
    }

    /// Finds the masters, and connects to those that are not connected.
    async fn connect(self: &Arc<Self>, connecting: &mut Connecting) -> Result<(), StoreError> {
        let masters = self.servers.masters(self.terms.wait).await?;
        let known = self.connected();
        let terms = Terms {
            assume_no_history: self.terms.assume_no_history && !connecting.has_history,
            ..self.terms
        };
        let mut servers: Vec<Arc<Server>> = Vec::new();
        let mut shards = Vec::new();
        let mut failed = None;
        for master in masters {
            let of_master = |server: &&Arc<Server>| server.address == *master.info.addr();
            let is_whole = |server: &&Arc<Server>| of_master(server) && !server.link.is_broken();
            let found = servers
                .iter()
                .find(of_master)
                .or_else(|| known.iter().find(is_whole));
            let server = match found {
                Some(server) => Ok(Arc::clone(server)),
                None => self.connect_to(&master, terms).await,
            };
            match server {
                Ok(server) => {
                    servers.push(Arc::clone(&server));
                    shards.push(Shard {
                        slots: master.slots,
                        server,
                    });
                }
                Err(error) => failed = Some(error),
            }
        }
        connecting.has_history |= !shards.is_empty();
        let none = shards.is_empty();
        *lock(&self.shards) = Arc::new(shards);
        failed.filter(|_| none).map_or(Ok(()), Err)
    }

    async fn connect_to(
        self: &Arc<Self>,
        master: &Master,
        terms: Terms,
    ) -> Result<Arc<Server>, StoreError> {
        let (slot, _) = master.slots;
        let connected = Link::connect(master.info.clone(), slot, terms, &self.knowledge);
        let (link, inspected) = connected.await?;
        self.check_clock(&inspected)?;
        let id = inspected.id.clone();
        self.knowledge.learn(&link.key, inspected);
        let replication = match self.replicas {
            0 => None,
            replicas => {
                let of = id.clone();
                let started =
                    Replication::start(master.info.clone(), (slot, replicas), of, terms.wait);
                Some(started.await?)
            }
        };
        let server = Arc::new(Server {
            address: master.info.addr().clone(),
            id,
            link,
            replication,
        });
        let connection = connect(master.info.clone(), terms.wait).await?;
        self.watch(&server, connection);
        Ok(server)
    }

    /// Refuses clocks that disagree: they tell what was signed before the present master.
    fn check_clock(&self, inspected: &Inspected) -> Result<(), StoreError> {
        let ours = SystemClock.now().as_millis();
        let allowed = millis(self.terms.clock_difference);
        if ours.abs_diff(inspected.now) <= allowed {
            return Ok(());
        }
        Err(StoreError::unavailable(format!(
            "the clock of Redis shows {} ms since 1970, and this server's {ours}: more than the \
             {allowed} ms apart that are allowed",
            inspected.now
        )))
    }

    /// Returns what is known of the claim's namespace.
    pub(super) async fn namespace(
        self: &Arc<Self>,
        claim: &Claim,
    ) -> Result<Namespace, StoreError> {
        if let Some(known) = self.knowledge.namespace(claim.namespace())
            && known.serves(claim)
        {
            return Ok(known);
        }
        self.read_namespace(claim.namespace(), millis(claim.retention()))
            .await
    }

    async fn read_namespace(
        self: &Arc<Self>,
        name: &str,
        retention: u64,
    ) -> Result<Namespace, StoreError> {
        self.ask_of_namespace(name, retention, false).await
    }

    /// Reads the record of a namespace. Records this retention if there is no record, or to extend
    /// a shorter one.
    pub(super) async fn ask_of_namespace(
        self: &Arc<Self>,
        name: &str,
        retention: u64,
        extend: bool,
    ) -> Result<Namespace, StoreError> {
        let key = format!("countersign:namespace:{name}");
        let server = self.server(slot(key.as_bytes())).await?;
        let mut ask = server.link.namespace_script(key.as_bytes());
        let known_by = super::knowledge::KNOWN_FOR + self.terms.clock_difference;
        ask.arg(retention)
            .arg(millis(known_by))
            .arg(u8::from(extend));
        let read_at = std::time::Instant::now();
        let wait = self.terms.wait;
        let answer = timeout(wait, server.link.ask(&ask)).await;
        let answer = answer.map_err(|_| {
            server.link.break_off();
            late(wait)
        })?;
        let answer = answer.map_err(|failure| {
            if !matches!(failure, Failure::Refused(_)) {
                server.link.break_off();
            }
            failure.into_error()
        })?;
        let (retention, raised, now): (u64, u64, u64) = read(answer)?;
        self.knowledge.shows(now);
        let namespace = Namespace {
            retention,
            raised,
            read: read_at,
        };
        self.knowledge.learn_namespace(name, namespace);
        let (kept_for, read_at) = (Duration::from_millis(retention), timestamp(now));
        self.knowledge.retentions.learn(name, kept_for, read_at);
        Ok(namespace)
    }

    /// Tells how many records a key has, and is told how many all processes made.
    async fn exchange(self: &Arc<Self>, report: Report) -> Result<(), StoreError> {
        let owner = crate::message::Encoding::Hex.encode(&report.owner);
        let key = format!("countersign:key:{owner}");
        let server = self.server(slot(key.as_bytes())).await?;
        let mut ask = server.link.quota_script(key.as_bytes());
        ask.arg(report.change).arg(report.end);
        let answer = timeout(self.terms.wait, server.link.ask(&ask)).await;
        let answer = answer.map_err(|_| late(self.terms.wait))?;
        let (records, fewer_at) = read(answer.map_err(Failure::into_error)?)?;
        report.told(records, fewer_at);
        Ok(())
    }

    /// Inspects all servers once more.
    pub(super) async fn inspect(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for server in self.connected() {
            match self.inspect_one(&server).await {
                Ok(inspected) if inspected.is_full => outcome = Err(error::full()),
                Ok(_) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Inspects a server once more, which is not used any more if it is not fit.
    pub(super) async fn inspect_one(&self, server: &Server) -> Result<Inspected, StoreError> {
        let inspected = server.link.inspect(self.terms_later(), &self.knowledge);
        self.judge(server, inspected.await)
    }

    /// The terms of an inspection after the first one.
    pub(super) fn terms_later(&self) -> Terms {
        Terms {
            assume_no_history: false,
            ..self.terms
        }
    }

    /// Learns what an inspection has found.
    pub(super) fn judge(
        &self,
        server: &Server,
        inspected: Result<Inspected, StoreError>,
    ) -> Result<Inspected, StoreError> {
        let inspected = inspected.and_then(|found| self.check_clock(&found).map(|()| found));
        let inspected = inspected.inspect_err(|_| server.link.break_off())?;
        self.knowledge.learn(&server.link.key, inspected.clone());
        Ok(inspected)
    }

    /// Returns how many records there are, those of others in the same databases included.
    pub(super) async fn records(&self) -> Result<u64, StoreError> {
        let mut records = 0;
        for server in self.connected() {
            let answer = server.link.ask(&redis::cmd("DBSIZE")).await;
            let size: u64 = read(answer.map_err(Failure::into_error)?)?;
            records += size;
        }
        Ok(records)
    }

    /// One server for each slot that is asked for, so that the whole of a cluster answers.
    pub(super) async fn serve_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut slot = 0;
        while slot < SLOTS {
            self.server(slot).await?;
            let shards = self.shards();
            let has = |shard: &&Shard| (shard.slots.0..=shard.slots.1).contains(&slot);
            slot = shards.iter().find(has).ok_or_else(unexpected)?.slots.1 + 1;
        }
        Ok(())
    }
}

/// Keeps connections and namespaces at hand, until the store is dropped.
pub(super) async fn keep_up(store: Weak<Shared>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = store.upgrade() else {
            return;
        };
        if let Err(error) = shared.serve_all().await {
            let error = in_full(&error);
            tracing::warn!(error, "a Redis server cannot be used to remember nonces");
            sleep(PAUSE).await;
        }
        for (name, namespace) in shared.knowledge.namespaces() {
            // The next claim reads it again, and finds out.
            let _ = shared.read_namespace(&name, namespace.retention).await;
        }
    }
}

/// The way to the counts of keys that all processes share.
pub(super) struct Counts(pub(super) Weak<Shared>);

impl Exchange for Counts {
    const DATABASE: &'static str = "Redis";

    fn quota(&self) -> Option<Arc<Quota>> {
        let shared = self.0.upgrade()?;
        Some(Arc::clone(&shared.quota))
    }

    async fn tell(&mut self, report: Report) -> Result<(), StoreError> {
        match self.0.upgrade() {
            Some(shared) => shared.exchange(report).await,
            None => Ok(()),
        }
    }
}
