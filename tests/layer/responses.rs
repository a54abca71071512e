//! Signed responses: bound to the request, over real sockets and byte by byte.

mod world;

mod again;
mod binding;
mod limits;
mod profile;
mod wire;
