//! A client that signs, over real sockets: bodies of every kind, rotation, signing again, reqwest.

mod server;

mod again;
mod layer;
#[cfg(feature = "reqwest")]
mod reqwest;
mod rotation;
