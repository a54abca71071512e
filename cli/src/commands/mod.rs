//! The commands: one file each.

mod audit;
mod completions;
mod explain;
mod keygen;
mod lines;
mod listen;
mod man;
mod probe;
#[cfg(unix)]
mod proxy;
mod replay;
mod run;
mod scheme;
mod sign;
mod store;
mod verify;

pub(crate) use lines::numbered;
pub(crate) use run::main;
