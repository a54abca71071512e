//! The steps of helpers, where they are called.

use super::{
    flow::{Exit, Flow, Frame, RegionKind, Val, number},
    project::Id,
    tree::{Call, Expr, Param},
};

const MAX_FRAMES: usize = 64;
const MAX_DEPTH: u32 = 4;

impl<'a> Flow<'a> {
    /// FastAPI calls what a parameter depends on before the handler.
    pub(super) fn depends(&mut self, param: &'a Param<'a>, region: u32) {
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

    pub(super) fn inline(
        &mut self,
        expr: &'a Expr<'a>,
        call: &'a Call<'a>,
        frame: u32,
        region: u32,
    ) {
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
}
