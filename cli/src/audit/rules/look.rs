//! The view of a program that all rules share.

use crate::audit::{
    finding::{Fix, Place},
    flow::{CallAt, Flow, RegionKind, Val, What},
    mac,
    span::Span,
    tree::{Call, Expr, Function, Kind},
    values::{At, Go},
    words,
};

/// The text of a finding: the name and severity come from the rule's row.
#[derive(Debug)]
pub(in crate::audit) struct Hit {
    pub(super) check: Place,
    pub(super) use_: Place,
    pub(super) message: String,
    pub(super) fix: Option<Fix>,
}

/// A function, with what several rules ask about it.
pub(super) struct Look<'f, 'a> {
    pub(super) flow: &'f Flow<'a>,
    pub(super) checks: Vec<mac::Check<'a>>,
    pub(super) is_handler: bool,
    /// The steps in which a lock is taken.
    locks: Vec<u32>,
}

/// Returns whether a function answers requests.
fn is_handler(function: &Function<'_>) -> bool {
    let routes = [
        "route",
        "post",
        "put",
        "patch",
        "delete",
        "get",
        "api_view",
        "action",
        "require_POST",
        "csrf_exempt",
        "require_http_methods",
        "api_route",
        "webhook",
    ];
    let is_routed = function
        .decorators
        .iter()
        .any(|it| it.chain().last().is_some_and(|last| routes.contains(last)));
    let has_request = function
        .params
        .iter()
        .take(2)
        .any(|it| it.target.is_name(&["request"]));
    let generic = ["Json", "State", "Form", "Path", "Query", "Extension"];
    let is_rust = function.is_async
        && function.params.iter().any(|param| {
            let Some(annotation) = &param.annotation else {
                return false;
            };
            // `&Path` is a file's.
            let has_arguments = matches!(annotation.kind, Kind::Index(_));
            annotation.chain().last().is_some_and(|last| {
                (has_arguments && generic.contains(last)) || *last == "HeaderMap"
            })
        });
    is_routed || has_request || is_rust
}

impl<'f, 'a> Look<'f, 'a> {
    pub(super) fn new(flow: &'f Flow<'a>) -> Self {
        let locks = flow.calls().filter(|it| takes_lock(it.call));
        Self {
            flow,
            checks: mac::checks(flow),
            is_handler: is_handler(flow.function),
            locks: locks.map(|it| it.step).collect(),
        }
    }

    pub(super) fn place(&self, at: At<'a>, what: impl Into<String>) -> Place {
        Place {
            file: self.flow.file(at.val.frame),
            span: at.val.expr.span,
            what: what.into(),
        }
    }

    pub(super) fn hit(
        &self,
        check: (At<'a>, &str),
        use_: (At<'a>, &str),
        message: impl Into<String>,
    ) -> Hit {
        Hit {
            check: self.place(check.0, check.1),
            use_: self.place(use_.0, use_.1),
            message: message.into(),
            fix: None,
        }
    }

    pub(super) fn at(&self, call: &CallAt<'a>) -> At<'a> {
        At {
            val: call.val,
            step: call.step,
        }
    }

    /// Returns the place of an argument or another piece of a call.
    pub(super) fn piece(&self, call: &CallAt<'a>, expr: &'a Expr<'a>) -> At<'a> {
        let frame = call.val.frame;
        At {
            val: Val { expr, frame },
            step: call.step,
        }
    }

    /// Returns whether the object of a method is a cache or a store that several requests share.
    pub(super) fn is_cache(&self, call: &CallAt<'a>) -> bool {
        call.call.receiver().is_some_and(|receiver| {
            words::is_cache(receiver)
                || words::is_cache(self.flow.resolved(self.piece(call, receiver)).val.expr)
        })
    }

    /// Returns whether the text of a function of this flow contains one of the words.
    pub(super) fn mentions(&self, needles: &[&str]) -> bool {
        self.flow.frames.iter().any(|frame| {
            let Some(function) = frame.function else {
                return false;
            };
            let file = self.flow.project.files.get(frame.file);
            let text = file.and_then(|it| it.text.get(function.span.range()));
            text.is_some_and(|it| {
                self.flow.fuel.burn(it.len() / 16) && words::has_word(it, needles)
            })
        })
    }

    /// Returns whether one of the words stands in a function of this flow, and not in a comment.
    pub(super) fn mentions_in_code(&self, needles: &[&str]) -> bool {
        self.flow.frames.iter().any(|frame| {
            let file = self.flow.project.files.get(frame.file);
            let (Some(function), Some(file)) = (frame.function, file) else {
                return false;
            };
            let Span { start, end } = function.span;
            let comments = &file.tree.comments;
            let first = comments.partition_point(|it| it.span.start < start);
            let inside = comments.iter().skip(first).map(|it| it.span);
            let inside = inside.take_while(|it| it.start < end);
            let mut from = start;
            inside.chain([Span { start: end, end }]).any(|comment| {
                let code = file.text.get(from as usize..comment.start as usize);
                from = comment.end;
                code.is_some_and(|it| {
                    self.flow.fuel.burn(1 + it.len() / 16) && words::has_word(it, needles)
                })
            })
        })
    }

    /// Returns whether a call only logs.
    pub(super) fn is_log(&self, frame: u32) -> bool {
        let frame = self.flow.frames.get(frame as usize);
        let function = frame.and_then(|it| it.function);
        function.is_some_and(|it| {
            let mut names = [Some(it.name), it.class].into_iter().flatten();
            names.any(|name| words::has_word(name, &["log", "audit", "metric", "record_event"]))
        })
    }

    /// Returns whether a step runs inside a transaction.
    pub(super) fn in_transaction(&self, step: u32) -> bool {
        let Some(at) = self.flow.step(step) else {
            return false;
        };
        let with = self.flow.around(at.region).any(|(_, region)| {
            matches!(region.kind, RegionKind::With(val) if words::is_transaction(val.expr))
        });
        let mut decorated = self.flow.around(at.region).filter_map(|(at, _)| {
            self.flow
                .frames
                .get(self.flow.frame_of(at) as usize)?
                .function
        });
        with || self.flow.project.facts.atomic_requests
            || decorated.any(|function| function.decorators.iter().any(words::is_transaction))
    }

    /// Returns whether a step runs while a lock is held.
    pub(super) fn is_locked(&self, step: u32) -> bool {
        self.is_locked_through(step, step)
    }

    /// Returns whether one lock is held from one step to another.
    pub(super) fn is_locked_through(&self, from: u32, to: u32) -> bool {
        let (Some(first), Some(last)) = (self.flow.step(from), self.flow.step(to)) else {
            return false;
        };
        let with = self.flow.around(first.region).any(|(at, region)| {
            matches!(region.kind, RegionKind::With(val) if words::is_lock(val.expr))
                && self.flow.around(last.region).any(|(it, _)| it == at)
        });
        let mut decorated = self.flow.around(first.region).filter_map(|(at, _)| {
            self.flow
                .frames
                .get(self.flow.frame_of(at) as usize)?
                .function
        });
        let taken = self
            .locks
            .iter()
            .any(|lock| *lock <= from && self.flow.reaches(*lock, from.max(lock + 1)));
        with || taken || decorated.any(|function| function.decorators.iter().any(words::is_lock))
    }

    /// Returns whether something waits between two steps.
    pub(super) fn waits_between(&self, from: u32, to: u32) -> bool {
        (from + 1..to).any(|at| {
            let mut waits = false;
            if let Some(step) = self
                .flow
                .step(at)
                .filter(|it| self.flow.fuel.burn(1 + it.size))
            {
                step.each(&mut |root| {
                    root.expr
                        .walk(&mut |it| waits |= matches!(it.kind, Kind::Await(_)));
                });
            }
            waits && self.flow.reaches(from, at) && self.flow.reaches(at, to)
        })
    }

    /// Returns the first test of a value between two steps that decides whether the later one runs.
    pub(super) fn test_between(
        &self,
        from: u32,
        to: u32,
        about: impl Fn(At<'a>) -> bool,
    ) -> Option<At<'a>> {
        for number in from..to {
            let Some(step) = self.flow.step(number).filter(|_| self.flow.fuel.burn(1)) else {
                break;
            };
            let What::Test(expr, _) = step.what else {
                continue;
            };
            let at = At {
                val: Val {
                    expr,
                    frame: step.frame,
                },
                step: number,
            };
            if self.flow.decides(number, to) {
                let mut is_about = false;
                self.flow.sources(at, &mut |it| {
                    is_about |= about(it);
                    if is_about { Go::Stop } else { Go::Deeper }
                });
                if is_about {
                    return Some(at);
                }
            }
        }
        None
    }
}

fn takes_lock(call: &Call<'_>) -> bool {
    let locks = [
        "acquire",
        "pg_advisory_xact_lock",
        "lock_exclusive",
        "select_for_update",
        "with_for_update",
        "pg_advisory_lock",
    ];
    locks.contains(&call.last()) || has_lock_sql(call)
}

fn has_lock_sql(call: &Call<'_>) -> bool {
    call.args.iter().any(|arg| {
        matches!(arg.value.kind, Kind::Text(text) if words::has_word(text, &["for update", "advisory_xact_lock", "advisory_lock", "begin immediate", "serializable"]))
    })
}
