//! Reads evidence back: parsers from what nodes print to values, and on them the rules that name causes.
//!
//! Every parser takes any bytes, never fails on their form and never panics; what it does not know it leaves out. Times are
//! those of the node: who compares nodes applies the clock offset. Texts in the results are as the node wrote them, control
//! characters included, so they go through [`crate::printable`] before anybody sees them.

pub mod about;
pub mod burst;
pub mod cluster;
pub mod compare;
pub mod figures;
pub mod files;
pub mod finding;
pub mod fleet;
pub mod gather;
pub mod goroutine;
pub mod history;
mod journal_json;
pub mod known_names;
pub mod line;
pub mod listing;
pub mod log;
pub mod metrics;
pub mod moment;
pub mod node;
pub mod pprof;
mod reached;
mod recognise;
pub mod rule_table;
pub mod rules;
pub mod source;
pub mod steps;
pub mod tables;
pub mod timeline;
pub mod units;
mod unpack;
pub mod verdict;
pub mod view;
mod zone;

#[cfg(test)]
mod any_bytes_tests;
#[cfg(test)]
mod test_support;
