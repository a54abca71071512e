//! `countersign replay`: sends a recorded request again, and shows who was accepted.

use bytes::Bytes;
use http::Request;
use serde_json::json;

use crate::{
    args::ReplayArgs,
    exit::{Exit, Failure},
    listen::{
        Copy, Resigner, Target, copies, is_authentic,
        keep::{self, Kept, Setting},
        shown,
    },
    printer::{Printer, Span, visible},
    runtime::serve,
    scheme::{self, Chosen},
    secret,
};

/// How much of an answer the table shows.
const EXCERPT: usize = 60;

pub(super) fn run(args: &ReplayArgs, printer: &Printer) -> Result<Exit, Failure> {
    serve(replay(args, printer))?
}

async fn replay(args: &ReplayArgs, printer: &Printer) -> Result<Exit, Failure> {
    let kept = keep::read(&args.keep, Some(args.id)).await?;
    let target = target(args, &kept)?;
    let requests = requests(args, &kept, printer)?;
    let copies = copies(&target, requests).await;
    print(args, &kept, &target, &copies, printer);
    let is_answered = copies.iter().all(|copy| copy.answer.is_ok());
    Ok(if is_answered {
        Exit::Done
    } else {
        Exit::Unable
    })
}

/// A server on this machine; or the one to which `listen` has sent the request, if the command line
/// names it: what the file alone names is not trusted.
fn target(args: &ReplayArgs, kept: &Kept) -> Result<Target, Failure> {
    match (&args.to, &kept.setting.forward) {
        (Some(url), Some(known)) if url == known => Target::parse("--to", url),
        (Some(url), _) => Target::parse("--to", url)?.on_loopback("--to"),
        (None, Some(url)) => match Target::parse("--forward", url)?.on_loopback("--forward") {
            Ok(target) => Ok(target),
            Err(_) => Err(Failure::usage(
                format!("request #{} was forwarded to `{url}`", kept.id),
                "it is not on this machine, and only the file names it",
                "name it with --to if the request is to be sent there again",
            )),
        },
        (None, None) => Err(Failure::usage(
            format!("request #{} was not forwarded", kept.id),
            "it is sent again to the server that `listen --forward` named",
            "name a server on this machine with --to http://127.0.0.1:3000",
        )),
    }
}

fn requests(
    args: &ReplayArgs,
    kept: &Kept,
    printer: &Printer,
) -> Result<Vec<Request<Bytes>>, Failure> {
    if !args.sign_again {
        return Ok((0..args.copies).map(|_| kept.request.clone()).collect());
    }
    if !is_authentic(&kept.verdict) {
        return Err(Failure::usage(
            format!("request #{} cannot be signed again", kept.id),
            "its signature was not good: a stranger may have written it",
            "leave out --sign-again, or take a request that was verified",
        ));
    }
    let setting = &kept.setting;
    let chosen = chosen(args, setting)?;
    let secrets = secret::read(&args.secret, printer)?;
    let origin = args.origin.as_deref().or(setting.origin.as_deref());
    let resigner = Resigner::new(&chosen, args.key_id.as_deref(), &secrets, origin);
    let signed = |_| match &resigner {
        Some(resigner) => {
            let (key_id, event_id) = (setting.key_id.as_deref(), kept.event_id.as_deref());
            resigner.sign(&kept.request, key_id, event_id)
        }
        None => Err("no secret is given".to_owned()),
    };
    let signed: Result<_, _> = (0..args.copies).map(signed).collect();
    signed.map_err(|why| {
        Failure::usage(
            format!("request #{} cannot be signed again", kept.id),
            why,
            "if the scheme signs the URL, say with --origin how the sender writes it; a signature \
             in the body cannot be replaced",
        )
    })
}

fn chosen(args: &ReplayArgs, setting: &Setting) -> Result<Chosen, Failure> {
    let chosen = match &args.scheme {
        Some(named) => scheme::resolve(named),
        None => scheme::resolve(&setting.scheme).map_err(|failure| Failure {
            advice: "name the scheme, or its file, with --scheme".to_owned(),
            ..failure
        }),
    };
    chosen?.supplying_nothing("replay --sign-again")
}

fn print(args: &ReplayArgs, kept: &Kept, target: &Target, copies: &[Copy], printer: &Printer) {
    let path = kept.request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let how = match args.sign_again {
        true => "signed again",
        false => "as it was recorded",
    };
    printer.line([
        Span::strong(format!("#{} {} {path}", kept.id, kept.request.method())),
        Span::plain(format!(" {how}, to {}", target.url())),
    ]);
    printer.line([Span::faint(format!(
        "  copy  {:26}  {:>8}  answer",
        "status", "took"
    ))]);
    for (at, copy) in (1..).zip(copies) {
        line(at, copy, printer);
        printer.object(&json!({
            "version": 1,
            "id": kept.id,
            "copy": at,
            "signed_again": args.sign_again,
            "accepted": copy.is_accepted(),
            "status": copy.answer.as_ref().ok().map(|answer| answer.status.as_u16()),
            "error": copy.answer.as_ref().err(),
            "took_ms": u64::try_from(copy.took.as_millis()).unwrap_or(u64::MAX),
            "body_bytes": copy.answer.as_ref().ok().map(|answer| answer.body.len()),
        }));
    }
    let accepted = copies.iter().filter(|copy| copy.is_accepted()).count();
    let all = copies.len();
    printer.line([Span::strong(format!("accepted: {accepted} of {all}"))]);
    if accepted > 1 {
        printer.line([Span::faint(
            "An application that answers a duplicate with success may still have acted once: look \
             at what it did.",
        )]);
    }
    printer.object(&json!({
        "version": 1,
        "summary": {"copies": all, "accepted": accepted},
    }));
}

fn line(at: usize, copy: &Copy, printer: &Printer) {
    let took = Span::faint(format!("  {:>8}  ", shown(copy.took)));
    let (status, rest) = match &copy.answer {
        Ok(answer) => {
            let status = format!("{:26}", answer.status.to_string());
            let status = match answer.status.is_success() {
                true => Span::good(status),
                false => Span::bad(status),
            };
            let body = answer.body.get(..EXCERPT).unwrap_or(&answer.body);
            (status, Span::plain(visible(body.trim_ascii())))
        }
        Err(error) => (Span::bad(format!("{:26}", "no answer")), Span::plain(error)),
    };
    printer.line([Span::plain(format!("  {at:4}  ")), status, took, rest]);
}
