//! Where a server of the command remembers what it has accepted.

mod kept;
mod opened;

pub(crate) use kept::{Found, open_kept, refuses_up_to};
pub(crate) use opened::{Before, Store, from_env, open, shows_password, unable};
#[cfg(unix)]
pub(crate) use opened::{FILE, MEMORY, WATERMARK, is_server};
