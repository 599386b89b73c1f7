//! The body of an answer, read by whoever waits for it: no task of its own drives the connection. Nothing is decoded.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio_util::sync::CancellationToken;

use super::wire::Seen;
use super::{BodyEnd, exchange::Connection};
use crate::session::{Sink, StdStream, Stopped};

/// A body on its way, with the connection it comes through.
pub(super) struct Body {
    incoming: Incoming,
    driver: Driver,
    seen: Seen,
}

/// A connection that moves whenever somebody waits for something of it.
pub(super) struct Driver(Option<Pin<Box<Connection>>>);

impl Driver {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Some(Box::pin(connection)))
    }

    /// Polls `wanted`, and the connection beside it until that has ended. Its own error is told through `wanted` as well.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let ready @ Poll::Ready(_) = wanted(cx) {
            return ready;
        }
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
        wanted(cx)
    }
}

impl Body {
    pub(super) fn new(incoming: Incoming, driver: Driver, seen: Seen) -> Self {
        Self { incoming, driver, seen }
    }

    /// As [`Answer::drain`](super::Answer::drain).
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn drain(&mut self, within: Duration, sink: &mut dyn Sink, cancel: &CancellationToken) -> BodyEnd {
        let mut deadline = std::pin::pin!(tokio::time::sleep(within));
        loop {
            // Stopping comes first: a body without end must not keep us busy.
            let chunk = tokio::select! {
                biased;
                () = cancel.cancelled() => return BodyEnd::Stopped(Stopped::Cancelled),
                () = &mut deadline => return BodyEnd::Stopped(Stopped::Deadline),
                chunk = self.next() => chunk,
            };
            match chunk {
                Ok(Some(chunk)) => {
                    if sink.write(StdStream::Out, chunk).await.is_break() {
                        return BodyEnd::Stopped(Stopped::Sink);
                    }
                }
                Ok(None) => return BodyEnd::Whole,
                Err(end) => return end,
            }
        }
    }

    /// As [`Answer::text`](super::Answer::text).
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn text(&mut self, most: usize, within: Duration) -> Vec<u8> {
        let mut text = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = self.next().await {
                text.extend(chunk.iter().take(most.saturating_sub(text.len())));
                if text.len() >= most {
                    return;
                }
            }
        };
        // What came until then is kept.
        let _late = tokio::time::timeout(within, reading).await;
        text
    }

    /// Returns the next piece, `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyEnd> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyEnd>> {
        loop {
            let incoming = &mut self.incoming;
            match ready!(self.driver.poll(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx))) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) if !chunk.is_empty() => return Poll::Ready(Ok(Some(chunk))),
                    // Trailers, of no use here.
                    Ok(_) | Err(_) => {}
                },
                Some(Err(error)) => return Poll::Ready(Err(self.broken(&error))),
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn broken(&self, error: &hyper::Error) -> BodyEnd {
        tracing::debug!(error = error as &dyn std::error::Error, "the body broke off");
        if self.seen.lost().is_some() { BodyEnd::LinkLost } else { BodyEnd::Cut }
    }
}

/// Returns the innermost cause of an error of a connection, if it is one of reading or writing.
pub(super) fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref() {
            return Some(io);
        }
        cause = error.source();
    }
    None
}
