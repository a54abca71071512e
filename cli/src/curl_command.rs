//! A request as a curl command.

use std::path::Path;

use bytes::Bytes;
use http::Request;

/// A command for a shell of POSIX that sends exactly this request.
///
/// The body is in the file, if there is one.
pub(crate) fn write(signed: &Request<Bytes>, file: Option<&Path>) -> String {
    let mut command = String::from("curl --path-as-is --globoff");
    let mut add = |text: &str| {
        command.push_str(" \\\n  ");
        command.push_str(text);
    };
    add(&format!(
        "-X {} {}",
        quoted(signed.method().as_str()),
        quoted(&signed.uri().to_string())
    ));
    for (name, value) in signed.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let header = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        add(&format!("-H {}", quoted(&header)));
    }
    let body = signed.body();
    if body.is_empty() {
        return command;
    }
    // curl would add one of its own, which the signature does not cover.
    if !signed.headers().contains_key("content-type") {
        add("-H 'content-type:'");
    }
    match (file, std::str::from_utf8(body)) {
        (Some(file), _) => add(&format!(
            "--data-binary {}",
            quoted(&format!("@{}", file.display()))
        )),
        (None, Ok(text)) if !text.contains('\0') && !text.starts_with('@') => {
            add(&format!("--data-binary {}", quoted(text)));
        }
        _ => {
            add("--data-binary @-");
            let octal: String = body.iter().map(|byte| format!("\\0{byte:03o}")).collect();
            command = format!("printf '%b' '{octal}' | {command}");
        }
    }
    command
}

/// A word for a shell of POSIX.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
