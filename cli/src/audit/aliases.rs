//! Aliases that imports make: `import hmac as h`, `use hmac::Hmac as H`. The readers of a file
//! replace each alias by its full name, so that no rule needs to know aliases.

use std::collections::{HashMap, HashSet};

/// The modules of Python whose parts keep the name of their module: `hmac.new` is clear, and `new`
/// alone is not.
const QUALIFIED: [&str; 4] = ["hmac", "hashlib", "time", "os"];

/// Names of types that many Rust modules have: these keep their alias, which says more.
const GENERIC: [&str; 7] = [
    "ActiveModel",
    "Column",
    "Entity",
    "Error",
    "Model",
    "Relation",
    "Result",
];

/// The full name behind a name: `hashlib`, or `hmac.compare_digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original<'s> {
    pub(super) module: Option<&'s str>,
    pub(super) name: &'s str,
}

/// The names of one file.
#[derive(Debug, Default)]
pub(super) struct Aliases<'s> {
    /// `None` for a name that the file gives to two things: it is not replaced.
    names: HashMap<&'s str, Option<Original<'s>>>,
}

impl<'s> Aliases<'s> {
    /// `import module as name`, `from module import part as name`.
    pub(super) fn import(&mut self, module: &'s str, part: Option<&'s str>, name: &'s str) {
        let (outer, inner) = match (part, module.rsplit_once('.')) {
            (Some(part), _) => (Some(module), part),
            (None, Some((outer, inner))) if name != module => (Some(outer), inner),
            (None, _) => (None, module),
        };
        let module = outer.filter(|it| QUALIFIED.contains(it));
        let name_of = Original {
            module,
            name: inner,
        };
        self.put(name, name_of);
    }

    /// `use a::name as other`
    pub(super) fn rename(&mut self, name: &'s str, other: &'s str) {
        let name = if GENERIC.contains(&name) { other } else { name };
        self.put(other, Original { module: None, name });
    }

    /// Records that the name is a variable, a function or a type, which is not replaced.
    pub(super) fn bind(&mut self, name: &'s str) {
        self.put(name, Original { module: None, name });
    }

    fn put(&mut self, name: &'s str, original: Original<'s>) {
        let known = self.names.entry(name).or_insert(Some(original));
        if *known != Some(original) {
            *known = None;
        }
    }

    pub(super) fn original(&self, name: &str) -> Option<Original<'s>> {
        let original = self.names.get(name).copied().flatten()?;
        let is_itself = original.module.is_none() && original.name == name;
        (!is_itself).then_some(original)
    }
}

/// The full names behind the names of a function: its own parameters and variables hide imports.
#[derive(Debug)]
pub(super) struct Scope<'r, 's> {
    aliases: &'r Aliases<'s>,
    hidden: HashSet<&'s str>,
    outer: Option<&'r Scope<'r, 's>>,
}

impl<'r, 's> Scope<'r, 's> {
    pub(super) fn of_file(aliases: &'r Aliases<'s>) -> Self {
        Self {
            aliases,
            hidden: HashSet::new(),
            outer: None,
        }
    }

    /// The scope of a function inside this one that has these names for itself.
    pub(super) fn inside(&'r self, names: impl Iterator<Item = &'s str>) -> Self {
        let hidden = names.filter(|it| self.aliases.names.contains_key(it));
        Self {
            aliases: self.aliases,
            hidden: hidden.collect(),
            outer: Some(self),
        }
    }

    pub(super) fn original(&self, name: &str) -> Option<Original<'s>> {
        let original = self.aliases.original(name)?;
        let mut scope = Some(self);
        while let Some(it) = scope {
            if it.hidden.contains(name) {
                return None;
            }
            scope = it.outer;
        }
        Some(original)
    }
}
