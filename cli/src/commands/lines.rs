//! A signed message, line by line.

use countersign::inspect::Piece;

use crate::printer::{Span, visible};

/// Lines of a message that are shown, and bytes of each.
const MAX_LINES: usize = 60;
const MAX_WIDTH: usize = 400;

/// Lines around a difference that are the same on both sides.
const CONTEXT: usize = 3;

/// A line: its number, its text with the covered parts set off, and what they are.
pub(crate) fn numbered(pieces: &[Piece<'_>]) -> Vec<Vec<Span>> {
    let mut lines: Vec<(Vec<Span>, Vec<String>)> = vec![Default::default()];
    for piece in pieces {
        let names: Vec<String> = piece.sources().iter().map(ToString::to_string).collect();
        for (index, text) in piece.bytes().split(|b| *b == b'\n').enumerate() {
            if index > 0 {
                if let Some((spans, _)) = lines.last_mut() {
                    spans.push(Span::faint("\\n"));
                }
                lines.push(Default::default());
            }
            let Some((spans, known)) = lines.last_mut() else {
                continue;
            };
            if text.is_empty() {
                continue;
            }
            let text = short(text);
            spans.push(if names.is_empty() {
                Span::faint(text)
            } else {
                Span::noted(text)
            });
            let new = names.iter().filter(|name| !known.contains(name)).cloned();
            let new: Vec<String> = new.collect();
            known.extend(new);
        }
    }
    let hidden = lines.len().saturating_sub(MAX_LINES);
    let mut shown: Vec<Vec<Span>> = Vec::new();
    for ((spans, names), number) in lines.into_iter().zip(1..).take(MAX_LINES) {
        let mut line = vec![Span::faint(format!("{number:4} | "))];
        line.extend(spans);
        if !names.is_empty() {
            line.push(Span::faint(format!("  <- {}", names.join(", "))));
        }
        shown.push(line);
    }
    if hidden > 0 {
        shown.push(vec![Span::faint(format!("     | and {hidden} more lines"))]);
    }
    shown
}

fn short(text: &[u8]) -> String {
    match text.get(..MAX_WIDTH) {
        Some(beginning) if text.len() > MAX_WIDTH => {
            format!(
                "{}[and {} more bytes]",
                visible(beginning),
                text.len() - MAX_WIDTH
            )
        }
        _ => visible(text),
    }
}

/// Returns where two messages differ: lines of one alone, lines of the other alone, and some around
/// them.
pub(super) fn compared(one: &[u8], other: &[u8]) -> Vec<Vec<Span>> {
    let one: Vec<&[u8]> = one.split_inclusive(|b| *b == b'\n').collect();
    let other: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let most = one.len().min(other.len()) - same;
    let ends = one.iter().rev().zip(other.iter().rev());
    let same_end = ends.take_while(|(a, b)| a == b).count().min(most);
    let (before, rest) = one.split_at_checked(same).unwrap_or_default();
    let (removed, after) = rest
        .split_at_checked(rest.len() - same_end)
        .unwrap_or_default();
    let added = other.get(same..other.len() - same_end).unwrap_or_default();
    let mut shown = Vec::new();
    let plain = |line: &&[u8]| vec![Span::plain(format!("     | {}", short(line)))];
    shown.extend(before.iter().skip(same.saturating_sub(CONTEXT)).map(plain));
    for (at, line) in removed.iter().enumerate().take(MAX_LINES) {
        let text = near_difference(line, added.get(at).copied());
        shown.push(vec![Span::removed(format!("   - | {text}"))]);
    }
    for (at, line) in added.iter().enumerate().take(MAX_LINES) {
        let text = near_difference(line, removed.get(at).copied());
        shown.push(vec![Span::added(format!("   + | {text}"))]);
    }
    shown.extend(after.iter().take(CONTEXT).map(plain));
    shown
}

/// A line with its end visible; of a long one, what is near the first difference.
fn near_difference(line: &[u8], other: Option<&[u8]>) -> String {
    let other = other.unwrap_or_default();
    let same = line.iter().zip(other).take_while(|(a, b)| a == b).count();
    let start = if line.len() <= MAX_WIDTH {
        0
    } else {
        same.saturating_sub(MAX_WIDTH / 4)
    };
    let text = short(line.get(start..).unwrap_or_default());
    if start == 0 {
        text
    } else {
        format!("[after {start} bytes]{text}")
    }
}
