//! The signed message, as the verifier builds it.

use countersign::inspect::{Inspected, Inspector, Piece};
use maud::{Markup, html};

use super::text;
use crate::listen::Record;

/// The most bytes that are shown of one piece, such as a long body.
const MAX_PIECE: usize = 16 * 1024;

/// The message of each signature. Parts of the request are marked, and the text that the scheme puts
/// between them is grey.
pub(super) fn messages(record: &Record, reader: &Inspector) -> Markup {
    let (head, body) = record.request.clone().into_parts();
    let signatures = reader.inspect(&head, &body).unwrap_or_default();
    html! {
        @for signature in &signatures {
            section.message {
                h3 {
                    "Signed message " span.muted {
                        "as a verifier builds it, under key id " (text::line(signature.key_id().as_bytes()))
                    }
                }
                (message(signature))
                p.legend { mark { "covered part of the request" } " " span.fixed { "fixed by the scheme" } }
            }
        }
    }
}

fn message(signature: &Inspected) -> Markup {
    html! {
        pre.code tabindex="0" aria-label="Signed message" {
            @for piece in signature.pieces() { (shown(&piece)) }
        }
    }
}

fn shown(piece: &Piece<'_>) -> Markup {
    let (text, is_whole) = text::lines(piece.bytes(), MAX_PIECE);
    let sources: Vec<String> = piece.sources().iter().map(ToString::to_string).collect();
    html! {
        @if sources.is_empty() {
            span.fixed { (text) }
        } @else {
            mark title=(sources.join(", ")) { (text) }
        }
        @if !is_whole { span.fixed { "[and more]" } }
    }
}
