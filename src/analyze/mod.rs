//! Reads evidence back: parsers from what nodes print to values.
//!
//! Every parser takes any bytes, never fails on their form and never panics; what it does not know it leaves out. Texts in
//! the results are as the node wrote them, control characters included, so they go through [`crate::printable`] before
//! anybody sees them.

pub mod goroutine;
pub mod line;
pub mod log;
pub mod metrics;
pub mod pprof;
pub mod tables;
