//! `countersign probe`: whether a running endpoint acts twice, or on what was not signed.

use std::{
    cell::Cell,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use regex_lite::Regex;

use crate::{
    args::{ProbeArgs, method},
    exit::{Exit, Failure},
    nearest::nearest,
    printer::Printer,
    probe::{
        Acceptance, Budget, CHECKS, Check, Effect, Lab, Oracle, Reading, Refused, Report, Run,
        Sites, Source, Stop, Subject, Template, VALID, Wire, headers, html, json, junit,
        not_accepted, parsed, reproduce, sarif, targets, text,
    },
    runtime::block_on,
    scheme::{self, Chosen},
    secret::{self, SecretText},
    serving::Ending,
};

/// The longest that a slow body is sent for.
const SLOWEST: Duration = Duration::from_secs(240);

pub(super) fn run(args: &ProbeArgs, printer: &Printer) -> Result<Exit, Failure> {
    let ids = || CHECKS.iter().map(|check| check.id);
    for id in args.check.iter().chain(&args.skip) {
        if !ids().any(|known| known == id) {
            let near = nearest(id, ids()).map(|near| format!("did you mean `{near}`? "));
            let all: Vec<&str> = ids().collect();
            return Err(Failure::usage(
                format!("there is no check `{id}`"),
                "a check is named by its id",
                format!(
                    "{}the checks are {}",
                    near.unwrap_or_default(),
                    all.join(", ")
                ),
            ));
        }
    }
    block_on(probe(args, printer))?
}

async fn probe(args: &ProbeArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut sites = Sites::new(&args.i_am_allowed_to_test);
    let chosen = scheme::resolve(&args.scheme.scheme)?.supplying_nothing("probe")?;
    let secrets = secret::read(&args.secret, printer)?.into();
    let (run_id, seed) = (run_id(args)?, seed(args)?);
    let (targets, left_out) = targets(args, &mut sites).await?;
    let mut probing = Probing {
        args,
        printer,
        chosen,
        secrets,
        left_out,
        effect: effect(args, &mut sites).await?,
        acceptance: Acceptance::parse(&args.accepted_if)?,
        budget: Budget::new(args.max_requests, args.max_time, args.rate),
        ending: Ending::new()
            .map_err(|error| Failure::unable("cannot wait for Ctrl-C", error.to_string(), ""))?,
    };
    let (mut reports, mut is_refused, mut failed) = (Vec::new(), false, None);
    for (at, target) in targets.into_iter().enumerate() {
        // Two targets have no identifier in common.
        let run_id = match at {
            0 => run_id.clone(),
            at => format!("{run_id}.{at}"),
        };
        let subject = probing.subject(target.template, Source::new(run_id, seed));
        let mut report = Report::of(&subject, args.copies, oracle_shown(args));
        let probed = probing.probe(subject, &target.wire, &mut report).await;
        // The reports of other targets are kept.
        if let Some(failure) = failed.take() {
            printer.failure(&failure);
        }
        match probed {
            Ok(refused) => is_refused |= refused,
            Err(failure) => {
                report.ended = Some(format!("{}: {}", failure.what, failure.why));
                failed = Some(failure);
            }
        }
        reports.push(report);
        if reports.iter().any(|report| report.is_interrupted) {
            break;
        }
    }
    write_reports(args, &reports)?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let findings = reports.iter().flat_map(|report| &report.findings);
    let worst = findings.map(|finding| finding.check.severity).max();
    let is_found = is_refused || worst.is_some_and(|worst| worst >= args.fail_on);
    let has_ended = reports.iter().any(|report| report.ended.is_some());
    Ok(match (is_found, has_ended) {
        (true, _) => Exit::Found,
        (false, true) => Exit::Unable,
        (false, false) => Exit::Done,
    })
}

/// The settings that the probes of all targets share.
struct Probing<'p> {
    args: &'p ProbeArgs,
    printer: &'p Printer,
    chosen: Chosen,
    secrets: Arc<[SecretText]>,
    /// Notes of the operations that are not probed.
    left_out: Vec<String>,
    effect: Option<Effect>,
    acceptance: Acceptance,
    budget: Budget,
    ending: Ending,
}

impl Probing<'_> {
    /// Returns what is sent to one target.
    fn subject(&self, template: Template, events: Source) -> Subject {
        Subject {
            chosen: self.chosen.clone(),
            key_id: self.args.scheme.key_id.clone(),
            secrets: Arc::clone(&self.secrets),
            template,
            max_age: self.args.max_age,
            events,
        }
    }

    /// Probes one target: a valid request first, and then each check. Returns whether the
    /// endpoint refused the valid request.
    async fn probe(
        &mut self,
        subject: Subject,
        wire: &Wire,
        report: &mut Report,
    ) -> Result<bool, Failure> {
        let (args, printer) = (self.args, self.printer);
        let reproduce = reproduce(std::env::args().collect(), subject.events.seed);
        let fresh = subject.fresh()?;
        let covered = subject.covered(&fresh).await?;
        printer.warn(&format!(
            "the probe sends real requests with real effects to {} ({}), at most {} in {} s; Ctrl-C \
             ends it",
            wire.site.base,
            wire.site.address,
            args.max_requests,
            args.max_time.as_secs()
        ));
        let lab = Lab {
            subject,
            covered,
            copies: args.copies,
            others: args.others,
            patience: (3 * args.timeout).min(SLOWEST),
            apart: Cell::new(0),
        };
        let mut run = Run {
            lab: &lab,
            wire,
            oracle: Oracle {
                effect: self.effect.clone(),
                unit: None,
                settle: Duration::ZERO,
                is_late: false,
                acceptance: self.acceptance.clone(),
                id_json: args.id_json.clone(),
            },
            budget: &mut self.budget,
            rounds: args.rounds,
            waits: args.wait,
            reproduce,
            unanswered: 0,
        };
        report.notes.clone_from(&self.left_out);
        let refused = probed(args, &mut run, report, &mut self.ending, printer).await?;
        if let Some(refused) = &refused {
            report.ended = Some(not_accepted(refused, &lab, printer));
        }
        match report.checks.is_empty() {
            true => text::notes(report, printer),
            false => text::print(report, printer),
        }
        printer.object(&json::object(report));
        Ok(refused.is_some_and(|refused| refused.sent.answer.is_ok()))
    }
}

/// A valid request first, and then each check, until all is done or the probe must end; the valid
/// request, if it was not accepted.
async fn probed(
    args: &ProbeArgs,
    run: &mut Run<'_>,
    report: &mut Report,
    ending: &mut Ending,
    printer: &Printer,
) -> Result<Option<Box<Refused>>, Failure> {
    let before = run.budget.sent;
    let started = Instant::now();
    let bar = ProgressBar::with_draw_target(
        u64::try_from(CHECKS.len()).ok(),
        ProgressDrawTarget::stderr(),
    );
    if printer.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let progress = |at: usize, id: &str| {
        bar.set_position(u64::try_from(at).unwrap_or_default());
        bar.set_message(id.to_owned());
    };
    progress(0, VALID);
    let is_wanted = |check: &Check| {
        let is_named = args.check.is_empty() || args.check.iter().any(|id| id == check.id);
        is_named && !args.skip.iter().any(|id| id == check.id)
    };
    let ends = run.budget.ends;
    let probing = async {
        match run.begin().await? {
            Ok(()) => run
                .checks(&is_wanted, report, &progress)
                .await
                .map(|()| None),
            Err(refused) => Ok(Some(refused)),
        }
    };
    let ended = tokio::select! {
        ended = probing => ended,
        () = ending.asked() => Err(Stop::Asked),
        () = tokio::time::sleep_until(ends.into()) => Err(Stop::Time),
    };
    bar.finish_and_clear();
    report.requests = run.budget.sent - before;
    report.took = started.elapsed();
    let has_begun = !report.checks.is_empty();
    let refused = match ended {
        Ok(refused) => refused,
        Err(stop) if !has_begun && stop != Stop::Asked => {
            return Err(Failure::unable(
                format!("the probe cannot begin ({VALID})"),
                stop.shown(),
                "check the URL, and that --effect reads a state that a valid request changes",
            ));
        }
        Err(stop) => {
            report.is_interrupted = stop == Stop::Asked;
            report.ended = Some(stop.shown());
            report.note_rest(&is_wanted);
            None
        }
    };
    if has_begun {
        report.notes.extend(run.oracle.notes());
    }
    if report.has_tried("time-stale") {
        report.notes.extend(run.lab.note());
    }
    report
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.check.severity));
    Ok(refused)
}

/// Writes the reports that go to files.
fn write_reports(args: &ProbeArgs, reports: &[Report]) -> Result<(), Failure> {
    let write = |path: &Option<PathBuf>, text: &dyn Fn() -> Result<String, String>| {
        let Some(path) = path else {
            return Ok(());
        };
        let written =
            text().and_then(|text| fs::write(path, text).map_err(|error| error.to_string()));
        written.map_err(|why| {
            let what = format!("cannot write the report `{}`", path.display());
            Failure::unable(what, why, "check the path, and that you may write there")
        })
    };
    write(&args.sarif, &|| {
        serde_json::to_string_pretty(&sarif::log(reports)).map_err(|error| error.to_string())
    })?;
    write(&args.junit, &|| junit::document(reports, args.fail_on))?;
    write(&args.html, &|| Ok(html::page(reports)))
}

fn random(option: &str) -> Result<u64, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| {
        let what = format!("cannot make {option}");
        Failure::unable(what, error.to_string(), format!("give {option}"))
    })?;
    Ok(u64::from_be_bytes(random))
}

fn seed(args: &ProbeArgs) -> Result<u64, Failure> {
    match args.seed {
        Some(seed) => Ok(seed),
        None => Ok(random("--seed")? % 1_000_000),
    }
}

fn run_id(args: &ProbeArgs) -> Result<String, Failure> {
    match &args.run_id {
        Some(run) => Ok(run.clone()),
        None => Ok(format!("{:016x}", random("--run-id")?)),
    }
}

async fn effect(args: &ProbeArgs, sites: &mut Sites) -> Result<Option<Effect>, Failure> {
    let Some(text) = &args.effect else {
        return Ok(None);
    };
    let (of, url) = text.split_once(' ').unwrap_or(("GET", text));
    let sample = Source::new(String::new(), 0).event();
    let site = sites
        .site(&parsed(&sample.fill(url, 0))?, args.timeout)
        .await?;
    let reading = match (&args.effect_json, &args.effect_regex) {
        (Some(pointer), _) if pointer.is_empty() || pointer.starts_with('/') => {
            Reading::Json(pointer.clone())
        }
        (Some(pointer), _) => {
            return Err(Failure::usage(
                format!("`{pointer}` is not a JSON pointer"),
                "a pointer begins with a slash",
                format!("write it as --effect-json /{pointer}"),
            ));
        }
        (None, Some(regex)) => Reading::Regex(Regex::new(regex).map_err(|error| {
            Failure::usage(
                "--effect-regex is not a regular expression",
                error.to_string(),
                "write it as --effect-regex '\"count\": *([0-9]+)'",
            )
        })?),
        (None, None) => Reading::Whole,
    };
    Ok(Some(Effect {
        template: Template {
            method: method(of).map_err(|why| {
                let what = format!("--effect has no method: `{of}`");
                Failure::usage(
                    what,
                    why,
                    "write it as --effect 'GET http://127.0.0.1:8000/count'",
                )
            })?,
            url: url.trim().to_owned(),
            headers: headers(&args.effect_header)?,
            body: Bytes::new(),
        },
        reading,
        wire: Wire {
            site,
            is_http2: false,
        },
    }))
}

fn oracle_shown(args: &ProbeArgs) -> String {
    match (&args.effect, args.accepted_if.is_empty()) {
        (Some(effect), _) => {
            format!("counted by the state that `{effect}` tells, before and after")
        }
        (None, true) => {
            "guessed from answers that are 2xx and not marked as a duplicate; only --effect sees them"
                .to_owned()
        }
        (None, false) => {
            "guessed from answers that meet --accepted-if; only --effect sees them".to_owned()
        }
    }
}
