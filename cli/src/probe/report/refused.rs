//! A valid request that is not accepted: what came back, and what may be wrong.

use crate::{
    commands::numbered,
    printer::{Printer, Span, visible},
    probe::{checks::VALID, lab::Lab, run::Refused},
};

/// Says why a valid request may not be accepted; in one line, too.
pub(crate) fn not_accepted(refused: &Refused, lab: &Lab, printer: &Printer) -> String {
    let Refused { fresh, sent } = refused;
    let shown = sent.shown();
    printer.line([
        Span::bad("A valid request is not accepted: "),
        Span::plain(&shown),
    ]);
    let mut why = match sent.answer {
        Ok(_) => "check that the endpoint has this secret, and verifies this scheme",
        Err(_) => "check the URL, and that the server runs",
    };
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
    if sent.answer.is_ok()
        && let Some(signature) = lab.subject.signature(&fresh.request)
    {
        printer.line([Span::strong(
            "\nsigned message, as the endpoint must build it",
        )]);
        for line in numbered(&signature.pieces()) {
            printer.line(line);
        }
    }
    format!("a valid request is not accepted ({VALID}): {shown}; {why}")
}
