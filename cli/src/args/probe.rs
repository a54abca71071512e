//! The command line of `countersign probe`.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, ValueHint};
use http::Method;

use super::shared::{SchemeArgs, SecretArgs, method, seconds};
use crate::page::page;

const EFFECTS: &str = "Effects";
const SAFETY: &str = "Safety";
const REPORTS: &str = "Reports";
const OPENAPI: &str = "OpenAPI";

/// Test whether a running endpoint acts twice, or on unsigned input
///
/// Sends real requests with real effects: signed, repeated, simultaneous, altered, stale and
/// unsigned. With the defaults, an endpoint gets about 400 requests in a few seconds.
/// --max-requests and --max-time bound them, and --wait adds minutes. Ctrl-C ends the probe with
/// what it has found.
///
/// The endpoint can be in any language. In data, headers and URL, {uuid}, {now} and a number (the
/// letter n in braces) get a new value for each request.
///
/// With --effect, the probe reads a state before and after, and its findings are proven. Without
/// --effect it sees only answers, and its findings are suspicions.
#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  countersign probe stripe --secret-file stripe.secret --data '{\"id\":\"evt_{uuid}\"}' \\
      --effect 'GET http://127.0.0.1:8000/orders/count' POST http://127.0.0.1:8000/stripe
  countersign probe house.toml --secret-env SECRET --data '{\"order\":\"{uuid}\",\"amount\":10}' \\
      --effect 'GET http://127.0.0.1:8000/orders/{uuid}' --effect-json /payments \\
      --html report.html --sarif report.sarif POST http://127.0.0.1:8000/pay")]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    pub(crate) scheme: SchemeArgs,

    #[command(flatten)]
    pub(crate) secret: SecretArgs,

    /// The method, such as POST
    #[arg(value_name = "METHOD", value_parser = method, required_unless_present = "openapi")]
    pub(crate) method: Option<Method>,

    /// The URL that the requests go to
    #[arg(value_name = "URL", value_hint = ValueHint::Url, required_unless_present = "openapi")]
    pub(crate) url: Option<String>,

    /// A header of the request, such as 'content-type: application/json'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,

    /// The body, exactly as written here, even if it begins with `@`
    #[arg(long, value_name = "TEXT", conflicts_with = "data_file")]
    pub(crate) data: Option<String>,

    /// The file that holds the body; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) data_file: Option<PathBuf>,

    /// The URL at which clients reach the service, if it differs from URL
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) origin: Option<String>,

    /// The age that the endpoint allows a request, in seconds. The edges of this window are tested
    /// only if it is given
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_age: Option<Duration>,

    /// How many copies are sent at the same moment
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub(crate) copies: u16,

    /// How many times the copies are sent
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) rounds: u16,

    /// How many other requests are sent before a request is repeated, to find a store that forgets
    /// old requests
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(crate) others: u16,

    /// Speak HTTP/2, also without TLS
    #[arg(long)]
    pub(crate) http2: bool,

    #[arg(long, value_name = "ID", conflicts_with = "skip", help = concat!(
        "Run only this check, such as race; may be repeated. Each report lists the checks, which are \
         described at ",
        page!("checks.md")
    ))]
    pub(crate) check: Vec<String>,

    /// Skip this check; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) skip: Vec<String>,

    /// Also run the checks that take minutes: whether the store remembers for the whole window, and
    /// slow bodies
    #[arg(long)]
    pub(crate) wait: bool,

    /// Repeat the order and the choices of a run [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Repeat the identifiers of a run [default: random]
    #[arg(long, value_name = "ID")]
    pub(crate) run_id: Option<String>,

    /// An OpenAPI document, 3.0 or 3.1, in JSON or YAML: a file or a URL. Its operations are
    /// probed, with its example bodies and parameters
    #[arg(long, help_heading = OPENAPI, value_name = "FILE|URL", conflicts_with_all = ["method", "url", "data", "data_file", "origin"])]
    pub(crate) openapi: Option<String>,

    /// Probe the operation with this `operationId`; may be repeated [default: all]
    #[arg(long, help_heading = OPENAPI, value_name = "ID", requires = "openapi", conflicts_with = "method")]
    pub(crate) operation: Vec<String>,

    /// Probe the operations at this path, as the document writes it; may be repeated [default: all]
    #[arg(long, help_heading = OPENAPI, value_name = "PATH", requires = "openapi", conflicts_with = "method")]
    pub(crate) path: Vec<String>,

    /// Where the operations are served [default: the document's first server]
    #[arg(long, help_heading = OPENAPI, value_name = "URL", value_hint = ValueHint::Url, requires = "openapi", conflicts_with = "method")]
    pub(crate) server: Option<String>,

    /// Also probe operations that are not GET, HEAD or OPTIONS [default: reports list them as left
    /// out]
    #[arg(long, help_heading = OPENAPI, requires = "openapi", conflicts_with = "method")]
    pub(crate) allow_writes: bool,

    /// A request whose answer shows the state, such as 'GET http://127.0.0.1:8000/count'. With
    /// {uuid} or the number of the request, it shows the state of one event. The probe first sends
    /// two valid requests, to learn what one request changes, and after how long
    #[arg(long, help_heading = EFFECTS, value_name = "METHOD URL")]
    pub(crate) effect: Option<String>,

    /// Where in the JSON of that answer the state is: a number, or a list that is counted
    #[arg(long, help_heading = EFFECTS, value_name = "POINTER", requires = "effect")]
    pub(crate) effect_json: Option<String>,

    /// A regular expression that finds the state in that answer: its first group, or how often it
    /// matches
    #[arg(long, help_heading = EFFECTS, value_name = "REGEX", requires = "effect", conflicts_with = "effect_json")]
    pub(crate) effect_regex: Option<String>,

    /// A header of that request; may be repeated
    #[arg(long, help_heading = EFFECTS, value_name = "NAME: VALUE", requires = "effect")]
    pub(crate) effect_header: Vec<String>,

    /// How to recognise an accepted answer: `status:200,202`, `header:NAME: VALUE` or
    /// `body:TEXT`; may be repeated [default: 2xx that is not marked as a duplicate]
    #[arg(long, help_heading = EFFECTS, value_name = "CONDITION")]
    pub(crate) accepted_if: Vec<String>,

    /// Where an accepted answer names the object that was created [default: /id, or `Location`]
    #[arg(long, help_heading = EFFECTS, value_name = "POINTER")]
    pub(crate) id_json: Option<String>,

    /// A host other than this machine that may be tested, exactly as the URL names it; may be
    /// repeated
    #[arg(long, help_heading = SAFETY, value_name = "HOST")]
    pub(crate) i_am_allowed_to_test: Vec<String>,

    /// The most requests in a second; each simultaneous copy counts
    #[arg(long, help_heading = SAFETY, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// The most requests in all; readings of --effect count
    #[arg(long, help_heading = SAFETY, value_name = "N", default_value_t = 5000)]
    pub(crate) max_requests: u32,

    /// The longest time for the whole probe, in seconds
    #[arg(long, help_heading = SAFETY, value_name = "SECONDS", value_parser = bounded, default_value = "900")]
    pub(crate) max_time: Duration,

    /// The longest wait for an answer, in seconds. A slow body is sent for three times as long
    #[arg(long, help_heading = SAFETY, value_name = "SECONDS", value_parser = bounded, default_value = "10")]
    pub(crate) timeout: Duration,

    /// The lowest severity of a finding that makes the exit code 1
    #[arg(long, help_heading = REPORTS, value_name = "SEVERITY", default_value = "low")]
    pub(crate) fail_on: Severity,

    /// Write a SARIF 2.1.0 report
    #[arg(long, help_heading = REPORTS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sarif: Option<PathBuf>,

    /// Write a JUnit report
    #[arg(long, help_heading = REPORTS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// Write a report for people: one page of HTML, to read and to print
    #[arg(long, help_heading = REPORTS, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
}

/// Whole seconds, up to a month: a moment so far ahead can be told.
fn bounded(text: &str) -> Result<Duration, String> {
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    match seconds(text)? {
        longer if longer > month => Err(format!("it is longer than {} s", month.as_secs())),
        seconds => Ok(seconds),
    }
}

/// How severe a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
