//! `verify_slice` in place of `==`, in Rust.

use super::super::look::Look;
use crate::audit::{
    finding::Fix,
    mac::Check,
    span::Span,
    tree::{Compare, Expr, Kind, Language, first, second},
};

/// `mac.verify_slice(&given).is_ok()`: bytes are compared as before. A MAC in hexadecimal was
/// accepted in one spelling before, and is then accepted in upper and lower case. Code that
/// remembers the text of used MACs must take that into account.
pub(in crate::audit::rules) fn with_verify_slice(
    look: &Look<'_, '_>,
    check: &Check<'_>,
) -> Option<Fix> {
    let file = look.flow.file(check.at.val.frame);
    let it = look.flow.project.files.get(file)?;
    let compare = check.at.val.expr;
    let Kind::Compare(operator, ref both) = compare.kind else {
        return None;
    };
    let (left, right) = (first(both), second(both));
    let ((mac, hex), other) = match (finalized(left), finalized(right)) {
        (Some(mac), None) => (mac, right),
        (None, Some(mac)) => (mac, left),
        _ => return None,
    };
    let is_simple = matches!(
        other.kind,
        Kind::Name(_) | Kind::Member(..) | Kind::Call(_) | Kind::Index(_) | Kind::Text(_)
    );
    if it.language != Language::Rust || !is_simple {
        return None;
    }
    // A `&` or `*` of the left side is before the span of the comparison.
    let before = it.text.get(..compare.span.start as usize)?;
    let bare = before.trim_end_matches(['&', '*']);
    if before.len() - bare.len() > 1 {
        return None;
    }
    let span = Span {
        start: u32::try_from(bare.len()).ok()?,
        end: compare.span.end,
    };
    let text = |expr: &Expr<'_>| it.text.get(expr.span.range());
    let (mac, other) = (text(mac)?, text(other)?);
    let is_equal = operator == Compare::Equal;
    let new = match hex.map(text) {
        None if is_equal => format!("{mac}.verify_slice(&{other}).is_ok()"),
        None => format!("{mac}.verify_slice(&{other}).is_err()"),
        Some(encode) => {
            let decode = encode?.strip_suffix("encode")?;
            let not = if is_equal { "" } else { "!" };
            format!(
                "{not}{decode}decode({other}).is_ok_and(|given| {mac}.verify_slice(&given).is_ok())"
            )
        }
    };
    Some(Fix {
        file,
        edits: vec![(span, new)],
        is_safe: hex.is_none(),
    })
}

/// The MAC of `mac.finalize().into_bytes()`, and the function that writes it in hexadecimal.
fn finalized<'e, 'a>(side: &'e Expr<'a>) -> Option<(&'e Expr<'a>, Option<&'e Expr<'a>>)> {
    let (mut at, mut hex) = (side, None);
    loop {
        at = match &at.kind {
            Kind::Index(both) => first(both),
            Kind::Call(call) => match (call.func.chain().as_slice(), call.args.as_slice()) {
                ([.., "hex", "encode"], [arg]) if hex.is_none() => {
                    hex = Some(&call.func);
                    &arg.value
                }
                ([.., "as_slice" | "to_vec" | "as_ref" | "as_bytes"], []) => call.receiver()?,
                ([.., "into_bytes"], []) => {
                    let finalize = call.receiver()?.call()?;
                    let is_final = finalize.last() == "finalize" && finalize.args.is_empty();
                    return Some((finalize.receiver().filter(|_| is_final)?, hex));
                }
                _ => return None,
            },
            _ => return None,
        };
    }
}
