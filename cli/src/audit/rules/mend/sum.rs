//! `F()` of Django in place of a number that was read.

use super::{super::look::Look, import::reach};
use crate::audit::{
    finding::Fix,
    flow::Val,
    tree::{Expr, Kind, Operator},
    values::At,
};

/// `post.views = F("views") + 1`. The object holds an expression afterwards, and no number.
pub(in crate::audit::rules) fn in_the_database(
    look: &Look<'_, '_>,
    fetched: At<'_>,
    (target, value, operator): (&Expr<'_>, Val<'_>, Option<Operator>),
    change: At<'_>,
) -> Option<Fix> {
    let Kind::Member(_, name) = target.kind else {
        return None;
    };
    let frame = value.frame;
    let file = look.flow.file(frame);
    let text = look.flow.project.files.get(file)?.text;
    let chain = fetched.val.expr.chain();
    let is_django = change.val.expr.call().is_some_and(|it| it.last() == "save")
        && (chain.contains(&"objects") || chain.last() == Some(&"get_object_or_404"));
    if !is_django {
        return None;
    }
    let f = reach(look, frame, "django.db.models", "F")?;
    let field = format!("{}(\"{name}\")", f.name);
    let written = text.get(value.expr.span.range())?;
    let left = text.get(target.span.range())?;
    let mut edits = match operator {
        Some(operator) => {
            let sign = match operator {
                Operator::Add => "+",
                Operator::Subtract => "-",
                _ => return None,
            };
            let is_atom = matches!(
                value.expr.kind,
                Kind::Name(_) | Kind::Member(..) | Kind::Call(_) | Kind::Index(_) | Kind::Number(_)
            );
            let written = if is_atom {
                written.to_owned()
            } else {
                format!("({written})")
            };
            vec![(
                target.span.to(value.expr.span),
                format!("{left} = {field} {sign} {written}"),
            )]
        }
        None => {
            let mut read = None;
            value.expr.walk(&mut |it| {
                if matches!(it.kind, Kind::Member(_, own) if own == name)
                    && it.dotted() == target.dotted()
                {
                    read = Some(it.span);
                }
            });
            vec![(read?, field)]
        }
    };
    edits.extend(f.edit);
    Some(Fix {
        file,
        edits,
        is_safe: false,
    })
}
