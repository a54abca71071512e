//! Schemes: by name, or described in a scheme file.

mod any;
mod file;
mod names;
mod refusal;
mod row;

pub(crate) use file::read as read_file;
pub(crate) use names::{Chosen, all, resolve};
pub(crate) use row::Row;
