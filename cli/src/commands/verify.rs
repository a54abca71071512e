//! `countersign verify`: whether a request verifies, and what its signature covers.

use countersign::{Rejection, store::NonceKind};
use serde_json::json;

use crate::{
    args::VerifyArgs,
    exit::{Exit, Failure},
    printer::{Printer, Span, visible},
    request, scheme, secret, time,
    verification::{Facts, Verdict, verify},
};

pub(super) fn run(args: &VerifyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?;
    let secrets = secret::read(&args.secret, printer)?;
    let request = request::read(&args.request.request, args.request.entry)?;
    let key_id = args.scheme.key_id.as_deref();
    match verify(&chosen, key_id, &secrets, &args.request, &request)? {
        Verdict::Verified(facts) => {
            verified(&facts, printer);
            Ok(Exit::Done)
        }
        Verdict::Refused(rejection) => {
            refused(&rejection, printer);
            Ok(Exit::Found)
        }
    }
}

fn verified(facts: &Facts, printer: &Printer) {
    let nonce = facts.nonce.as_ref().map(|(kind, bytes)| match kind {
        NonceKind::Covered => ("nonce", visible(bytes)),
        NonceKind::Event => ("event id", visible(bytes)),
        _ => (
            "sha-256",
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ),
    });
    printer.line([Span::good("verified")]);
    printer.row("key id", facts.key_id.clone());
    printer.row(
        "signed at",
        facts.signed_at.map_or("not covered".to_owned(), time::show),
    );
    match &nonce {
        None => printer.row("used once by", "nothing: requests may be alike"),
        Some((kind, text)) => printer.row("used once by", format!("{kind} {text}")),
    }
    printer.row_of("covered", [Span::good(facts.covered.join(", "))]);
    printer.row_of("not covered", [Span::bad(facts.uncovered.join(", "))]);
    printer.object(&json!({
        "version": 1,
        "verified": true,
        "code": null,
        "reason": null,
        "key_id": facts.key_id,
        "signed_at": facts.signed_at.map(time::show),
        "nonce": nonce.map(|(kind, text)| if kind == "sha-256" { format!("sha-256:{text}") } else { text }),
        "covered": facts.covered,
        "uncovered": facts.uncovered,
    }));
}

fn refused(rejection: &Rejection, printer: &Printer) {
    let kind = rejection.kind();
    printer.line([
        Span::bad("refused"),
        Span::plain(format!(" {}", kind.code())),
    ]);
    printer.row("status", kind.status().as_u16().to_string());
    printer.row("reason", rejection.reason());
    printer.row("advice", kind.advice());
    printer.object(&json!({
        "version": 1,
        "verified": false,
        "code": kind.code(),
        "reason": rejection.reason(),
        "key_id": null,
        "signed_at": null,
        "nonce": null,
        "covered": [],
        "uncovered": [],
    }));
}
