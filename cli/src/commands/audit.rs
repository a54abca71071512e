//! `countersign audit`: finds in source where something is checked and then used.

use std::path::Path;

use indicatif::ProgressBar;

use crate::{
    args::{AuditArgs, AuditFormat},
    audit::{self, Baseline, Config, Severity},
    exit::{Exit, Failure},
    printer::{Printer, Span},
};

/// A run of at most this many steps shows no progress. A file takes two.
const MANY_STEPS: usize = 4000;

pub(super) fn run(args: &AuditArgs, printer: &Printer) -> Result<Exit, Failure> {
    if args.list_rules {
        list(printer);
        return Ok(Exit::Done);
    }
    if let Some(id) = &args.explain {
        return explain(id, printer);
    }
    let config = config(args)?;
    let bar = ProgressBar::no_length();
    let is_long = std::sync::Once::new();
    let tick = |done: usize, total: usize| {
        if total > MANY_STEPS {
            is_long.call_once(|| bar.set_length(total as u64));
            bar.set_position(done as u64);
        }
    };
    let report = audit::run(&args.paths, &config, &tick);
    bar.finish_and_clear();
    let mut report = report?;
    for warning in report
        .warnings
        .iter()
        .cloned()
        .chain(audit::skipped(&report))
    {
        printer.warn(&warning);
    }
    if let Some(path) = &args.write_baseline {
        Baseline::of(&report).write(path)?;
        return Ok(Exit::Done);
    }
    if let Some(path) = &config.baseline {
        report.without(Baseline::read(path)?);
    }
    if args.diff {
        printer.raw(audit::difference(&report, args.unsafe_fixes).as_bytes());
        return Ok(exit(&report));
    }
    if args.fix {
        let count = audit::apply(&report, args.unsafe_fixes)?;
        printer.row("mended", count.to_string());
        return Ok(exit(&report));
    }
    match args.format {
        _ if printer.is_json() => printer.object(&audit::object(&report)),
        AuditFormat::Text => print(&report, printer),
        AuditFormat::Github => audit::annotation(&report).for_each(|it| printer.text(&it)),
        AuditFormat::Sarif => printer.text(&format!("{:#}", audit::sarif(&report))),
    }
    Ok(exit(&report))
}

fn exit(report: &audit::Report) -> Exit {
    if report.is_clean() {
        Exit::Done
    } else {
        Exit::Found
    }
}

/// Returns what the file says, and what the command line adds.
fn config(args: &AuditArgs) -> Result<Config, Failure> {
    let folder = std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned());
    let mut config = if args.no_config {
        Config::default()
    } else {
        Config::read(&folder)?
    };
    config.disable.retain(|it| !args.enable.contains(it));
    config.enable.extend(args.enable.iter().cloned());
    config.disable.extend(args.disable.iter().cloned());
    config.exclude.extend(args.exclude.iter().cloned());
    config.all |= args.all_rules;
    if let Some(severity) = args.min_severity {
        config.min_severity = severity;
    }
    if args.baseline.is_some() {
        config.baseline.clone_from(&args.baseline);
    }
    config.check("the command line")?;
    Ok(config)
}

fn print(report: &audit::Report, printer: &Printer) {
    for text in audit::text(report) {
        printer.styled(&format!("{text}\n"));
    }
    let mut counts = Vec::new();
    for severity in [Severity::High, Severity::Medium, Severity::Low] {
        match report.count(severity) {
            0 => {}
            count => counts.push(format!("{count} {}", severity.name())),
        }
    }
    let found = if counts.is_empty() {
        "nothing".to_owned()
    } else {
        counts.join(", ")
    };
    printer.row("found", found);
    printer.row(
        "read",
        format!(
            "{}, {}",
            counted(report.files, "file"),
            counted(report.lines, "line")
        ),
    );
    if report.allowed > 0 {
        printer.row("allowed", format!("{} by comments", report.allowed));
    }
    if report.known > 0 {
        printer.row("known", format!("{} by the baseline", report.known));
    }
    if !report.is_clean() {
        printer.row(
            "help",
            "`countersign audit --explain RULE` says why, and when it is a false alarm",
        );
    }
}

fn explain(id: &str, printer: &Printer) -> Result<Exit, Failure> {
    let rule = audit::find(id).ok_or_else(|| audit::unknown(id, "the command line"))?;
    printer.line([
        Span::strong(rule.id),
        Span::plain(format!(": {}", rule.title)),
    ]);
    printer.row("severity", rule.severity.name());
    printer.row(
        "weakness",
        format!("CWE-{}; OWASP {}", rule.cwe, rule.owasp),
    );
    if let Some(why) = rule.off {
        printer.row(
            "off",
            format!("by default: {why}. --enable {} turns it on", rule.id),
        );
    }
    printer.object(&serde_json::json!({
        "version": 1, "rule": rule.id, "severity": rule.severity, "cwe": rule.cwe,
        "owasp": rule.owasp, "title": rule.title, "on": rule.off.is_none(), "page": rule.page,
    }));
    if !printer.is_json() {
        printer.text(&format!("\n{}", rule.page.trim_end()));
    }
    Ok(Exit::Done)
}

fn list(printer: &Printer) {
    let width = audit::TABLE.iter().map(|it| it.id.len()).max().unwrap_or(0);
    for rule in &audit::TABLE {
        let off = if rule.off.is_some() {
            " (off by default)"
        } else {
            ""
        };
        printer.line([
            Span::strong(format!("{:width$}", rule.id)),
            Span::plain(format!("  {:6}  {}{off}", rule.severity.name(), rule.title)),
        ]);
        printer.object(&serde_json::json!({
            "version": 1, "rule": rule.id, "severity": rule.severity, "cwe": rule.cwe,
            "owasp": rule.owasp, "title": rule.title, "on": rule.off.is_none(),
        }));
    }
}

fn counted(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}
