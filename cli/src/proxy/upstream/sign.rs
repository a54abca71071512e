//! Signs a request of an application, and sends it to the upstream.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use countersign::Signer;
use http::{
    HeaderName, HeaderValue, Request, Response, Uri, Version,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Full;

use super::{
    address::Address,
    connections::{Failed, Upstream},
    outgoing::Outgoing,
};
use crate::{
    proxy::{
        answer::{AnswerBody, Refused},
        fields,
        seats::Of,
    },
    scheme::in_names,
    secret,
    serving::join_cookies,
};

/// Where the requests of a route go, as their signatures name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Origin {
    scheme: Scheme,
    pub(in crate::proxy) authority: Authority,
}

impl Origin {
    /// Reads `https://HOST`, or `http://HOST`.
    pub(in crate::proxy) fn parse(text: &str) -> Option<Self> {
        Self::of(&Address::parse(text, false, None).ok()?)
    }

    /// Returns the origin of an upstream. An upstream on a Unix socket has none.
    pub(in crate::proxy) fn of(address: &Address) -> Option<Self> {
        let (scheme, authority) = address.origin()?;
        Some(Self { scheme, authority })
    }
}

/// Signs requests, and sends them.
#[derive(Clone)]
pub(in crate::proxy) struct Signs {
    pub(in crate::proxy) upstream: Arc<Upstream>,
    pub(in crate::proxy) origin: Origin,
    pub(in crate::proxy) signer: Signer,
    /// The field in which the application says a nonce or an event id of its own.
    pub(in crate::proxy) id_header: Option<HeaderName>,
}

impl Signs {
    /// Sends a request, signed at the moment at which there is a connection for it.
    pub(in crate::proxy) async fn send(
        &self,
        head: Parts,
        body: Bytes,
    ) -> Result<Response<AnswerBody>, Failed> {
        let upstream = Arc::clone(&self.upstream);
        let checkout = upstream.check_out(Of::Application).await?;
        let (outgoing, body) = self.signed(head, body)?;
        let request = outgoing.with(Full::new(body), &self.upstream);
        let request = request.map_err(|refused| Failed::new(refused, "its head cannot be sent"))?;
        checkout.answer(request).await
    }

    fn signed(&self, mut head: Parts, body: Bytes) -> Result<(Outgoing, Bytes), Failed> {
        let unsignable = |cause: String| Failed::new(Refused::Unsignable, cause);
        if head.version == Version::HTTP_2 {
            let joined = join_cookies(&mut head.headers);
            joined.map_err(|error| unsignable(error.to_string()))?;
        }
        let path = head.uri.path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(self.origin.scheme.clone())
            .authority(self.origin.authority.clone())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let uri = uri.build().map_err(|error| unsignable(error.to_string()))?;
        let mut request = Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = fields::of_an_application(&head.headers);
        let id = match self.id(&head)? {
            Some(id) => id,
            None => secret::random().map_err(|why| Failed::new(Refused::Internal, why))?,
        };
        let signed = self.signer.sign_body(request, &id);
        let signed = signed.map_err(|error| unsignable(in_names(&error.to_string())))?;
        let (signed, body) = signed.into_parts();
        let path = signed.uri.path_and_query().cloned();
        let outgoing = Outgoing {
            method: signed.method,
            authority: self.origin.authority.clone(),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            headers: signed.headers,
        };
        Ok((outgoing, body))
    }

    /// The nonce or event id that the application gives.
    fn id(&self, head: &Parts) -> Result<Option<String>, Failed> {
        let Some(name) = &self.id_header else {
            return Ok(None);
        };
        let mut values = head.headers.get_all(name).iter();
        match (values.next().map(HeaderValue::to_str), values.next()) {
            (None, _) => Ok(None),
            (Some(Ok(id)), None) => Ok(Some(id.to_owned())),
            _ => {
                let cause = format!("header `{name}` is not one value in ASCII");
                Err(Failed::new(Refused::Unsignable, cause))
            }
        }
    }
}

impl fmt::Debug for Signs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signs")
            .field("upstream", &self.upstream)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
