//! Whether a running endpoint acts twice, or on what was not signed.
//!
//! A check is a row of one table (`checks`): what it sends, what it would mean, and how it is mended.
//! The scheme's own verifier says what must be refused; a state that is read before and after says
//! what had an effect. Requests leave through one `wire`, and go to no other address than the one
//! that was resolved first.

mod begin;
mod budget;
mod check;
mod checks;
mod event;
mod finding;
mod found;
mod lab;
mod mask;
mod measure;
mod mend;
mod openapi;
mod oracle;
mod report;
mod reproduce;
mod run;
mod settle;
mod site;
mod subject;
mod targets;
mod trial;
mod wire;

pub(crate) use budget::{Budget, Stop};
pub(crate) use check::Check;
pub(crate) use checks::{CHECKS, VALID};
pub(crate) use event::Source;
pub(crate) use finding::Report;
pub(crate) use lab::Lab;
pub(crate) use measure::Oracle;
pub(crate) use oracle::{Acceptance, Effect, Reading};
pub(crate) use report::{html, json, junit, not_accepted, sarif, text};
pub(crate) use reproduce::reproduce;
pub(crate) use run::{Refused, Run};
pub(crate) use site::Sites;
pub(crate) use subject::{Subject, Template};
pub(crate) use targets::{headers, parsed, targets};
pub(crate) use wire::Wire;
