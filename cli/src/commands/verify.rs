//! `countersign verify`: whether a request verifies, and what its signature covers.

use countersign::{Rejection, RejectionKind};
use serde_json::Value;

use crate::{
    args::VerifyArgs,
    exit::{Exit, Failure},
    printer::{Printer, Span, one_line},
    request, scheme, secret, time,
    verification::{Facts, Verdict, advice, object_of_refused, reason, verify},
};

pub(super) fn run(args: &VerifyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?.supplying(&args.supply.supply)?;
    let secrets = secret::read(&args.secret, printer)?;
    let request = request::read(&args.request.request, args.request.entry)?;
    let key_id = args.scheme.key_id.as_deref();
    match verify(&chosen, key_id, &secrets, &args.request, &request)? {
        Verdict::Verified(facts) => {
            printer.object(&verified(&facts, printer));
            Ok(Exit::Done)
        }
        Verdict::Refused(rejection) => {
            let object = refused(&rejection, printer);
            if rejection.kind() == RejectionKind::SignatureInvalid {
                let next = "`countersign explain`, with the same arguments, searches for the cause";
                printer.row("next", next);
            }
            printer.object(&object);
            Ok(Exit::Found)
        }
    }
}

/// Prints what was verified, for people, and returns the same as JSON.
pub(super) fn verified(facts: &Facts, printer: &Printer) -> Value {
    printer.line([Span::good("verified")]);
    printer.row("key id", one_line(&facts.key_id));
    printer.row(
        "signed at",
        facts.signed_at.map_or("not covered".to_owned(), time::show),
    );
    match facts.nonce() {
        None => printer.row("used once by", "nothing: requests may be alike"),
        Some((kind, text)) => printer.row("used once by", format!("{kind} {text}")),
    }
    printer.row_of("covered", [Span::good(facts.covered.join(", "))]);
    printer.row_of("not covered", [Span::bad(facts.uncovered.join(", "))]);
    facts.object()
}

/// Prints why a request was refused, for people, and returns the same as JSON.
pub(super) fn refused(rejection: &Rejection, printer: &Printer) -> Value {
    let kind = rejection.kind();
    printer.line([
        Span::bad("refused"),
        Span::plain(format!(" {}", kind.code())),
    ]);
    printer.row("status", rejection.status().as_u16().to_string());
    printer.row("reason", one_line(&reason(rejection)));
    printer.row("advice", advice(kind));
    object_of_refused(rejection)
}
