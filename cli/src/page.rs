//! Where the documentation of the command is: whoever runs it may have nothing but its binary.

/// The address of a page, or of one of its sections.
macro_rules! page {
    ($name:literal) => {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/cli/", $name)
    };
}

pub(crate) use page;
