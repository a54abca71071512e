//! `O_NOFOLLOW` where a file is opened.

use super::{super::look::Look, import::reach};
use crate::audit::{
    finding::Fix,
    flow::CallAt,
    span::Span,
    tree::{Kind, Language},
};

/// A path that ends in a link is refused, and was followed. Links in the folders above still are.
pub(in crate::audit::rules) fn without_links(
    look: &Look<'_, '_>,
    call: &CallAt<'_>,
) -> Option<Fix> {
    let frame = call.val.frame;
    let file = look.flow.file(frame);
    let it = look.flow.project.files.get(file)?;
    if it.language != Language::Python {
        return None;
    }
    let flag = reach(look, frame, "os", "O_NOFOLLOW")?;
    let mut edits = match call.call.func.chain().as_slice() {
        ["open"] if call.call.named("opener").is_none() => {
            let open = reach(look, frame, "os", "open")?.name;
            let end = call.val.expr.span.end;
            let at = Span {
                start: end - 1,
                end,
            };
            let inside = it.text.get(..at.start as usize)?.trim_end();
            let comma = if inside.ends_with(',') { " " } else { ", " };
            let opener = format!(
                "opener=lambda name, flags: {open}(name, flags | {})",
                flag.name
            );
            vec![(at, format!("{comma}{opener})"))]
        }
        ["os", "open"] => {
            let flags = call.call.arg(1, "flags")?;
            let written = it.text.get(flags.span.range())?;
            let is_or = matches!(
                flags.kind,
                Kind::Name(_) | Kind::Member(..) | Kind::Binary(..)
            );
            vec![(flags.span, format!("{written} | {}", flag.name))]
                .into_iter()
                .filter(|_| is_or)
                .collect()
        }
        _ => return None,
    };
    if edits.is_empty() {
        return None;
    }
    edits.extend(flag.edit);
    Some(Fix {
        file,
        edits,
        is_safe: false,
    })
}
