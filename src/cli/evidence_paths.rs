//! What commands that read evidence share: every view at the paths named, one after the other, and what could not be read.

use std::path::{Path, PathBuf};

use crate::analyze::gather::{NotRead, gather, told};
use crate::analyze::view::NodeView;
use crate::bundle::ReadError;
use crate::report::analysis::Unreadable;

/// Calls `take` with each node's or cluster's view and the path of its evidence, printable; returns what could not be read.
pub(super) fn each(paths: &[PathBuf], take: impl FnMut(&NodeView, &str)) -> Vec<Unreadable> {
    let not_read = gather(paths, take);
    not_read.into_iter().map(worded).collect()
}

/// Words why the evidence at a path could not be read.
pub(super) fn not_read(path: &Path, error: &ReadError) -> Unreadable {
    worded(told(path, error))
}

fn worded(not: NotRead) -> Unreadable {
    Unreadable { path: not.path, reason: not.reason }
}
