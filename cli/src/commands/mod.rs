//! The commands: one file each.

mod completions;
mod keygen;
mod listen;
mod man;
mod replay;
mod run;
mod scheme;
mod sign;
mod verify;

pub(crate) use run::main;
