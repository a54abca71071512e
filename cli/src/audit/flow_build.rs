//! Makes the steps of a function.

use std::{collections::HashMap, rc::Rc};

use super::{
    flow::{CallAt, Exit, Flow, Frame, Region, RegionKind, Step, Val, What, number},
    fuel::Fuel,
    project::{Id, Project},
    tree::{Act, Expr, Kind, Operator, Stmt, first},
};

const MAX_STEPS: usize = 3000;
const MAX_CALLS: usize = 3000;

impl<'a> Flow<'a> {
    /// Follows a function.
    pub(super) fn new(project: &'a Project<'a>, root: Id, fuel: Rc<Fuel>) -> Option<Self> {
        let function = project.function(root)?;
        let mut flow = Self {
            project,
            root,
            function,
            fuel,
            frames: Vec::new(),
            regions: Vec::new(),
            steps: Vec::new(),
            calls: Vec::new(),
            handlers: Vec::new(),
            definitions: HashMap::new(),
            inlined: HashMap::new(),
            leaving: HashMap::new(),
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

    pub(super) fn region(&mut self, parent: Option<u32>, kind: RegionKind<'a>, frame: u32) -> u32 {
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
            size: 0,
        });
        number(self.steps.len() - 1)
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= MAX_STEPS || !self.fuel.burn(1)
    }

    pub(super) fn exit(&mut self, region: u32, exit: Exit) {
        if let Some(region) = self.regions.get_mut(region as usize) {
            region.exits.get_or_insert(exit);
        }
    }

    pub(super) fn exits(&self, region: u32) -> Option<Exit> {
        self.regions.get(region as usize)?.exits
    }

    pub(super) fn body(&mut self, body: &'a [Stmt<'a>], frame: u32, region: u32) {
        for stmt in body {
            if self.is_full() {
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
    pub(super) fn bind(
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
                if self.is_full() {
                    return;
                }
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

    /// Adds the steps before the step of this expression: its blocks, its targets, its helpers.
    fn before(&mut self, expr: &'a Expr<'a>, frame: u32, region: u32) {
        if self.is_full() {
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

    /// Collects the calls, in the order of the steps, and the ends of branches.
    fn index(&mut self) {
        for (number, step) in (0_u32..).zip(&mut self.steps) {
            let calls = &mut self.calls;
            let mut size = 0;
            step.each(&mut |root| {
                root.expr.walk(&mut |expr| {
                    size += 1;
                    // A parameter of a helper: the caller's own step has the call.
                    let is_own = root.frame == step.frame && calls.len() < MAX_CALLS;
                    if let Kind::Call(call) = &expr.kind
                        && is_own
                    {
                        let frame = root.frame;
                        calls.push(CallAt {
                            step: number,
                            val: Val { expr, frame },
                            call,
                        });
                    }
                });
            });
            step.size = size;
        }
        for region in &self.regions {
            if let (RegionKind::Branch { group, .. }, Some(exit)) = (region.kind, region.exits) {
                self.leaving.entry(group).or_default().push(exit);
            }
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
