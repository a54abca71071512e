//! The file that `--keep` records to: a database of SQLite, for its owner alone.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use countersign::Timestamp;
use http::{HeaderName, HeaderValue, Request, Version, header::HOST};
use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};

use super::{
    record::Record,
    spelling::{Spelling, field, lines},
};
use crate::{exit::Failure, time::Arrived};

/// Pages of 4 KiB: a file that is left alone grows to 1 GiB, and no further.
const MAX_PAGES: u32 = 256 * 1024;

const MAX_BODY: i64 = 64 * 1024 * 1024;

/// "csgn": a file with another one is not ours.
const APPLICATION: i64 = 0x6373_676e;

const SCHEMA: &str = "
    CREATE TABLE read_this_first (warning TEXT NOT NULL);
    INSERT INTO read_this_first VALUES
        ('This file holds signed requests, which may still be good. Delete it after use.');
    CREATE TABLE requests (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        scheme TEXT NOT NULL,
        key_id TEXT,
        origin TEXT,
        forward TEXT,
        event_id TEXT,
        http TEXT NOT NULL,
        method TEXT NOT NULL,
        target TEXT NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        verdict TEXT NOT NULL,
        code TEXT,
        status INTEGER NOT NULL,
        upstream_status INTEGER,
        object TEXT NOT NULL
    );
    PRAGMA application_id = 1668507502;
";

/// How requests are verified and sent on here, which is kept with each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) scheme: String,
    pub(crate) key_id: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) forward: Option<String>,
}

/// Writes records.
#[derive(Debug)]
pub(crate) struct Keep {
    connection: SqliteConnection,
    path: PathBuf,
    setting: Setting,
}

impl Keep {
    /// Opens or makes the file, and answers with the first id that is free in it.
    pub(crate) async fn open(path: &Path, setting: Setting) -> Result<(Self, u64), Failure> {
        private(path).map_err(|error| {
            Failure::unable(
                format!("cannot keep requests in `{}`", path.display()),
                error.to_string(),
                "check the path, and that you own the file and may write to it",
            )
        })?;
        let opened = open(path).await;
        let (connection, first) = opened.map_err(|error| {
            unusable(path, &error, "name a file that --keep made, or a new one")
        })?;
        let keep = Self {
            connection,
            path: path.to_owned(),
            setting,
        };
        Ok((keep, first))
    }

    /// Records requests, all or none.
    pub(crate) async fn write(&mut self, records: &[&Record]) -> Result<(), Failure> {
        let written = insert(&mut self.connection, &self.setting, records).await;
        written.map_err(|error| {
            Failure::unable(
                format!("cannot keep requests in `{}` any more", self.path.display()),
                reason(&error),
                "requests are answered and printed as before; make room on the disk or in the \
                 file, which holds 1 GiB, and start `countersign listen` again",
            )
        })
    }

    pub(crate) async fn close(self) {
        // Everything that was committed is in the file already.
        let _ = self.connection.close().await;
    }
}

/// Makes the file for its owner alone, or takes the permissions of others away. A link is not
/// followed: in a folder of all users it can lead to another file.
#[cfg(unix)]
fn private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

    use rustix::{fs::OFlags, process::geteuid};

    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.uid() != geteuid().as_raw() {
                return Err(io::Error::other("it is not a file of yours"));
            }
            let mut permissions = metadata.permissions();
            if permissions.mode() & 0o077 != 0 {
                permissions.set_mode(0o600);
                file.set_permissions(permissions)?;
            }
            Ok(())
        }
        opened => opened.map(drop),
    }
}

/// Makes the file. Its folder says who may read it.
#[cfg(windows)]
fn private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map(drop)
}

async fn open(path: &Path) -> Result<(SqliteConnection, u64), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .pragma("max_page_count", MAX_PAGES.to_string());
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut connection)
        .await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master")
        .fetch_one(&mut connection)
        .await?;
    if tables == 0 {
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    } else if application != APPLICATION {
        return Err(sqlx::Error::Configuration(
            "it is a database of another program".into(),
        ));
    }
    let first: i64 = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM requests")
        .fetch_one(&mut connection)
        .await?;
    Ok((connection, u64::try_from(first).unwrap_or(1)))
}

async fn insert(
    connection: &mut SqliteConnection,
    setting: &Setting,
    records: &[&Record],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for record in records {
        let upstream = record.upstream.as_ref();
        let upstream = upstream.and_then(|upstream| upstream.answer.as_ref().ok());
        sqlx::query(
            "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(i64::try_from(record.id).unwrap_or(i64::MAX))
        .bind(i64::try_from(record.at.as_millis()).unwrap_or(i64::MAX))
        .bind(&setting.scheme)
        .bind(record.key_id().or(setting.key_id.as_deref()))
        .bind(&setting.origin)
        .bind(&setting.forward)
        .bind(record.event_id())
        .bind(format!("{:?}", record.request.version()))
        .bind(record.method())
        .bind(record.target())
        .bind(headers(&record.request))
        .bind(record.request.body().as_ref())
        .bind(record.verdict.word())
        .bind(record.verdict.code())
        .bind(i64::from(record.status.as_u16()))
        .bind(upstream.map(|status| i64::from(status.as_u16())))
        .bind(record.object().to_string())
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

/// The headers as lines, with the host that HTTP/2 has in the target.
fn headers(request: &Request<Bytes>) -> Vec<u8> {
    let lines = lines(request.headers(), request.extensions().get());
    match request.uri().authority() {
        Some(authority) if !request.headers().contains_key(HOST) => {
            [format!("host: {authority}\r\n").as_bytes(), &lines].concat()
        }
        _ => lines,
    }
}

/// A request of the file, and how it was verified.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) id: u64,
    pub(crate) request: Request<Bytes>,
    pub(crate) setting: Setting,
    /// The event id, if the request was verified and has one.
    pub(crate) event_id: Option<String>,
    pub(crate) verdict: String,
}

/// Returns whether the file is a database of SQLite.
pub(crate) fn is_database(path: &Path) -> bool {
    let mut magic = [0; 16];
    // A pipe would lose what is read of it here.
    let is_file = path.metadata().is_ok_and(|file| file.is_file());
    is_file
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok_and(|()| magic == *b"SQLite format 3\0")
}

/// Reads a record, or the only record.
pub(crate) async fn read(path: &Path, id: Option<u64>) -> Result<Kept, Failure> {
    if let Err(error) = path.metadata() {
        return Err(Failure::unable(
            format!("cannot read `{}`", path.display()),
            error.to_string(),
            "check the path, and that you may read the file",
        ));
    }
    match find(path, id).await {
        Ok(Found::One(kept)) => Ok(*kept),
        Ok(Found::Among { records, last }) => {
            let shown = path.display();
            let records = match records {
                1 => "1 request".to_owned(),
                n => format!("{n} requests"),
            };
            let (what, why) = match id {
                Some(id) => (
                    format!("`{shown}` has no request #{id}"),
                    format!("it has {records}, and the last is #{last}"),
                ),
                None => (
                    format!("`{shown}` has {records}"),
                    "one of them must be named, such as with --entry 1".to_owned(),
                ),
            };
            Err(Failure::usage(
                what,
                why,
                "`countersign listen --keep` prints the number of each request",
            ))
        }
        Err(error) => Err(unusable(
            path,
            &error,
            "name a file that `countersign listen --keep` recorded to",
        )),
    }
}

enum Found {
    One(Box<Kept>),
    Among { records: i64, last: i64 },
}

async fn find(path: &Path, id: Option<u64>) -> Result<Found, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(5));
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let (records, last): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(max(id), 0) FROM requests")
            .fetch_one(&mut connection)
            .await?;
    let id = match id {
        Some(id) => i64::try_from(id).unwrap_or(i64::MAX),
        None if records == 1 => last,
        None => return Ok(Found::Among { records, last }),
    };
    let row = sqlx::query("SELECT * FROM requests WHERE id = ? AND length(body) <= ?")
        .bind(id)
        .bind(MAX_BODY)
        .fetch_optional(&mut connection)
        .await?;
    match row {
        None => Ok(Found::Among { records, last }),
        Some(row) => Ok(Found::One(Box::new(kept(&row)?))),
    }
}

fn kept(row: &SqliteRow) -> Result<Kept, sqlx::Error> {
    let wrong = |error: &dyn std::error::Error| sqlx::Error::Decode(error.to_string().into());
    let mut request = Request::builder()
        .method(row.try_get::<&str, _>("method")?)
        .uri(row.try_get::<&str, _>("target")?)
        .version(match row.try_get("http")? {
            "HTTP/2.0" => Version::HTTP_2,
            "HTTP/1.0" => Version::HTTP_10,
            _ => Version::HTTP_11,
        });
    let lines: &[u8] = row.try_get("headers")?;
    request = request.extension(Spelling::of_lines(lines));
    for (name, value) in lines.split(|byte| *byte == b'\n').filter_map(field) {
        request = request.header(
            HeaderName::from_bytes(name).map_err(|error| wrong(&error))?,
            HeaderValue::from_bytes(value).map_err(|error| wrong(&error))?,
        );
    }
    let body: &[u8] = row.try_get("body")?;
    let at: i64 = row.try_get("at_ms")?;
    if let Some(at) = u64::try_from(at).ok().and_then(Timestamp::from_millis) {
        request = request.extension(Arrived(at));
    }
    Ok(Kept {
        id: u64::try_from(row.try_get::<i64, _>("id")?).unwrap_or_default(),
        request: request
            .body(Bytes::copy_from_slice(body))
            .map_err(|error| wrong(&error))?,
        setting: Setting {
            scheme: row.try_get("scheme")?,
            key_id: row.try_get("key_id")?,
            origin: row.try_get("origin")?,
            forward: row.try_get("forward")?,
        },
        event_id: row.try_get("event_id")?,
        verdict: row.try_get("verdict")?,
    })
}

fn unusable(path: &Path, error: &sqlx::Error, advice: &str) -> Failure {
    let (path, why) = (path.display(), reason(error));
    if about_the_disk(error) {
        return Failure::unable(
            format!("`{path}` cannot be read or written"),
            why,
            "make room on the disk, and check its folder",
        );
    }
    let what = format!("`{path}` is not a file of `countersign listen --keep`");
    Failure::usage(what, why, advice)
}

/// Says nothing about what the file holds: `SQLITE_IOERR`, `SQLITE_FULL` and `SQLITE_CANTOPEN`.
fn about_the_disk(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 10 | 13 | 14))
}

/// An error as SQLite words it.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Configuration(error) => error.to_string(),
        error => error.to_string(),
    }
}
