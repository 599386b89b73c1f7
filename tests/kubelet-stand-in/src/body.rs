//! Response bodies: in parts, as a kubelet writes them, and with the ends that faults ask for.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// A part: what Go's HTTP server writes to a connection at a time, roughly.
const PART: usize = 4096;
/// What was written before has left by then, when a connection is closed in the middle of a body.
const BEFORE_CLOSING: Duration = Duration::from_millis(200);

/// How a body ends.
enum End {
    Clean,
    Closed(Pin<Box<Sleep>>),
    Never,
    Again(Bytes),
}

/// The body of an answer.
pub struct Body {
    parts: VecDeque<Bytes>,
    size: Option<u64>,
    end: End,
}

impl Body {
    /// A whole body; `sized` when its length is told before it.
    pub fn whole(bytes: &Bytes, sized: bool) -> Self {
        Self { parts: parts_of(bytes), size: sized.then_some(bytes.len() as u64), end: End::Clean }
    }

    /// The connection is closed after these bytes.
    pub fn closed_after(bytes: &Bytes) -> Self {
        Self { parts: parts_of(bytes), size: None, end: End::Closed(Box::pin(sleep(BEFORE_CLOSING))) }
    }

    /// Only the head is answered.
    pub fn never() -> Self {
        Self { parts: VecDeque::new(), size: None, end: End::Never }
    }

    /// The bytes, again and again.
    pub fn endless(bytes: &Bytes) -> Self {
        let bytes = if bytes.is_empty() { Bytes::from_static(b"\n") } else { bytes.clone() };
        Self { parts: VecDeque::new(), size: None, end: End::Again(bytes) }
    }
}

fn parts_of(bytes: &Bytes) -> VecDeque<Bytes> {
    (0..bytes.len()).step_by(PART).map(|start| bytes.slice(start..bytes.len().min(start + PART))).collect()
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(part) = self.parts.pop_front() {
            if let Some(size) = &mut self.size {
                *size = size.saturating_sub(part.len() as u64);
            }
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &mut self.end {
            End::Clean => Poll::Ready(None),
            End::Never => Poll::Pending,
            End::Again(bytes) => {
                let bytes = bytes.clone();
                self.parts = parts_of(&bytes);
                self.poll_frame(context)
            }
            End::Closed(closing) => {
                closing.as_mut().poll(context).map(|()| Some(Err(io::Error::other("the fault closes the connection"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && matches!(self.end, End::Clean)
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map(SizeHint::with_exact).unwrap_or_default()
    }
}
