//! Responses: a signature over status and body that is bound to one request (RFC 9421, section
//! 2.4).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, response::Parts};

use super::{
    base::Source,
    canonical::read_members,
    component::{Form, Identifier, Name},
    fields::{joined, read_signatures},
    input::Listed,
    names::{CONTENT_DIGEST, OUTCOME, RECEIVED, SIGNATURE, SIGNATURE_INPUT},
    scheme::{HttpMessageSignatures, Settings},
    signature::{Required, insufficient},
};
use crate::{
    clock::Timestamp,
    error::{Fault, FaultKind, SignError, malformed},
    message::{HashOutput, Head, Message, Part, query::Wanted},
    once::{Facts, Statement},
    proof::{Candidates, Unsigned},
    scheme::{Signing, rfc9421::digest},
};

/// Returns whether a response with this status, to a request with this method, can have a body (RFC
/// 9110, section 6.4.1). If it cannot, `content-digest` and `content-length` tell what
/// another response would have.
pub(crate) fn has_body(method: &Method, status: StatusCode) -> bool {
    let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *method != Method::HEAD && !never && !status.is_informational()
}

/// The components of a request that every response to it must cover.
pub(crate) struct Binding {
    components: Vec<Identifier<'static>>,
    /// Whether one signature is among them, with its parameters: only then is an outcome about it.
    to_signature: bool,
}

const TUNNEL: &str = "the protocol is switched: what follows could not be verified";

impl HttpMessageSignatures {
    /// Returns what binds the responses to a request: where it was sent, the digest that it claims
    /// for its body, and one signature with its parameters, which no other request has.
    ///
    /// The signature alone would not do: it can be sent along with another request, or with other
    /// parameters, to which a server gives another answer, be it a refusal.
    ///
    /// The signature is the one with the `judged` MAC. Without it, the one under our label counts,
    /// and otherwise the first: so a server and a client find the same one by themselves.
    pub(crate) fn bind(
        &self,
        request: &Head<'_>,
        judged: Option<&HashOutput>,
    ) -> Result<Binding, Fault> {
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
        let mut to_signature = false;
        if let Some(field) = joined(request.headers, &SIGNATURE).map_err(malformed)? {
            // It may be of another scheme.
            let signatures = read_signatures(&field).unwrap_or_default();
            let is_judged = |mac: &Option<HashOutput>| {
                let both = judged.zip(mac.as_ref());
                both.is_some_and(|(judged, mac)| judged.as_ref() == mac.as_ref())
            };
            let mut judged_ones = signatures.iter().filter(|(_, mac)| is_judged(mac));
            let first_judged = judged_ones.next();
            // Anybody can write a MAC under a second label, with parameters of their own.
            let is_unique = judged_ones.next().is_none();
            let signature = first_judged
                .or_else(|| signatures.iter().find(|(label, _)| *label == self.0.label))
                .or(signatures.first());
            let Some((label, mac)) = signature else {
                binding.push(of_request(Name::Field(SIGNATURE), Form::Plain));
                return self.bound(request, binding, false);
            };
            let member = || Form::Member((*label).to_owned().into());
            binding.push(of_request(Name::Field(SIGNATURE), member()));
            if has_member(request.headers, &SIGNATURE_INPUT, label) {
                binding.push(of_request(Name::Field(SIGNATURE_INPUT), member()));
                to_signature = is_unique && (judged.is_none() || is_judged(mac));
            }
        }
        self.bound(request, binding, to_signature)
    }

    /// Adds what the profile requires, and checks that a response can cover all of it.
    fn bound(
        &self,
        request: &Head<'_>,
        mut components: Vec<Identifier<'static>>,
        to_signature: bool,
    ) -> Result<Binding, Fault> {
        for required in self.0.response_required.iter().filter(|r| r.req) {
            if !components.contains(required) {
                components.push(required.clone());
            }
        }
        let answer = Source::Response {
            status: StatusCode::OK,
            headers: &HeaderMap::new(),
            request,
        };
        for component in &components {
            let pushed =
                answer.push_value(&mut Message::with_room(64, 1), component, &self.0.types);
            pushed.map_err(|fault| {
                malformed(format!(
                    "no response could be bound to the request: {fault}"
                ))
            })?;
        }
        Ok(Binding {
            components,
            to_signature,
        })
    }

    /// Reads the signatures of a response that is bound to this of its request. Their messages are
    /// built from the request, as it was sent.
    pub(crate) fn read_response<'h>(
        &'h self,
        binding: &'h Binding,
        status: StatusCode,
        headers: &'h HeaderMap,
    ) -> Result<Candidates<'h>, Fault> {
        if status.is_informational() {
            return Err(Fault::new(FaultKind::BodyNotCovered, TUNNEL));
        }
        let settings = &*self.0;
        settings.read(headers, &settings.required_of_response(binding), |listed| {
            Box::new(move |request, room| {
                let source = Source::Response {
                    status,
                    headers,
                    request,
                };
                let required = settings.required_of_response(binding);
                settings.describe(source, &listed, &required, room)
            })
        })
    }

    /// Signing, first half: as [`prepare`](crate::scheme::Describe::prepare) does it for a request.
    pub(crate) fn prepare_response(
        &self,
        request: &Head<'_>,
        parts: &mut Parts,
        signing: &Signing<'_>,
        facts: &Facts,
    ) -> Result<Unsigned, SignError> {
        let settings = &*self.0;
        let judged = facts.settled.as_ref();
        let binding = self.bind(request, judged.map(|(_, mac)| mac))?;
        if parts.status.is_informational() {
            return Err(SignError::new(TUNNEL));
        }
        if has_body(request.method, parts.status) {
            settings.write_digest(&mut parts.headers, signing.body, false);
        }
        state(facts, &binding, &mut parts.headers);
        let of_response = settings.response_required.iter().filter(|r| !r.req);
        let covered: Vec<_> = of_response.chain(&binding.components).cloned().collect();
        let if_present = &settings.response_if_present;
        let description =
            settings.describe_new(&parts.headers, &covered, if_present, signing, None)?;
        let source = Source::Response {
            status: parts.status,
            headers: &parts.headers,
            request,
        };
        let required = settings.required_of_response(&binding);
        let unsigned = settings.described(source, &description, &required)?;
        settings.append(&mut parts.headers, &SIGNATURE_INPUT, &description)?;
        Ok(unsigned)
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
    ) -> Required<'s, impl Fn(&Listed<'_>, &Message) -> Result<(), Fault> + 's> {
        Required {
            created: true,
            nonce: false,
            if_present: &self.response_if_present,
            covered: move |listed: &Listed<'_>, _: &Message| {
                let covers = |wanted: &Identifier<'_>| {
                    let mut covered = listed.components.iter();
                    covered.any(|(covered, _)| covered.includes(wanted) || tells(covered, wanted))
                };
                let mut wanted = self.response_required.iter().chain(&binding.components);
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

/// Writes what is known of the request, in place of what an inner service may have written.
fn state(facts: &Facts, binding: &Binding, headers: &mut HeaderMap) {
    let statement = match facts.settled {
        Some((statement, _)) if binding.to_signature => statement,
        _ => Statement::Open,
    };
    headers.remove(&OUTCOME);
    if let Ok(value) = HeaderValue::from_str(&written(statement)) {
        headers.insert(OUTCOME, value);
    }
    headers.remove(&RECEIVED);
    if let Some((algorithm, digest)) = &facts.received
        && let Some(value) = digest::value(*algorithm, digest)
    {
        headers.insert(RECEIVED, value);
    }
}

/// Reads what a verified response, which has this message, states of the request that it is bound
/// to.
pub(crate) fn stated(message: &Message, binding: &Binding) -> Statement {
    let value = message.value_of(&Part::Header(OUTCOME));
    value
        .filter(|_| binding.to_signature)
        .map_or(Statement::Open, read_statement)
}

/// The value of `countersign-outcome`: a structured item (RFC 9651).
fn written(statement: Statement) -> Cow<'static, str> {
    match statement {
        Statement::Used => "used".into(),
        // In whole seconds, and not before the moment.
        Statement::Never { since } => format!("never;since={}", since.as_secs_up()).into(),
        Statement::Open => "open".into(),
    }
}

/// Reads that value; one that is not known is open.
fn read_statement(value: &[u8]) -> Statement {
    let since = |value: &[u8]| {
        let seconds = str::from_utf8(value.strip_prefix(b"never;since=")?).ok()?;
        Timestamp::from_secs(seconds.parse().ok()?)
    };
    match value {
        b"used" => Statement::Used,
        value => since(value).map_or(Statement::Open, |since| Statement::Never { since }),
    }
}

/// Returns whether the server received another body than the one whose digest the request has.
pub(crate) fn received_another_body(
    request: &HeaderMap,
    response: &HeaderMap,
) -> Result<bool, Fault> {
    let received = digest::read_field(response, &RECEIVED).map_err(malformed)?;
    let received = received.unwrap_or_default();
    let sent = digest::read(request).ok().flatten().unwrap_or_default();
    Ok(received.iter().any(|received| {
        let mut same = sent
            .iter()
            .filter(|sent| sent.algorithm == received.algorithm);
        same.any(|sent| sent.claimed.as_ref() != received.claimed.as_ref())
    }))
}

fn has_member(headers: &HeaderMap, name: &HeaderName, label: &str) -> bool {
    let Ok(Some(field)) = joined(headers, name) else {
        return false;
    };
    let mut wanted = Wanted::new([label]);
    read_members(&field, &mut wanted).is_ok() && wanted.take(label).is_some()
}

/// `@target-uri` holds what these three say.
fn tells(covered: &Identifier<'_>, wanted: &Identifier<'_>) -> bool {
    covered.name == Name::TargetUri
        && covered.req == wanted.req
        && matches!(wanted.name, Name::Authority | Name::Path | Name::Query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_as_it_is_written_and_all_else_is_open() {
        let since = Timestamp::from_millis(7_001).unwrap();
        assert_eq!(written(Statement::Never { since }), "never;since=8");
        let since = Timestamp::from_secs(8).unwrap();
        for statement in [Statement::Used, Statement::Never { since }, Statement::Open] {
            assert_eq!(read_statement(written(statement).as_bytes()), statement);
        }
        for other in [
            "",
            "never",
            "Used",
            "used, open",
            "used;x",
            "open, used",
            "never;since=",
            "later",
            "never;since=-1",
            "never;since=8, used",
            "never;since=99999999999999999999",
        ] {
            assert_eq!(read_statement(other.as_bytes()), Statement::Open, "{other}");
        }
    }
}
