//! DocuSign Connect.

use super::row::days;
use crate::message::Encoding;

sender! {
    /// Webhooks of [DocuSign Connect](https://developers.docusign.com/platform/webhooks/connect/validate).
    ///
    /// | | |
    /// | --- | --- |
    /// | signature | `X-DocuSign-Signature-1: <base64>`, or the same in `X-DocuSign-Signature-2`, `X-DocuSign-Signature-3` or `X-DocuSign-Signature-4` |
    /// | covered | the body. Not the time |
    /// | secret | a Connect key of the account, as shown, not decoded; the key id is `docusign`. Each key has a header of its own |
    /// | fresh for | no limit |
    /// | used once by | the body: there is no event id |
    /// | remembered for | 30 days: DocuSign [retries](https://developers.docusign.com/docs/esign-rest-api/reference/connect/connectconfigurations/create/) up to 10 times, once a day, with another `retryCount` in the body |
    ///
    /// Only the headers of the first four keys are read.
    ///
    /// # Limits
    /// - A captured delivery can be sent again once it is no longer remembered: after the
    ///   [`retention`](Self::retention), or after a restart with a store that forgets.
    /// - A retry has another `retryCount` and counts as another delivery: a handler whose answer was lost
    ///   on the way runs again. Ask [`once`](crate::VerifiedPayload::once) for the envelope and the event.
    /// - Method, path and headers are not covered: put the layer on the one route that takes these
    ///   webhooks, because at another path a captured delivery counts as another.
    ///
    /// The format is that of DocuSign's documentation.
    DocuSign = DOCUSIGN "docusign" {
        source: "https://developers.docusign.com/platform/webhooks/connect/validate",
        header: "X-DocuSign-Signature-1",
        also: &[
            "X-DocuSign-Signature-2",
            "X-DocuSign-Signature-3",
            "X-DocuSign-Signature-4",
        ],
        encoding: Encoding::Base64,
        remembered: Some(days(30)),
        retries: Some(days(10)),
    }
}

retention!(DocuSign => "a delivery is remembered", "10 days", "30 days");
