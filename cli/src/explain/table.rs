//! The hypotheses: one table, ordered by how often the mistake is seen.

use std::fmt;

use base64::{Engine as _, engine::general_purpose};
use countersign::scheme::MacAlgorithm;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{
    body::{self, Variants},
    message::{self, Message, Part},
    secret::{self, BASE64, BASE64_URL, Key, hex},
    structure, url,
};

/// The side that departs from the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sender,
    Verifier,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Verifier => "verifier",
        }
    }
}

/// How a MAC is written, and read.
#[derive(Clone, Copy)]
pub(crate) struct MacForm {
    pub(super) read: fn(&str) -> Option<Vec<u8>>,
    #[cfg(test)]
    pub(super) write: fn(&[u8]) -> String,
}

/// The change that a hypothesis makes.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// The body. The sender made the changes of a lower rank first.
    Body(u8, fn(&[u8]) -> Variants),
    /// The body as it was sent, where the scheme signs a form of it.
    BodyAsSent,
    Message(u8, fn(&[Part]) -> Vec<Message>),
    Secret(u8, fn(&Key) -> Vec<Key>),
    /// The message, by what a proxy wrote into other headers of the request.
    Forwarded(fn(&[Part], &HeaderMap) -> Vec<Message>),
    /// A secret that was valid before.
    PreviousSecret,
    /// The MAC in its header.
    Mac(MacForm),
    /// The text before the MAC in its header.
    Prefix(PrefixFault),
    /// The header of the time, in the unit that the scheme does not have.
    TimeHeader,
    Algorithm(MacAlgorithm),
    /// A MAC that is cut off, with 16 bytes left at least.
    CutOff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrefixFault {
    Missing,
    Other,
}

/// A hypothesis.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    /// Completes: "It matches if".
    pub(crate) what: &'static str,
    pub(crate) side: Side,
    pub(crate) fix: &'static str,
    pub(super) change: Change,
    /// Rows of one group do the same thing in different ways, and are not tried as a pair.
    pub(super) group: &'static str,
}

impl Row {
    /// The JSON object of a change, as `cli/README.md` describes it.
    pub(crate) fn object(&self) -> Value {
        json!({"id": self.id, "what": self.what, "side": self.side.name(), "fix": self.fix})
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.id).finish()
    }
}

const AS_DOCUMENTED: &str =
    "Make the key of the secret as the scheme says, and not as this change does";
const SENT_BYTES: &str = "Sign exactly the bytes that are sent. If the sender does so already, a \
     proxy, a parser or an editor changed the body before the verifier: give the verifier the bytes \
     as they arrived";
const ONE_MESSAGE: &str = "Build the signed message as the scheme says";
const ONE_MAC: &str = "Write the MAC into its header as the scheme says";
const ONE_URL: &str = "Tell the verifier which URL clients see: --origin here, `public_origin` in the \
     library. If it is this one already, the sender signs another URL than it sends the request to";
const SENT_PATH: &str = "Sign the path as it is sent, to the byte. If the sender does so already, a \
     proxy changed the path before the verifier: let it pass the path on as clients send it";
const SENT_URL: &str = "Sign the URL as it is sent, to the byte";

macro_rules! table {
    ($($id:literal $group:literal $side:ident $what:literal, $fix:expr => $change:expr;)*) => {
        /// All hypotheses.
        pub(crate) static TABLE: &[Row] = &[$(Row {
            id: $id,
            what: $what,
            side: Side::$side,
            fix: $fix,
            change: $change,
            group: $group,
        }),*];
    };
}

macro_rules! form {
    ($read:expr, $write:expr) => {
        Change::Mac(MacForm {
            read: $read,
            #[cfg(test)]
            write: $write,
        })
    };
}

use Change::{Algorithm, Body, BodyAsSent, CutOff, Forwarded, Prefix, PreviousSecret, TimeHeader};
use Change::{Message as Signed, Secret};

table! {
    "secret.text" "reading" Sender "the secret is used as text", AS_DOCUMENTED
        => Secret(2, secret::as_text);
    "secret.base64" "reading" Sender "the secret is decoded from base64", AS_DOCUMENTED
        => Secret(2, secret::as_base64);
    "secret.hex" "reading" Sender "the secret is decoded from hex", AS_DOCUMENTED
        => Secret(2, secret::as_hex);
    "body.final-line-end" "line-end" Sender "the body ends in a line end", SENT_BYTES
        => Body(5, body::with_line_end);
    "body.no-final-line-end" "line-end" Sender "the body has no final line end", SENT_BYTES
        => Body(5, body::without_line_end);
    "json.compact" "json" Sender "the JSON is written again without spaces, as JSON.stringify does",
        SENT_BYTES => Body(2, body::compact);
    "json.python" "json" Sender "the JSON is written again as Python's json.dumps does", SENT_BYTES
        => Body(2, body::python);
    "secret.line-end" "secret-end" Sender "the secret ends in a line end",
        "Strip the line end from the secret when it is read from a file"
        => Secret(3, secret::with_line_end);
    "secret.previous" "secret" Sender "the previous secret is used",
        "Take the new secret. Let the verifier accept both until the sender has it"
        => PreviousSecret;
    "secret.prefix-stripped" "secret-prefix" Sender "the prefix of the secret is stripped",
        AS_DOCUMENTED => Secret(1, secret::without_prefix);
    "secret.prefix-kept" "secret-prefix" Verifier "the secret has its prefix",
        "Copy the whole secret, with its prefix" => Secret(1, secret::with_prefix);
    "secret.prefix-decoded" "reading" Sender
        "the secret is decoded from base64 together with its prefix", AS_DOCUMENTED
        => Secret(2, secret::as_base64_with_prefix);
    "secret.base64url" "reading" Sender "the secret is decoded from base64url", AS_DOCUMENTED
        => Secret(2, secret::as_base64_url);
    "secret.hex-text" "reading" Sender "the key is the hexadecimal text of the secret's bytes",
        AS_DOCUMENTED => Secret(2, secret::as_hex_text);
    "secret.trimmed" "secret-end" Verifier "the secret has no spaces or quotes around it",
        "Give the secret without the spaces or quotes" => Secret(0, secret::trimmed);
    "secret.case" "secret-case" Verifier "the letters of the secret are in the other case",
        "Copy the secret as its provider shows it" => Secret(0, secret::in_capitals);
    "mac.hex" "mac" Sender "the MAC is hexadecimal in its header", ONE_MAC
        => form!(read_hex, |mac| mac.iter().map(|byte| format!("{byte:02x}")).collect());
    "mac.hex-upper" "mac" Sender "the MAC is hexadecimal in upper case in its header", ONE_MAC
        => form!(read_hex_upper, |mac| mac.iter().map(|byte| format!("{byte:02X}")).collect());
    "mac.base64" "mac" Sender "the MAC is base64 in its header", ONE_MAC
        => form!(read_base64, |mac| general_purpose::STANDARD.encode(mac));
    "mac.base64url" "mac" Sender "the MAC is base64url in its header", ONE_MAC
        => form!(read_base64_url, |mac| general_purpose::URL_SAFE.encode(mac));
    "mac.unpadded" "mac" Sender "the MAC is base64 without its padding", ONE_MAC
        => form!(read_unpadded, |mac| general_purpose::STANDARD_NO_PAD.encode(mac));
    "mac.base64-of-hex" "mac" Sender "the MAC is base64 of its hexadecimal digits", ONE_MAC
        => form!(read_base64_of_hex, |mac| {
            let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            general_purpose::STANDARD.encode(hex)
        });
    "mac.no-prefix" "prefix" Sender "the header of the MAC has no prefix", ONE_MAC
        => Prefix(PrefixFault::Missing);
    "mac.other-prefix" "prefix" Sender "the header of the MAC has another prefix", ONE_MAC
        => Prefix(PrefixFault::Other);
    "algorithm.sha-256" "algorithm" Sender "the MAC is made with HMAC-SHA256", ONE_MAC
        => Algorithm(MacAlgorithm::HmacSha256);
    "algorithm.sha-1" "algorithm" Sender "the MAC is made with HMAC-SHA1", ONE_MAC
        => Algorithm(MacAlgorithm::HmacSha1);
    "algorithm.sha-512" "algorithm" Sender "the MAC is made with HMAC-SHA512", ONE_MAC
        => Algorithm(MacAlgorithm::HmacSha512);
    "mac.cut-off" "cut-off" Sender "the MAC is cut off", "Send the whole MAC" => CutOff;
    "json.sorted" "json" Sender "the JSON is written again with sorted keys and without spaces",
        SENT_BYTES => Body(2, body::sorted_compact);
    "json.sorted-python" "json" Sender
        "the JSON is written again with sorted keys, as Python's json.dumps does", SENT_BYTES
        => Body(2, body::sorted_python);
    "json.python-unicode" "json" Sender
        "the JSON is written again by Python with ensure_ascii=False", SENT_BYTES
        => Body(2, body::python_unicode);
    "json.indent-2" "json" Sender "the JSON is written again with an indent of 2", SENT_BYTES
        => Body(2, body::indented_by_2);
    "json.indent-4" "json" Sender "the JSON is written again with an indent of 4", SENT_BYTES
        => Body(2, body::indented_by_4);
    "json.escaped-slashes" "json" Sender "the slashes in the JSON are escaped, as PHP does",
        SENT_BYTES => Body(3, body::escaped_slashes);
    "json.plain-slashes" "json" Sender "the slashes in the JSON are not escaped", SENT_BYTES
        => Body(3, body::plain_slashes);
    "json.escaped-unicode" "json-unicode" Sender
        "the JSON has \\u escapes in place of letters beyond ASCII", SENT_BYTES
        => Body(3, body::escaped_unicode);
    "json.plain-unicode" "json-unicode" Sender
        "the JSON has letters beyond ASCII in place of \\u escapes", SENT_BYTES
        => Body(3, body::plain_unicode);
    "body.lf" "newlines" Sender "the body has LF in place of CRLF", SENT_BYTES
        => Body(4, body::crlf_as_lf);
    "body.crlf" "newlines" Sender "the body has CRLF in place of LF", SENT_BYTES
        => Body(4, body::lf_as_crlf);
    "body.empty" "body" Sender "the body is empty",
        "Sign the body that is sent. If the sender does so already, something read the body before the \
         verifier: keep its bytes" => Body(9, body::empty);
    "body.gunzipped" "gzip" Sender "the body is decompressed", SENT_BYTES
        => Body(0, body::gunzipped);
    "body.trimmed" "line-end" Sender "the body has no white space around it", SENT_BYTES
        => Body(5, body::trimmed);
    "body.as-sent" "body" Sender "the body is signed as it is sent, and not in its canonical form",
        ONE_MESSAGE => BodyAsSent;
    "form.percent-space" "form-space" Sender "the spaces of the form are %20 in place of +",
        SENT_BYTES => Body(2, body::percent_spaces);
    "form.plus-space" "form-space" Sender "the spaces of the form are + in place of %20",
        SENT_BYTES => Body(2, body::plus_spaces);
    "form.sorted" "form" Sender "the fields of the form are sorted", SENT_BYTES
        => Body(1, body::sorted_form);
    "form.decoded" "form-space" Sender "the form is percent-decoded", SENT_BYTES
        => Body(3, body::decoded_form);
    "body.base64-decoded" "base64" Verifier "the body is decoded from base64",
        "Decode the body before it is verified: a gateway has encoded it"
        => Body(0, body::from_base64);
    "body.base64-encoded" "base64" Sender "the body is encoded as base64", SENT_BYTES
        => Body(7, body::to_base64);
    "body.latin-1" "charset" Sender "the body is Latin-1 in place of UTF-8", SENT_BYTES
        => Body(6, body::latin_1);
    "body.utf-8" "charset" Sender "the body is UTF-8 in place of Latin-1", SENT_BYTES
        => Body(6, body::utf_8);
    "body.bom" "bom" Sender "the body begins with a byte order mark", SENT_BYTES
        => Body(6, body::with_bom);
    "body.no-bom" "bom" Sender "the body has no byte order mark", SENT_BYTES
        => Body(0, body::without_bom);
    "time.millis" "time" Sender "the signed time is in milliseconds", ONE_MESSAGE
        => Signed(0, message::in_millis);
    "time.seconds" "time" Sender "the signed time is in seconds", ONE_MESSAGE
        => Signed(0, message::in_seconds);
    "time.date" "time" Sender "the signed time is a date, such as 2026-11-29T10:00:00Z", ONE_MESSAGE
        => Signed(0, message::as_date);
    "time.header" "time-header" Sender
        "the time in its header is in milliseconds in place of seconds, or the reverse",
        "Write the time in the unit of the scheme: `countersign sign` shows how it looks" => TimeHeader;
    "url.http" "scheme" Verifier "the URL begins with http", ONE_URL => Signed(0, url::http);
    "url.https" "scheme" Verifier "the URL begins with https", ONE_URL => Signed(0, url::https);
    "url.web-socket" "scheme" Verifier "the URL begins with ws or wss", ONE_URL
        => Signed(0, url::web_socket);
    "host.port" "port" Verifier "the authority has its port", ONE_URL
        => Signed(0, url::with_port);
    "host.no-port" "port" Verifier "the authority has no port", ONE_URL
        => Signed(0, url::without_port);
    "host.forwarded" "port" Verifier "the authority is the one that a header of a proxy names",
        ONE_URL => Forwarded(url::forwarded_host);
    "path.forwarded" "path-prefix" Verifier "the path is the one that a header of a proxy names",
        ONE_URL => Forwarded(url::forwarded_path);
    "path.prefix" "path-prefix" Verifier "the path has a prefix that a proxy took off", ONE_URL
        => Signed(0, url::with_prefix);
    "path.no-prefix" "path-prefix" Sender "the path lacks its first segments", SENT_PATH
        => Signed(0, url::without_prefix);
    "path.slash" "slash" Sender "the path ends in a slash", SENT_PATH
        => Signed(1, url::with_slash);
    "path.no-slash" "slash" Sender "the path does not end in a slash", SENT_PATH
        => Signed(1, url::without_slash);
    "path.decoded" "path-code" Sender "the path is percent-decoded", SENT_URL
        => Signed(2, url::decoded_path);
    "query.dropped" "query" Sender "the query is left out", SENT_URL
        => Signed(3, url::without_query);
    "query.sorted" "query-order" Sender "the query is sorted", SENT_URL
        => Signed(1, url::sorted_query);
    "query.decoded" "query-code" Sender "the query is percent-decoded", SENT_URL
        => Signed(2, url::decoded_query);
    "query.encoded" "query-code" Sender "the query is percent-encoded twice", SENT_URL
        => Signed(2, url::encoded_query);
    "method.lower" "method" Sender "the method is in lower case", ONE_MESSAGE
        => Signed(0, message::lower_method);
    "header.spaces" "header" Sender "the value of a header keeps the spaces around it", ONE_MESSAGE
        => Signed(0, message::spaced_header);
    "header.joined" "header" Sender "the values of a header are joined otherwise", ONE_MESSAGE
        => Signed(0, message::joined_header);
    "header.lower" "header" Sender "the value of a header is in lower case", ONE_MESSAGE
        => Signed(0, message::lower_header);
    "part.missing" "parts" Sender "a part is left out of the signed message", ONE_MESSAGE
        => Signed(5, structure::missing_part);
    "text.missing" "text" Sender "a fixed text is left out of the signed message", ONE_MESSAGE
        => Signed(5, structure::missing_text);
    "delimiter.missing" "delimiters" Sender "the delimiters are left out of the signed message",
        ONE_MESSAGE => Signed(6, structure::missing_delimiter);
    "delimiter.other" "delimiters" Sender "the signed message has other delimiters", ONE_MESSAGE
        => Signed(6, structure::other_delimiter);
    "part.order" "parts" Sender "the parts of the signed message are in another order", ONE_MESSAGE
        => Signed(4, structure::other_order);
    "message.line-end" "message-end" Sender "the signed message ends in a line end", ONE_MESSAGE
        => Signed(7, structure::final_line_end);
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    hex(text.as_bytes()).filter(|_| !text.bytes().any(|b| b.is_ascii_uppercase()))
}

fn read_hex_upper(text: &str) -> Option<Vec<u8>> {
    hex(text.as_bytes()).filter(|_| text.bytes().any(|b| b.is_ascii_uppercase()))
}

fn read_base64(text: &str) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

fn read_base64_url(text: &str) -> Option<Vec<u8>> {
    BASE64_URL
        .decode(text)
        .ok()
        .filter(|_| text.contains(['-', '_']))
}

fn read_unpadded(text: &str) -> Option<Vec<u8>> {
    BASE64
        .decode(text)
        .ok()
        .filter(|_| !text.len().is_multiple_of(4))
}

fn read_base64_of_hex(text: &str) -> Option<Vec<u8>> {
    general_purpose::STANDARD
        .decode(text)
        .ok()
        .and_then(|digits| hex(&digits))
}
