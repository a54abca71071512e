//! The addresses of the pages about the command. A user may have the binary without the repository.

/// The address of a page, or of one of its sections.
macro_rules! page {
    ($name:literal) => {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/cli/", $name)
    };
}

pub(crate) use page;
