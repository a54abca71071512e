//! Responses: a signature over status and body that is bound to the very request (RFC 9421,
//! section 2.4).

use http::{HeaderMap, Method, StatusCode, response::Parts};

use super::{
    Announced, Candidate, Coverage, Form, Head, HttpMessageSignatures, Identifier, Name, Settings,
    base::Message,
    fields::{CONTENT_DIGEST, Listed, SIGNATURE, SIGNATURE_INPUT, joined, read_signatures},
    signature::{Required, insufficient},
};
use crate::{
    error::SignError,
    mac::HashOutput,
    rejection::{Rejection, RejectionKind, malformed},
    scheme::Signing,
};

/// Whether a response with this status, to a request with this method, can have a body (RFC 9110,
/// section 6.4.1). Of one that cannot, `content-digest` and `content-length` tell what another
/// response would have.
pub(crate) fn has_body(method: &Method, status: StatusCode) -> bool {
    let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *method != Method::HEAD && !never && !status.is_informational()
}

/// What of a request every response to it has to cover.
pub(crate) type Binding = Vec<Identifier<'static>>;

const TUNNEL: &str = "the protocol is switched: what follows could not be verified";

impl HttpMessageSignatures {
    /// What binds the responses to a request: where it was sent, what body it had, and
    /// its first signature, which no other request has.
    ///
    /// The signature alone would not do: it can be sent along with another request, to which a
    /// server gives another answer, be it a refusal.
    pub(crate) fn bind(&self, request: &Head<'_>) -> Result<Binding, Rejection> {
        let of_request = |name, form| Identifier {
            name,
            form,
            req: true,
        };
        let target = [Name::Method, Name::Authority, Name::Path, Name::Query];
        let mut binding = Vec::from(target.map(|name| of_request(name, Form::Plain)));
        if request.headers.contains_key(CONTENT_DIGEST) {
            binding.push(of_request(Name::Field(CONTENT_DIGEST), Form::Plain));
        }
        if let Some(field) = joined(request.headers, &SIGNATURE).map_err(malformed)? {
            // It may be of another scheme.
            let labels = read_signatures(&field).unwrap_or_default();
            let form = match labels.first() {
                Some((label, _)) => Form::Member((*label).to_owned().into()),
                None => Form::Plain,
            };
            binding.push(of_request(Name::Field(SIGNATURE), form));
        }
        for required in self.0.response_required.iter().filter(|r| r.req) {
            if !binding.contains(required) {
                binding.push(required.clone());
            }
        }
        let answer = Message::Response {
            status: StatusCode::OK,
            headers: &HeaderMap::new(),
            request,
        };
        for component in &binding {
            let pushed = answer.push_value(&mut String::new(), component, &self.0.types);
            pushed.map_err(|fault| {
                malformed(format!(
                    "no response could be bound to the request: {fault}"
                ))
            })?;
        }
        Ok(binding)
    }

    /// Reads the signatures of a response that is bound to this of its request. Their messages are
    /// built from the request, as it was sent.
    pub(crate) fn read_response<'h>(
        &'h self,
        binding: &'h Binding,
        status: StatusCode,
        headers: &'h HeaderMap,
    ) -> Result<Vec<Announced<'h>>, Rejection> {
        if status.is_informational() {
            return Err(Rejection::new(RejectionKind::BodyNotCovered, TUNNEL));
        }
        let settings = &*self.0;
        settings.read(headers, &settings.required_of_response(binding), |listed| {
            Box::new(move |request, room| {
                let message = Message::Response {
                    status,
                    headers,
                    request,
                };
                let required = settings.required_of_response(binding);
                settings.describe(message, &listed, &required, room)
            })
        })
    }

    /// Signing, first half: as [`prepare`](super::Describe::prepare) does it for a request.
    pub(crate) fn prepare_response(
        &self,
        request: &Head<'_>,
        parts: &mut Parts,
        signing: &Signing<'_>,
    ) -> Result<Candidate<'static>, SignError> {
        let settings = &*self.0;
        let binding = self.bind(request)?;
        if parts.status.is_informational() {
            return Err(SignError::new(TUNNEL));
        }
        if has_body(request.method, parts.status) {
            settings.write_digest(&mut parts.headers, signing.body, false);
        }
        let of_response = settings.response_required.iter().filter(|r| !r.req);
        let covered: Vec<_> = of_response.chain(&binding).cloned().collect();
        let if_present = &settings.response_if_present;
        let description =
            settings.describe_new(&parts.headers, &covered, if_present, signing, None);
        let message = Message::Response {
            status: parts.status,
            headers: &parts.headers,
            request,
        };
        let required = settings.required_of_response(&binding);
        let candidate = settings.described(message, &description, &required)?;
        settings.append(&mut parts.headers, &SIGNATURE_INPUT, &description)?;
        Ok(candidate)
    }

    /// Signing, second half: writes the MAC.
    pub(crate) fn write_response(
        &self,
        parts: &mut Parts,
        mac: &HashOutput,
    ) -> Result<(), SignError> {
        self.0.write_mac(&mut parts.headers, mac)
    }
}

impl Settings {
    fn required_of_response<'s>(
        &'s self,
        binding: &'s Binding,
    ) -> Required<'s, impl Fn(&Listed<'_>, &Coverage) -> Result<(), Rejection> + 's> {
        Required {
            created: true,
            nonce: false,
            if_present: &self.response_if_present,
            covered: move |listed: &Listed<'_>, _: &Coverage| {
                let covers = |wanted: &Identifier<'_>| {
                    let mut covered = listed.components.iter();
                    covered.any(|(covered, _)| covered.includes(wanted) || tells(covered, wanted))
                };
                let mut wanted = self.response_required.iter().chain(binding);
                match wanted.find(|wanted| !covers(wanted)) {
                    None => Ok(()),
                    Some(missing) => Err(insufficient(format!(
                        "signature `{}` of the response does not cover {missing}; it covers {}",
                        listed.label, listed.text
                    ))),
                }
            },
        }
    }
}

/// `@target-uri` holds what these three say.
fn tells(covered: &Identifier<'_>, wanted: &Identifier<'_>) -> bool {
    covered.name == Name::TargetUri
        && covered.req == wanted.req
        && matches!(wanted.name, Name::Authority | Name::Path | Name::Query)
}
