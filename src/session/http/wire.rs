//! The connection below TLS and HTTP, watched: how it began and whether the SSH link died, which the layers above do not
//! tell. Used by `exchange` and `body`.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::Stream;

/// As much of the beginning as tells protocols from each other.
const BEGINNING: usize = 8;

/// A stream that takes note of what it sees.
pub(super) struct Wire {
    inner: Stream,
    seen: Seen,
    deaf: bool,
}

/// What was seen so far; clones share it.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    beginning: Vec<u8>,
    lost: Option<String>,
}

impl Seen {
    /// Returns whether the first bytes from there were these.
    pub(super) fn began_with(&self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).beginning.starts_with(bytes)
    }

    /// Returns why the SSH link is dead, if this stream ended with it.
    pub(super) fn lost(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost.clone()
    }

    fn note(&self, error: &io::Error) {
        // What a stream through SSH reports when its link is gone.
        if error.kind() == io::ErrorKind::ConnectionAborted {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).lost = Some(error.to_string());
        }
    }

    fn note_beginning(&self, bytes: &[u8]) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = BEGINNING.saturating_sub(notes.beginning.len());
        notes.beginning.extend(bytes.iter().take(room));
    }
}

impl Wire {
    pub(super) fn new(inner: Stream) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { inner, seen: seen.clone(), deaf: false }, seen)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        match &read {
            Ok(()) => self.seen.note_beginning(buf.filled().get(before..).unwrap_or_default()),
            Err(error) => self.seen.note(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    /// A peer that no longer listens may have said why (a TLS alert, a 401 before the body was sent), and that is still to
    /// be read: what it does not take is thrown away, and reading finds out.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        match ready!(Pin::new(&mut self.inner).poll_write(cx, buf)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(buf.len()))
            }
            Err(error) => {
                self.seen.note(&error);
                Poll::Ready(Err(error))
            }
            Ok(written) => Poll::Ready(Ok(written)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf { Poll::Ready(Ok(())) } else { Pin::new(&mut self.inner).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf { Poll::Ready(Ok(())) } else { Pin::new(&mut self.inner).poll_shutdown(cx) }
    }
}
