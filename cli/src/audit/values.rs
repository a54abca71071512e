//! Where a value comes from.

use std::collections::HashSet;

use super::{
    flow::{Flow, Step, Val, What},
    tree::{Expr, Kind},
};

/// How many expressions one question looks at.
const BUDGET: usize = 600;

/// How many expressions a number is made of at most.
const NUMBER_STEPS: usize = 64;

/// The work on the pieces of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    Deeper,
    Past,
    Stop,
}

/// A value at a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) val: Val<'a>,
    pub(super) step: u32,
}

impl<'a> Flow<'a> {
    /// The definitions of a name that can hold at a step: the value, where it was set, and whether
    /// it adds to the value before.
    pub(super) fn definitions_of(&self, name: &str, frame: u32, step: u32) -> Vec<At<'a>> {
        let mut found = Vec::new();
        let all = self.definitions.get(&(frame, name.to_owned()));
        for at in all.into_iter().flatten().rev() {
            if !self.reaches(*at, step) {
                continue;
            }
            let Some(Step {
                what:
                    What::Set {
                        target,
                        value,
                        operator,
                    },
                ..
            }) = self.step(*at)
            else {
                continue;
            };
            found.push(At {
                val: *value,
                step: *at,
            });
            let adds = operator.is_some() || matches!(target.kind, Kind::Index(_));
            if !adds && self.dominates(*at, step) {
                return found;
            }
        }
        if found.is_empty() && !name.contains('.') {
            let file = self.project.files.get(self.file(frame));
            let is_param = self
                .frames
                .get(frame as usize)
                .and_then(|it| it.function)
                .is_some_and(|function| {
                    function.params.iter().any(|it| it.target.is_name(&[name]))
                });
            if !is_param && let Some(expr) = file.and_then(|it| it.constants.get(name)) {
                // The top of a file: frame 0 serves for the file of the root function.
                found.push(At {
                    val: Val { expr, frame },
                    step: 0,
                });
            }
        }
        found
    }

    /// Visits an expression, and all that it is made of: definitions of names, results of helpers.
    pub(super) fn sources(&self, from: At<'a>, visit: &mut impl FnMut(At<'a>) -> Go) {
        let mut seen = HashSet::new();
        let mut budget = BUDGET;
        self.source(from, visit, &mut seen, &mut budget);
    }

    fn source(
        &self,
        at: At<'a>,
        visit: &mut impl FnMut(At<'a>) -> Go,
        seen: &mut HashSet<(usize, u32)>,
        budget: &mut usize,
    ) -> bool {
        let key = (std::ptr::from_ref(at.val.expr) as usize, at.val.frame);
        if *budget == 0 || !self.fuel.burn(1) || !seen.insert(key) {
            return true;
        }
        *budget -= 1;
        match visit(at) {
            Go::Stop => return false,
            Go::Past => return true,
            Go::Deeper => {}
        }
        let Val { expr, frame } = at.val;
        if let Some(name) = expr.dotted() {
            let definitions = self.definitions_of(&name, frame, at.step);
            let is_set = !definitions.is_empty();
            for definition in definitions {
                if !self.source(definition, visit, seen, budget) {
                    return false;
                }
            }
            if is_set {
                return true;
            }
        }
        if let Some(helper) = self.helper_of(at.val) {
            let returns = self
                .frames
                .get(helper as usize)
                .map(|it| it.returns.as_slice());
            for step in returns.unwrap_or_default() {
                if let Some(Step {
                    what: What::Return(Some(expr)),
                    ..
                }) = self.step(*step)
                {
                    let val = Val {
                        expr,
                        frame: helper,
                    };
                    if !self.source(At { val, step: *step }, visit, seen, budget) {
                        return false;
                    }
                }
            }
            return true;
        }
        if let Kind::Block(body) | Kind::Closure(body) = &expr.kind {
            let mut yielded = Vec::new();
            yields(body, &mut yielded);
            for expr in yielded {
                let step = self.steps.len();
                let val = Val { expr, frame };
                let step = super::flow::number(step).min(at.step.saturating_add(1));
                if !self.source(At { val, step }, visit, seen, budget) {
                    return false;
                }
            }
            return true;
        }
        let mut children = Vec::new();
        expr.children(&mut |child| children.push(child));
        children.into_iter().all(|expr| {
            self.source(
                At {
                    val: Val { expr, frame },
                    step: at.step,
                },
                visit,
                seen,
                budget,
            )
        })
    }

    /// The first value that fits, among all that a value is made of.
    pub(super) fn find(&self, from: At<'a>, fits: impl Fn(At<'a>) -> bool) -> Option<At<'a>> {
        let mut found = None;
        self.sources(from, &mut |at| {
            if fits(at) {
                found = Some(at);
                return Go::Stop;
            }
            Go::Deeper
        });
        found
    }

    /// Returns the value of a name that was set once. Any other expression is returned as it is.
    pub(super) fn resolved(&self, at: At<'a>) -> At<'a> {
        let mut at = at;
        for _ in 0..8 {
            let bare = at.val.expr.bare();
            let Some(name) = bare.dotted() else { break };
            match self.definitions_of(&name, at.val.frame, at.step).as_slice() {
                [one] => at = *one,
                _ => break,
            }
        }
        at
    }

    /// Returns the number that an expression has, if the code shows it.
    pub(super) fn number(&self, at: At<'a>) -> Option<f64> {
        self.number_within(at, &mut { NUMBER_STEPS })
    }

    /// A name can be defined by itself, as in `n = n * 2`, so the number of steps is bounded.
    fn number_within(&self, at: At<'a>, steps: &mut usize) -> Option<f64> {
        *steps = steps.checked_sub(1)?;
        let at = self.resolved(at);
        match &at.val.expr.bare().kind {
            Kind::Number(text) => number(text),
            Kind::Binary(operator, both) => {
                let [left, right] = &**both;
                let frame = at.val.frame;
                let left = self.number_within(
                    At {
                        val: Val { expr: left, frame },
                        step: at.step,
                    },
                    steps,
                )?;
                let right = self.number_within(
                    At {
                        val: Val { expr: right, frame },
                        step: at.step,
                    },
                    steps,
                )?;
                match operator {
                    super::tree::Operator::Multiply => Some(left * right),
                    super::tree::Operator::Add => Some(left + right),
                    _ => None,
                }
            }
            Kind::Call(call) => {
                let frame = at.val.frame;
                let arg = call.args.first()?;
                let value = self.number_within(
                    At {
                        val: Val {
                            expr: &arg.value,
                            frame,
                        },
                        step: at.step,
                    },
                    steps,
                )?;
                match (call.last(), arg.name) {
                    ("timedelta", Some("minutes")) => Some(value * 60.0),
                    ("timedelta", Some("hours")) => Some(value * 3600.0),
                    ("timedelta", Some("days") | None) => Some(value * 86400.0),
                    ("timedelta", Some("seconds"))
                    | ("from_secs" | "seconds" | "int" | "float" | "try_seconds", _) => Some(value),
                    ("minutes" | "from_mins", _) => Some(value * 60.0),
                    ("hours" | "from_hours", _) => Some(value * 3600.0),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Returns the text of an expression in its file.
    pub(super) fn text(&self, val: Val<'a>) -> &'a str {
        let file = self.project.files.get(self.file(val.frame));
        let text = file.and_then(|it| it.text.get(val.expr.span.range()));
        text.unwrap_or_default()
    }

    /// Returns whether two expressions are the same thing: the same words, or the same words behind
    /// names that were set once.
    pub(super) fn same(&self, one: At<'a>, other: At<'a>) -> bool {
        let words = |at: At<'a>| (self.text(at.val), at.val.frame);
        if words(one) == words(other) {
            // The name must not have been set again in between.
            let Some(name) = one.val.expr.dotted() else {
                return true;
            };
            let set = self.definitions.get(&(one.val.frame, name));
            let (from, to) = (one.step.min(other.step), one.step.max(other.step));
            return !set.into_iter().flatten().any(|at| *at > from && *at < to);
        }
        let (one, other) = (self.resolved(one), self.resolved(other));
        if self.text(one.val).is_empty() {
            return false;
        }
        words(one) == words(other) || self.is_same_form(one, other)
    }

    /// `f"nonce:{nonce}"` in two helpers that got the same nonce.
    fn is_same_form(&self, one: At<'a>, other: At<'a>) -> bool {
        if one.val.frame == other.val.frame || self.text(one.val) != self.text(other.val) {
            return false;
        }
        let names = |at: At<'a>| {
            let mut names = Vec::new();
            let mut is_made_anew = false;
            at.val.expr.walk(&mut |expr| {
                let val = Val {
                    expr,
                    frame: at.val.frame,
                };
                match &expr.kind {
                    Kind::Name(_) => names.push(self.resolved(At { val, step: at.step })),
                    // `uuid4()` is another one each time.
                    Kind::Call(call) => is_made_anew |= call.args.is_empty(),
                    _ => {}
                }
            });
            (!is_made_anew).then_some(names)
        };
        let (Some(ones), Some(others)) = (names(one), names(other)) else {
            return false;
        };
        // A constant of the file, or a function.
        let is_global = |at: &At<'a>| match at.val.expr.kind {
            Kind::Text(_) | Kind::Number(_) => true,
            Kind::Name(name) => !self
                .definitions
                .contains_key(&(at.val.frame, name.to_owned())),
            _ => false,
        };
        ones.len() == others.len()
            && ones.iter().zip(&others).all(|(one, other)| {
                let words = |at: &At<'a>| (self.text(at.val), at.val.frame);
                words(one) == words(other)
                    || self.text(one.val) == self.text(other.val)
                        && is_global(one)
                        && is_global(other)
            })
    }
}

fn number(text: &str) -> Option<f64> {
    let text: String = text.chars().filter(|c| *c != '_').collect();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.get(..digits)?.trim_end_matches('.').parse().ok()
}

/// The values that the last statements of a block yield.
fn yields<'a>(body: &'a [super::tree::Stmt<'a>], into: &mut Vec<&'a Expr<'a>>) {
    use super::tree::Act;
    match body.last().map(|it| &it.act) {
        Some(Act::Yield(expr)) => into.push(expr),
        Some(Act::If {
            body, otherwise, ..
        }) => {
            yields(body, into);
            yields(otherwise, into);
        }
        Some(Act::Match { arms, .. }) => arms.iter().for_each(|(_, body)| yields(body, into)),
        _ => {}
    }
}
