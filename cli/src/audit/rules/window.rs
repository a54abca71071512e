//! Where a time is compared with the clock.

use super::look::Look;
use crate::audit::{
    flow::Val,
    tree::{Compare, Expr, Kind},
    values::{At, Go},
    words,
};

/// A comparison of a time with the clock.
pub(super) struct Window<'a> {
    pub(super) at: At<'a>,
    /// In seconds, if the code says so.
    pub(super) width: Option<f64>,
    pub(super) is_two_sided: bool,
    /// The time is one at which something ends.
    pub(super) is_end: bool,
}

/// Returns the comparisons of this flow that contain the clock.
pub(super) fn windows<'a>(look: &Look<'_, 'a>) -> Vec<Window<'a>> {
    let mut found = Vec::new();
    for (number, step) in look.flow.steps() {
        step.each(&mut |root| {
            if root.frame != step.frame {
                return;
            }
            root.expr.walk(&mut |expr| {
                let Kind::Compare(compare, both) = &expr.kind else {
                    return;
                };
                let is_order = matches!(
                    compare,
                    Compare::Less
                        | Compare::LessOrEqual
                        | Compare::Greater
                        | Compare::GreaterOrEqual
                );
                let at = |expr: &'a Expr<'a>| At {
                    val: Val {
                        expr,
                        frame: root.frame,
                    },
                    step: number,
                };
                if !is_order || words::has_clock(look.flow, at(expr)).is_none() {
                    return;
                }
                let mut is_two_sided = false;
                let mut is_end = false;
                look.flow.sources(at(expr), &mut |it| {
                    is_two_sided |= it.val.expr.call().is_some_and(|call| {
                        ["abs", "abs_diff", "unsigned_abs", "fabs"].contains(&call.last())
                    });
                    is_end |= match &it.val.expr.kind {
                        Kind::Name(name) | Kind::Member(_, name) => words::is_end(name),
                        Kind::Text(text) => words::is_end(text),
                        _ => false,
                    };
                    Go::Deeper
                });
                let width = both.iter().find_map(|side| look.flow.number(at(side)));
                found.push(Window {
                    at: at(expr),
                    width,
                    is_two_sided,
                    is_end,
                });
            });
        });
    }
    found
}
