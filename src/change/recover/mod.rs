//! Finds and repairs what an earlier run left on a node, from any machine: the receipt is on the node.
//! Everything is told before anything is done. For `plegcollect revert`, and before a window is opened.

mod repair;
mod survey;
mod verbosity;

pub use repair::{Verdict, recover_stale, repair};
pub use survey::{Found, UnfinishedDump, Whereabouts, survey};
pub use verbosity::{FoundVerbosity, repair_verbosity, survey_verbosity};

/// What a run does about traces of an earlier one, one sentence.
pub(crate) const FIRST: &str = "an earlier run's debug window was not closed: a run undoes that first; \
    `plegcollect revert --dry-run` shows what it is";
