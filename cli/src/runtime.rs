//! The runtime that network and key look-ups wait on.

use tokio::runtime::Builder;

use crate::exit::Failure;

pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    run(&mut Builder::new_current_thread(), future)
}

/// Runs a future on this thread, and what it spawns on two more: a server goes on while this thread
/// prints.
pub(crate) fn serve<F: Future>(future: F) -> Result<F::Output, Failure> {
    run(Builder::new_multi_thread().worker_threads(2), future)
}

/// Runs a server on every processor.
#[cfg(unix)]
pub(crate) fn serve_on_all<F: Future>(future: F) -> Result<F::Output, Failure> {
    run(&mut Builder::new_multi_thread(), future)
}

fn run<F: Future>(builder: &mut Builder, future: F) -> Result<F::Output, Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::unable(
            "cannot start",
            error.to_string(),
            "the machine has no more threads or file descriptors: end other programs",
        )
    })?;
    Ok(runtime.block_on(future))
}
