//! What a function does, in the order in which it does it.
//!
//! The steps of a helper stand where it is called, so that no rule needs to know of helpers: within
//! the same file, and by name within the project. Each step lies in a region: a branch, a loop, a
//! `with`, a helper. Regions tell which steps reach which.

use std::collections::HashMap;

use super::{
    project::{Id, Project},
    tree::{Act, Call, Expr, Function, Kind, Operator, Param, Stmt, first},
};

const MAX_STEPS: usize = 3000;
const MAX_FRAMES: usize = 64;
const MAX_DEPTH: u32 = 4;

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
    id: Option<Id>,
    /// The call that it answers.
    call: Option<Val<'a>>,
    parent: Option<u32>,
    depth: u32,
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
    /// An arm of a test; the closure that may never run is the one arm of its own.
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
    frame: u32,
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
    pub(super) steps: Vec<Step<'a>>,
    pub(super) calls: Vec<CallAt<'a>>,
    pub(super) handlers: Vec<(u32, &'a super::tree::Handler<'a>)>,
    pub(super) definitions: HashMap<(u32, String), Vec<u32>>,
    inlined: HashMap<(usize, u32), u32>,
    groups: u32,
}

/// The frame of the top of the file of the root function.
const TOP: u32 = 0;

impl<'a> Flow<'a> {
    /// Follows a function.
    pub(super) fn new(project: &'a Project<'a>, root: Id) -> Option<Self> {
        let function = project.function(root)?;
        let mut flow = Self {
            project,
            root,
            function,
            frames: Vec::new(),
            regions: Vec::new(),
            steps: Vec::new(),
            calls: Vec::new(),
            handlers: Vec::new(),
            definitions: HashMap::new(),
            inlined: HashMap::new(),
            groups: 0,
        };
        let frame = |function, id, parent| Frame {
            file: root.file,
            function,
            id,
            call: None,
            parent,
            depth: 0,
            returns: Vec::new(),
        };
        flow.frames.push(frame(None, None, None));
        flow.frames.push(frame(Some(function), Some(root), None));
        let region = flow.region(None, RegionKind::Body, 1);
        for param in &function.params {
            flow.depends(param, region);
        }
        flow.body(&function.body, 1, region);
        flow.index();
        Some(flow)
    }

    /// FastAPI calls what a parameter depends on before the handler.
    fn depends(&mut self, param: &'a Param<'a>, region: u32) {
        let Some(call) = param.default.as_ref().and_then(Expr::call) else {
            return;
        };
        if let ("Depends" | "Security", Some(arg)) = (call.last(), call.args.first()) {
            let file = self.frames.get(1).map_or(0, |it| it.file);
            if let Some(id) = self.project.callee(&arg.value, file, None)
                && let Some(default) = &param.default
                && let Some(frame) = self.helper(id, 1, region, &[])
            {
                self.inlined
                    .insert((std::ptr::from_ref(default) as usize, 1), frame);
                let value = Val {
                    expr: default,
                    frame: 1,
                };
                self.bind(&param.target, value, None, 1, region);
            }
        }
    }

    fn region(&mut self, parent: Option<u32>, kind: RegionKind<'a>, frame: u32) -> u32 {
        self.regions.push(Region {
            parent,
            kind,
            exits: None,
            frame,
        });
        number(self.regions.len() - 1)
    }

    fn push(&mut self, frame: u32, region: u32, what: What<'a>) -> u32 {
        self.steps.push(Step {
            frame,
            region,
            what,
        });
        number(self.steps.len() - 1)
    }

    fn exit(&mut self, region: u32, exit: Exit) {
        if let Some(region) = self.regions.get_mut(region as usize) {
            region.exits.get_or_insert(exit);
        }
    }

    fn exits(&self, region: u32) -> Option<Exit> {
        self.regions.get(region as usize)?.exits
    }

    fn body(&mut self, body: &'a [Stmt<'a>], frame: u32, region: u32) {
        for stmt in body {
            if self.steps.len() >= MAX_STEPS {
                return;
            }
            self.stmt(stmt, frame, region);
        }
    }

    fn arms(&mut self, arms: &[u32], region: u32) {
        let exits: Option<Vec<Exit>> = arms.iter().map(|arm| self.exits(*arm)).collect();
        if let Some(exits) = exits
            && let Some(first) = exits.first()
        {
            self.exit(region, *first);
        }
    }

    fn stmt(&mut self, stmt: &'a Stmt<'a>, frame: u32, region: u32) {
        match &stmt.act {
            Act::Set {
                target,
                value,
                operator,
            } => {
                self.before(value, frame, region);
                self.before(target, frame, region);
                self.bind(target, Val { expr: value, frame }, *operator, frame, region);
            }
            Act::Do(expr) | Act::Yield(expr) => {
                self.before(expr, frame, region);
                self.push(frame, region, What::Do(expr));
                if expr
                    .call()
                    .is_some_and(|call| ["abort", "fail", "exit", "_exit"].contains(&call.last()))
                {
                    self.exit(region, Exit::Raise);
                }
            }
            Act::If {
                test,
                body,
                otherwise,
            } => {
                self.before(test, frame, region);
                let group = self.group();
                self.push(frame, region, What::Test(test, group));
                let arms = [body, otherwise].into_iter().zip(0..).map(|(body, arm)| {
                    let inner = self.region(Some(region), RegionKind::Branch { group, arm }, frame);
                    self.body(body, frame, inner);
                    inner
                });
                let arms: Vec<u32> = arms.collect();
                self.arms(&arms, region);
            }
            Act::Match { subject, arms } => {
                self.before(subject, frame, region);
                let group = self.group();
                self.push(frame, region, What::Test(subject, group));
                let value = Val {
                    expr: subject,
                    frame,
                };
                let arms = arms.iter().zip(0..).map(|((pattern, body), arm)| {
                    let inner = self.region(Some(region), RegionKind::Branch { group, arm }, frame);
                    self.bind(pattern, value, None, frame, inner);
                    self.body(body, frame, inner);
                    inner
                });
                let arms: Vec<u32> = arms.collect();
                self.arms(&arms, region);
            }
            Act::Loop { head, test, body } => {
                let inner = self.region(Some(region), RegionKind::Loop, frame);
                if let Some((target, from)) = head {
                    self.before(from, frame, region);
                    self.bind(target, Val { expr: from, frame }, None, frame, inner);
                }
                if let Some(test) = test {
                    self.before(test, frame, inner);
                    let group = self.group();
                    self.push(frame, inner, What::Test(test, group));
                }
                self.body(body, frame, inner);
            }
            Act::With { items, body } => {
                let mut inner = region;
                for (item, target) in items {
                    self.before(item, frame, inner);
                    self.push(frame, inner, What::Enter(item));
                    let value = Val { expr: item, frame };
                    inner = self.region(Some(inner), RegionKind::With(value), frame);
                    if let Some(target) = target {
                        self.bind(target, value, None, frame, inner);
                    }
                }
                self.body(body, frame, inner);
                if let Some(exit) = self.exits(inner) {
                    self.exit(region, exit);
                }
            }
            Act::Try {
                body,
                handlers,
                finally,
            } => {
                let group = self.group();
                let inner = self.region(Some(region), RegionKind::Try(group), frame);
                self.body(body, frame, inner);
                let mut arms = vec![inner];
                for handler in handlers {
                    let inner = self.region(Some(region), RegionKind::Handler(group), frame);
                    self.handlers.push((inner, handler));
                    self.body(&handler.body, frame, inner);
                    arms.push(inner);
                }
                self.arms(&arms, region);
                self.body(finally, frame, region);
            }
            Act::Return(value) => {
                if let Some(value) = value {
                    self.before(value, frame, region);
                }
                let step = self.push(frame, region, What::Return(value.as_ref()));
                if let Some(frame) = self.frames.get_mut(frame as usize) {
                    frame.returns.push(step);
                }
                self.exit(region, Exit::Return);
            }
            Act::Raise(value) => {
                if let Some(value) = value {
                    self.before(value, frame, region);
                }
                self.push(frame, region, What::Raise(value.as_ref()));
                self.exit(region, Exit::Raise);
            }
            Act::Leave => {
                self.push(frame, region, What::Leave);
                self.exit(region, Exit::Leave);
            }
            Act::Function(_) | Act::Class(_) => {}
        }
    }

    fn group(&mut self) -> u32 {
        self.groups += 1;
        self.groups
    }

    /// Sets a target, piece by piece where both sides have pieces.
    fn bind(
        &mut self,
        target: &'a Expr<'a>,
        value: Val<'a>,
        operator: Option<Operator>,
        frame: u32,
        region: u32,
    ) {
        if let (Kind::Many(targets), Kind::Many(values)) = (&target.kind, &value.expr.kind)
            && targets.len() == values.len()
        {
            for (target, piece) in targets.iter().zip(values) {
                let value = Val {
                    expr: piece,
                    frame: value.frame,
                };
                self.bind(target, value, operator, frame, region);
            }
            return;
        }
        let step = self.push(
            frame,
            region,
            What::Set {
                target,
                value,
                operator,
            },
        );
        for name in bound(target) {
            self.definitions
                .entry((frame, name))
                .or_default()
                .push(step);
        }
    }

    /// What happens before the step of this expression: its blocks, its targets, its helpers.
    fn before(&mut self, expr: &'a Expr<'a>, frame: u32, region: u32) {
        if self.steps.len() >= MAX_STEPS {
            return;
        }
        match &expr.kind {
            Kind::Block(body) => self.body(body, frame, region),
            Kind::Closure(body) => {
                let group = self.group();
                let kind = RegionKind::Branch { group, arm: 0 };
                let inner = self.region(Some(region), kind, frame);
                self.body(body, frame, inner);
                // It leaves itself, and not the function around it.
                if let Some(inner) = self.regions.get_mut(inner as usize) {
                    inner.exits = None;
                }
            }
            Kind::Let(both) => {
                let [target, value] = &**both;
                self.before(value, frame, region);
                self.bind(target, Val { expr: value, frame }, None, frame, region);
            }
            _ => {
                let mut children = Vec::new();
                expr.children(&mut |child| children.push(child));
                for child in children {
                    self.before(child, frame, region);
                }
                if let Kind::Call(call) = &expr.kind {
                    self.inline(expr, call, frame, region);
                }
            }
        }
    }

    fn inline(&mut self, expr: &'a Expr<'a>, call: &'a Call<'a>, frame: u32, region: u32) {
        if call.is_macro {
            return;
        }
        let Some(caller) = self.frames.get(frame as usize) else {
            return;
        };
        let class = caller.function.and_then(|it| it.class);
        let Some(id) = self.project.callee(&call.func, caller.file, class) else {
            return;
        };
        let args: Vec<_> = call.args.iter().map(|arg| (arg.name, &arg.value)).collect();
        if let Some(callee) = self.helper(id, frame, region, &args) {
            let key = (std::ptr::from_ref(expr) as usize, frame);
            self.inlined.insert(key, callee);
            if let Some(callee) = self.frames.get_mut(callee as usize) {
                callee.call = Some(Val { expr, frame });
            }
        }
    }

    /// The steps of a helper.
    fn helper(
        &mut self,
        id: Id,
        caller: u32,
        region: u32,
        args: &[(Option<&'a str>, &'a Expr<'a>)],
    ) -> Option<u32> {
        let function = self.project.function(id)?;
        let depth = self.frames.get(caller as usize)?.depth + 1;
        let mut above = Some(caller);
        while let Some(frame) = above.and_then(|at| self.frames.get(at as usize)) {
            if frame.id == Some(id) {
                return None;
            }
            above = frame.parent;
        }
        if depth > MAX_DEPTH || self.frames.len() >= MAX_FRAMES {
            return None;
        }
        self.frames.push(Frame {
            file: id.file,
            function: Some(function),
            id: Some(id),
            call: None,
            parent: Some(caller),
            depth,
            returns: Vec::new(),
        });
        let frame = number(self.frames.len() - 1);
        let inner = self.region(Some(region), RegionKind::Helper, frame);
        let skips_self = function
            .params
            .first()
            .is_some_and(|it| it.target.is_name(&["self", "cls"]));
        let params = function.params.iter().skip(usize::from(skips_self));
        for (place, param) in params.enumerate() {
            let name = param.target.name();
            let named = args
                .iter()
                .find(|(given, _)| given.is_some() && *given == name);
            let placed = args.iter().filter(|(given, _)| given.is_none()).nth(place);
            let value = match (named.or(placed), &param.default) {
                (Some((_, expr)), _) => Val {
                    expr,
                    frame: caller,
                },
                (None, Some(expr)) => Val { expr, frame },
                (None, None) => continue,
            };
            self.bind(&param.target, value, None, frame, inner);
        }
        self.body(&function.body, frame, inner);
        if self.exits(inner) == Some(Exit::Raise) {
            self.exit(region, Exit::Raise);
        }
        Some(frame)
    }

    /// Collects the calls, in the order of the steps.
    fn index(&mut self) {
        for (step, it) in self.steps.iter().enumerate() {
            let step = number(step);
            let calls = &mut self.calls;
            it.each(&mut |root| {
                // A parameter of a helper: the caller's own step has the call.
                if root.frame != it.frame {
                    return;
                }
                root.expr.walk(&mut |expr| {
                    if let Kind::Call(call) = &expr.kind {
                        let val = Val {
                            expr,
                            frame: root.frame,
                        };
                        calls.push(CallAt { step, val, call });
                    }
                });
            });
        }
    }

    pub(super) fn helper_of(&self, val: Val<'a>) -> Option<u32> {
        let key = (std::ptr::from_ref(val.expr) as usize, val.frame);
        self.inlined.get(&key).copied()
    }

    /// Where something happens, as seen from a frame: in a helper, where the helper is called.
    pub(super) fn seen_from(&self, val: Val<'a>, frame: u32) -> Option<Val<'a>> {
        let mut at = val;
        while at.frame != frame {
            at = self.frames.get(at.frame as usize)?.call?;
        }
        Some(at)
    }

    pub(super) fn step(&self, step: u32) -> Option<&Step<'a>> {
        self.steps.get(step as usize)
    }

    pub(super) fn file(&self, frame: u32) -> usize {
        self.frames
            .get(frame as usize)
            .map_or(self.root.file, |it| it.file)
    }

    /// The region and those around it, from the inside.
    pub(super) fn around(&self, region: u32) -> impl Iterator<Item = (u32, &Region<'a>)> {
        let mut next = Some(region);
        std::iter::from_fn(move || {
            let at = next?;
            let region = self.regions.get(at as usize)?;
            next = region.parent;
            Some((at, region))
        })
    }

    /// Whether the second step can come after the first in one run.
    pub(super) fn reaches(&self, first: u32, second: u32) -> bool {
        let (Some(a), Some(b)) = (self.step(first), self.step(second)) else {
            return false;
        };
        if first >= second {
            return false;
        }
        let below: Vec<u32> = self.around(b.region).map(|(at, _)| at).collect();
        // Who returns from a helper goes on behind its call.
        let helper = |region: u32| {
            let mut path = self
                .around(region)
                .take_while(|(at, _)| !below.contains(at));
            path.any(|(_, it)| matches!(it.kind, RegionKind::Helper))
        };
        let mut loop_left = false;
        let mut last: Option<&Region<'a>> = None;
        for (at, region) in self.around(a.region) {
            if below.contains(&at) {
                // The regions just below the one that both share.
                let other = below.iter().take_while(|it| **it != at).last();
                let other = other.and_then(|at| self.regions.get(*at as usize));
                if let (Some(one), Some(other)) = (last, other)
                    && let (
                        RegionKind::Branch { group, arm },
                        RegionKind::Branch { group: g, arm: a },
                    ) = (one.kind, other.kind)
                {
                    return group != g || arm == a;
                }
                return true;
            }
            match region.exits {
                Some(Exit::Raise) => {
                    let caught = self
                        .around(a.region)
                        .any(|(_, it)| matches!(it.kind, RegionKind::Try(_)));
                    if !caught {
                        return false;
                    }
                }
                Some(Exit::Return) if !helper(at) => return false,
                Some(Exit::Leave) if !loop_left => return false,
                _ => {}
            }
            loop_left |= matches!(region.kind, RegionKind::Loop);
            last = Some(region);
        }
        true
    }

    /// Whether each run that comes to the second step has been at the first.
    pub(super) fn dominates(&self, first: u32, second: u32) -> bool {
        let (Some(a), Some(b)) = (self.step(first), self.step(second)) else {
            return false;
        };
        let mut own = a.region;
        for (at, region) in self.around(a.region) {
            own = at;
            let is_through = matches!(
                region.kind,
                RegionKind::Helper | RegionKind::With(_) | RegionKind::Try(_)
            );
            if !is_through {
                break;
            }
        }
        first < second && self.around(b.region).any(|(at, _)| at == own)
    }

    /// Whether the test decides if the later step happens.
    pub(super) fn decides(&self, test: u32, later: u32) -> bool {
        let Some(Step {
            what: What::Test(_, group),
            ..
        }) = self.step(test)
        else {
            return false;
        };
        let Some(step) = self.step(later) else {
            return false;
        };
        if test >= later {
            return false;
        }
        let in_group = |kind: RegionKind<'a>| matches!(kind, RegionKind::Branch { group: g, .. } if g == *group);
        let inside = self.around(step.region).any(|(_, it)| in_group(it.kind));
        inside
            || (self.reaches(test, later)
                && self
                    .regions
                    .iter()
                    .any(|it| in_group(it.kind) && it.exits.is_some()))
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

/// The names that a target sets.
fn bound(target: &Expr<'_>) -> Vec<String> {
    let mut names = Vec::new();
    collect_bound(target, &mut names);
    names
}

fn collect_bound(target: &Expr<'_>, names: &mut Vec<String>) {
    match &target.kind {
        Kind::Many(all) => all.iter().for_each(|it| collect_bound(it, names)),
        // A pattern of Rust: `Some(name)`.
        Kind::Call(call) => call
            .args
            .iter()
            .for_each(|it| collect_bound(&it.value, names)),
        Kind::Index(both) => {
            // `record[key] = value` changes the record.
            collect_bound(first(both), names);
        }
        _ => names.extend(target.dotted()),
    }
}

pub(super) fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
