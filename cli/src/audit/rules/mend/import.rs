//! Names of modules, as a file of Python can write them.

use super::super::look::Look;
use crate::audit::{span::Span, tree::Import};

/// How a name is written, and the import that this needs.
pub(super) struct Reached {
    pub(super) name: String,
    pub(super) edit: Option<(Span, String)>,
}

/// Returns how the part of a module is written in a function; none if its name means something else
/// there.
pub(super) fn reach(look: &Look<'_, '_>, frame: u32, module: &str, part: &str) -> Option<Reached> {
    let file = look.flow.project.files.get(look.flow.file(frame))?;
    let written = |it: &Import<'_>| match it.part {
        None if it.module == module => Some(format!("{}.{part}", it.name)),
        Some(own) if it.module == module && own == part => Some(it.name.to_owned()),
        Some(own)
            if module.strip_suffix(own).and_then(|it| it.strip_suffix('.')) == Some(it.module) =>
        {
            Some(format!("{}.{part}", it.name))
        }
        _ => None,
    };
    let known = file.tree.imports.iter().find_map(written);
    let reached = known.map(|name| Reached { name, edit: None });
    let reached = reached.unwrap_or_else(|| {
        let at = Span {
            start: file.tree.import_at,
            end: file.tree.import_at,
        };
        let (name, import) = match module.rsplit_once('.') {
            None => (format!("{module}.{part}"), format!("import {module}\n")),
            Some(_) => (part.to_owned(), format!("from {module} import {part}\n")),
        };
        let next = file.text.get(at.range().start..).unwrap_or_default();
        let is_import = next.starts_with("import ") || next.starts_with("from ");
        let import = if is_import { import } else { import + "\n\n" };
        Reached {
            name,
            edit: Some((at, import)),
        }
    });
    let top = reached.name.split('.').next().unwrap_or_default();
    let is_param = look
        .flow
        .frames
        .get(frame as usize)
        .and_then(|it| it.function)
        .is_some_and(|it| it.params.iter().any(|param| param.binds(top)));
    let is_set = look.flow.definitions.contains_key(&(frame, top.to_owned()));
    let is_taken = file.constants.contains_key(top)
        || file
            .functions
            .iter()
            .any(|it| it.name == top && it.class.is_none())
        || file.classes.iter().any(|it| it.name == top)
        || reached.edit.is_some() && file.tree.imports.iter().any(|it| it.name == top);
    (!is_param && !is_set && !is_taken).then_some(reached)
}
