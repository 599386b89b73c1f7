//! The parser as a whole: pieces of a stream in, dumps out. For callers whose stream is no reader.

use super::builder::Builder;
use super::splitter::{Piece, Splitter};
use super::{Dump, Limits};

/// Reads the dumps of a stream that comes in pieces.
pub struct Parser {
    splitter: Splitter,
    builder: Builder,
}

impl Parser {
    /// Returns a parser that keeps at most what `limits` says.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { splitter: Splitter::new(), builder: Builder::new(limits) }
    }

    /// Takes the next piece; it may end anywhere, also inside a line or a character.
    pub fn push(&mut self, piece: &[u8]) {
        let Self { splitter, builder } = self;
        splitter.push(piece, |piece| take(builder, piece));
    }

    /// Returns the dumps, in the order of the stream. A dump without its end is there as far as it came.
    #[must_use]
    pub fn finish(self) -> Vec<Dump> {
        let Self { mut splitter, mut builder } = self;
        splitter.finish(|piece| take(&mut builder, piece));
        builder.finish()
    }
}

fn take(builder: &mut Builder, piece: Piece<'_>) {
    match piece {
        Piece::Line { text, prefix, number } => builder.line(text, prefix, number),
        Piece::Boundary => builder.boundary(),
    }
}
