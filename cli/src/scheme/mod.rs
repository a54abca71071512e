//! Schemes: by name, or described in a scheme file.

mod any;
mod chosen;
mod example;
mod file;
mod header;
mod names;
mod part;
mod profile;
mod refusal;
mod row;
mod sender;
mod supply;

pub(crate) use chosen::Chosen;
#[cfg(test)]
pub(crate) use chosen::SecretForm;
pub(crate) use example::Example;
pub(crate) use file::read as read_file;
pub(crate) use names::{all, resolve};
pub(crate) use refusal::in_names;
pub(crate) use row::Row;
