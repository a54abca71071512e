//! A server for one test, and a proxy between it and the store.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use countersign::store::PostgresStore;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{UnixListener, UnixStream},
};

use crate::common::database;

fn script(arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres.sh");
    let output = Command::new(path).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn options(folder: &Path) -> PgConnectOptions {
    let url = "postgres://postgres@localhost/postgres";
    PgConnectOptions::from_str(url).unwrap().socket(folder)
}

/// A server in a folder below one that everybody may enter, for PostgreSQL does not run as root.
pub struct Server {
    pub folder: PathBuf,
    _parent: TempDir,
    ends_with: &'static str,
}

impl Server {
    fn new(action: &str, of: Option<&Server>, ends_with: &'static str) -> Self {
        let parent = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            // A path to a socket has 107 bytes at most.
            .tempdir_in("/tmp")
            .unwrap();
        let folder = parent.path().join("s");
        let of = of.map(|server| server.folder.to_str().unwrap());
        let arguments: Vec<_> = [action, folder.to_str().unwrap()]
            .into_iter()
            .chain(of)
            .collect();
        script(&arguments);
        Self {
            folder,
            _parent: parent,
            ends_with,
        }
    }

    /// `None`, and a word about it, where there is no PostgreSQL.
    pub fn start(test: &str) -> Option<Self> {
        database::url(test)?;
        Some(Self::new("start", None, "stop"))
    }

    pub async fn migrated(test: &str) -> Option<Self> {
        let server = Self::start(test)?;
        let pool = server.pool().await;
        PostgresStore::migrate(&pool).await.unwrap();
        PostgresStore::danger_assume_no_history(&pool)
            .await
            .unwrap();
        pool.close().await;
        Some(server)
    }

    pub fn standby(&self) -> Self {
        Self::new("standby", Some(self), "stop")
    }

    pub fn bouncer(&self) -> Self {
        Self::new("bouncer", Some(self), "unbounce")
    }

    pub fn tell(&self, action: &str) {
        script(&[action, self.folder.to_str().unwrap()]);
    }

    pub fn tell_of(&self, action: &str, more: &[&str]) {
        let folder = self.folder.to_str().unwrap();
        script(&[&[action, folder], more].concat());
    }

    pub async fn pool(&self) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(4);
        pool.connect_with(options(&self.folder)).await.unwrap()
    }

    pub async fn run(&self, sql: &'static str) {
        let pool = self.pool().await;
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        let pool = self.pool().await;
        database::count(&pool, sql).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script(&[self.ends_with, self.folder.to_str().unwrap()]);
    }
}

pub async fn open(folder: &Path, wait: Duration) -> PostgresStore {
    let builder = PostgresStore::builder().timeout(wait);
    builder.open(options(folder)).await.unwrap()
}

/// A proxy on a socket of its own. It passes on all commands. If it is told to cut, it passes on
/// the command and ends the connection in place of the reply.
pub struct Proxy {
    folder: TempDir,
    pub cuts: Arc<AtomicBool>,
}

impl Proxy {
    pub fn before(server: &Server) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let cuts = Arc::new(AtomicBool::new(false));
        let (to, cutting) = (server.folder.join(".s.PGSQL.5432"), Arc::clone(&cuts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, to.clone(), Arc::clone(&cutting)));
            }
        });
        Self { folder, cuts }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

async fn pass_on(client: UnixStream, to: PathBuf, cuts: Arc<AtomicBool>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(to).await?.into_split();
    let commands = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut reply = [0; 8192];
    loop {
        let length = from_server.read(&mut reply).await?;
        // A reply that begins with `C` is that to BEGIN: the whole transaction was sent by then,
        // and is done before what is read here ends.
        if length == 0 || (cuts.load(SeqCst) && reply.first() == Some(&b'C')) {
            commands.abort();
            return Ok(());
        }
        to_client.write_all(reply.get(..length).unwrap()).await?;
    }
}
