//! `hmac.compare_digest` in place of `==`.

use super::{super::look::Look, import::reach};
use crate::audit::{
    finding::Fix,
    flow::{Step, Val, What},
    mac::Check,
    tree::{Compare, Expr, Kind, Language, Operator, first, second},
    values::At,
};

/// How far a value is followed.
const DEPTH: usize = 12;

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Text,
    Bytes,
}

/// `hmac.compare_digest(a.encode(), b.encode())`: it refuses text beyond ASCII, and takes bytes. A
/// value that may be missing, or of another type, is unequal as it was before.
pub(in crate::audit::rules) fn in_constant_time(
    look: &Look<'_, '_>,
    check: &Check<'_>,
) -> Option<Fix> {
    let frame = check.at.val.frame;
    let file = look.flow.file(frame);
    let it = look.flow.project.files.get(file)?;
    let compare = check.at.val.expr;
    let Kind::Compare(operator, ref both) = compare.kind else {
        return None;
    };
    let (left, right) = (first(both), second(both));
    // Neither one of a chain of comparisons, nor with parentheses around a side.
    let is_whole = compare.span.start == left.span.start && compare.span.end == right.span.end;
    if it.language != Language::Python || !is_whole {
        return None;
    }
    let digest = reach(look, frame, "hmac", "compare_digest")?;
    let at = |expr| At {
        val: Val { expr, frame },
        step: check.at.step,
    };
    let made = sort(look, check.mac, DEPTH)?;
    let mut guard = None;
    let mut written = |expr: &Expr<'_>| {
        let text = it.text.get(expr.span.range())?;
        let is_atom = matches!(
            expr.kind,
            Kind::Name(_) | Kind::Member(..) | Kind::Call(_) | Kind::Index(_) | Kind::Format(_)
        );
        let atom = if is_atom {
            text.to_owned()
        } else {
            format!("({text})")
        };
        match (
            made,
            sort(
                look,
                at(if expr.span == left.span { left } else { right }),
                DEPTH,
            ),
        ) {
            (Sort::Bytes, Some(Sort::Bytes)) => Some(text.to_owned()),
            (Sort::Bytes, _) if matches!(expr.kind, Kind::Name(_)) => {
                guard = Some(format!("isinstance({text}, bytes)"));
                Some(text.to_owned())
            }
            (Sort::Text, Some(Sort::Text)) => Some(format!("{atom}.encode()")),
            (Sort::Text, None) => Some(format!("str({text}).encode(errors=\"replace\")")),
            _ => None,
        }
    };
    let mut call = format!("{}({}, {})", digest.name, written(left)?, written(right)?);
    if let Some(guard) = guard {
        call = format!("({guard} and {call})");
    }
    if operator == Compare::NotEqual {
        call = format!("not {call}");
    }
    let mut edits = vec![(compare.span, call)];
    edits.extend(digest.edit);
    Some(Fix {
        file,
        edits,
        is_safe: true,
    })
}

/// Returns whether a value is text or bytes, if the code says so; it may be nothing else.
fn sort<'a>(look: &Look<'_, 'a>, at: At<'a>, depth: usize) -> Option<Sort> {
    let depth = depth.checked_sub(1).filter(|_| look.flow.fuel.burn(1))?;
    let Val { expr, frame } = at.val;
    let of = |expr| {
        let val = Val { expr, frame };
        sort(look, At { val, step: at.step }, depth)
    };
    match &expr.kind {
        Kind::Text(text) => {
            let quote = text.find(['"', '\''])?;
            let is_bytes = text.get(..quote)?.contains(['b', 'B']);
            Some(if is_bytes { Sort::Bytes } else { Sort::Text })
        }
        Kind::Format(_) => Some(Sort::Text),
        Kind::Await(inner) => of(inner),
        Kind::Binary(Operator::Add, both) => both.iter().find_map(of),
        Kind::Choice(three) => agreed(three.iter().skip(1).map(of)),
        Kind::Index(both) => {
            let from = first(both);
            let is_slice = matches!(&second(both).kind, Kind::Many(all) if all.is_empty());
            let is_header = from
                .chain()
                .last()
                .is_some_and(|it| ["headers", "META"].contains(it));
            match is_header {
                true => Some(Sort::Text),
                false if is_slice => of(from),
                false => None,
            }
        }
        Kind::Name(_) | Kind::Member(..) => {
            let name = expr.dotted()?;
            let all = look.flow.definitions_of(&name, frame, at.step);
            if !all.is_empty() {
                return agreed(all.into_iter().map(|it| sort(look, it, depth)));
            }
            let function = look.flow.frames.get(frame as usize)?.function?;
            let param = function
                .params
                .iter()
                .find(|it| it.target.is_name(&[&name]))?;
            match param.annotation.as_ref()?.kind {
                Kind::Name("bytes") => Some(Sort::Bytes),
                Kind::Name("str") => Some(Sort::Text),
                _ => None,
            }
        }
        Kind::Call(call) => {
            if let Some(helper) = look.flow.helper_of(at.val) {
                let returns = &look.flow.frames.get(helper as usize)?.returns;
                return agreed(returns.iter().map(|step| match look.flow.step(*step) {
                    Some(Step {
                        what: What::Return(Some(expr)),
                        ..
                    }) => {
                        let val = Val {
                            expr,
                            frame: helper,
                        };
                        sort(look, At { val, step: *step }, depth)
                    }
                    _ => None,
                }));
            }
            match call.last() {
                "hexdigest" | "decode" | "hex" | "str" | "force_str" => Some(Sort::Text),
                "digest" | "encode" | "b64encode" | "b64decode" | "hexlify" | "unhexlify"
                | "fromhex" | "urlsafe_b64encode" | "urlsafe_b64decode" | "standard_b64encode"
                | "bytes" | "force_bytes" => Some(Sort::Bytes),
                "lower" | "upper" | "strip" | "rstrip" | "lstrip" | "replace" => {
                    of(call.receiver()?)
                }
                "get" => {
                    let is_text = |it: &Expr<'_>| it.text().is_some();
                    let is_header = call.receiver()?.chain().last() == Some(&"headers");
                    (is_header && call.args.get(1).is_some_and(|it| is_text(&it.value)))
                        .then_some(Sort::Text)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn agreed(sorts: impl Iterator<Item = Option<Sort>>) -> Option<Sort> {
    let mut sorts = sorts;
    let first = sorts.next()??;
    sorts.all(|it| it == Some(first)).then_some(first)
}
