//! Code that the fuzz targets share.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

pub mod rfc9421;

/// The answer of a future that waits for nothing: all keys, stores and bodies here are at hand.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}
