//! A request as a curl command.

use std::path::Path;

use bytes::Bytes;
use http::Request;

use crate::printer::is_harmful;

/// A command for a shell of POSIX that sends exactly this request.
///
/// The body is in the file, if there is one. A terminal obeys control characters also between quotes,
/// when the command is pasted: a body that has any is written as digits, and with one in the head
/// there is no command.
pub(crate) fn write(signed: &Request<Bytes>, file: Option<&Path>) -> Option<String> {
    let url = signed.uri().to_string();
    if url.contains(is_harmful) {
        return None;
    }
    let mut command = String::from("curl --path-as-is --globoff");
    let mut add = |text: &str| {
        command.push_str(" \\\n  ");
        command.push_str(text);
    };
    add(&format!(
        "-X {} {}",
        quoted(signed.method().as_str()),
        quoted(&url)
    ));
    for (name, value) in signed.headers() {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        if value.contains(is_harmful) {
            return None;
        }
        let header = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        add(&format!("-H {}", quoted(&header)));
    }
    let body = signed.body();
    if body.is_empty() {
        return Some(command);
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
        (None, Ok(text)) if !text.contains(is_harmful) && !text.starts_with('@') => {
            add(&format!("--data-binary {}", quoted(text)));
        }
        _ => {
            add("--data-binary @-");
            let octal: String = body.iter().map(|byte| format!("\\0{byte:03o}")).collect();
            command = format!("printf '%b' '{octal}' | {command}");
        }
    }
    Some(command)
}

/// A word for a shell of POSIX.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const HARMFUL: [&str; 6] = [
        "{\u{3}\ntouch owned\n",
        "\u{1b}[201~\ntouch owned\n",
        "\r\ntouch owned\r\n",
        "\u{9b}201~\ntouch owned\n",
        "a\u{202e}b",
        "a\u{61c}b",
    ];

    fn request(header: &str, body: &str) -> Request<Bytes> {
        let value = http::HeaderValue::from_bytes(header.as_bytes()).unwrap();
        Request::post("http://a.example/x")
            .header("x-id", value)
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn a_terminal_obeys_nothing_of_a_pasted_command() {
        for body in HARMFUL {
            let command = write(&request("7", body), None).unwrap();
            assert!(!command.contains(is_harmful), "{command:?}");
            assert!(!command.contains("touch"), "{command:?}");
            // The digits are the same bytes.
            let printed = command.split(" | ").next().unwrap();
            let said = Command::new("sh").args(["-c", printed]).output().unwrap();
            assert_eq!(said.stdout, body.as_bytes());
        }
        // The twin: a body without any is written as it is.
        let plain = write(&request("7", "{\n\t\"it's\": \"caf\u{e9}\"}"), None).unwrap();
        assert!(plain.contains("caf\u{e9}"), "{plain}");
    }

    #[test]
    fn there_is_no_command_for_a_head_that_a_terminal_obeys() {
        for value in ["a\u{9b}31m", "a\u{202e}b", "a\u{200b}b"] {
            assert_eq!(write(&request(value, ""), None), None, "{value:?}");
        }
        assert!(write(&request("caf\u{e9}", ""), None).is_some());
    }
}
