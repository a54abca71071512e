//! Runs every rule over a file.

use std::{collections::HashSet, rc::Rc};

use super::{
    look::{Hit, Look},
    table::{Check, Rule, TABLE},
};
use crate::audit::{
    finding::{Fix, Place},
    flow::Flow,
    fuel::Fuel,
    project::{Id, Project},
};

/// Where something is checked and where it is used, and why that is wrong.
#[derive(Clone, Debug)]
pub(in crate::audit) struct Finding {
    pub(in crate::audit) rule: &'static Rule,
    pub(in crate::audit) check: Place,
    /// The finding is reported here.
    pub(in crate::audit) use_: Place,
    pub(in crate::audit) message: String,
    pub(in crate::audit) fix: Option<Fix>,
}

/// The most findings of a file.
const MAX_FINDINGS: usize = 1000;

/// The findings of the rules in one file.
#[derive(Debug, Default)]
pub(in crate::audit) struct Found {
    pub(in crate::audit) findings: Vec<Finding>,
    /// A helper shows its findings in each function that calls it.
    seen: HashSet<(&'static str, Place, Place)>,
    /// Whether the rules have seen less than all of the file: it asks for too much work, or has too
    /// many findings.
    pub(in crate::audit) is_partial: bool,
}

/// Runs the rules on all functions of a file.
pub(in crate::audit) fn run(
    project: &Project<'_>,
    file: usize,
    is_on: &dyn Fn(&str) -> bool,
) -> Found {
    let mut found = Found::default();
    let Some(it) = project.files.get(file) else {
        return found;
    };
    for rule in TABLE.iter().filter(|it| is_on(it.id)) {
        if let Check::File(check) = rule.check {
            found.put(rule, check(project, file));
        }
    }
    let fuel = Rc::new(Fuel::of_a_file());
    for (function, root) in it.functions.iter().enumerate() {
        if it.is_test || root.is_test {
            continue;
        }
        let Some(flow) = Flow::new(project, Id { file, function }, Rc::clone(&fuel)) else {
            continue;
        };
        let look = Look::new(&flow);
        for rule in TABLE.iter().filter(|it| is_on(it.id)) {
            if let Check::Flow(check) = rule.check {
                found.put(rule, check(&look));
            }
        }
        found.is_partial |= fuel.is_spent();
        if found.is_partial {
            break;
        }
    }
    found
}

impl Found {
    fn put(&mut self, rule: &'static Rule, hits: Vec<Hit>) {
        for hit in hits {
            if self.findings.len() >= MAX_FINDINGS {
                self.is_partial = true;
                return;
            }
            let places = (rule.id, hit.check.clone(), hit.use_.clone());
            if !self.seen.insert(places) {
                continue;
            }
            self.findings.push(Finding {
                rule,
                check: hit.check,
                use_: hit.use_,
                message: hit.message,
                fix: hit.fix,
            });
        }
    }
}
