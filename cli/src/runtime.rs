//! The runtime that network and key look-ups wait on.

use tokio::runtime::Builder;

use crate::exit::Failure;

pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::unable(
            "cannot start",
            error.to_string(),
            "the machine has no more threads or file descriptors: end other programs",
        )
    })?;
    Ok(runtime.block_on(future))
}
