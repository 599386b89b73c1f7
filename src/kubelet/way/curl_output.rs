//! What `curl -i` prints, taken apart as it comes: heads, then the body, which goes on to the receiver if the status is 200.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::KEPT;
use crate::kubelet::delivery::Delivery;
use crate::plan::Encoding;
use crate::printable::printable_bytes;
use crate::session::{Sink, StdStream};

/// Takes curl's output.
pub(super) struct CurlOutput<'a, 'r> {
    delivery: &'a mut Delivery<'r>,
    begun: Instant,
    /// What came of the head so far.
    head: Vec<u8>,
    /// Status and time of the last head.
    pub(super) answer: Option<(u16, Duration)>,
    /// Set with the head of an answer.
    pub(super) came: Arc<AtomicBool>,
    /// The body of a refusal.
    pub(super) kept: Vec<u8>,
    /// The receiver did not want it.
    pub(super) not_taken: bool,
    /// What came is no HTTP.
    pub(super) odd: bool,
    said: Vec<u8>,
}

impl<'a, 'r> CurlOutput<'a, 'r> {
    pub(super) fn new(delivery: &'a mut Delivery<'r>) -> Self {
        Self {
            delivery,
            begun: Instant::now(),
            head: Vec::new(),
            answer: None,
            came: Arc::new(AtomicBool::new(false)),
            kept: Vec::new(),
            not_taken: false,
            odd: false,
            said: Vec::new(),
        }
    }

    /// Returns what curl complained of, printable.
    pub(super) fn said(&self) -> String {
        printable_bytes(&self.said, 300).trim().to_owned()
    }

    async fn take(&mut self, chunk: Bytes) -> ControlFlow<()> {
        let mut rest = chunk;
        while self.answer.is_none() {
            self.head.extend_from_slice(&rest);
            let Some(end) = end_of_head(&self.head) else {
                self.odd = self.head.len() > KEPT || !b"HTTP/".starts_with(self.head.get(..5).unwrap_or(&self.head));
                return if self.odd { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            };
            let body = self.head.split_off(end);
            let head = std::mem::take(&mut self.head);
            let Some(status) = status(&head) else {
                self.odd = true;
                return ControlFlow::Break(());
            };
            rest = Bytes::from(body);
            if status < 200 {
                // 100 Continue and its like; the answer follows.
                continue;
            }
            self.answer = Some((status, self.begun.elapsed()));
            self.came.store(true, Ordering::Relaxed);
            if status == 200 && !self.delivery.open(encoding(&head)).await {
                self.not_taken = true;
                return ControlFlow::Break(());
            }
        }
        if rest.is_empty() {
            return ControlFlow::Continue(());
        }
        if self.answer.is_some_and(|(status, _)| status == 200) {
            return self.delivery.write(StdStream::Out, rest).await;
        }
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(rest.get(..room.min(rest.len())).unwrap_or_default());
        if self.kept.len() >= KEPT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Sink for CurlOutput<'_, '_> {
    fn write<'s>(&'s mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'s, ControlFlow<()>> {
        async move {
            if stream == StdStream::Out {
                return self.take(chunk).await;
            }
            let room = 2048_usize.saturating_sub(self.said.len()).min(chunk.len());
            self.said.extend_from_slice(chunk.get(..room).unwrap_or_default());
            ControlFlow::Continue(())
        }
        .boxed()
    }
}

/// Returns where the body begins: behind an empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = |mark: &[u8]| bytes.windows(mark.len()).position(|w| w == mark).map(|at| at + mark.len());
    match (at(b"\r\n\r\n"), at(b"\n\n")) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    text.strip_prefix("HTTP/")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn encoding(head: &[u8]) -> Encoding {
    let packed = head.split(|b| *b == b'\n').any(|line| {
        let line = String::from_utf8_lossy(line).to_ascii_lowercase();
        line.strip_prefix("content-encoding:").is_some_and(|value| matches!(value.trim(), "gzip" | "x-gzip"))
    });
    if packed { Encoding::Gzip } else { Encoding::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::Receiver;

    #[derive(Default)]
    struct Kept(Option<Encoding>, Vec<u8>);

    impl Receiver for Kept {
        fn begin(&mut self, encoding: Encoding) -> BoxFuture<'_, Option<&mut dyn Sink>> {
            self.0 = Some(encoding);
            async move { Some(self as &mut dyn Sink) }.boxed()
        }
    }

    impl Sink for Kept {
        fn write<'a>(&'a mut self, _: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
            self.1.extend_from_slice(&chunk);
            async { ControlFlow::Continue(()) }.boxed()
        }
    }

    /// Feeds a text in two chunks; returns status, what was passed on with its packing, and what was kept.
    async fn fed(text: &[u8], cut: usize) -> (Option<u16>, Option<Encoding>, Vec<u8>, Vec<u8>) {
        let mut kept = Kept::default();
        let mut delivery = Delivery::new(&mut kept);
        let mut output = CurlOutput::new(&mut delivery);
        for part in [&text[..cut], &text[cut..]] {
            assert!(output.write(StdStream::Out, Bytes::copy_from_slice(part)).await.is_continue(), "{cut}");
        }
        let (status, body) = (output.answer.map(|(status, _)| status), std::mem::take(&mut output.kept));
        (status, kept.0, kept.1, body)
    }

    #[tokio::test]
    async fn heads_before_the_answer_are_passed_over_wherever_the_chunks_are_cut() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nbody\r\n\r\nmore";
        for cut in 0..text.len() {
            let (status, encoding, passed, kept) = fed(text, cut).await;
            assert_eq!((status, encoding, kept.len()), (Some(200), Some(Encoding::Gzip), 0), "{cut}");
            assert_eq!(passed, b"body\r\n\r\nmore", "{cut}");
        }
        let refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nUnauthorized";
        for cut in 0..refusal.len() {
            let (status, encoding, passed, kept) = fed(refusal, cut).await;
            assert_eq!((status, encoding, passed.len()), (Some(401), None, 0), "{cut}");
            assert_eq!(kept, b"Unauthorized", "{cut}");
        }
    }
}
