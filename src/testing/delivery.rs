//! Requests, signed as their sender would sign them.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its request has failed"
)]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE, request};
use http_body_util::Full;

use crate::{
    client::{Signer, new_nonce},
    clock::Clock,
    scheme::Scheme,
};

/// Returns a delivery of this body, as the sender that knows this secret would sign it: a scheme
/// whose requests name no key, such as a [preset for webhooks](crate::scheme::webhooks).
///
/// # Panics
/// Panics if the requests of the scheme name their key, or the secret is not valid.
pub fn delivery(scheme: impl Scheme, secret: impl AsRef<str>, body: impl Into<Bytes>) -> Delivery {
    let signer = Signer::with_secret(scheme, secret).expect("a scheme that takes this secret");
    Delivery::by(signer, body)
}

/// A request to be signed: `POST /` with a JSON body, at the current time, unless it is told
/// otherwise.
#[derive(Clone, Debug)]
#[must_use = "`request` makes the request"]
pub struct Delivery {
    signer: Signer,
    head: request::Parts,
    body: Bytes,
    nonce: Option<String>,
}

impl Delivery {
    /// Returns a request with this body, to be signed by this signer: of any scheme, under any key.
    pub fn by(signer: Signer, body: impl Into<Bytes>) -> Self {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::POST;
        let json = HeaderValue::from_static("application/json");
        head.headers.insert(CONTENT_TYPE, json);
        Self {
            signer,
            head,
            body: body.into(),
            nonce: None,
        }
    }

    /// Sets where it goes: a path such as `/stripe`, or with a scheme that covers the authority a
    /// whole URI. Default: `/`.
    ///
    /// # Panics
    /// Panics if this is not a URI.
    pub fn to(mut self, uri: &str) -> Self {
        self.head.uri = uri.parse::<Uri>().expect("a URI");
        self
    }

    /// Sets the method. Default: `POST`.
    pub fn method(mut self, method: Method) -> Self {
        self.head.method = method;
        self
    }

    /// Sets a header, in place of any of the same name. Default: `content-type: application/json`.
    ///
    /// # Panics
    /// Panics if name or value is not that of a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the name of a header");
        let value = value.parse().expect("the value of a header");
        self.head.headers.insert(name, value);
        self
    }

    /// Sets the clock by which it is signed. Default: that of the signer, which is the system's
    /// unless it was given another.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.signer = self.signer.clock(clock);
        self
    }

    /// Sets the nonce or event id, where the scheme has one outside of the body. Default: 128
    /// random bits.
    ///
    /// The same id, signed at two times, makes a redelivery.
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// Returns the signed request. Each call signs again.
    ///
    /// # Panics
    /// Panics if the scheme cannot sign it.
    #[must_use]
    pub fn request(&self) -> Request<Full<Bytes>> {
        let request = Request::from_parts(self.head.clone(), self.body.clone());
        let nonce = self.nonce.clone().unwrap_or_else(new_nonce);
        let signed = self.signer.sign_body(request, &nonce);
        signed.expect("a request that can be signed").map(Full::new)
    }
}
