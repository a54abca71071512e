//! Responses: a signature over status and body that is bound to the very request (RFC 9421,
//! section 2.4).

use http::{HeaderMap, StatusCode, request, response};

use super::{
    Candidate, Coverage, Form, Head, HttpMessageSignatures, Identifier, Name, Settings,
    base::Message,
    fields::{Input, SIGNATURE, SIGNATURE_INPUT, joined, read_signatures},
    signature::{Required, insufficient},
};
use crate::{
    error::SignError,
    mac::HashOutput,
    rejection::{Rejection, malformed},
    scheme::Signing,
    target::Target,
};

/// What of the request binds its response: where it was signed, its first signature, which no other
/// request has; else what it asked for.
fn binding(request: &HeaderMap) -> Result<Vec<Identifier<'static>>, Rejection> {
    let of_request = |name, form| Identifier {
        name,
        form,
        req: true,
    };
    if let Some(field) = joined(request, &SIGNATURE).map_err(malformed)? {
        let signatures = read_signatures(&field).map_err(malformed)?;
        let first = signatures.into_iter().find(|(_, mac)| mac.is_some());
        if let Some((label, _)) = first {
            let member = Form::Member(label.to_owned().into());
            return Ok(vec![of_request(Name::Field(SIGNATURE), member)]);
        }
    }
    let names = [Name::Method, Name::Authority, Name::Path, Name::Query];
    Ok(names.map(|name| of_request(name, Form::Plain)).into())
}

impl Settings {
    fn required_of_response(
        binding: &[Identifier<'static>],
    ) -> Required<impl Fn(&Input<'_>, &Coverage) -> Result<(), Rejection>> {
        Required {
            created: true,
            nonce: false,
            covered: |input: &Input<'_>, _: &Coverage| {
                let status = Identifier::of(Name::Status);
                let covers = |wanted: &Identifier<'_>| {
                    let mut covered = input.components.iter();
                    covered.any(|(covered, _)| covered.includes(wanted))
                };
                let mut wanted = binding.iter().chain([&status]);
                match wanted.find(|wanted| !covers(wanted)) {
                    None => Ok(()),
                    Some(missing) => Err(insufficient(format!(
                        "signature `{}` of the response does not cover {missing}; it covers {}",
                        input.label, input.text
                    ))),
                }
            },
        }
    }
}

fn head(request: &request::Parts) -> Result<Head<'_>, Rejection> {
    Ok(Head {
        method: &request.method,
        target: Target::of_outgoing(&request.uri, &request.headers)?,
        headers: &request.headers,
    })
}

impl HttpMessageSignatures {
    /// Reads the signatures of a response to this request, as it was sent.
    pub(crate) fn read_response(
        &self,
        request: &request::Parts,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Vec<Candidate<'static>>, Rejection> {
        let request = head(request)?;
        let message = Message::Response {
            status,
            headers,
            request: &request,
        };
        let binding = binding(request.headers)?;
        self.0
            .read(message, &Settings::required_of_response(&binding))
    }

    /// Signing, first half: as [`prepare`](super::Describe::prepare) does it for a request.
    pub(crate) fn prepare_response(
        &self,
        request: &request::Parts,
        parts: &mut response::Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let settings = &*self.0;
        let request = head(request)?;
        settings.write_digest(&mut parts.headers, signing.body, false);
        let binding = binding(request.headers)?;
        let mut covered = vec![Identifier::of(Name::Status)];
        covered.extend_from_slice(&binding);
        let description = settings.describe(&parts.headers, &covered, signing, None);
        let message = Message::Response {
            status: parts.status,
            headers: &parts.headers,
            request: &request,
        };
        let required = Settings::required_of_response(&binding);
        let candidate = settings.described(message, &description, &required)?;
        settings.append(&mut parts.headers, &SIGNATURE_INPUT, &description)?;
        Ok(candidate)
    }

    /// Signing, second half: writes the MAC.
    pub(crate) fn write_response(
        &self,
        parts: &mut response::Parts,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        self.0.write_mac(&mut parts.headers, mac)
    }
}
