//! The kinds of refusals: for each a status, a code, a text for the sender and advice for
//! operators.

use http::StatusCode;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident, $code:literal, $public:literal,
        $advice:literal;)*) => {
        /// The kinds of [`Rejection`](crate::Rejection), each with one status and one stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RejectionKind {
            $($(#[$doc])* #[doc = concat!("\n\nCode `", $code, "`.")] $kind,)*
        }

        impl RejectionKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Returns the status of the answer.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }

            /// Returns the code that clients and dashboards go by; it never changes.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// Returns the text that the sender is told.
            #[must_use]
            pub const fn public_detail(self) -> &'static str {
                match self { $(Self::$kind => $public,)* }
            }

            /// Returns advice for the operators of the service. It is not for the sender.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$kind => $advice,)* }
            }
        }
    };
}

kinds! {
    /// 401: the request carries no signature.
    SignatureMissing = UNAUTHORIZED, "signature_missing",
        "The request is not signed. Sign it as agreed with this service and send it again.",
        "Nothing to do unless a sender of yours is refused: then sign its requests, or move a \
         route that is meant to be open outside of the layer.";
    /// 400, or 401 with the presets for webhooks: the signature, its parameters or the target cannot
    /// be read, or can be read in two ways.
    SignatureMalformed = BAD_REQUEST, "signature_malformed",
        "The signature or one of its parameters cannot be read, appears more than once, or \
         contradicts another. Check names, encodings and duplicates.",
        "Compare what the sender writes with the scheme that is configured here; look for a \
         proxy that adds, joins or rewrites headers.";
    /// 401: the signature covers too little.
    SignatureInsufficient = UNAUTHORIZED, "signature_insufficient",
        "The signature leaves out a part of the request that this service wants covered.",
        "Let the sender cover what the reason names, or choose a profile that asks for less.";
    /// 401: unknown key, wrong MAC or wrong digest; the sender is not told which.
    SignatureInvalid = UNAUTHORIZED, "signature_invalid",
        "The signature does not match the request as it arrived. Check the key id, the secret, and \
         that nothing changed the request after it was signed.",
        "Check that both sides have the same key id and secret, and that no proxy or middleware \
         changes the request before this layer; at DEBUG the log shows the message that was \
         expected.";
    /// 401: signed too long ago, or expired.
    SignatureExpired = UNAUTHORIZED, "signature_expired",
        "The request was signed too long ago. Check the sender's clock and sign again.",
        "Compare the sender's clock with this server's, and look for a queue between them; many \
         at once may be an attempt to replay.";
    /// 401: dated ahead.
    SignatureNotYetValid = UNAUTHORIZED, "signature_not_yet_valid",
        "The request is dated ahead. Check the sender's clock and sign again.",
        "Synchronise the sender's clock and this server's.";
    /// 421: the authority is not one of the public origins.
    AuthorityNotServed = MISDIRECTED_REQUEST, "authority_not_served",
        "The request names an authority that this service does not serve.",
        "If the authority is yours, add it as a public origin; otherwise find out how requests for it \
         get here.";
    /// 405 with `Allow`: a method that is not let in.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed",
        "The service does not take requests with this method here.",
        "Name the method in `methods` if requests with it are expected.";
    /// 409: seen before.
    RequestReplayed = CONFLICT, "request_replayed",
        "This signed request was received before. If its outcome is not known, ask for it before \
         signing a new one.",
        "Nothing to do for a sender that retries; otherwise find out who captured the request.";
    /// 409 with `Retry-After`: a duplicate is being handled.
    RequestInFlight = CONFLICT, "request_in_flight",
        "A duplicate of this request is being handled. Send it again later.",
        "Nothing to do if the sender waits and retries; many at once mean that handlers are \
         slow.";
    /// 503 with `Retry-After`: as many handlers are running as
    /// [`max_running`](crate::request::VerifierBuilder::max_running) allows, or as many requests wait
    /// for a handler to supply a signed value as
    /// [`max_unproven`](crate::request::VerifierBuilder::max_unproven) allows.
    HandlersExhausted = SERVICE_UNAVAILABLE, "handlers_exhausted",
        "The service is handling as many requests as it can. Send it again later.",
        "Look for handlers that hang or are slow. The reason names the bound that was reached: \
         raise `max_running`, or `max_unproven` if the pool of the database has connections to spare.";
    /// 413: the body is over the limit.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large",
        "The body is larger than this service accepts.",
        "Raise `max_body_bytes` if bodies of this size are expected.";
    /// 408: the body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT, "body_timeout",
        "The body did not arrive in time.",
        "Look at the sender's connection; raise `body_deadline` if bodies are expected to take \
         that long.";
    /// 400: the body broke off or could not be read.
    BodyUnreadable = BAD_REQUEST, "body_unreadable",
        "The body broke off or could not be read.",
        "Look at the connection and at proxies: the sender, or something between, broke off.";
    /// 400: the request has a body, or asks for a tunnel, that nothing in the signature covers.
    BodyNotCovered = BAD_REQUEST, "body_not_covered",
        "The request carries a body, or asks to switch protocols, and the signature covers neither.",
        "Let the sender cover the body; if it did not send one, find what added it on the way.";
    /// 429 with `Retry-After`: this key has used up its share of the store.
    KeyOverQuota = TOO_MANY_REQUESTS, "key_over_quota",
        "This key has sent as many requests as are remembered for one key. Send it again later.",
        "Find out why this key sends so much; give the store more capacity, or a key a larger \
         share.";
    /// 429: this message arrived at as many places as are remembered for one message. There is no
    /// `Retry-After`, because waiting does not help.
    TooManyPlaces = TOO_MANY_REQUESTS, "too_many_places",
        "This message was sent to more methods and paths than are remembered for one message.",
        "Find out who captured the message. Put the layer on routes without parameters, and \
         list the `methods` that they take: there, nothing is refused for what arrives elsewhere.";
    /// 503 with `Retry-After`: too many bytes of bodies are in flight, and this body was incomplete
    /// for longer than others.
    BodyBudgetExhausted = SERVICE_UNAVAILABLE, "body_budget_exhausted",
        "The service is taking in as much as it can. Send the request again later.",
        "Raise `body_budget_bytes` if there is memory; otherwise look for slow or large bodies in \
         flight.";
    /// 503 with `Retry-After`: the store has no room.
    StoreFull = SERVICE_UNAVAILABLE, "store_full",
        "The service cannot record one more request. Send it again later.",
        "Give the store more capacity, or shorten `max_age`.";
    /// 503 with `Retry-After`: the store or the key look-up gave no answer.
    StoreUnavailable = SERVICE_UNAVAILABLE, "store_unavailable",
        "The service cannot tell at present whether it saw this request before. Send it again later.",
        "Look at the store, or at the key look-up: the reason says what failed. Requests are \
         refused until it answers.";
    /// 500: the configuration or the code of this service is wrong, and waiting does not help.
    ///
    /// - The namespace remembers for less time than the layer, the tokens or the envelopes need.
    /// - An [`IdempotencyLayer`](crate::idempotency::IdempotencyLayer) gets requests without a
    ///   verified payload, runs outside of a Tokio runtime, or keeps its answers where another
    ///   sender could get them.
    /// - [`once`](crate::VerifiedPayload::once) or [`once_in`](crate::VerifiedPayload::once_in) is
    ///   called for a scheme without events, or `once` without a store.
    StoreMisconfigured = INTERNAL_SERVER_ERROR, "store_misconfigured",
        "The service is not set up correctly, and cannot accept requests. Its log says why.",
        "Waiting does not help. The reason says what is wrong. If it names two retentions, give all \
         layers, tokens and envelopes of the namespace the same retention, or extend the \
         namespace's. Otherwise correct the layer or the call that the reason names.";
    /// 503 with `Retry-After`: the inner service was not ready in time; nothing was claimed.
    ServiceNotReady = SERVICE_UNAVAILABLE, "service_not_ready",
        "The service is handling as many requests as it can. Send the request again later.",
        "Find out what makes handlers slow, or raise the limit of the inner service or \
         `readiness_timeout`.";
    /// 500: the handler answered with success, and recorded no nonce in its transaction.
    NonceNotRecorded = INTERNAL_SERVER_ERROR, "nonce_not_recorded",
        "The service did not record this request, so its outcome is unknown. Its log says why.",
        "Correct the handler: it must consume its nonce, and commit, before it answers with \
         success.";
    /// 503: signed before this store can vouch for. `Retry-After` says when a request that is signed
    /// again is served, if that is not at once.
    SignAgain = SERVICE_UNAVAILABLE, "sign_again",
        "The service cannot tell whether it has accepted this request before. Sign the request again \
         and send it.",
        "Nothing to do for some seconds after a start, or after the store has lost records: senders \
         sign again. To serve at once after a restart, set `high_watermark` on a memory store, or \
         choose a store that survives restarts; for tests, and for a first start, there is `danger_assume_no_history`. If it \
         goes on, compare the clocks.";
    /// 428: a version is required, and is missing, `*`, weak or not covered.
    VersionRequired = PRECONDITION_REQUIRED, "version_required",
        "The request must name the version that it changes, and the signature must cover it.",
        "Let the sender name the version in a covered `If-Match`, or in the body.";
    /// 412: the version that was signed is not the current version.
    VersionMismatch = PRECONDITION_FAILED, "version_mismatch",
        "The version that was signed is not the current version. Read the resource again.",
        "Nothing to do: the sender must read the resource again.";
    /// 403: signed for another resource than the one it was routed to.
    ResourceMismatch = FORBIDDEN, "resource_mismatch",
        "The request was signed for another resource than the one it names.",
        "Look for a layer that rewrites the path after verification; otherwise the sender asked for \
         another resource than it signed.";
    /// 404: there is no such resource, as [`require_changed`](crate::request::require_changed) was
    /// told.
    ResourceNotFound = NOT_FOUND, "resource_not_found",
        "There is no such resource.",
        "Nothing to do: the sender names a resource that is not there, or not there any more.";
    /// 403: the resource belongs to somebody else, as
    /// [`require_changed`](crate::request::require_changed) was told.
    ResourceForbidden = FORBIDDEN, "resource_forbidden",
        "The sender may not change this resource.",
        "Nothing to do for single ones: the owner may have changed a moment ago. Many at once may be a \
         search for resources that the sender may change.";
    /// 409: the resource is in a state that does not allow the change, as
    /// [`require_changed`](crate::request::require_changed) was told.
    ResourceConflict = CONFLICT, "resource_conflict",
        "The resource is in a state that does not allow this change. Read the resource again.",
        "Nothing to do: another request was first, or the sender must read the resource again.";
    /// 400: an [`Idempotency-Key`](crate::idempotency) is required, and the request has none.
    IdempotencyKeyMissing = BAD_REQUEST, "idempotency_key_missing",
        "The request must have an `Idempotency-Key`, and the signature must cover it.",
        "Let the sender make a new key for each intention, or do not call `required`.";
    /// 400: the `Idempotency-Key` is not a string of a Structured Field, or has a length that is
    /// not allowed.
    IdempotencyKeyMalformed = BAD_REQUEST, "idempotency_key_malformed",
        "The `Idempotency-Key` cannot be read. Send it once, as a string in quotation marks.",
        "Let the sender write the key as RFC 9651 writes a string, such as `\"k-1\"`.";
    /// 422: the `Idempotency-Key` was used for a request that said something else.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY, "idempotency_key_reused",
        "The `Idempotency-Key` was used for another request. Make a new key for a new intention.",
        "Nothing to do for a single one; many from one sender mean that its keys are not unique, or that it \
         changes a request when it retries.";
    /// 409: an earlier attempt with this `Idempotency-Key` did not end, and nobody knows what it did.
    OutcomeUnknown = CONFLICT, "outcome_unknown",
        "An earlier attempt with this `Idempotency-Key` was cut off, and its outcome is unknown. Ask \
         for the outcome before you send the request with a new key.",
        "Find out what the attempt did, and record its answer with `resolve`. Handlers that record \
         their answer in their own transaction leave nothing unknown.";
    /// 500: the handler answered with success, and its transaction recorded no answer. If it did not
    /// try to, no retry runs.
    AnswerNotRecorded = INTERNAL_SERVER_ERROR, "answer_not_recorded",
        "The service did not record its answer, so its outcome is unknown. Its log says why.",
        "Correct the handler: it must record its answer in its transaction, and commit, before it \
         answers with success.";
    /// 500: a value that the service takes from its own state for the signed message is missing, or
    /// is not one that can be signed.
    ValueNotSupplied = INTERNAL_SERVER_ERROR, "value_not_supplied",
        "The service did not supply what it needs to verify this request. Its log says why.",
        "Let the handler take an `UnprovenPayload`, and supply each value that the scheme names, \
         from the row that it has locked: 1 to 256 visible ASCII characters.";
    /// 400: a [one-time token](crate::OneTimeToken) cannot be read, or is not of its profile.
    TokenMalformed = BAD_REQUEST, "token_malformed",
        "The token cannot be read. Make sure that all of it was copied.",
        "Nothing to do for single ones: links are cut off in mails. Many at once are guesses.";
    /// 403: unknown key, wrong MAC, or a token for another purpose; the bearer is not told which.
    TokenInvalid = FORBIDDEN, "token_invalid",
        "The token is not valid here. Ask for a new one.",
        "Check that its key is still known, and that the services that issue and redeem have the \
         same purpose and lifetime; otherwise somebody is guessing.";
    /// 410: a token that has expired.
    TokenExpired = GONE, "token_expired",
        "The token has expired. Ask for a new one.",
        "Nothing to do; raise `lifetime` if bearers need longer.";
    /// 403: a token dated ahead.
    TokenNotYetValid = FORBIDDEN, "token_not_yet_valid",
        "The token is dated ahead. Check the clock of the service that issues tokens.",
        "Synchronise the clocks of the servers that issue and redeem.";
    /// 409: a token that was used before.
    TokenRedeemed = CONFLICT, "token_redeemed",
        "The token was used before. Each token works once.",
        "Nothing to do for a bearer who clicks twice; otherwise find out who else has the token.";
    /// 403: an [envelope](crate::envelope::PayloadEnvelope) that cannot be read, or whose MAC does
    /// not match.
    EnvelopeAltered = FORBIDDEN, "envelope_altered",
        "The envelope is not as it was sealed.",
        "Find out who writes to the queue, table or cache that it came from, and whether that cuts \
         long values off.";
    /// 403: an envelope for another purpose, or of another namespace.
    EnvelopeOfOtherPurpose = FORBIDDEN, "envelope_of_other_purpose",
        "The envelope was sealed for another purpose.",
        "Give the services that seal and open the same purpose and namespace; otherwise somebody \
         moved the envelope from one queue to another.";
    /// 403: no key under the id that the envelope names.
    EnvelopeKeyUnknown = FORBIDDEN, "envelope_key_unknown",
        "The envelope was sealed under a key that is not known here.",
        "Keep a key in the ring of all openers before anybody seals under it, and until the \
         deadline of the last envelope under it has passed.";
    /// 503: an envelope of a format that this version of the crate does not know.
    EnvelopeNewer = SERVICE_UNAVAILABLE, "envelope_newer",
        "The envelope has a newer format than this service reads.",
        "Update the services that open envelopes before those that seal them; leave the envelope \
         where it is until then.";
    /// 410: an envelope whose deadline has passed.
    EnvelopeExpired = GONE, "envelope_expired",
        "The deadline of the envelope has passed.",
        "Nothing to do for a job that is no longer wanted; otherwise give it a later deadline, or \
         find out why the queue is slow.";
    /// 409: an envelope whose payload was used before, out of this envelope or another.
    EnvelopeUsed = CONFLICT, "envelope_used",
        "The payload of the envelope was used before.",
        "Nothing to do: a queue delivers a job more than once. Remove the job.";
    /// 400: the request names no digest for the file, or its signature does not cover it.
    FileDigestMissing = BAD_REQUEST, "file_digest_missing",
        "The request must name the SHA-256 of the file, and the signature must cover it.",
        "Let the sender cover the part of the request in which the handler looks for the digest.";
    /// 404: no regular file of that name beneath the folder, or a link on the way to it.
    FileNotFound = NOT_FOUND, "file_not_found",
        "There is no such file.",
        "The reason says what is in the way; a link is never followed. If somebody puts links \
         there, find out who writes to the folder.";
    /// 412: the digest of the file is not the one that was signed, or that the application keeps.
    FileMismatch = PRECONDITION_FAILED, "file_mismatch",
        "The file is not the one that was asked for.",
        "Nothing to do if the file was replaced on purpose; otherwise find out who writes to the folder.";
    /// 503 with `Retry-After`: as many files are being hashed as `max_hashing` of the `FileRoot`
    /// allows.
    FilesExhausted = SERVICE_UNAVAILABLE, "files_exhausted",
        "The service is reading as many files as it can. Send the request again later.",
        "Look for files that take long to read, such as those of a network folder whose server does \
         not answer; if the disk can serve more at once, raise `max_hashing`.";
    /// 500: the file is too long, or cannot be read.
    FileUnreadable = INTERNAL_SERVER_ERROR, "file_unreadable",
        "The file cannot be read.",
        "The reason says why; raise `max_bytes` if the file is as long as it should be.";
    /// 500: the request was handled, and its response could not be signed.
    ResponseNotSigned = INTERNAL_SERVER_ERROR, "response_not_signed",
        "The request was handled, and its response could not be signed. Ask for the outcome before \
         signing a new request.",
        "The reason says what could not be covered; correct the handler's response, or what the \
         scheme covers.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the design, written down a second time: neither may change alone.
    #[test]
    fn every_kind_has_the_status_and_code_that_were_promised() {
        let table = [
            (401, "signature_missing"),
            (400, "signature_malformed"),
            (401, "signature_insufficient"),
            (401, "signature_invalid"),
            (401, "signature_expired"),
            (401, "signature_not_yet_valid"),
            (421, "authority_not_served"),
            (405, "method_not_allowed"),
            (409, "request_replayed"),
            (409, "request_in_flight"),
            (503, "handlers_exhausted"),
            (413, "body_too_large"),
            (408, "body_timeout"),
            (400, "body_unreadable"),
            (400, "body_not_covered"),
            (429, "key_over_quota"),
            (429, "too_many_places"),
            (503, "body_budget_exhausted"),
            (503, "store_full"),
            (503, "store_unavailable"),
            (500, "store_misconfigured"),
            (503, "service_not_ready"),
            (500, "nonce_not_recorded"),
            (503, "sign_again"),
            (428, "version_required"),
            (412, "version_mismatch"),
            (403, "resource_mismatch"),
            (404, "resource_not_found"),
            (403, "resource_forbidden"),
            (409, "resource_conflict"),
            (400, "idempotency_key_missing"),
            (400, "idempotency_key_malformed"),
            (422, "idempotency_key_reused"),
            (409, "outcome_unknown"),
            (500, "answer_not_recorded"),
            (500, "value_not_supplied"),
            (400, "token_malformed"),
            (403, "token_invalid"),
            (410, "token_expired"),
            (403, "token_not_yet_valid"),
            (409, "token_redeemed"),
            (403, "envelope_altered"),
            (403, "envelope_of_other_purpose"),
            (403, "envelope_key_unknown"),
            (503, "envelope_newer"),
            (410, "envelope_expired"),
            (409, "envelope_used"),
            (400, "file_digest_missing"),
            (404, "file_not_found"),
            (412, "file_mismatch"),
            (503, "files_exhausted"),
            (500, "file_unreadable"),
            (500, "response_not_signed"),
        ];
        let kinds: Vec<_> = RejectionKind::ALL
            .iter()
            .map(|kind| (kind.status().as_u16(), kind.code()))
            .collect();
        assert_eq!(kinds, table);
    }
}
