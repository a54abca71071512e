//! Rules about classes.

use super::look::Hit;
use crate::audit::{
    finding::Place,
    project::{Project, each_expr},
    tree::{Act, Kind},
};

/// A view that filters by its user in `get_queryset`, and acts later.
pub(super) fn view_filters_then_acts(project: &Project<'_>, file: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    for class in project
        .files
        .get(file)
        .into_iter()
        .flat_map(|it| &it.classes)
    {
        let is_view = class.bases.iter().any(|it| {
            it.chain().last().is_some_and(|it| {
                [
                    "DeleteView",
                    "UpdateView",
                    "DestroyAPIView",
                    "UpdateAPIView",
                ]
                .contains(it)
            })
        });
        if !is_view {
            continue;
        }
        let mut filter = None;
        let mut act = None;
        let mut locks = false;
        for stmt in &class.body {
            let Act::Function(method) = &stmt.act else {
                continue;
            };
            each_expr(&method.body, &mut |expr| {
                let Kind::Call(call) = &expr.kind else { return };
                let chain = call.func.chain();
                locks |= chain.contains(&"select_for_update");
                let by_user = call
                    .args
                    .iter()
                    .any(|it| it.value.chain().ends_with(&["request", "user"]));
                if method.name == "get_queryset" && by_user {
                    filter = Some(expr.span);
                }
                // `form.save(commit=False)`: the object is changed, and saved behind it.
                let acts = chain == ["form", "save"]
                    || chain.first() == Some(&"super")
                        && ["delete", "form_valid", "post", "perform_destroy"]
                            .contains(&call.last());
                if acts
                    && ["delete", "form_valid", "post", "perform_destroy"].contains(&method.name)
                {
                    act = Some(expr.span);
                }
            });
        }
        if let (Some(filter), Some(act), false) = (filter, act, locks) {
            let place = |span, what: &str| Place {
                file,
                span,
                what: what.to_owned(),
            };
            hits.push(Hit {
                check: place(filter, "the user is checked here"),
                use_: place(act, "and the object is changed here"),
                message: "the object can change hands between the query and the change".to_owned(),
                fix: None,
            });
        }
    }
    hits
}
