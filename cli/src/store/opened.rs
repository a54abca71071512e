//! A store that a server of the command opens: in memory, in a file, in Redis or in PostgreSQL.

use std::{env, error::Error, fs::OpenOptions, io, sync::Arc, time::Duration};

use countersign::{
    MemoryStore,
    error::StoreError,
    store::{NonceStore, PostgresStore, RedisStore, SqliteStore},
};
use http::Uri;
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::timeout;

use crate::{exit::Failure, http_client::causes, printer::escaped};

pub(crate) const MEMORY: &str = "memory";

/// Before the name of the file in which a store in memory keeps how far it has come.
pub(crate) const WATERMARK: &str = "memory:";

/// Before the name of a file, which may be left out.
pub(crate) const FILE: &str = "sqlite:";

const REDIS: [&str; 3] = ["redis", "rediss", "unix"];
pub(super) const POSTGRES: [&str; 2] = ["postgres", "postgresql"];

const CONNECT: Duration = Duration::from_secs(5);

type Opened = Result<Store, Box<dyn Error + Send + Sync>>;

/// A store that is open.
#[derive(Clone)]
pub(crate) enum Store {
    Memory(Arc<MemoryStore>),
    File(Arc<SqliteStore>),
    Redis(Arc<RedisStore>),
    Postgres(Arc<PostgresStore>),
}

impl Store {
    pub(crate) fn nonces(&self) -> Arc<dyn NonceStore> {
        match self {
            Self::Memory(store) => Arc::clone(store) as _,
            Self::File(store) => Arc::clone(store) as _,
            Self::Redis(store) => Arc::clone(store) as _,
            Self::Postgres(store) => Arc::clone(store) as _,
        }
    }

    /// Returns whether the store can be used at this moment.
    #[cfg(unix)]
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::File(store) => store.check().await,
            Self::Redis(store) => store.check().await,
            Self::Postgres(store) => store.check().await,
        }
    }
}

/// Returns whether the text is the address of a server that stores.
#[cfg(unix)]
pub(crate) fn is_server(place: &str) -> bool {
    let scheme = place.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| REDIS.contains(&scheme) || POSTGRES.contains(&scheme))
}

/// Returns whether the text has a password, which other users could see on the command line.
pub(crate) fn shows_password(place: &str) -> bool {
    if place.contains("?password=") || place.contains("&password=") {
        return true;
    }
    let address = place.split_once("://").map(|(_, address)| address);
    let authority = address.and_then(|address| address.split('/').next());
    let user = authority.and_then(|authority| authority.rsplit_once('@'));
    user.is_some_and(|(user, _)| user.contains(':'))
}

/// Whether a store vouches for what was signed before its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Such requests are accepted: other servers accepted requests then, and nothing acts on a
    /// request that this server accepts.
    Accepted,
    /// Such requests are refused, because they may have been accepted.
    Refused,
}

/// Opens the store that this text names.
pub(crate) async fn open(place: &str, before: Before) -> Result<Store, Failure> {
    let scheme = place.split_once("://").map(|(scheme, _)| scheme);
    let (opened, advice) = match scheme {
        None if place == MEMORY => (in_memory(None, before), ""),
        None => match place.strip_prefix(WATERMARK) {
            Some(file) => (
                in_memory(Some(file), before),
                "name a file in a folder that you may write to, and one for each process",
            ),
            None => (
                in_file(place.strip_prefix(FILE).unwrap_or(place), before).await,
                "name a file of a store, or one that is not there yet, in a folder that you may \
                 write to",
            ),
        },
        Some(scheme) if REDIS.contains(&scheme) => (
            in_redis(place, before).await,
            "check the address, and that Redis answers there: `redis-cli -u URL ping`",
        ),
        Some(scheme) if POSTGRES.contains(&scheme) => (
            in_postgres(place, before).await,
            "check the address, and that the user may make tables there: `psql URL`",
        ),
        Some(other) => {
            return Err(Failure::usage(
                format!("`{other}://` is not a store"),
                "the command has four of them",
                "write memory, the name of a file, redis://HOST or postgres://USER@HOST/DATABASE",
            ));
        }
    };
    opened.map_err(|error| {
        let shown = without_password(place);
        Failure::unable(
            format!("cannot open the store `{shown}`"),
            causes(&*error),
            advice,
        )
    })
}

/// Reads the text that names a store from a variable of the environment.
pub(crate) fn from_env(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|error| {
        Failure::usage(
            format!(
                "the environment variable `{}` cannot be read",
                escaped(name)
            ),
            error.to_string(),
            "set it to a store, such as redis://HOST or postgres://USER@HOST/DATABASE",
        )
    })
}

/// A store that gave no answer.
pub(crate) fn unable(place: &str, error: &StoreError) -> Failure {
    Failure::unable(
        format!("the store `{}` gives no answer", without_password(place)),
        causes(error),
        "check that it can be reached, and that `countersign store migrate` was run",
    )
}

fn in_memory(watermark: Option<&str>, before: Before) -> Opened {
    let mut store = MemoryStore::builder();
    if before == Before::Accepted {
        // Nothing acts on what is accepted here.
        store = store.danger_assume_no_history();
    }
    if let Some(file) = watermark {
        store = store.high_watermark(file);
    }
    Ok(Store::Memory(Arc::new(store.build()?)))
}

async fn in_file(path: &str, before: Before) -> Opened {
    keep_to_owner(path)?;
    let mut store = SqliteStore::builder();
    if before == Before::Accepted {
        // Nothing acts on what is accepted here.
        store = store.danger_assume_no_history();
    }
    Ok(Store::File(Arc::new(store.open(path).await?)))
}

/// Makes a file that is not there yet, for its owner alone; SQLite gives its other files the same mode.
fn keep_to_owner(path: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

async fn in_redis(url: &str, before: Before) -> Opened {
    let mut store = RedisStore::builder();
    if before == Before::Accepted {
        // Nothing acts on what is accepted here.
        store = store.danger_assume_no_history();
    }
    Ok(Store::Redis(Arc::new(store.open(url).await?)))
}

/// Connects once: a pool would try again until it is late, and not say why.
pub(super) async fn connected(
    options: &PgConnectOptions,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let connecting = timeout(CONNECT, PgConnection::connect_with(options));
    let late = |_| {
        format!(
            "there was no connection within {} seconds",
            CONNECT.as_secs()
        )
    };
    connecting.await.map_err(late)??.close().await?;
    Ok(())
}

async fn in_postgres(url: &str, before: Before) -> Opened {
    let options: PgConnectOptions = url.parse()?;
    connected(&options).await?;
    let pool = PgPool::connect_with(options.clone()).await?;
    PostgresStore::migrate(&pool).await?;
    if before == Before::Accepted {
        // Nothing acts on what is accepted here.
        PostgresStore::danger_assume_no_history(&pool).await?;
    }
    pool.close().await;
    Ok(Store::Postgres(Arc::new(
        PostgresStore::open(options).await?,
    )))
}

/// The place as a message may show it.
pub(super) fn without_password(place: &str) -> String {
    let Some((scheme, _)) = place.split_once("://") else {
        return place.to_owned();
    };
    let url = place.parse::<Uri>().ok();
    let authority = url.as_ref().and_then(Uri::authority);
    let host = authority.map_or("…", |authority| {
        let authority = authority.as_str();
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    });
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_shows_a_password() {
        for (place, shows, shown) in [
            ("used.db", false, "used.db"),
            ("a:b@c.db", false, "a:b@c.db"),
            ("redis://host:6379/0", false, "redis://host:6379"),
            ("redis://:pass@host/0", true, "redis://host"),
            ("postgres://me@host/a:b@c", false, "postgres://host"),
            (
                "postgres://me:p@ss@host/db?host=/tmp",
                true,
                "postgres://host",
            ),
            ("postgres:///db?host=/tmp", false, "postgres://…"),
            ("postgres://host/db?password=p", true, "postgres://host"),
        ] {
            assert_eq!(shows_password(place), shows, "{place}");
            assert_eq!(without_password(place), shown, "{place}");
        }
    }
}
