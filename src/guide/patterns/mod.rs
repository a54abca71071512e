//! Mistakes that a valid signature leaves open, and handlers without them: a page for each mistake,
//! for people who come from Django, FastAPI or Axum.
//!
//! A signature proves that a request is genuine. It proves nothing about the row, file or token that
//! the handler finds: another request may change it between the handler's check and its change. Each
//! page has the fault in a few lines of Python, the answer in Axum and in Django, its cost and its
//! limits.
//!
//! The code at the end of each page is the file that the page's test runs, with 32 clients at once,
//! on PostgreSQL and on SQLite. Beside it the test runs a handler with the fault, which doubles or
//! loses an effect in every run. The code needs the crates `axum`, `http`, `serde` with `derive`,
//! `serde_json`, `sqlx`, and `countersign` with the feature `postgres` or `sqlite`.
//!
//! `PostgresStore::migrate` or `SqliteStore::migrate` creates the tables of the nonces in the
//! handler's database. `Pool` is `sqlx::PgPool` or `sqlx::SqlitePool`. `locked!("…")` is the
//! statement with ` FOR UPDATE` on PostgreSQL, and the statement alone on SQLite. `Failure` is
//! this:
#![doc = concat!("```\n# fn main() {}\n# #[cfg(all(feature = \"axum\", feature = \"sqlite\"))]\n\
                  # mod failure {\n", include_str!("failure.rs"), "# }\n```")]

#[doc = include_str!("row_and_version.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("row_and_version.rs"), "# }}\n```")]
///
/// ## The code, if the version is signed and not sent
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("row_and_version_supplied.rs"), "# }}\n```")]
pub mod row_and_version {}

#[doc = include_str!("swapped_identifier.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("swapped_identifier.rs"), "# }}\n```")]
pub mod swapped_identifier {}

#[doc = include_str!("permission_and_delete.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("permission_and_delete.rs"), "# }}\n```")]
pub mod permission_and_delete {}

#[doc = include_str!("status_change.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("status_change.rs"), "# }}\n```")]
pub mod status_change {}

#[doc = include_str!("counter.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("counter.rs"), "# }}\n```")]
pub mod counter {}

#[doc = include_str!("one_time_token.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("one_time_token.rs"), "# }}\n```")]
pub mod one_time_token {}

#[cfg(feature = "fs")]
#[doc = include_str!("file.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("file.rs"), "# }}\n```")]
pub mod file {}

#[doc = include_str!("background_job.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("background_job.rs"), "# }}\n```")]
pub mod background_job {}

#[doc = include_str!("cache.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("cache.rs"), "# }}\n```")]
pub mod cache {}

#[doc = include_str!("idempotency_key.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("idempotency_key.rs"), "# }}\n```")]
pub mod idempotency_key {}

#[doc = include_str!("what_a_middleware_cannot_do.md")]
#[doc = concat!("```\n", include_str!("doctest.txt"), include_str!("what_a_middleware_cannot_do.rs"), "# }}\n```")]
pub mod what_a_middleware_cannot_do {}
