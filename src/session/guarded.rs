//! A transport that can be cut at once: wraps any stream, ends reads and writes when its token is
//! cancelled, counts bytes, and keeps the first ones so that a failure can say what answered.
//!
//! russh has no way to stop a session whose peer is stuck, and leaves its task and socket behind
//! when the connect future is dropped; cutting the stream under it is the way.
//! Used by `handshake.rs` for every SSH connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What is kept of the first bytes: an identification line is 255 bytes at most, and other
/// servers name themselves in less.
const HEAD_BYTES: usize = 512;

/// Bound of an orderly shutdown. russh awaits it before it tells anybody that the session is over.
const SHUTDOWN_BUDGET: Duration = Duration::from_secs(2);

/// What was seen on a transport; outlives it.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    read: AtomicU64,
    written: AtomicU64,
    first_byte: OnceLock<Instant>,
    head: Mutex<Vec<u8>>,
}

/// What a server's first bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// No byte came.
    Nothing,
    /// An SSH identification line.
    Ssh(String),
    /// Something else; the first line of it, as it came.
    Other(Vec<u8>),
}

impl Tap {
    /// Returns the bytes received.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Returns the bytes sent.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns when the first byte came.
    pub(crate) fn first_byte(&self) -> Option<Instant> {
        self.first_byte.get().copied()
    }

    /// Returns what the first bytes are. Lines before the identification line are allowed by the
    /// protocol (RFC 4253, 4.2) and skipped.
    pub(crate) fn greeting(&self) -> Greeting {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        if head.is_empty() {
            return Greeting::Nothing;
        }
        let mut lines = head.split(|&b| b == b'\n');
        if let Some(line) = lines.find(|line| line.starts_with(b"SSH-")) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return Greeting::Ssh(String::from_utf8_lossy(line).into_owned());
        }
        let first = head.split(|&b| b == b'\n').next().unwrap_or_default();
        Greeting::Other(first.strip_suffix(b"\r").unwrap_or(first).to_vec())
    }

    fn saw(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let before = self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before == 0 {
            // Another reader cannot exist: reading takes the stream mutably.
            let _ = self.first_byte.set(Instant::now());
        }
        if before < HEAD_BYTES as u64 {
            let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            let room = HEAD_BYTES.saturating_sub(head.len());
            head.extend(bytes.iter().take(room));
        }
    }
}

/// A stream that ends when its token is cancelled.
pub(crate) struct Guarded<S> {
    inner: S,
    tap: Arc<Tap>,
    // One future each: reader and writer are different tasks and each needs its own waker.
    read_gate: Pin<Box<WaitForCancellationFutureOwned>>,
    write_gate: Pin<Box<WaitForCancellationFutureOwned>>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    /// Wraps `inner`; cancelling `token` ends both directions with `ConnectionAborted`.
    pub(crate) fn new(inner: S, token: &CancellationToken, tap: Arc<Tap>) -> Self {
        Self {
            inner,
            tap,
            read_gate: Box::pin(token.clone().cancelled_owned()),
            write_gate: Box::pin(token.clone().cancelled_owned()),
            closing: None,
        }
    }

    fn write_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.write_gate.as_mut().poll(cx).is_ready()
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut on our side")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read_gate.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        this.tap.saw(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.write_cut(cx) {
            return Poll::Ready(Err(cut()));
        }
        let n = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.tap.written.fetch_add(n as u64, Ordering::Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_cut(cx) {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    /// Never fails and never waits long: russh leaves out its `disconnected` call when the shutdown
    /// of a reset socket fails, and with it the cause; and it keeps all readers while it waits.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.write_cut(cx) {
            return Poll::Ready(Ok(()));
        }
        if Pin::new(&mut this.inner).poll_shutdown(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let limit = this.closing.get_or_insert_with(|| Box::pin(sleep(SHUTDOWN_BUDGET)));
        limit.as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn guarded<S>(inner: S) -> (Guarded<S>, CancellationToken, Arc<Tap>) {
        let (token, tap) = (CancellationToken::new(), Arc::new(Tap::default()));
        (Guarded::new(inner, &token, Arc::clone(&tap)), token, tap)
    }

    #[tokio::test(start_paused = true)]
    async fn cancel_ends_a_read_that_waits() {
        let (near, _far) = duplex(8);
        let (mut stream, token, _) = guarded(near);
        let reader = async { stream.read_u8().await.unwrap_err().kind() };
        let canceller = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            token.cancel();
        };
        let (kind, ()) = tokio::join!(reader, canceller);
        assert_eq!(kind, io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test(start_paused = true)]
    async fn cancel_ends_a_write_that_waits_for_the_peer() {
        let (near, _far) = duplex(8);
        let (mut stream, token, tap) = guarded(near);
        let writer = async { stream.write_all(&[0; 64]).await.unwrap_err().kind() };
        let canceller = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            token.cancel();
        };
        let (kind, ()) = tokio::join!(writer, canceller);
        assert_eq!(kind, io::ErrorKind::ConnectionAborted);
        assert_eq!(tap.written(), 8, "the peer's buffer");
    }

    #[tokio::test(start_paused = true)]
    async fn cancel_ends_both_halves_though_two_tasks_wait() {
        let (near, _far) = duplex(1);
        let (stream, token, _) = guarded(near);
        let (mut read, mut write) = tokio::io::split(stream);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { read.read_u8().await.map(drop) });
        tasks.spawn(async move { write.write_all(&[0; 9]).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        token.cancel();
        while let Some(ended) = tasks.join_next().await {
            assert_eq!(ended.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_neither_fails_nor_waits_for_ever() {
        struct Stuck;
        impl AsyncWrite for Stuck {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Pending
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Pending
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Pending
            }
        }
        let (mut stream, _token, _) = guarded(Stuck);
        stream.shutdown().await.unwrap();

        struct Reset;
        impl AsyncWrite for Reset {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Pending
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Pending
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
        let (mut stream, _token, _) = guarded(Reset);
        stream.shutdown().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn counts_and_tells_the_time_of_the_first_byte() {
        let (near, mut far) = duplex(64);
        let (mut stream, _token, tap) = guarded(near);
        assert_eq!(tap.first_byte(), None);
        let start = Instant::now();
        tokio::time::sleep(Duration::from_secs(3)).await;
        far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let mut got = [0; 11];
        stream.read_exact(&mut got).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        far.write_all(b"more").await.unwrap();
        stream.read_u32().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        assert_eq!((tap.read(), tap.written()), (15, 5));
        assert_eq!(tap.first_byte().unwrap() - start, Duration::from_secs(3));
    }

    #[test]
    fn tells_ssh_from_everything_else() {
        let other = |line: &[u8]| Greeting::Other(line.to_vec());
        for (chunks, want) in [
            (&[][..], Greeting::Nothing),
            (&[&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..]][..], Greeting::Ssh("SSH-2.0-OpenSSH_9.2p1".into())),
            (&[b"SSH-2.0-Op", b"enSSH\r\n\0\0\x05"], Greeting::Ssh("SSH-2.0-OpenSSH".into())),
            (&[b"hello\r\n", b"SSH-2.0-x\n"], Greeting::Ssh("SSH-2.0-x".into())),
            (&[b"Exceeded MaxStartups\r\n"], other(b"Exceeded MaxStartups")),
            (&[b"HTTP/1.1 400 Bad Request\r\nx: SSH-\r\n"], other(b"HTTP/1.1 400 Bad Request")),
            (&[b"\x15\x03\x01\x00\x02\x02\x46"], other(b"\x15\x03\x01\x00\x02\x02\x46")),
        ] {
            let tap = Tap::default();
            for chunk in chunks {
                tap.saw(chunk);
            }
            assert_eq!(tap.greeting(), want, "{chunks:?}");
        }
    }

    #[test]
    fn keeps_a_bounded_head() {
        let tap = Tap::default();
        for _ in 0..100 {
            tap.saw(&[b'x'; 100]);
        }
        assert_eq!(tap.head.lock().unwrap().len(), HEAD_BYTES);
        assert_eq!(tap.read(), 10_000);
    }
}
