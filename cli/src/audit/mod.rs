//! `countersign audit`: searches source code for checks that can be bypassed.
//!
//! 1. A file that does not nest too deeply ([`nesting`]) is read into a tree that is the same for
//!    both languages ([`tree`], by [`python`] and [`rust`]). Aliases of imports become full names
//!    ([`aliases`]).
//! 2. All trees make a [`project`]. A function with its helpers becomes a [`flow`] of steps. Rules
//!    ask a flow where values come from ([`values`]).
//! 3. The rules are one table, and [`run()`] runs them over all files.

mod aliases;
mod allow;
mod baseline;
mod config;
mod files;
mod finding;
mod fix;
mod flow;
mod flow_build;
mod flow_helper;
mod flow_order;
mod fuel;
mod mac;
mod mac_made;
mod nesting;
mod project;
mod python;
mod python_expr;
mod python_import;
mod report;
mod rules;
mod run;
mod rust;
mod rust_expr;
mod rust_import;
mod rust_pattern;
mod rust_scan;
mod rust_stmt;
mod span;
mod tree;
mod tree_parts;
mod tree_size;
mod values;
mod words;

pub(crate) use baseline::Baseline;
pub(crate) use config::{Config, unknown};
pub(crate) use finding::Severity;
pub(crate) use fix::{apply, difference};
pub(crate) use report::{annotation, object, sarif, skipped, text};
pub(crate) use rules::{TABLE, find};
pub(crate) use run::{Report, run};
