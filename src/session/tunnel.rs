//! Streams to a node's sockets: through a channel of an SSH connection, or opened right here for
//! the local machine. What HTTP to the kubelet and to docker.sock runs over, and inner SSH
//! connections behind a jump.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::ssh::SshSession;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A two-way byte stream to a socket of a node. Dropping it closes the connection.
///
/// An end of file that is only the death of the SSH link is reported as an error, so that what
/// was cut short does not look complete. Keep reading or drop it: a stream that is left unread
/// holds up everything else on its connection.
pub struct Stream(Box<dyn Duplex>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    /// Wraps a connection that needs no SSH.
    pub(crate) fn direct(inner: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(inner))
    }

    /// Wraps a channel; the connection lives as long as the stream.
    pub(crate) fn through(channel: Channel<Msg>, session: SshSession) -> Self {
        let dead = Box::pin(session.0.link.token().clone().cancelled_owned());
        Self(Box::new(Tunnel { inner: channel.into_stream(), dead, session }))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            // russh refuses these.
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Tunnel {
    // Dropped first: its drop sends the close through the session.
    inner: ChannelStream<Msg>,
    dead: Pin<Box<WaitForCancellationFutureOwned>>,
    session: SshSession,
}

impl Tunnel {
    fn lost(&self) -> io::Error {
        let cause = self.session.cause_of_death().map_or_else(|| "the SSH connection ended".to_owned(), |e| e.text);
        io::Error::new(io::ErrorKind::ConnectionAborted, cause)
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        // russh gives the same end of file for the peer's and for a dead link.
        if buf.filled().len() == before && buf.remaining() > 0 && self.session.is_closed() {
            return Poll::Ready(Err(self.lost()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // A writer that waits for window would wait for ever on a dead link.
        if self.dead.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(self.lost()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.dead.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
