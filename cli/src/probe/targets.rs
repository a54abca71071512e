//! The targets of a probe: the request of the command line, or operations of a document.

use std::path::Path;

use bytes::Bytes;
use http::{HeaderName, Uri};

use super::{
    event::{Event, Source},
    openapi::{self, Document, Operation},
    site::{Site, Sites},
    subject::Template,
    wire::Wire,
};
use crate::{args::ProbeArgs, exit::Failure, request::body_of};

/// A request, and where it goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) template: Template,
    pub(crate) wire: Wire,
}

/// All targets that the command line names, and notes of what a document has besides. Each host is
/// allowed, or nothing is sent to any.
pub(crate) async fn targets(
    args: &ProbeArgs,
    sites: &mut Sites,
) -> Result<(Vec<Target>, Vec<String>), Failure> {
    let event = Source::new(String::new(), 0).event();
    let Some(openapi) = &args.openapi else {
        let url = args.url.as_deref().unwrap_or_default();
        let site = site(args, sites, &event, url).await?;
        return Ok((vec![target(args, of_command_line(args)?, site)], Vec::new()));
    };
    let (templates, left_out) = operations(args, openapi, sites).await?;
    let mut targets = Vec::new();
    for template in templates {
        let site = site(args, sites, &event, &template.url).await?;
        targets.push(target(args, template, site));
    }
    Ok((targets, left_out))
}

fn target(args: &ProbeArgs, template: Template, site: Site) -> Target {
    Target {
        template,
        wire: Wire {
            site,
            is_http2: args.http2,
        },
    }
}

async fn site(
    args: &ProbeArgs,
    sites: &mut Sites,
    event: &Event,
    url: &str,
) -> Result<Site, Failure> {
    sites
        .site(&parsed(&event.fill(url, 0))?, args.timeout)
        .await
}

/// The requests of the chosen operations, and notes of those that are left out.
async fn operations(
    args: &ProbeArgs,
    openapi: &str,
    sites: &mut Sites,
) -> Result<(Vec<Template>, Vec<String>), Failure> {
    let is_url = openapi.starts_with("http://") || openapi.starts_with("https://");
    let text = match is_url {
        true => fetched(args, openapi, sites).await?,
        false => body_of(Path::new(openapi))?,
    };
    let document = Document::parse(&text, openapi)?;
    let server = args.server.clone().or_else(|| document.server());
    let origin = if is_url { origin(openapi) } else { "" };
    let server = match server {
        Some(server) if server.contains("://") => server,
        Some(path) if is_url => format!("{origin}{path}"),
        None if is_url => origin.to_owned(),
        _ => {
            return Err(Failure::usage(
                format!("`{}` names no server", document.name()),
                "the document has no server with a whole URL",
                "add --server http://127.0.0.1:8000",
            ));
        }
    };
    let own = headers(&args.headers)?;
    let is_wanted = |id: Option<&str>, path: &str| {
        let is_named = id.is_some_and(|id| args.operation.iter().any(|named| named == id));
        let is_placed = args.path.iter().any(|placed| placed == path);
        (args.operation.is_empty() && args.path.is_empty()) || is_named || is_placed
    };
    let (mut chosen, mut writing, mut unmade) = (Vec::new(), Vec::new(), Vec::new());
    for Operation { name, template } in Operation::all(&document, &server, &is_wanted)? {
        match template {
            None => unmade.push(name),
            Some(template) if args.allow_writes || template.method.is_safe() => {
                chosen.push(template);
            }
            Some(_) => writing.push(name),
        }
    }
    let left_out: Vec<String> = [
        ("that write", "--allow-writes probes them", writing),
        (
            "whose requests cannot be made",
            "a reference may lead nowhere",
            unmade,
        ),
    ]
    .into_iter()
    .filter(|(.., names)| !names.is_empty())
    .map(|(which, advice, names)| {
        format!(
            "Operations {which} were left out ({advice}): {}.",
            listed(&names)
        )
    })
    .collect();
    if chosen.is_empty() {
        let why = match left_out.is_empty() {
            true => "none has such an id or such a path".to_owned(),
            false => left_out.join(" "),
        };
        return Err(Failure::usage(
            format!("no operation of `{}` is probed", document.name()),
            why,
            "name operations with --operation or --path; --allow-writes also probes those that write",
        ));
    }
    for template in &mut chosen {
        let headers = &mut template.headers;
        headers.retain(|(name, _)| !own.iter().any(|(own, _)| own == name));
        headers.extend(own.iter().cloned());
    }
    Ok((chosen, left_out))
}

/// The first names, and how many more there are. A document of a stranger may have any number of any
/// length.
fn listed(names: &[String]) -> String {
    const NAMES: usize = 8;
    const LETTERS: usize = 80;
    let first = names.iter().take(NAMES);
    let first: Vec<String> = first
        .map(|name| name.chars().take(LETTERS).collect())
        .collect();
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

/// Scheme and authority of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(start..).and_then(|rest| rest.find('/'));
    path.and_then(|at| url.get(..start + at)).unwrap_or(url)
}

/// The document at a URL.
async fn fetched(args: &ProbeArgs, url: &str, sites: &mut Sites) -> Result<Bytes, Failure> {
    let uri = parsed(url)?;
    let mut site = sites.site(&uri, args.timeout).await?;
    site.max_answer = openapi::MAX_LEN;
    let request = http::Request::builder().uri(uri).body(Bytes::new());
    let failed = |why: String| {
        Failure::unable(
            format!("cannot read `{url}`"),
            why,
            "check the URL, or save the document to a file",
        )
    };
    let request = request.map_err(|error| failed(error.to_string()))?;
    let wire = Wire {
        site,
        is_http2: false,
    };
    let answer = wire.one(&request).await.answer.map_err(failed)?;
    match answer.status.is_success() {
        true => Ok(answer.body),
        false => Err(failed(format!("it is answered with {}", answer.status))),
    }
}

fn of_command_line(args: &ProbeArgs) -> Result<Template, Failure> {
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
        method: args.method.clone().unwrap_or_default(),
        url,
        headers: headers(&args.headers)?,
        body,
    })
}

pub(crate) fn headers(texts: &[String]) -> Result<Vec<(HeaderName, String)>, Failure> {
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

pub(crate) fn parsed(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|error| {
        Failure::usage(
            format!("`{url}` is not a URL"),
            format!("{error}"),
            "write the whole URL, such as http://127.0.0.1:8000/hooks",
        )
    })
}
