//! A curl command line, as browsers and documentation have it.

use std::{fs::File, io::Read as _, path::Path};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, Version};

use super::{
    input::{MAX_LEN, Unreadable, unreadable},
    words,
};

/// Options that change nothing about the request, and take no value.
const FLAGS: &[&str] = &[
    "--compressed",
    "--fail",
    "--fail-with-body",
    "--globoff",
    "--http1.1",
    "--http2",
    "--include",
    "--insecure",
    "--ipv4",
    "--ipv6",
    "--location",
    "--location-trusted",
    "--no-buffer",
    "--no-progress-meter",
    "--path-as-is",
    "--show-error",
    "--silent",
    "--verbose",
    "-#",
    "-4",
    "-6",
    "-L",
    "-N",
    "-S",
    "-f",
    "-g",
    "-i",
    "-k",
    "-s",
    "-v",
];

/// Options that change nothing about the request, and take a value.
const WITH_VALUE: &[&str] = &[
    "--cacert",
    "--cert",
    "--connect-timeout",
    "--key",
    "--max-time",
    "--output",
    "--proxy",
    "--resolve",
    "--retry",
    "--write-out",
    "-E",
    "-m",
    "-o",
    "-w",
    "-x",
];

const ADVICE: &str = "leave out the option if it does not change the request, or save the request \
                      as raw HTTP/1.1";

#[derive(Default)]
struct Command {
    method: Option<String>,
    url: Option<String>,
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    data: Option<Vec<u8>>,
    is_query: bool,
    is_head: bool,
    implied: Vec<(&'static str, &'static str)>,
}

pub(super) fn parse(text: &str) -> Result<Request<Bytes>, Unreadable> {
    let words = words::split(text.trim()).ok_or_else(|| {
        unreadable(
            "a quote of the curl command is never closed",
            "copy the whole command",
        )
    })?;
    let mut command = Command::default();
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        let (option, inline) = split_option(&word);
        let mut value = || {
            let value = inline.map(str::to_owned).or_else(|| words.next());
            value.ok_or_else(|| {
                unreadable(
                    format!("the option `{option}` of the curl command has no value"),
                    "copy the whole command",
                )
            })
        };
        match option {
            "-X" | "--request" => command.method = Some(value()?),
            "-H" | "--header" => command.header(&value()?)?,
            "-d" | "--data" | "--data-ascii" => command.data(&value()?, true)?,
            "--data-raw" => command.append(value()?.as_bytes())?,
            "--data-binary" => command.data(&value()?, false)?,
            "--data-urlencode" => command.encoded(&value()?)?,
            "--json" => {
                let value = value()?;
                command.implied.push(("content-type", "application/json"));
                command.implied.push(("accept", "application/json"));
                match value.strip_prefix('@') {
                    Some(file) => command.raw(&file_of(file)?)?,
                    None => command.raw(value.as_bytes())?,
                }
            }
            "-A" | "--user-agent" => command.header(&format!("user-agent: {}", value()?))?,
            "-e" | "--referer" => command.header(&format!("referer: {}", value()?))?,
            "-b" | "--cookie" => command.header(&format!("cookie: {}", value()?))?,
            "-G" | "--get" => command.is_query = true,
            "-I" | "--head" => command.is_head = true,
            "--url" => command.url = Some(value()?),
            flag if FLAGS.contains(&flag) => {}
            option if WITH_VALUE.contains(&option) => drop(value()?),
            option if option.starts_with('-') && option.len() > 1 => {
                return Err(unreadable(
                    format!("the option `{option}` of the curl command is not known here"),
                    ADVICE,
                ));
            }
            _ if command.url.is_none() => command.url = Some(word),
            _ => {
                return Err(unreadable(
                    "the curl command has two URLs",
                    "keep one request in the file",
                ));
            }
        }
    }
    command.request()
}

/// `-XPOST` and `--request=POST` hold option and value in one word; `-sS` is two flags.
fn split_option(word: &str) -> (&str, Option<&str>) {
    if let Some((name, value)) = word.split_once('=')
        && name.starts_with("--")
    {
        return (name, Some(value));
    }
    let is_short = word.starts_with('-') && !word.starts_with("--");
    if let Some((short, rest)) = word
        .split_at_checked(2)
        .filter(|(_, rest)| is_short && !rest.is_empty())
    {
        if FLAGS.contains(&short) {
            // Only flags follow a flag here, and the request is the same without them.
            return (short, None);
        }
        return (short, Some(rest));
    }
    (word, None)
}

fn file_of(name: &str) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let file = File::open(Path::new(name));
    let read = file.and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        unreadable(
            format!("the curl command takes its body from `{name}`, which cannot be read: {error}"),
            "run this command in the folder of that file",
        )
    })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_LEN {
        return Err(too_long());
    }
    Ok(bytes)
}

fn too_long() -> Unreadable {
    unreadable(
        format!(
            "the body of the curl command is longer than {} MiB",
            MAX_LEN / 1024 / 1024
        ),
        "check the files behind `@`: no webhook is that long",
    )
}

impl Command {
    fn header(&mut self, text: &str) -> Result<(), Unreadable> {
        let wrong = || {
            unreadable(
                format!("`{text}` of the curl command is not a header"),
                "copy it again",
            )
        };
        // `name;` is a header without a value, and `name:` removes one.
        let (name, value) = match (text.split_once(':'), text.strip_suffix(';')) {
            (Some((name, value)), _) if value.trim().is_empty() => (name, None),
            (Some((name, value)), _) => (name, Some(value.trim())),
            (None, Some(name)) => (name, Some("")),
            (None, None) => return Err(wrong()),
        };
        let name = name.trim().parse().map_err(|_| wrong())?;
        let value = value.map(str::parse).transpose().map_err(|_| wrong())?;
        self.headers.push((name, value));
        Ok(())
    }

    /// `-d` and `--data-binary`: a text, or the file behind `@`.
    fn data(&mut self, value: &str, strips: bool) -> Result<(), Unreadable> {
        let Some(file) = value.strip_prefix('@') else {
            return self.append(value.as_bytes());
        };
        let mut bytes = file_of(file)?;
        if strips {
            bytes.retain(|b| !matches!(b, b'\r' | b'\n' | 0));
        }
        self.append(&bytes)
    }

    fn encoded(&mut self, value: &str) -> Result<(), Unreadable> {
        let (name, content) = value.split_once('=').unwrap_or(("", value));
        if content.contains('@') && name.is_empty() && !value.contains('=') {
            return Err(unreadable(
                "`--data-urlencode` with a file is not known here",
                ADVICE,
            ));
        }
        let mut text = String::new();
        if !name.is_empty() {
            text.push_str(name);
            text.push('=');
        }
        for byte in content.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
        self.append(text.as_bytes())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if self.data.as_ref().is_some_and(|data| !data.is_empty()) {
            self.raw(b"&")?;
        }
        self.raw(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let data = self.data.get_or_insert_default();
        if u64::try_from(data.len() + bytes.len()).unwrap_or(u64::MAX) > MAX_LEN {
            return Err(too_long());
        }
        data.extend_from_slice(bytes);
        Ok(())
    }

    fn request(self) -> Result<Request<Bytes>, Unreadable> {
        let url = self
            .url
            .ok_or_else(|| unreadable("the curl command has no URL", "copy the whole command"))?;
        let mut url = if url.contains("://") {
            url
        } else {
            format!("http://{url}")
        };
        let data = match self.data {
            Some(data) if self.is_query => {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&String::from_utf8_lossy(&data));
                None
            }
            data => data,
        };
        let uri: Uri = url
            .split('#')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|error| {
                unreadable(
                    format!("the URL of the curl command is not a URL: {error}"),
                    "copy it again",
                )
            })?;
        let method = match (self.method, &data) {
            (Some(method), _) => method,
            (None, _) if self.is_head => "HEAD".to_owned(),
            (None, Some(_)) => "POST".to_owned(),
            (None, None) => "GET".to_owned(),
        };
        // The URL is whole, as in HTTP/2; on the wire of HTTP/1.1 only its path will be there.
        let version = Version::HTTP_2;
        let mut request = Request::builder()
            .method(&*method)
            .uri(uri)
            .version(version);
        let mut implied = self.implied;
        if data.is_some() && implied.is_empty() {
            implied.push(("content-type", "application/x-www-form-urlencoded"));
        }
        for (name, value) in implied {
            if !self.headers.iter().any(|(known, _)| known == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in self.headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
            .body(data.unwrap_or_default().into())
            .map_err(|error| unreadable(error.to_string(), "copy the command again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_a_browser_is_read() {
        let text = "curl 'https://a.example/x?y=1' \\\n  -H 'X-Id: 7' --compressed -sS \\\n  \
                    --data-raw $'{\"a\":\"\\u00e9\"}'";
        let request = parse(text).ok().unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://a.example/x?y=1");
        assert_eq!(request.headers()["x-id"], "7");
        assert_eq!(
            request.headers()["content-type"],
            "application/x-www-form-urlencoded"
        );
        assert_eq!(request.body(), "{\"a\":\"\u{e9}\"}".as_bytes());
    }

    #[test]
    fn options_are_read_as_curl_reads_them() {
        let read = |text: &str| parse(text).ok();
        let json = read("curl --json {} -XPUT a.example -H 'accept: text/plain'").unwrap();
        assert_eq!(json.method(), "PUT");
        assert_eq!(json.headers()["content-type"], "application/json");
        assert_eq!(json.headers()["accept"], "text/plain");
        let query = read("curl -G -d a=1 -d b=2 http://a.example/?c").unwrap();
        assert_eq!(
            (query.method().as_str(), query.uri().query()),
            ("GET", Some("c&a=1&b=2"))
        );
        let encoded = read("curl --data-urlencode 'a=b c' http://a.example").unwrap();
        assert_eq!(encoded.body(), "a=b%20c");
        for refused in [
            "curl",
            "curl -H",
            "curl -F a=b x",
            "curl x y",
            "curl -d @/no/file x",
            "curl -d @/dev/zero x",
            "curl 'x",
        ] {
            assert!(read(refused).is_none(), "{refused}");
        }
    }
}
