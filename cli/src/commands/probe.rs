//! `countersign probe`: whether a running endpoint acts twice, or on what was not signed.

use std::{cell::RefCell, fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method, Uri};
use indicatif::{ProgressBar, ProgressDrawTarget};
use regex_lite::Regex;

use super::lines::numbered;
use crate::{
    args::ProbeArgs,
    curl_command::quoted,
    exit::{Exit, Failure},
    listen::Ending,
    printer::{Printer, Span, visible},
    probe::{
        Acceptance, Budget, CHECKS, Effect, Lab, Oracle, Reading, Refused, Report, Run, Sites,
        Source, Subject, Template, VALID, Wire, html, json, junit, sarif, text,
    },
    request::body_of,
    runtime::block_on,
    scheme, secret,
};

pub(super) fn run(args: &ProbeArgs, printer: &Printer) -> Result<Exit, Failure> {
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    for id in args.check.iter().chain(&args.skip) {
        if !ids.contains(&id.as_str()) {
            return Err(Failure::usage(
                format!("there is no check `{id}`"),
                "a check is named by its id",
                format!("the checks are {}", ids.join(", ")),
            ));
        }
    }
    block_on(probe(args, printer))?
}

async fn probe(args: &ProbeArgs, printer: &Printer) -> Result<Exit, Failure> {
    let mut sites = Sites::new(&args.i_am_allowed_to_test);
    let subject = subject(args, printer)?;
    let url = args.url.as_deref().unwrap_or_default();
    let event = subject.events.event();
    let url = parsed(&event.fill(url, 0))?;
    let wire = Wire {
        site: sites.site(&url, args.timeout).await?,
        is_http2: args.http2,
    };
    let effect = effect(args, &mut sites).await?;
    let fresh = subject.fresh()?;
    let covered = subject.covered(&fresh).await?;
    let lab = Lab {
        subject,
        covered,
        copies: args.copies,
        others: args.others,
    };
    printer.warn(&format!(
        "the probe sends real requests with real effects to {} ({})",
        wire.site.base, wire.site.address
    ));
    let mut report = Report {
        target: format!(
            "{} {}",
            lab.subject.template.method, lab.subject.template.url
        ),
        scheme: lab.subject.chosen.name.clone(),
        run: lab.subject.events.run.clone(),
        seed: lab.subject.events.seed,
        copies: args.copies,
        oracle: oracle_shown(args),
        ..Report::default()
    };
    let mut run = Run {
        lab: &lab,
        wire: &wire,
        oracle: Oracle {
            effect,
            unit: None,
            settle: Duration::ZERO,
            acceptance: Acceptance::parse(&args.accepted_if)?,
            id_json: args.id_json.clone(),
        },
        budget: Budget::new(args.max_requests, args.max_time, args.rate),
        rounds: args.rounds,
        waits: args.wait,
        reproduce: reproduce(std::env::args().collect(), report.seed),
        unanswered: 0,
    };
    match run.begin().await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => {
            not_accepted(&refused, &lab, printer);
            return Ok(Exit::Found);
        }
        Err(stop) => {
            return Err(Failure::unable(
                format!("the probe cannot begin ({VALID})"),
                stop.shown(),
                "check the URL, and that --effect reads a state that a valid request changes",
            ));
        }
    }
    let ended = checked(args, &mut run, &mut report, printer).await?;
    report.ended = ended;
    report.requests = run.budget.sent;
    report.took = run.budget.started.elapsed();
    if !run.oracle.settle.is_zero() {
        let wait = run.oracle.settle.as_millis();
        report.notes.push(format!(
            "The state changes late: each reading waited {wait} ms."
        ));
    }
    if run.oracle.effect.is_some() && run.oracle.unit.is_none() {
        report.notes.push(
            "The state is no number that each request changes alike: how often it changed is not known, \
             and no race can be proven."
                .to_owned(),
        );
    }
    report
        .findings
        .sort_by_key(|finding| std::cmp::Reverse(finding.check.severity));
    write_reports(args, &report)?;
    text::print(&report, printer);
    printer.object(&json::object(&report));
    let worst = report
        .findings
        .iter()
        .map(|finding| finding.check.severity)
        .max();
    Ok(match (worst, &report.ended) {
        (Some(worst), _) if worst >= args.fail_on => Exit::Found,
        (_, Some(_)) => Exit::Unable,
        _ => Exit::Done,
    })
}

/// Writes the reports that go to files.
fn write_reports(args: &ProbeArgs, report: &Report) -> Result<(), Failure> {
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
        serde_json::to_string_pretty(&sarif::log(report)).map_err(|error| error.to_string())
    })?;
    write(&args.junit, &|| junit::document(report, args.fail_on))?;
    write(&args.html, &|| Ok(html::page(report)))
}

/// Runs the checks until they end, a bound is reached, or Ctrl-C; why they ended before all was done.
async fn checked(
    args: &ProbeArgs,
    run: &mut Run<'_>,
    report: &mut Report,
    printer: &Printer,
) -> Result<Option<String>, Failure> {
    let mut ending = Ending::new()
        .map_err(|error| Failure::unable("cannot wait for Ctrl-C", error.to_string(), ""))?;
    let bar = ProgressBar::with_draw_target(
        u64::try_from(CHECKS.len()).ok(),
        ProgressDrawTarget::stderr(),
    );
    if printer.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let shown = RefCell::new(bar);
    let progress = |at: usize, id: &str| {
        let bar = shown.borrow();
        bar.set_position(u64::try_from(at).unwrap_or_default());
        bar.set_message(id.to_owned());
    };
    let is_wanted = |check: &crate::probe::Check| {
        let is_named = args.check.is_empty() || args.check.iter().any(|id| id == check.id);
        is_named && !args.skip.iter().any(|id| id == check.id)
    };
    let ended = tokio::select! {
        ended = run.checks(&is_wanted, report, &progress) => ended.err().map(|stop| stop.shown()),
        () = ending.asked() => Some("it was interrupted".to_owned()),
    };
    shown.borrow().finish_and_clear();
    Ok(ended)
}

fn subject(args: &ProbeArgs, printer: &Printer) -> Result<Subject, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?;
    let secrets = secret::read(&args.secret, printer)?;
    let random = |name: &str| {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| {
            Failure::unable(
                format!("cannot make {name}"),
                error.to_string(),
                format!("give {name}"),
            )
        })?;
        Ok::<_, Failure>(u64::from_be_bytes(random))
    };
    let seed = match args.seed {
        Some(seed) => seed,
        None => random("--seed")? % 1_000_000,
    };
    let run = match &args.run_id {
        Some(run) => run.clone(),
        None => format!("{:016x}", random("--run-id")?),
    };
    Ok(Subject {
        chosen,
        key_id: args.scheme.key_id.clone(),
        secrets: secrets.into(),
        template: template(args)?,
        max_age: args.max_age,
        events: Source::new(run, seed),
    })
}

fn template(args: &ProbeArgs) -> Result<Template, Failure> {
    let url = args.url.as_deref().unwrap_or_default();
    let url = match &args.origin {
        None => url.to_owned(),
        Some(origin) => {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = rest
                .find(['/', '?'])
                .and_then(|at| rest.get(at..))
                .unwrap_or("/");
            format!("{}{path}", origin.trim_end_matches('/'))
        }
    };
    let body = match (&args.data, &args.data_file) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(file)) => body_of(file)?,
        (None, None) => Bytes::new(),
    };
    Ok(Template {
        method: method(args.method.as_deref().unwrap_or_default())?,
        url,
        headers: headers(&args.headers)?,
        body,
    })
}

fn method(text: &str) -> Result<Method, Failure> {
    Method::from_bytes(text.as_bytes()).map_err(|_| {
        Failure::usage(
            format!("`{text}` is not a method"),
            "a method is one word, such as POST",
            "the order is SCHEME METHOD URL",
        )
    })
}

fn headers(texts: &[String]) -> Result<Vec<(HeaderName, String)>, Failure> {
    let read = |text: &String| {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().parse().ok()?, value.trim().to_owned()))
    };
    texts
        .iter()
        .map(|text| {
            read(text).ok_or_else(|| {
                Failure::usage(
                    format!("`{text}` is not a header"),
                    "a header is a name, a colon and a value",
                    "write it as -H 'content-type: application/json'",
                )
            })
        })
        .collect()
}

fn parsed(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|error| {
        Failure::usage(
            format!("`{url}` is not a URL"),
            format!("{error}"),
            "write the whole URL, such as http://127.0.0.1:8000/hooks",
        )
    })
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
        (Some(pointer), _) => Reading::Json(pointer.clone()),
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
            method: method(of)?,
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
            "not seen; an answer counts that is 2xx and not marked as a duplicate".to_owned()
        }
        (None, false) => "not seen; an answer counts that meets --accepted-if".to_owned(),
    }
}

/// The command line again, without the options that choose checks and reports, and without secrets.
fn reproduce(all: Vec<String>, seed: u64) -> String {
    const DROPPED: [&str; 8] = [
        "--check",
        "--skip",
        "--seed",
        "--run-id",
        "--sarif",
        "--junit",
        "--html",
        "--fail-on",
    ];
    let mut command = "countersign".to_owned();
    let mut words = all.into_iter().skip(1);
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        if word == "--json" {
            continue;
        }
        if DROPPED.contains(&name) || name == "--secret" {
            let _ = value.or_else(|| words.next());
            if name == "--secret" {
                command.push_str(" --secret-env SECRET");
            }
            continue;
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
        let word = match word.chars().all(is_plain) && !word.is_empty() {
            true => word,
            false => quoted(&word),
        };
        command.push(' ');
        command.push_str(&word);
    }
    format!("{command} --seed {seed}")
}

/// Says why a valid request may not be accepted.
fn not_accepted(refused: &Refused, lab: &Lab, printer: &Printer) {
    let Refused { fresh, sent } = refused;
    let shown = sent.shown();
    printer.line([
        Span::bad("A valid request is not accepted: "),
        Span::plain(&shown),
    ]);
    let mut why = "check that the endpoint has the secret, and the scheme of this name";
    let mut skew = None;
    if let Ok(answer) = &sent.answer {
        let body = answer.body.get(..400).unwrap_or(&answer.body);
        if !body.is_empty() {
            printer.row("answer", visible(body));
        }
        why = match answer.status.as_u16() {
            301 | 302 | 307 | 308 => {
                "the URL leads elsewhere, and the probe follows no redirect: write \
                                      it as the server does, with its slash at the end"
            }
            404 => "the path is not served: check the URL",
            405 => "the method is not served: check METHOD",
            403 => {
                "the server refuses it for another reason: Django wants `@csrf_exempt` on the view, \
                    and the host in `ALLOWED_HOSTS`"
            }
            409 => {
                "it was seen before: put {uuid} or {n} where the request has its identifier, and do \
                    not repeat a --run-id"
            }
            415 | 422 => {
                "the server does not read the body: add -H 'content-type: application/json', \
                          and check --data"
            }
            421 => "the server goes by another name: add --origin with the URL that clients write",
            200..=299 => "the answer is not taken for accepted: see --accepted-if",
            500..=599 => "the server fails: look at its log",
            _ => why,
        };
        let date = answer
            .headers
            .get("date")
            .and_then(|date| date.to_str().ok());
        skew = date.map(str::to_owned);
    }
    printer.row("help", why);
    if let Some(date) = skew {
        printer.row("clock", format!("the server's is at {date}"));
    }
    if let Some(signature) = lab.subject.signature(&fresh.request) {
        printer.line([Span::strong(
            "\nsigned message, as the endpoint must build it",
        )]);
        for line in numbered(&signature.pieces()) {
            printer.line(line);
        }
    }
    printer.object(&serde_json::json!({
        "version": 1, "findings": [], "checks": [],
        "ended": format!("a valid request is not accepted ({VALID}): {shown}"), "help": why,
    }));
}
