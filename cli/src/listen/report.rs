//! A record as a person reads it: a line, and the reason if it is refused.

use std::time::Duration;

use super::{
    record::{Record, Verdict},
    search::Searched,
};
use crate::{
    printer::{Printer, Span, one_line, visible},
    time,
    verification::{advice, reason},
};

/// Prints a record.
pub(crate) fn print(record: &Record, printer: &Printer) {
    if printer.is_json() {
        printer.object(&record.object());
        return;
    }
    let word = format!("{:9}", record.verdict.word());
    let word = match &record.verdict {
        Verdict::Verified(_) => Span::good(word),
        Verdict::Handshake => Span::noted(word),
        Verdict::Refused(_) => Span::bad(word),
    };
    let time = time::show(record.at);
    let clock = time.get(11..19).unwrap_or_default();
    let target = visible(record.target().as_bytes());
    printer.line([
        Span::faint(format!("{clock} #{:<4} ", record.id)),
        word,
        Span::strong(format!(" {} {target}", record.method())),
        Span::plain(format!(" {}", record.status.as_u16())),
        Span::faint(format!(
            " {} in {}",
            bytes(record.request.body().len()),
            shown(record.took)
        )),
    ]);
    match &record.verdict {
        Verdict::Handshake => {}
        Verdict::Verified(facts) => {
            if let Some((kind, text)) = facts.nonce() {
                row(printer, kind, [Span::plain(text)]);
            }
            row(printer, "covered", [Span::plain(facts.covered.join(", "))]);
            if !facts.uncovered.is_empty() {
                let uncovered = facts.uncovered.join(", ");
                row(printer, "not covered", [Span::faint(uncovered)]);
            }
        }
        Verdict::Refused(rejection) => {
            let kind = rejection.kind();
            row(printer, kind.code(), []);
            row(
                printer,
                "reason",
                [Span::plain(one_line(&reason(rejection)))],
            );
            if let Some(searched) = &record.searched {
                let style = match searched.is_explained() {
                    true => Span::good,
                    false => Span::plain,
                };
                row(printer, "explained", [style(searched.sentence())]);
                for (side, fix) in searched.fixes() {
                    row(printer, side, [Span::plain(format!("{fix}."))]);
                }
            }
            if !record.searched.as_ref().is_some_and(Searched::is_explained) {
                row(printer, "advice", [Span::plain(advice(kind))]);
            }
        }
    }
    if let Some(cut) = record.cut() {
        row(printer, "body", [Span::bad(cut)]);
    }
    if let Some(upstream) = &record.upstream {
        let took = Span::faint(format!(" in {}", shown(upstream.took)));
        let answer = match &upstream.answer {
            Ok(status) if status.is_success() => Span::good(status.to_string()),
            Ok(status) => Span::bad(status.to_string()),
            Err(error) => Span::bad(format!("no answer: {}", one_line(error))),
        };
        row(printer, "upstream", [answer, took]);
    }
}

fn row<const N: usize>(printer: &Printer, label: &str, value: [Span; N]) {
    let label = Span::faint(format!("  {label:<13}"));
    printer.line(std::iter::once(label).chain(value));
}

/// A length as people read it.
pub(crate) fn bytes(length: usize) -> String {
    match length {
        1 => "1 byte".to_owned(),
        _ if length < 10 * 1024 => format!("{length} bytes"),
        _ if length < 10 * 1024 * 1024 => format!("{} KiB", length / 1024),
        _ => format!("{} MiB", length / 1024 / 1024),
    }
}

/// A duration as people read it.
pub(crate) fn shown(took: Duration) -> String {
    match took.as_millis() {
        0 => format!("{} µs", took.as_micros()),
        millis @ 1..10_000 => format!("{millis} ms"),
        _ => format!("{} s", took.as_secs()),
    }
}
