//! A peer that has said its last word and no longer listens.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::session::Stream;
use crate::session::http::wire::Wire;

/// Its answer is there as soon as it refuses to take more.
#[derive(Default)]
struct Gone {
    refused: bool,
    said: bool,
    reader: Option<Waker>,
}

impl AsyncRead for Gone {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.refused {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.said, true) {
            buf.put_slice(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gone {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.refused = true;
        self.reader.take().inspect(Waker::wake_by_ref);
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

#[tokio::test]
async fn its_answer_counts_though_the_request_was_not_taken() {
    let (wire, _seen) = Wire::new(Stream::direct(Gone::default()));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.unwrap();
    let request = hyper::Request::put("/debug/flags/v").body(Full::new(Bytes::from_static(b"4"))).unwrap();
    let (answer, _closed) = tokio::join!(sender.send_request(request), connection);
    assert_eq!(answer.unwrap().status().as_u16(), 401);
}
