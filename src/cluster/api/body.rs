//! Bodies of answers: passed on as they come, or read whole where they are small.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

use crate::session::{Sink, StdStream};

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All of it came.
    Whole,
    /// The connection was closed before the end.
    Cut,
    /// The deadline passed.
    Late,
    /// There is more than was to be taken.
    Full,
}

/// Passes a body to `sink`, `most` bytes at most.
///
/// # Cancel safety
/// May be dropped at any time; what was passed stays.
pub(super) async fn pass(mut body: Body, most: u64, deadline: Instant, sink: &mut dyn Sink) -> End {
    let mut left = usize::try_from(most).unwrap_or(usize::MAX);
    loop {
        let chunk = match next(&mut body, deadline).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return End::Whole,
            Err(end) => return end,
        };
        let (kept, over) = (chunk.slice(..chunk.len().min(left)), chunk.len() > left);
        left = left.saturating_sub(kept.len());
        if sink.write(StdStream::Out, kept).await == ControlFlow::Break(()) || over {
            return End::Full;
        }
    }
}

/// Reads a body, `most` bytes at most.
pub(super) async fn whole(mut body: Body, most: usize, deadline: Instant) -> (BytesMut, End) {
    let mut read = BytesMut::new();
    loop {
        match next(&mut body, deadline).await {
            Ok(Some(chunk)) if read.len() + chunk.len() > most => {
                read.extend_from_slice(&chunk.slice(..most.saturating_sub(read.len())));
                return (read, End::Full);
            }
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => return (read, End::Whole),
            Err(end) => return (read, end),
        }
    }
}

async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, End> {
    loop {
        match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(End::Late),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(End::Cut),
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
