//! `countersign sign`: signs a request, and prints or sends it.

use bytes::Bytes;
use countersign::{
    Clock as _,
    clock::SystemClock,
    inspect::{Inspected, Piece},
};
use http::{HeaderName, HeaderValue, Request, Response, Uri, header::HOST, uri::InvalidUri};
use serde_json::json;

use crate::{
    args::SignArgs,
    curl_command,
    exit::{Exit, Failure},
    http_client,
    printer::{Printer, Span, visible},
    request::{at_origin, body_of},
    runtime::block_on,
    scheme::{self, Chosen},
    secret,
    time::Fixed,
    verification::reason,
};

pub(super) fn run(args: &SignArgs, printer: &Printer) -> Result<Exit, Failure> {
    let chosen = scheme::resolve(&args.scheme.scheme)?.supplying(&args.supply.supply)?;
    let secrets = secret::read(&args.secret, printer)?;
    let [secret] = secrets.as_slice() else {
        return Err(Failure::usage(
            "several secrets are given",
            "a request is signed with one secret",
            "give one secret",
        ));
    };
    let mut request = unsigned(args)?;
    let target = request.uri().clone();
    if let Some(origin) = &args.origin {
        *request.uri_mut() = whole(&at_origin(origin, &target), origin)?;
    }
    request.extensions_mut().insert(chosen.supplied.clone());
    let now = args.at.unwrap_or_else(|| SystemClock::default().now());
    let signer = chosen
        .signer(args.scheme.key_id.as_deref(), secret)?
        .clock(Fixed(now));
    let nonce = match &args.nonce {
        Some(nonce) => nonce.clone(),
        None => secret::random()
            .map_err(|why| Failure::unable("cannot make a nonce", why, "give one with --nonce"))?,
    };
    let signed = signer.sign_body(request.clone(), &nonce).map_err(|error| {
        Failure::usage(
            format!("`{}` cannot sign this request", chosen.name),
            scheme::in_names(&error.to_string()),
            "add what the scheme covers, such as a header with -H, a whole URL or a body",
        )
    })?;
    if args.nonce.is_some() {
        // The same request under another nonce, if the scheme has one, is another request.
        let other = signer.sign_body(request.clone(), "another");
        if other.is_ok_and(|other| is_same(&other, &signed)) {
            return Err(Failure::usage(
                format!("`{}` has no nonce in a header", chosen.name),
                "--nonce would be nowhere in the request",
                "leave out --nonce; an event id of this scheme is in the body",
            ));
        }
    }
    if args.print_message {
        return print_message(&chosen, &signed, printer);
    }
    let signed = match &args.origin {
        None => signed,
        Some(_) => lead(signed, request.uri(), &target)?,
    };
    *request.uri_mut() = target;
    if args.send {
        return send(signed, printer);
    }
    if args.curl {
        let file = args.data_file.as_deref();
        let file = file.filter(|_| signed.body() == request.body());
        let command = curl_command::write(&signed, file).ok_or_else(|| {
            Failure::usage(
                "there is no curl command for this request",
                "its URL or a header has a control or invisible character, or is not UTF-8",
                "leave out --curl, or send it with --send",
            )
        })?;
        printer.text(&command);
        return Ok(Exit::Done);
    }
    print(&signed, &request, printer);
    Ok(Exit::Done)
}

fn unsigned(args: &SignArgs) -> Result<Request<Bytes>, Failure> {
    let body = match (&args.data, &args.data_file) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(file)) => body_of(file)?,
        (None, None) => Bytes::new(),
    };
    let uri = whole(&args.url.parse(), &args.url)?;
    let mut request = Request::builder().method(args.method.clone()).uri(uri);
    for header in &args.headers {
        let (name, value) = read_header(header)?;
        request = request.header(name, value);
    }
    request.body(body).map_err(|error| {
        Failure::usage(
            "the request cannot be made",
            error.to_string(),
            "check URL and headers",
        )
    })
}

/// A URL with a host.
fn whole(read: &Result<Uri, InvalidUri>, text: &str) -> Result<Uri, Failure> {
    let advice = "write the whole URL, such as https://example.com/hooks";
    match read {
        Err(error) => Err(Failure::usage(
            format!("`{text}` is not a URL"),
            error.to_string(),
            advice,
        )),
        Ok(uri) if uri.scheme().is_none() || uri.authority().is_none() => Err(Failure::usage(
            format!("`{text}` is not a whole URL"),
            "the request goes to a host, and some schemes cover it",
            advice,
        )),
        Ok(uri) => Ok(uri.clone()),
    }
}

/// Leads a request to its target, though it was signed for another host: the host stays in `Host`. If
/// the scheme has changed the URL, the query goes along.
fn lead(
    mut signed: Request<Bytes>,
    unsigned: &Uri,
    target: &Uri,
) -> Result<Request<Bytes>, Failure> {
    let cannot = |why: String| Failure::usage("the request cannot be led to its URL", why, "");
    if let (Some(authority), false) = (
        signed.uri().authority(),
        signed.headers().contains_key(HOST),
    ) {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|error| cannot(error.to_string()))?;
        signed.headers_mut().insert(HOST, host);
    }
    let query = signed.uri().query().map(str::to_owned);
    let is_changed = signed.uri() != unsigned;
    *signed.uri_mut() = match query.filter(|_| is_changed) {
        None => target.clone(),
        Some(query) => {
            let base = target.to_string();
            let base = base.split('?').next().unwrap_or_default();
            let led = format!("{base}?{query}").parse();
            led.map_err(|error: InvalidUri| cannot(error.to_string()))?
        }
    };
    Ok(signed)
}

fn read_header(text: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let read = text
        .split_once(':')
        .and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    read.ok_or_else(|| {
        Failure::usage(
            format!("`{text}` is not a header"),
            "a header is a name, a colon and a value",
            "write it as -H 'content-type: application/json'",
        )
    })
}

fn is_same(one: &Request<Bytes>, other: &Request<Bytes>) -> bool {
    one.headers() == other.headers() && one.body() == other.body()
}

/// The headers that were added or changed.
fn added<'s>(
    signed: &'s Request<Bytes>,
    request: &'s Request<Bytes>,
) -> impl Iterator<Item = (&'s HeaderName, &'s HeaderValue)> {
    let before = request.headers();
    let is_new = move |name: &HeaderName, value: &HeaderValue| {
        !before.get_all(name).iter().any(|known| known == value)
    };
    signed
        .headers()
        .iter()
        .filter(move |(name, value)| is_new(name, value))
}

/// The message as the library builds it again from the signed request.
fn print_message(
    chosen: &Chosen,
    signed: &Request<Bytes>,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let (head, body) = signed.clone().into_parts();
    let signatures = chosen
        .inspector(None)
        .inspect(&head, &body)
        .map_err(|rejection| {
            Failure::usage("the signed message cannot be shown", reason(&rejection), "")
        })?;
    let pieces = signatures
        .first()
        .map(Inspected::pieces)
        .unwrap_or_default();
    let message: Vec<&[u8]> = pieces.iter().map(Piece::bytes).collect();
    printer.raw(&message.concat());
    Ok(Exit::Done)
}

fn print(signed: &Request<Bytes>, request: &Request<Bytes>, printer: &Printer) {
    let is_rewritten = signed.body() != request.body();
    if printer.is_json() {
        let headers: Vec<_> = added(signed, request)
            .map(|(name, value)| json!([name.as_str(), visible(value.as_bytes())]))
            .collect();
        let body = is_rewritten.then(|| String::from_utf8_lossy(signed.body()));
        printer.object(&json!({
            "version": 1,
            "method": signed.method().as_str(),
            "url": signed.uri().to_string(),
            "headers": headers,
            "body": body,
        }));
        return;
    }
    for (name, value) in added(signed, request) {
        printer.line([Span::plain(format!(
            "{name}: {}",
            visible(value.as_bytes())
        ))]);
    }
    if signed.uri() != request.uri() {
        printer.line([Span::plain(signed.uri().to_string())]);
    }
    if is_rewritten {
        printer.line([Span::plain(String::from_utf8_lossy(signed.body()))]);
    }
}

fn send(signed: Request<Bytes>, printer: &Printer) -> Result<Exit, Failure> {
    let answer: Response<Bytes> = block_on(http_client::send(signed))??;
    let status = answer.status();
    let style = if status.is_success() {
        Span::good
    } else {
        Span::bad
    };
    printer.line([style(status.to_string())]);
    let headers = answer.headers().iter();
    let headers: Vec<_> = headers
        .map(|(n, v)| (n.as_str(), visible(v.as_bytes())))
        .collect();
    for (name, value) in &headers {
        printer.line([Span::faint(format!("{name}: {value}"))]);
    }
    let body = String::from_utf8_lossy(answer.body());
    if !body.is_empty() {
        printer.line([Span::plain(format!("\n{body}"))]);
    }
    printer.object(&json!({
        "version": 1, "status": status.as_u16(), "headers": headers, "body": body,
    }));
    Ok(if status.is_success() {
        Exit::Done
    } else {
        Exit::Found
    })
}
