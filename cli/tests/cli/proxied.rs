//! A running `countersign proxy` in front of a server, and raw requests to it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use countersign::{HttpMessageSignatures, Signer};
use http::Request;

use crate::{
    listening::Listening,
    session::{SECRET, Session},
    upstream::{Seen, Upstream},
};

pub(crate) const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";

/// The body of the requests that tests sign.
pub(crate) const ORDER: &str = r#"{"amount": 10}"#;

/// The settings of a route, unless a test names others.
pub(crate) const KEYS: &str = r#"
scheme = "http-message-signatures"
keys = [{ id = "partner-1", file = "secret" }]
danger-any-authority = true
"#;

/// A proxy with one route for `/`.
pub(crate) struct Proxied<'s> {
    pub(crate) listening: Listening<'s>,
}

/// Writes the configuration of one route for `/`, and makes its store.
pub(crate) fn configure(session: &Session, upstream: &str, route: &str) {
    configure_with(session, &format!("address = \"{upstream}\""), route);
}

pub(crate) fn configure_with(session: &Session, upstream: &str, route: &str) {
    session.file(
        "proxy.toml",
        format!(
            "listen = [\"127.0.0.1:0\"]\naccess-log = false\nstore = \"sqlite:used.db\"\n\n[upstreams.app]\n{upstream}\n\n\
             [[routes]]\nname = \"all\"\nupstream = \"app\"\npath = \"/\"\n{route}\n"
        ),
    );
    session.stdout("countersign store migrate sqlite:used.db --danger-assume-no-history");
}

/// Changes the configuration.
pub(crate) fn edit(session: &Session, from: &str, to: &str) {
    let text = std::fs::read_to_string(session.path().join("proxy.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    session.file("proxy.toml", text.replacen(from, to, 1));
}

/// Adds a route that is open, for `/open`.
pub(crate) fn add_open_route(session: &Session) {
    let open =
        "[[routes]]\nname = \"open\"\nupstream = \"app\"\npath = \"/open\"\ndanger-open = true\n";
    edit(session, "[[routes]]", &format!("{open}\n[[routes]]"));
}

/// A request that nobody signed, for a connection of its own.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

/// Starts with the configuration that was written, and an address for operators: returns that too.
pub(crate) fn with_admin(session: &Session) -> (Proxied<'_>, String) {
    edit(session, "listen =", "admin = \"127.0.0.1:0\"\nlisten =");
    administered(session)
}

/// The same with an address for operators that was written.
pub(crate) fn administered(session: &Session) -> (Proxied<'_>, String) {
    let mut proxied = Proxied::of(session);
    let admin = proxied.listening.object();
    let admin = admin["admin"].as_str().unwrap().strip_prefix("http://");
    let admin = admin.unwrap().to_owned();
    (proxied, admin)
}

/// A signed request, as bytes.
pub(crate) fn transfer(session: &Session) -> String {
    Signed::new(session, "POST", "/transfer", ORDER).raw()
}

/// Adds a table to the configuration.
pub(crate) fn add(session: &Session, table: &str) {
    let before = "[upstreams.app]";
    edit(session, before, &format!("{table}\n{before}"));
}

impl<'s> Proxied<'s> {
    pub(crate) fn start(session: &'s Session, upstream: &Upstream, route: &str) -> Self {
        configure(session, &upstream.url, route);
        Self::of(session)
    }

    /// Starts with the configuration that was written.
    pub(crate) fn of(session: &'s Session) -> Self {
        Self {
            listening: Listening::proxy(session),
        }
    }

    /// Sends bytes on a connection of their own, and reads until the proxy closes it.
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        send(self.listening.address(), bytes.as_ref())
    }

    /// The same on a thread of its own.
    pub(crate) fn sending(&self, raw: &str) -> thread::JoinHandle<Answer> {
        let (address, raw) = (self.listening.address().to_owned(), raw.to_owned());
        thread::spawn(move || send(&address, raw.as_bytes()))
    }
}

/// All that came back on a connection.
#[derive(Debug)]
pub(crate) struct Answer(pub(crate) String);

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.statuses().first().copied().unwrap_or_default()
    }

    /// Returns the status of each answer on the connection.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let parts = self.0.split("HTTP/1.").skip(1);
        parts.map(|part| part[2..5].parse().unwrap()).collect()
    }

    pub(crate) fn code(&self) -> &str {
        let rest = self.0.split("\"code\":\"").nth(1).unwrap_or_default();
        rest.split('"').next().unwrap_or_default()
    }
}

pub(crate) fn send(address: &str, bytes: &[u8]) -> Answer {
    exchange(TcpStream::connect(address).unwrap(), bytes)
}

/// The same to a server that may be gone: then the answer is empty.
pub(crate) fn try_send(address: &str, bytes: &[u8]) -> Answer {
    match TcpStream::connect(address) {
        Ok(stream) => exchange(stream, bytes),
        Err(_) => Answer(String::new()),
    }
}

fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Answer {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // A proxy that refuses early may have closed the connection.
    let _ = stream.write_all(bytes);
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read);
    Answer(String::from_utf8_lossy(&read).into_owned())
}

/// A request that was signed, in its pieces.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Lines with their ends, the host and the signature among them.
    pub(crate) lines: String,
    pub(crate) body: String,
}

impl Signed {
    /// Signs a request to `api.example.com` by RFC 9421; `fields` are covered.
    pub(crate) fn new(session: &Session, method: &str, path: &str, body: &str) -> Self {
        Self::by(
            session,
            "http-message-signatures --key-id partner-1",
            method,
            path,
            body,
        )
    }

    /// Signs requests by RFC 9421, the number of each as its amount.
    pub(crate) fn many(count: usize) -> Vec<Self> {
        let scheme = HttpMessageSignatures::default();
        let signer = Signer::new(scheme, "partner-1", SECRET).unwrap();
        let sign = |number: usize| {
            let request = Request::post("http://api.example.com/transfer")
                .header("host", "api.example.com")
                .header("content-type", "application/json")
                .body(format!("{{\"amount\":{number}}}"));
            let (head, body) = signer.sign(request.unwrap()).unwrap().into_parts();
            let lines = head.headers.iter();
            let lines =
                lines.map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
            Self {
                method: "POST".to_owned(),
                path: "/transfer".to_owned(),
                lines: lines.collect(),
                body,
            }
        };
        (0..count).map(sign).collect()
    }

    /// Signs with this scheme and these options.
    pub(crate) fn by(
        session: &Session,
        scheme: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Self {
        session.file("body", body);
        let data = match body.is_empty() {
            true => "",
            false => "-H 'content-type: application/json' --data-file body",
        };
        let added = session.stdout(&format!(
            "countersign sign {scheme} --secret-file secret {data} {method} \
             'http://api.example.com{path}'"
        ));
        let mut lines = "host: api.example.com\r\n".to_owned();
        if !body.is_empty() {
            lines.push_str("content-type: application/json\r\n");
        }
        for line in added.lines() {
            lines.push_str(line);
            lines.push_str("\r\n");
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            lines,
            body: body.to_owned(),
        }
    }

    /// The head without its last line end, with more lines.
    pub(crate) fn head(&self, more: &str) -> String {
        let Self {
            method,
            path,
            lines,
            ..
        } = self;
        format!("{method} {path} HTTP/1.1\r\n{lines}{more}")
    }

    /// The whole request, with more lines, for a connection of its own.
    pub(crate) fn with(&self, more: &str) -> String {
        let length = self.body.len();
        let head = self.head(more);
        format!(
            "{head}content-length: {length}\r\nconnection: close\r\n\r\n{}",
            self.body
        )
    }

    pub(crate) fn raw(&self) -> String {
        self.with("")
    }
}

/// Fails unless exactly this body came, once, under one length of its own.
pub(crate) fn one_request(seen: &[Seen], body: &str) -> Seen {
    assert_eq!(seen.len(), 1, "{seen:?}");
    let one = seen[0].clone();
    assert_eq!(String::from_utf8_lossy(&one.body), body);
    let lower = one.head.to_ascii_lowercase();
    let lengths: Vec<_> = lower
        .lines()
        .filter(|line| line.starts_with("content-length"))
        .collect();
    assert_eq!(
        lengths,
        [format!("content-length: {}", body.len())],
        "{lower}"
    );
    assert!(!lower.contains("transfer-encoding"), "{lower}");
    one
}
