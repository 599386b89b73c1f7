//! The way of an answer's body into a step's evidence: opened when the head of a 200 is there, counted as it passes. Used by
//! all of `way/`.

use std::ops::ControlFlow;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Receiver;
use crate::plan::Encoding;
use crate::session::{Sink, StdStream};

/// Enough to tell one kind of answer from another.
const HEAD: usize = 32;

/// Takes the body of one answer.
pub(super) struct Delivery<'a> {
    to: To<'a>,
    /// Bytes passed on.
    pub(super) bytes: u64,
    /// The first of them; empty if they are packed.
    pub(super) head: Vec<u8>,
    packed: bool,
    /// The receiver had enough.
    pub(super) broke: bool,
}

enum To<'a> {
    Waiting(&'a mut dyn Receiver),
    Open(&'a mut dyn Sink),
    Nowhere,
}

impl<'a> Delivery<'a> {
    /// Returns the way to `receiver`, not opened yet.
    pub(super) const fn new(receiver: &'a mut dyn Receiver) -> Self {
        Self { to: To::Waiting(receiver), bytes: 0, head: Vec::new(), packed: false, broke: false }
    }

    /// Tells the receiver that an answer begins, once; returns whether it takes it.
    ///
    /// # Cancel safety
    /// Dropped early, nothing is taken any more.
    pub(super) async fn open(&mut self, encoding: Encoding) -> bool {
        if let To::Waiting(receiver) = std::mem::replace(&mut self.to, To::Nowhere) {
            if let Some(sink) = receiver.begin(encoding).await {
                self.to = To::Open(sink);
                self.packed = encoding != Encoding::Plain;
            }
            return self.is_open();
        }
        self.is_open()
    }

    /// Returns whether the receiver has taken it.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.to, To::Open(_))
    }

    /// Returns whether what passes is packed.
    pub(super) const fn is_packed(&self) -> bool {
        self.packed
    }
}

impl Sink for Delivery<'_> {
    /// Opens itself for what comes from a way that knows no head (the API server's).
    fn write<'s>(&'s mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'s, ControlFlow<()>> {
        async move {
            if matches!(self.to, To::Waiting(_)) {
                self.open(Encoding::Plain).await;
            }
            self.bytes += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if !self.packed && self.head.len() < HEAD {
                let room = (HEAD - self.head.len()).min(chunk.len());
                self.head.extend_from_slice(chunk.get(..room).unwrap_or_default());
            }
            let flow = match &mut self.to {
                To::Open(sink) => sink.write(stream, chunk).await,
                To::Waiting(_) | To::Nowhere => ControlFlow::Break(()),
            };
            self.broke |= flow.is_break();
            flow
        }
        .boxed()
    }
}
