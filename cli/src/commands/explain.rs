//! `countersign explain`: the signed message line by line, and the change that makes it match.

use bytes::Bytes;
use countersign::{Rejection, RejectionKind, inspect::Inspected};
use http::Request;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::Value;

use super::{
    lines::{compared, numbered},
    verify::{refused, verified},
};
use crate::{
    args::ExplainArgs,
    exit::{Exit, Failure},
    explain::{Found, Input, Limits, Outcome, Row, Shape, search},
    listen::bytes,
    printer::{Printer, Span},
    request::{self, body_of},
    scheme::{self, Chosen},
    secret::{self, SecretText},
    verification::{Verdict, verify},
};

pub(super) fn run(args: &ExplainArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?.supplying(&args.supply.supply)?;
    let secrets = secret::read(&args.secret, printer)?;
    let previous = args
        .previous_secret_file
        .iter()
        .map(|file| secret::from_file(file));
    let previous: Vec<SecretText> = previous.collect::<Result<_, _>>()?;
    let message = args
        .message
        .as_ref()
        .map(|file| body_of(file))
        .transpose()?;
    let request = request::read(&args.request.request, args.request.entry)?;
    let key_id = args.scheme.key_id.as_deref();
    let origin = args.request.origin.as_deref();
    let verdict = verify(&chosen, key_id, &secrets, &args.request, &request)?;
    let rejection = match verdict {
        Verdict::Verified(facts) => {
            let mut object = verified(&facts, printer);
            show_messages(&chosen, origin, &request, printer);
            add(&mut object, false, &[], 0);
            printer.object(&object);
            return Ok(Exit::Done);
        }
        Verdict::Refused(rejection) => rejection,
    };
    let mut object = refused(&rejection, printer);
    show_messages(&chosen, origin, &request, printer);
    let shape = Shape::of(&chosen);
    let input = Input {
        chosen: &chosen,
        shape: shape.as_ref(),
        request: &request,
        origin,
        secrets: &secrets,
        previous: &previous,
    };
    let outcome = with_progress(&input, printer);
    report(&rejection, &outcome, message.is_some(), printer);
    if rejection.kind() == RejectionKind::SignatureMissing {
        name_other_schemes(&request, printer);
    }
    if let (Some(message), None) = (&message, &outcome.found) {
        show_difference(&chosen, origin, &request, message, printer);
    }
    let rows: &[&Row] = outcome.found.as_ref().map_or(&[], |found| &found.rows);
    add(&mut object, !rows.is_empty(), rows, outcome.tried);
    printer.object(&object);
    Ok(Exit::Found)
}

/// Adds what `explain` knows beyond `verify`.
fn add(object: &mut Value, is_explained: bool, rows: &[&Row], tried: usize) {
    let changes: Vec<Value> = rows.iter().map(|row| row.object()).collect();
    if let Some(object) = object.as_object_mut() {
        object.insert("explained".to_owned(), is_explained.into());
        object.insert("changes".to_owned(), changes.into());
        object.insert("tried".to_owned(), tried.into());
    }
}

fn with_progress(input: &Input<'_>, printer: &Printer) -> Outcome {
    // A search is seldom long enough for somebody to see it.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if printer.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let started = std::time::Instant::now();
    let outcome = search(input, Limits::WORK, &mut |done, all| {
        if started.elapsed().as_millis() > 500 {
            bar.set_length(u64::try_from(all).unwrap_or(u64::MAX));
            bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        }
    });
    bar.finish_and_clear();
    outcome
}

fn signatures(chosen: &Chosen, origin: Option<&str>, request: &Request<Bytes>) -> Vec<Inspected> {
    let (head, body) = request.clone().into_parts();
    chosen
        .inspector(origin)
        .inspect(&head, &body)
        .unwrap_or_default()
}

fn show_messages(
    chosen: &Chosen,
    origin: Option<&str>,
    request: &Request<Bytes>,
    printer: &Printer,
) {
    let signatures = signatures(chosen, origin, request);
    if signatures.is_empty() {
        let text = "\nthe signed message is not known: the signature cannot be read";
        printer.line([Span::strong(text)]);
    }
    for signature in &signatures {
        let title = format!(
            "\nsigned message, as a verifier builds it, under key id {}",
            signature.key_id()
        );
        printer.line([Span::strong(title)]);
        for line in numbered(&signature.pieces()) {
            printer.line(line);
        }
    }
}

/// Says what was found, and what to do.
fn report(rejection: &Rejection, outcome: &Outcome, has_message: bool, printer: &Printer) {
    let tried = format!("{} hypotheses were tried", outcome.tried);
    match &outcome.found {
        Some(found) if found.rows.is_empty() => {
            printer.line([
                Span::strong("\nThe signature matches. "),
                Span::plain(other(rejection)),
            ]);
        }
        Some(found) => explained(found, printer),
        None if outcome.too_short.is_some() => {
            let length = bytes(outcome.too_short.unwrap_or_default());
            let text = format!(
                "\nThe signature is cut off: it has {length}, and fewer than 16 bytes explain \
                 nothing. "
            );
            let advice = "Send the whole signature, or look for what cut it off.";
            printer.line([Span::bad(text), Span::plain(advice)]);
        }
        None if outcome.tried == 0 => {
            let text = "\nThere is nothing to compare: the request has no signature of this scheme \
                        that can be read.";
            printer.line([Span::bad(text)]);
        }
        None => {
            printer.line([
                Span::bad("\nNothing explains the mismatch. "),
                Span::plain(tried + "."),
            ]);
            let advice = match has_message {
                true => "Next: check that both sides have the same secret, byte for byte.",
                false => {
                    "Next: check that both sides have the same secret, byte for byte. Then let the \
                     sender print the message that it signs, and compare it with \
                     `countersign explain --message FILE`."
                }
            };
            printer.line([Span::plain(advice)]);
        }
    }
    if outcome.is_cut_short && outcome.found.is_none() {
        printer.line([Span::bad(
            "The search was cut short: the request is very long.",
        )]);
    }
}

/// Names the schemes whose signature the request has.
fn name_other_schemes(request: &Request<Bytes>, printer: &Printer) {
    let found = scheme::all().filter(|other| {
        let shape = Shape::of(other);
        shape.is_some_and(|shape| request.headers().contains_key(shape.header()))
    });
    let names: Vec<String> = found.map(|other| other.name).collect();
    if !names.is_empty() {
        let text = format!("The request has a signature of: {}.", names.join(", "));
        printer.line([Span::good(text)]);
    }
}

/// Why a request is refused whose signature matches.
fn other(rejection: &Rejection) -> &'static str {
    match rejection.kind() {
        RejectionKind::SignatureExpired | RejectionKind::SignatureNotYetValid => {
            "The request is refused for its time alone; --now names the time to verify at, and \
             --max-age how old a request may be."
        }
        RejectionKind::AuthorityNotServed => {
            "The request is refused for its authority; --origin names another."
        }
        _ => "The request is refused for the reason above.",
    }
}

fn explained(found: &Found, printer: &Printer) {
    let whats: Vec<&str> = found.rows.iter().map(|row| row.what).collect();
    let what = format!("\nIt matches if {}.", whats.join(", and "));
    printer.line([Span::good(what)]);
    let mut fixes: Vec<&str> = Vec::new();
    for row in &found.rows {
        if !fixes.contains(&row.fix) {
            fixes.push(row.fix);
            printer.row_of(row.side.name(), [Span::plain(format!("{}.", row.fix))]);
        }
    }
    if found.expected != found.signed {
        printer.line([Span::strong("\nsigned message: - verifier, + sender")]);
        for line in compared(&found.expected, &found.signed) {
            printer.line(line);
        }
    }
}

/// Compares the message that the sender printed with the verifier's.
fn show_difference(
    chosen: &Chosen,
    origin: Option<&str>,
    request: &Request<Bytes>,
    message: &[u8],
    printer: &Printer,
) {
    for signature in signatures(chosen, origin, request) {
        let pieces = signature.pieces();
        let expected: Vec<&[u8]> = pieces
            .iter()
            .map(countersign::inspect::Piece::bytes)
            .collect();
        let expected = expected.concat();
        if expected == message {
            let text = "\nThe message of the sender is the verifier's: the secrets differ, or how \
                        the key is made of the secret.";
            printer.line([Span::strong(text)]);
            continue;
        }
        printer.line([Span::strong("\nsigned message: - verifier, + sender")]);
        for line in compared(&expected, message) {
            printer.line(line);
        }
    }
}
