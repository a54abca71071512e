//! A signed message piece by piece, for the eyes of a person.

use std::ops::Range;

use super::{body::BodyPlace, part::Part, signed::Message};

/// A piece of a message, and the parts that it came from. A piece without parts is fixed text.
pub(crate) struct Piece<'m> {
    pub(crate) parts: Vec<&'m Part>,
    /// `None` is the body, in the form in which it is signed.
    pub(crate) bytes: Option<&'m [u8]>,
}

impl Message {
    /// All pieces, in order: together they are the signed message.
    pub(crate) fn pieces(&self) -> Vec<Piece<'_>> {
        let body = match self.body_place() {
            BodyPlace::At { offset, .. } => Some(*offset),
            BodyPlace::Digests(_) => None,
        };
        let mut cuts: Vec<usize> = self
            .parts
            .iter()
            .flat_map(|w| [w.place.start, w.place.end])
            .collect();
        cuts.extend([0, self.bytes.len()]);
        cuts.extend(body);
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces = Vec::new();
        let push_body = |at: usize, pieces: &mut Vec<_>| {
            if body == Some(at) {
                pieces.push(Piece {
                    parts: Vec::new(),
                    bytes: None,
                });
            }
        };
        for (start, end) in cuts.iter().zip(cuts.iter().skip(1)) {
            push_body(*start, &mut pieces);
            let holds = |place: &Range<usize>| place.start <= *start && *end <= place.end;
            let parts = self.parts.iter().filter(|written| holds(&written.place));
            pieces.push(Piece {
                parts: parts.map(|written| &written.part).collect(),
                bytes: self.bytes.get(*start..*end),
            });
        }
        push_body(self.bytes.len(), &mut pieces);
        pieces
    }
}
