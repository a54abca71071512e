//! A store that exists already, for the commands that inspect it.

use std::{path::Path, sync::Arc};

use countersign::{
    KeyId, MemoryStore, Timestamp,
    error::StoreError,
    store::{Claim, PostgresStore, Recorded, RedisStore, SqliteStore, StoreStatus},
};
use sqlx::postgres::PgConnectOptions;

use super::opened::{
    Before, FILE, MEMORY, POSTGRES, Store, WATERMARK, connected, open, unable, without_password,
};
use crate::{exit::Failure, http_client::causes, printer::escaped};

/// A store that exists already. No store is created.
pub(crate) enum Kept {
    /// The status in the file of a store in memory.
    Watermark(StoreStatus),
    File(Arc<SqliteStore>),
    Redis(Arc<RedisStore>),
    Postgres(Box<PostgresStore>),
}

/// Opens the store that this text names. Tables are not made; whatever a start of a server records of
/// the store itself is recorded.
pub(crate) async fn open_kept(place: &str) -> Result<Kept, Failure> {
    let refused = |why: &dyn std::fmt::Display, advice: &str| {
        let shown = without_password(place);
        Failure::unable(
            format!("cannot open the store `{shown}`"),
            why.to_string(),
            advice,
        )
    };
    if place == MEMORY {
        return Err(Failure::usage(
            "a store in memory cannot be looked at",
            "its records are in the memory of its process alone",
            "restart that process, which forgets them, and refuses what was signed before",
        ));
    }
    if let Some(file) = place.strip_prefix(WATERMARK) {
        let status = MemoryStore::status_of_high_watermark(file);
        return status.map(Kept::Watermark).map_err(|error| {
            refused(&error, "name the file of a store in memory that was in use")
        });
    }
    let scheme = place.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| POSTGRES.contains(&scheme)) {
        let opened = async {
            let options: PgConnectOptions = place.parse()?;
            connected(&options).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(PostgresStore::open(options).await?)
        };
        return opened
            .await
            .map(|store| Kept::Postgres(Box::new(store)))
            .map_err(|error| {
                refused(
                    &causes(&*error),
                    "check the address; `countersign store migrate` makes the tables",
                )
            });
    }
    if scheme.is_none() && !Path::new(place.strip_prefix(FILE).unwrap_or(place)).is_file() {
        return Err(refused(
            &"there is no such file",
            "check the path; `countersign store migrate` makes a store",
        ));
    }
    Ok(match open(place, Before::Refused).await? {
        Store::File(store) => Kept::File(store),
        Store::Redis(store) => Kept::Redis(store),
        // The texts that name them were looked at.
        Store::Memory(_) | Store::Postgres(_) => {
            return Err(refused(&"it is of another kind", "check the text"));
        }
    })
}

/// Returns up to which signed time the store refuses every request, if there is such a time.
pub(crate) async fn refuses_up_to(place: &str) -> Result<Option<Timestamp>, Failure> {
    if place == MEMORY {
        return Ok(None);
    }
    let status = open_kept(place).await?.status().await;
    let status = status.map_err(|error| unable(place, &error))?;
    Ok(status.since.max(status.accepted_up_to))
}

/// The answer of a store.
type Answered<T> = Result<T, StoreError>;

/// The record of a store, or its former record, as far as it is known.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recorded: Recorded,
    /// Why not all of it is known.
    pub(crate) error: Option<StoreError>,
}

impl From<Answered<Recorded>> for Found {
    fn from(answered: Answered<Recorded>) -> Self {
        let (recorded, error) = match answered {
            Ok(recorded) => (recorded, None),
            Err(error) => (Recorded::default(), Some(error)),
        };
        Self { recorded, error }
    }
}

impl Kept {
    pub(crate) async fn status(&self) -> Answered<StoreStatus> {
        match self {
            Self::Watermark(status) => Ok(status.clone()),
            Self::File(store) => store.status().await,
            Self::Redis(store) => store.status().await,
            Self::Postgres(store) => store.status().await,
        }
    }

    /// Looks at all records of a key, or forgets them.
    ///
    /// # Errors
    /// Returns a failure if the records of the store do not show their key, or if the store has several
    /// namespaces and none is named: the key of each may be another sender's.
    pub(crate) async fn of_key(
        &self,
        namespace: Option<&str>,
        key: &KeyId,
        forgets: bool,
    ) -> Result<Found, Failure> {
        match self {
            Self::Watermark(_) => Err(holds_no_record()),
            Self::Redis(_) | Self::Postgres(_) => Err(Failure::usage(
                "the store cannot tell which records are those of a key",
                "its records have digests for names, which do not show the key",
                "name the message too, with --namespace and --nonce, --event or --digest",
            )),
            Self::File(store) => {
                if namespace.is_none() {
                    match store.status().await {
                        Ok(status) => one_namespace(&status)?,
                        Err(error) => return Ok(Err(error).into()),
                    }
                }
                let answered = match forgets {
                    // The operator asked for it, and said that the request is accepted again.
                    true => store.danger_forget_key(namespace, key).await,
                    false => store.recorded_of_key(namespace, key).await,
                };
                Ok(answered.into())
            }
        }
    }

    /// Looks at the records of one message, or forgets them. The claims are the message at the places
    /// that it may have arrived at.
    ///
    /// # Errors
    /// Returns a failure if the store holds no record.
    pub(crate) async fn of_message(
        &self,
        claims: &[Claim],
        forgets: bool,
    ) -> Result<Found, Failure> {
        let Some(claim) = claims.first() else {
            return Ok(Ok(Recorded::default()).into());
        };
        // A table has the places of a message side by side.
        let answered = match self {
            Self::Watermark(_) => return Err(holds_no_record()),
            // The operator asked for it, and said that the request is accepted again.
            Self::File(store) if forgets => store.danger_forget(claim).await,
            Self::File(store) => store.recorded(claim).await,
            // The operator asked for it here too.
            Self::Postgres(store) if forgets => store.danger_forget(claim).await,
            Self::Postgres(store) => store.recorded(claim).await,
            Self::Redis(store) => return Ok(in_redis(store, claims, forgets).await),
        };
        Ok(answered.into())
    }
}

/// Each place of a message is a record of its own, up to one that gives no answer.
async fn in_redis(store: &RedisStore, claims: &[Claim], forgets: bool) -> Found {
    let mut all = Recorded::default();
    for claim in claims {
        let one = match forgets {
            // The operator asked for it, as for the other stores.
            true => store.danger_forget(claim).await,
            false => store.recorded(claim).await,
        };
        match one {
            Ok(one) => {
                all.records += one.records;
                all.in_flight += one.in_flight;
                all.until = all.until.max(one.until);
            }
            Err(error) => {
                return Found {
                    recorded: all,
                    error: Some(error),
                };
            }
        }
    }
    Ok(all).into()
}

/// How many names of namespaces a message has.
const MAX_NAMES: usize = 8;

fn one_namespace(status: &StoreStatus) -> Result<(), Failure> {
    if status.namespaces.len() < 2 {
        return Ok(());
    }
    let names = status.namespaces.iter().take(MAX_NAMES);
    let names: Vec<_> = names.map(|namespace| escaped(&namespace.name)).collect();
    let more = match status.namespaces.len() > MAX_NAMES {
        true => " and more",
        false => "",
    };
    Err(Failure::usage(
        "the store has several namespaces",
        format!(
            "the key may be another sender's in each of them: {}{more}",
            names.join(", ")
        ),
        "name one with --namespace",
    ))
}

fn holds_no_record() -> Failure {
    Failure::usage(
        "the file of a store in memory holds no record",
        "records are in the memory of the process alone",
        "restart that process, which forgets them, and refuses what was signed before",
    )
}
