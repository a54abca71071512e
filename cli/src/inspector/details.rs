//! One request: its verdict, what is covered, its head and its body.

use bytes::Bytes;
use countersign::inspect::Inspector;
use http::{Request, Uri};
use maud::{Markup, html};

use super::{
    actions::Replays,
    body::{MAX_HEX, MAX_TEXT, hex, json},
    message::messages,
    text,
};
use crate::{
    curl_command,
    listen::{Record, Searched, Verdict, bytes, shown},
    time,
    verification::{Facts, advice, reason},
};

pub(super) fn details(
    record: &Record,
    base: &str,
    replays: &Replays,
    reader: &Inspector,
) -> Markup {
    let word = record.verdict.word();
    html! {
        header.title.(word) {
            h2 #title tabindex="-1" {
                span.verdict.(word) { (word) } " "
                span.method { (text::line(record.method().as_bytes())) } " "
                bdi { (text::line(record.target().as_bytes())) }
            }
            p.muted { (summary(record)) }
        }
        (cause(record))
        (actions(record, base, replays))
        @if let Verdict::Verified(facts) = &record.verdict { (signature(facts)) }
        (messages(record, reader))
        section {
            h3 { "Head" }
            (head(record))
        }
        section.body {
            h3 { "Body " span.muted { (bytes(record.request.body().len())) } }
            (body(record))
        }
    }
}

fn summary(record: &Record) -> String {
    let mut facts = vec![
        format!("#{}", record.id),
        time::show(record.at),
        format!("{:?}", record.request.version()),
        format!("answered {} in {}", record.status, shown(record.took)),
    ];
    if let Some(upstream) = &record.upstream {
        facts.push(match &upstream.answer {
            Ok(status) => format!("upstream {status} in {}", shown(upstream.took)),
            Err(why) => format!("upstream: no answer, {why}"),
        });
    }
    facts.join(" · ")
}

/// Why the request is refused, and what to do.
fn cause(record: &Record) -> Markup {
    html! {
        @if let Verdict::Refused(rejection) = &record.verdict {
            section.cause.(record.verdict.word()) aria-label="Cause" {
                p { code { (rejection.kind().code()) } }
                p.reason { (text::line(reason(rejection).as_bytes())) }
                @if let Some(searched) = &record.searched {
                    p.explained.found[searched.is_explained()] { (searched.sentence()) }
                    @for (side, fix) in searched.fixes() {
                        p { strong { (side) } ": " (fix) "." }
                    }
                }
                @if !record.searched.as_ref().is_some_and(Searched::is_explained) {
                    p.muted { (advice(rejection.kind())) }
                }
            }
        }
        @if let Some(cut) = record.cut() {
            section.cause.refused { p { "Not all of the body is here: " (cut) "." } }
        }
    }
}

fn actions(record: &Record, base: &str, replays: &Replays) -> Markup {
    let can_replay = replays.target().is_some() && record.cut().is_none();
    let can_sign = can_replay && replays.can_sign() && record.is_authentic();
    let is_refused = record.verdict.word() == "refused";
    let curl = (record.request.body().len() <= MAX_TEXT)
        .then(|| whole(record, base))
        .flatten()
        .and_then(|request| curl_command::write(&request, None));
    html! {
        section.actions aria-label="Actions" data-id=(record.id) {
            div.buttons {
                button type="button" data-action="replay" disabled[!can_replay] { "Replay" }
                button type="button" data-action="sign" disabled[!can_sign] { "Sign again" }
                span.joined {
                    label.hidden for="copies" { "Number of copies" }
                    input #copies type="number" min="1" max="256" value="8" disabled[!can_replay];
                    button type="button" data-action="copies" disabled[!can_replay] { "Send at once" }
                }
                @if curl.is_some() {
                    button type="button" data-action="copy" { "Copy as curl" }
                }
                a.button href={ "requests/" (record.id) "/har" } download={ "request-" (record.id) ".har" } {
                    "Download HAR"
                }
            }
            @if replays.target().is_none() {
                p.hint { "Start " code { "countersign listen" } " with " code { "--forward" } " to send requests again." }
            }
            @if can_replay && is_refused {
                label.confirm {
                    input #refused type="checkbox";
                    " Send it although it was refused: a stranger may have written it."
                }
            }
            output #answer aria-live="polite" {}
            @if let Some(curl) = curl {
                details {
                    summary { "curl command" }
                    pre #curl tabindex="0" { (curl) }
                }
            }
        }
    }
}

/// The request with the whole URL at which it came here.
fn whole(record: &Record, base: &str) -> Option<Request<Bytes>> {
    let mut request = record.request.clone();
    *request.uri_mut() = format!("{base}{}", record.target()).parse::<Uri>().ok()?;
    Some(request)
}

fn signature(facts: &Facts) -> Markup {
    html! {
        section {
            h3 { "Signature" }
            dl.facts {
                div { dt { "Key id" } dd { code { (text::line(facts.key_id.as_bytes())) } } }
                div {
                    dt { "Signed at" }
                    dd { (facts.signed_at.map_or("not covered".to_owned(), time::show)) }
                }
                @if let Some((kind, nonce)) = facts.nonce() {
                    div { dt { "Used once by" } dd { (kind) " " code { (text::line(nonce.as_bytes())) } } }
                }
                div {
                    dt { "Covered" }
                    dd { ul.parts { @for part in &facts.covered { li.covered { (text::line(part.as_bytes())) } } } }
                }
                @if !facts.uncovered.is_empty() {
                    div {
                        dt { "Not covered" }
                        dd { ul.parts { @for part in &facts.uncovered { li.uncovered { (text::line(part.as_bytes())) } } } }
                    }
                }
            }
        }
    }
}

/// The head, line by line. If the request is verified, uncovered parts are grey.
fn head(record: &Record) -> Markup {
    let facts = match &record.verdict {
        Verdict::Verified(facts) => Some(facts),
        Verdict::Refused(_) | Verdict::Handshake => None,
    };
    let class = |part: &str| match facts {
        None => "",
        Some(facts) if facts.covered.iter().any(|covered| covered == part) => "covered",
        Some(_) => "uncovered",
    };
    let uri = record.request.uri();
    html! {
        div.code tabindex="0" role="region" aria-label="Head" {
            div {
                span.(class("method")) { (text::line(record.method().as_bytes())) } " "
                span.(class("path")) { bdi { (text::line(uri.path().as_bytes())) } }
                @if let Some(query) = uri.query() {
                    "?" span.(class("query")) { bdi { (text::line(query.as_bytes())) } }
                }
            }
            @if let Some(authority) = uri.authority() {
                div.(class("authority")) { span.name { ":authority" } ": " bdi { (text::line(authority.as_str().as_bytes())) } }
            }
            @for (name, value) in &record.request.headers().clone() {
                @let part = if name == "host" { "authority".to_owned() } else { format!("header {name}") };
                div.(class(&part)) {
                    span.name { (name.as_str()) } ": " bdi { (text::line(value.as_bytes())) }
                }
            }
        }
        @if facts.is_some() {
            p.legend { span.covered { "covered" } " " span.uncovered { "not covered by the signature" } }
        }
    }
}

/// The body in three views.
fn body(record: &Record) -> Markup {
    let body = record.request.body();
    if body.is_empty() {
        return html! { p.muted { "There is none." } };
    }
    let json = json(body);
    let (text, is_whole) = text::lines(body, MAX_TEXT);
    let is_text = std::str::from_utf8(body).is_ok();
    let view = match (&json, is_text) {
        (Some(_), _) => "json",
        (None, true) => "text",
        (None, false) => "hex",
    };
    html! {
        div.views {
            fieldset {
                legend.hidden { "View" }
                @for (name, label) in [("json", "JSON"), ("text", "Text"), ("hex", "Hex")] {
                    label {
                        input.(name) type="radio" name="view" value=(name) checked[name == view]
                            disabled[name == "json" && json.is_none()];
                        span { (label) }
                    }
                }
            }
            @if let Some(json) = &json {
                pre.code.json tabindex="0" aria-label="Body as JSON" { (json) }
            }
            div.text {
                pre.code tabindex="0" aria-label="Body as text" { (text) }
                @if !is_whole { (cut_off(MAX_TEXT)) }
            }
            div.hex {
                pre.code tabindex="0" aria-label="Body in hex" { (hex(body)) }
                @if body.len() > MAX_HEX { (cut_off(MAX_HEX)) }
            }
        }
        p.legend.muted { "SHA-256 " code { (record.body_sha256()) } }
    }
}

fn cut_off(most: usize) -> Markup {
    html! { p.hint { "These are the first " (bytes(most)) "; the HAR file holds the whole body." } }
}
