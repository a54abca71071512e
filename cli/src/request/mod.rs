//! Reading requests: raw HTTP/1.1, HAR, or a curl command line.

mod curl;
mod har;
mod input;
mod origin;
mod raw;
mod read;
mod words;

pub(crate) use input::body_of;
pub(crate) use origin::at_origin;
pub(crate) use read::read;
