//! Requests: what a profile wants covered, and both halves of signing.

use http::{HeaderMap, HeaderName, HeaderValue, header::WWW_AUTHENTICATE, request::Parts};

use super::{
    base::Source,
    component::{Identifier, Name},
    input::Listed,
    names::{ACCEPT_SIGNATURE, CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT},
    scheme::{HttpMessageSignatures, Settings},
    signature::{Required, check_nonce, insufficient},
};
use crate::{
    error::{Fault, SignError},
    message::{HashOutput, Head, IDEMPOTENCY_KEY, Message, Part, Target, is_present},
    proof::Unsigned,
    scheme::{Asked, Describe, Profile, Reading, Signing},
};

impl Settings {
    fn required(&self) -> Required<'_, impl Fn(&Listed<'_>, &Message) -> Result<(), Fault>> {
        Required {
            created: self.profile.untimed_retention.is_none(),
            nonce: self.nonce_required,
            if_present: &self.if_present,
            covered: |listed: &Listed<'_>, message: &Message| self.check_coverage(listed, message),
        }
    }

    fn check_coverage(&self, listed: &Listed<'_>, message: &Message) -> Result<(), Fault> {
        let covers = |wanted: &Identifier<'_>| match wanted.name {
            // These may be covered under other names too.
            Name::Method => message.covers(&Part::Method),
            Name::Authority => message.covers(&Part::Authority),
            Name::Path => message.covers(&Part::Path),
            Name::Query => message.covers(&Part::Query),
            _ => {
                let mut covered = listed.components.iter();
                covered.any(|(covered, _)| covered.includes(wanted))
            }
        };
        match self.required.iter().find(|wanted| !covers(wanted)) {
            None => Ok(()),
            Some(missing) => Err(insufficient(format!(
                "signature `{}` does not cover {missing}; it covers {}",
                listed.label, listed.text
            ))),
        }
    }
}

impl Describe for HttpMessageSignatures {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn name(&self) -> &str {
        "http-message-signatures"
    }

    fn signature_headers(&self) -> Vec<HeaderName> {
        vec![SIGNATURE, SIGNATURE_INPUT]
    }

    fn fixed_key_id(&self) -> Option<&str> {
        self.0.key_id.as_deref()
    }

    fn asked(&self, request: &HeaderMap) -> Asked {
        // A key that is sent is asked to be covered; only a layer that reads it requires that.
        let key = [IDEMPOTENCY_KEY];
        let names = self.0.if_present.iter().chain(&key);
        Asked(names.enumerate().fold(0, |bits, (at, name)| {
            bits | usize::from(is_present(request, name)) << at
        }))
    }

    fn challenge(&self, asked: Asked, headers: &mut HeaderMap) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
        if let Some(accept) = self.0.accept.get(asked.0) {
            headers.insert(ACCEPT_SIGNATURE, accept.clone());
        }
    }

    fn read<'h>(&'h self, head: &Head<'h>) -> Result<Reading<'h>, Fault> {
        let settings = &*self.0;
        let candidates = settings.read(head.headers, &settings.required(), |listed| {
            Box::new(move |head, room| {
                settings.describe(Source::Request(head), &listed, &settings.required(), room)
            })
        });
        candidates.map(Reading::InHead)
    }

    fn prepare(&self, parts: &mut Parts, signing: &Signing<'_>) -> Result<Unsigned, SignError> {
        let settings = &*self.0;
        let nonce = std::str::from_utf8(signing.nonce)
            .map_err(|_| SignError::new("the nonce is not text"))?;
        check_nonce(nonce).map_err(SignError::new)?;
        let digest = Identifier::of(Name::Field(CONTENT_DIGEST));
        let digest = settings.required.iter().any(|r| r.includes(&digest));
        settings.write_digest(&mut parts.headers, signing.body, digest);

        let description = settings.describe_new(
            &parts.headers,
            &settings.required,
            &settings.if_present,
            signing,
            Some(nonce),
        )?;
        let head = Head {
            method: &parts.method,
            target: Target::of_outgoing(&parts.uri, &parts.headers)?,
            headers: &parts.headers,
            supplied: None,
        };
        let request = Source::Request(&head);
        let unsigned = settings.described(request, &description, &settings.required())?;
        settings.append(&mut parts.headers, &SIGNATURE_INPUT, &description)?;
        Ok(unsigned)
    }

    fn write(&self, parts: &mut Parts, _: &Unsigned, mac: &HashOutput) -> Result<(), SignError> {
        self.0.write_mac(&mut parts.headers, mac)
    }
}
