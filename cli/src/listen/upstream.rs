//! Sending a captured request to another server: the bytes as they came, on a connection of its
//! own.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    request::Parts,
    uri::{PathAndQuery, Scheme},
};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tower_service::Service as _;

use super::{
    respelled::{Respelled, Wanted},
    spelling::Spelling,
};
use crate::{
    exit::Failure,
    http_client::causes,
    serving::{host, join_cookies, strip},
};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);

/// Where requests are sent on to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    base: Uri,
    /// A path that is put before that of each request, without a `/` at its end.
    prefix: String,
    connector: HttpsConnector<HttpConnector>,
}

impl Target {
    /// Reads the URL of a server.
    pub(crate) fn parse(option: &str, url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(
                format!("{option} `{url}` is not the URL of a server"),
                why,
                "write it as http://127.0.0.1:3000, or with a path that comes before all paths",
            )
        };
        let base: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        if base.authority().is_none_or(|of| of.as_str().contains('@')) || base.host().is_none() {
            return Err(wrong("it names no host, or it holds a user name"));
        }
        let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&base.scheme());
        if !is_http {
            return Err(wrong("it is neither http:// nor https://"));
        }
        if base.query().is_some() {
            return Err(wrong("it has a query, and each request brings its own"));
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            base,
            prefix,
            connector,
        })
    }

    /// Refuses a server that is not on this machine. Other names are refused, too: a name can lead to
    /// another address when the connection is opened.
    pub(crate) fn on_loopback(self, option: &str) -> Result<Self, Failure> {
        let host = self.base.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if is_loopback || host.eq_ignore_ascii_case("localhost") {
            return Ok(self);
        }
        Err(Failure::usage(
            format!("{option} `{}` is not on this machine", self.base),
            "a recorded request may still be good, and is sent again on loopback only",
            "give the address of a server on this machine, such as http://127.0.0.1:3000",
        ))
    }

    pub(crate) fn url(&self) -> String {
        self.base.to_string()
    }

    /// Sends a request on a new connection, and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        self.connect().await?.send(head, body).await
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection, String> {
        let mut connector = self.connector.clone();
        let wanted = Wanted::default();
        let connecting = async {
            let io = connector.call(self.base.clone()).await;
            let io = io.map_err(|error| causes(&*error))?;
            let connected = http1::handshake(Respelled::new(io, Arc::clone(&wanted))).await;
            connected.map_err(|error| causes(&error))
        };
        let connected = timeout(CONNECT, connecting).await;
        let (sender, connection) = connected.map_err(|_| {
            format!(
                "there was no connection within {} seconds",
                CONNECT.as_secs()
            )
        })??;
        tokio::spawn(async move {
            // The request on it says what went wrong.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            wanted,
            prefix: self.prefix.clone(),
        })
    }
}

/// A connection for one request.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Framed>,
    wanted: Wanted,
    prefix: String,
}

impl Connection {
    /// Sends the request, and waits for the head of the answer.
    pub(crate) async fn send(
        mut self,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        if let Some(spelling) = head.extensions.get::<Spelling>() {
            // It is the only request on this connection.
            let _ = self.wanted.set(spelling.clone());
        }
        let request = self.request(head, body)?;
        let answer = timeout(ANSWER, self.sender.send_request(request)).await;
        let answer = answer
            .map_err(|_| format!("there was no answer within {} seconds", ANSWER.as_secs()))?;
        let mut answer = answer.map_err(|error| causes(&error))?;
        strip(answer.headers_mut());
        Ok(answer)
    }

    fn request(&self, head: &Parts, body: Bytes) -> Result<Request<Framed>, String> {
        let mut head = head.clone();
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let target = format!("{}{target}", self.prefix).parse();
        let target: Uri = target.map_err(|error| format!("the target cannot be sent: {error}"))?;
        // HTTP/2 has it in the target.
        if let (Some(authority), false) = (head.uri.authority(), head.headers.contains_key(HOST)) {
            let host = host(authority);
            head.headers
                .insert(HOST, host.map_err(|error| error.to_string())?);
        }
        // Without a length, the client would leave out the body of a method that seldom has one.
        let is_bare = [Method::GET, Method::HEAD].contains(&head.method);
        let is_sized = is_bare || head.headers.contains_key(CONTENT_LENGTH) || body.is_empty();
        if head.version == Version::HTTP_2 {
            join_cookies(&mut head.headers).map_err(|error| error.to_string())?;
        }
        strip(&mut head.headers);
        head.uri = target;
        head.version = Version::HTTP_11;
        Ok(Request::from_parts(
            head,
            Framed {
                bytes: Some(body).filter(|body| !body.is_empty()),
                is_sized,
            },
        ))
    }
}

/// A body that says its length, or is sent in chunks, as the sender sent it.
#[derive(Debug)]
struct Framed {
    bytes: Option<Bytes>,
    is_sized: bool,
}

impl Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.is_sized {
            return SizeHint::new();
        }
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}
