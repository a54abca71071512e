//! A client of hyper's, for each version of HTTP.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Over which version of HTTP.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Http1,
    Http2,
}

pub type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub fn client(self) -> HttpClient {
        Client::builder(TokioExecutor::new())
            .http2_only(matches!(self, Self::Http2))
            .build_http()
    }
}
