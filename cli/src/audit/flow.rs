//! The steps of a function, in the order in which it takes them.
//!
//! The steps of a helper are inserted at its call, so that no rule needs to know helpers. A helper
//! is found in the same file, or by its name in the project. Each step is in a region: a branch, a
//! loop, a `with` or a helper. Regions determine which steps can follow which.

use std::{collections::HashMap, rc::Rc};

use super::{
    fuel::Fuel,
    project::{Id, Project},
    tree::{Call, Expr, Function, Handler, Operator},
};

/// An expression, and the call in which its names have their values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Val<'a> {
    pub(super) expr: &'a Expr<'a>,
    pub(super) frame: u32,
}

/// One call of a function.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) file: usize,
    /// None for the top of a file.
    pub(super) function: Option<&'a Function<'a>>,
    pub(super) id: Option<Id>,
    /// The expression of the call.
    pub(super) call: Option<Val<'a>>,
    pub(super) parent: Option<u32>,
    pub(super) depth: u32,
    pub(super) returns: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Return,
    Raise,
    Leave,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RegionKind<'a> {
    Body,
    /// An arm of a test. A closure that may never run is the only arm of its group.
    Branch {
        group: u32,
        arm: u32,
    },
    Loop,
    With(Val<'a>),
    Try(u32),
    Handler(u32),
    Helper,
}

#[derive(Debug)]
pub(super) struct Region<'a> {
    pub(super) parent: Option<u32>,
    pub(super) kind: RegionKind<'a>,
    pub(super) exits: Option<Exit>,
    pub(super) frame: u32,
}

#[derive(Debug)]
pub(super) enum What<'a> {
    Set {
        target: &'a Expr<'a>,
        value: Val<'a>,
        operator: Option<Operator>,
    },
    Do(&'a Expr<'a>),
    /// A test, and the group of its branches.
    Test(&'a Expr<'a>, u32),
    Enter(&'a Expr<'a>),
    Return(Option<&'a Expr<'a>>),
    Raise(Option<&'a Expr<'a>>),
    Leave,
}

#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) frame: u32,
    pub(super) region: u32,
    pub(super) what: What<'a>,
    /// How many expressions it holds.
    pub(super) size: usize,
}

/// A call in some step.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallAt<'a> {
    pub(super) step: u32,
    pub(super) val: Val<'a>,
    pub(super) call: &'a Call<'a>,
}

/// A function and its helpers, step by step.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) project: &'a Project<'a>,
    pub(super) root: Id,
    pub(super) function: &'a Function<'a>,
    pub(super) frames: Vec<Frame<'a>>,
    pub(super) regions: Vec<Region<'a>>,
    pub(super) fuel: Rc<Fuel>,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) calls: Vec<CallAt<'a>>,
    pub(super) handlers: Vec<(u32, &'a Handler<'a>)>,
    pub(super) definitions: HashMap<(u32, String), Vec<u32>>,
    pub(super) inlined: HashMap<(usize, u32), u32>,
    pub(super) leaving: HashMap<u32, Vec<Exit>>,
    pub(super) groups: u32,
}

/// The frame of the top of the file of the root function.
const TOP: u32 = 0;

impl<'a> Flow<'a> {
    /// The steps, in order. Each costs fuel, and so does each call below: rules ask in loops within
    /// loops.
    pub(super) fn steps(&self) -> impl Iterator<Item = (u32, &Step<'a>)> {
        let steps = (0_u32..).zip(&self.steps);
        steps.take_while(|(_, step)| self.fuel.burn(1 + step.size))
    }

    /// The calls, in the order of the steps.
    pub(super) fn calls(&self) -> impl Iterator<Item = &CallAt<'a>> {
        self.calls.iter().take_while(|_| self.fuel.burn(1))
    }

    /// The calls behind the one in this place.
    pub(super) fn calls_after(&self, place: usize) -> impl Iterator<Item = &CallAt<'a>> {
        let later = self.calls.get(place + 1..).unwrap_or_default();
        later.iter().take_while(|_| self.fuel.burn(1))
    }

    pub(super) fn helper_of(&self, val: Val<'a>) -> Option<u32> {
        let key = (std::ptr::from_ref(val.expr) as usize, val.frame);
        self.inlined.get(&key).copied()
    }

    /// Returns where something happens, as seen from a frame: in a helper, where the helper is
    /// called.
    pub(super) fn seen_from(&self, val: Val<'a>, frame: u32) -> Option<Val<'a>> {
        let mut at = val;
        while at.frame != frame {
            at = self.frames.get(at.frame as usize)?.call?;
        }
        Some(at)
    }

    /// Returns whether one frame is another, or answers a call from inside it.
    pub(super) fn is_within(&self, frame: u32, other: u32) -> bool {
        let mut at = Some(frame);
        while let Some(frame) = at.filter(|it| *it != other) {
            at = self.frames.get(frame as usize).and_then(|it| it.parent);
        }
        at.is_some()
    }

    pub(super) fn step(&self, step: u32) -> Option<&Step<'a>> {
        self.steps.get(step as usize)
    }

    pub(super) fn file(&self, frame: u32) -> usize {
        self.frames
            .get(frame as usize)
            .map_or(self.root.file, |it| it.file)
    }

    /// Returns how the branches of a test end, as far as they leave.
    pub(super) fn exits_of(&self, group: u32) -> &[Exit] {
        self.leaving.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The frame of the region.
    pub(super) fn frame_of(&self, region: u32) -> u32 {
        self.regions.get(region as usize).map_or(TOP, |it| it.frame)
    }
}

impl<'a> Step<'a> {
    /// The expressions of the step.
    pub(super) fn each(&self, visit: &mut impl FnMut(Val<'a>)) {
        let frame = self.frame;
        match &self.what {
            What::Set { target, value, .. } => {
                visit(*value);
                visit(Val {
                    expr: target,
                    frame,
                });
            }
            What::Do(expr)
            | What::Test(expr, _)
            | What::Enter(expr)
            | What::Return(Some(expr))
            | What::Raise(Some(expr)) => visit(Val { expr, frame }),
            What::Return(None) | What::Raise(None) | What::Leave => {}
        }
    }
}

pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
