//! Answers that a client of HTTP/2 must take: it may leave one alone, and use its connection all
//! the same.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{
    select,
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};

/// A piece of a body, and whether the body ends with it.
type Piece<D> = (Result<Frame<D>, io::Error>, bool);

/// The body of an answer.
pub(super) enum Taken<B: Body> {
    /// On a connection of its own.
    Alone(B),
    Within(Passed<B::Data>),
}

/// A body of which each piece is taken within a limit. Otherwise the body, and all that it holds,
/// is dropped.
pub(super) struct Passed<D> {
    pieces: Pieces<D>,
    hint: SizeHint,
    is_ended: bool,
}

/// The next piece. Both ends share it, so that it can be dropped when nobody takes it.
struct Pieces<D>(Arc<Mutex<Receiver<Piece<D>>>>);

impl<D> Pieces<D> {
    fn lock(&self) -> MutexGuard<'_, Receiver<Piece<D>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Send + 'static> Passed<D> {
    pub(super) fn within<B>(limit: Duration, body: B) -> Self
    where
        B: Body<Data = D, Error = io::Error> + Unpin + Send + 'static,
    {
        let (sender, receiver) = channel(1);
        let shared = Arc::new(Mutex::new(receiver));
        let passed = Self {
            pieces: Pieces(Arc::clone(&shared)),
            hint: body.size_hint(),
            is_ended: body.is_end_stream(),
        };
        if !passed.is_ended {
            tokio::spawn(pass_on(body, limit, sender, Pieces(shared)));
        }
        passed
    }
}

/// Passes a body on, and keeps it until the client has taken all of it. No piece is read before
/// there is room for it.
async fn pass_on<B>(
    mut body: B,
    limit: Duration,
    sender: Sender<Piece<B::Data>>,
    pieces: Pieces<B::Data>,
) where
    B: Body<Error = io::Error> + Unpin,
{
    let mut is_ended = false;
    while let Ok(room) = timeout(limit, sender.reserve()).await {
        let Ok(room) = room else { return };
        if is_ended {
            return;
        }
        let piece = select! {
            piece = body.frame() => piece,
            () = sender.closed() => return,
        };
        let Some(piece) = piece else { return };
        is_ended = piece.is_err() || body.is_end_stream();
        room.send((piece, is_ended));
    }
    drop(pieces.lock().try_recv());
    let late = ErrorKind::TimedOut.into();
    let _ = sender.try_send((Err(late), true));
}

impl<D: Buf> Body for Passed<D> {
    type Data = D;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<D>, io::Error>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.lock().poll_recv(context));
        self.hint = SizeHint::default();
        let (piece, is_last) =
            piece.map_or((None, true), |(piece, is_last)| (Some(piece), is_last));
        self.is_ended = is_last;
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }

    /// Known until the first piece: the head says it.
    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// Nobody asks for the rest.
impl<D> Drop for Passed<D> {
    fn drop(&mut self) {
        self.pieces.lock().close();
    }
}

impl<B: Body<Error = io::Error> + Unpin> Body for Taken<B> {
    type Data = B::Data;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, io::Error>>> {
        match &mut *self {
            Self::Alone(body) => Pin::new(body).poll_frame(context),
            Self::Within(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Alone(body) => body.is_end_stream(),
            Self::Within(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Alone(body) => body.size_hint(),
            Self::Within(body) => body.size_hint(),
        }
    }
}
