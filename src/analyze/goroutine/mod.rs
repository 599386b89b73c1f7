//! Stack dumps of Go programs, in both forms and in all wrappings that nodes have: files and answers of
//! `goroutine?debug=2` and SIGUSR1, the grouped `goroutine?debug=1`, dumps inside journals (a line each, or one quoted
//! text with `\n`, also where journald cut it), several in one stream. Go 1.3 to 1.25.
//!
//! [`read`] or [`Parser`] turn a stream into [`Dump`]s in one pass, in time linear in its length; each distinct stack
//! is kept once, so memory follows what differs and not what repeats. [`standing`] compares two dumps of one process.
//! What a stack means is not decided here: that is for rules.
//!
//! A rule that looks for a relist over a runtime call, and for a lock convoy:
//!
//! ```no_run
//! # use plegcollect::analyze::goroutine::{Limits, Wait, read};
//! # fn rule(text: &[u8]) -> std::io::Result<()> {
//! for dump in read(text, Limits::default())? {
//!     for stack in dump.in_function("GenericPLEG).Relist") {
//!         if stack.calls("GenericPLEG).Relist", "grpc.(*ClientConn).Invoke") {
//!             // stack.place(), stack.longest, stack.lines
//!         }
//!     }
//!     for lock in dump.locks() {
//!         // lock.waiters, lock.longest, lock.stacks
//!     }
//!     let _waiting: u64 = dump.waiting_for(Wait::Lock).map(|stack| stack.count).sum();
//! }
//! # Ok(())
//! # }
//! ```

mod block;
mod builder;
mod dump;
mod frame;
mod names;
mod parser;
mod prefix;
mod record;
mod splitter;
mod standing;
mod tally;
mod wait;

#[cfg(test)]
mod genuine_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};

pub use dump::{Dump, Form, Goroutine, LineRange, Lock, Origin, Signature, Stack};
pub use frame::Frame;
pub use parser::Parser;
pub use standing::{Standing, standing};
pub use wait::Wait;

/// What a [`Parser`] keeps at most, over all dumps of its stream. What goes beyond is counted and not kept, and
/// [`Dump::cut`] says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Dumps.
    pub dumps: usize,
    /// Distinct stacks; goroutines beyond are counted together in one stack without frames.
    pub stacks: usize,
    /// Goroutines listed one by one.
    pub goroutines: usize,
    /// Frames of one stack. Go prints 100 at most.
    pub frames: usize,
    /// Distinct frames; beyond, one that is called `(too many frames)` stands for all.
    pub distinct_frames: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { dumps: 1000, stacks: 200_000, goroutines: 1_000_000, frames: 256, distinct_frames: 200_000 }
    }
}

/// Reads all dumps of a stream to its end, in constant memory beside what is kept. Text that is no dump is passed over.
///
/// # Errors
/// When `source` cannot be read. Its form is never an error.
pub fn read(mut source: impl BufRead, limits: Limits) -> io::Result<Vec<Dump>> {
    let mut parser = Parser::new(limits);
    loop {
        let piece = match source.fill_buf() {
            Ok([]) => return Ok(parser.finish()),
            Ok(piece) => piece,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        parser.push(piece);
        let taken = piece.len();
        source.consume(taken);
    }
}
