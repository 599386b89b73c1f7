//! What the run yielded, told at its end: the table on the terminal and SUMMARY.md. Says exactly
//! what the node summaries hold, never more. Called by the cli; prints and writes nothing itself.

pub mod analysis;
mod changes;
pub mod difference;
mod groups;
pub mod html;
pub mod markdown;
mod missing;
mod page;
pub mod summary;
mod table;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod verdicts;
mod words;

pub(crate) use words::report_command;

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use self::analysis::Analysis;
use crate::event::ClusterSummary;
use crate::inventory::NodeName;

/// The run as a whole, beside its nodes.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// Run id, as in every manifest.
    pub run_id: String,
    /// Directory of the bundles.
    pub out: PathBuf,
    /// When the run began, if it is to be told.
    pub started: Option<Timestamp>,
    /// Whole time.
    pub took: Duration,
    /// The exit code the program is about to end with.
    pub exit_code: u8,
    /// What that code means, a few words without a full stop.
    pub exit_meaning: String,
    /// The operator asked to stop.
    pub interrupted: bool,
    /// Sentences about the run to be told with it (clock offsets, policy, an incomplete run.log).
    pub notes: Vec<String>,
    /// The evidence of the cluster, if it was asked for.
    pub cluster: Option<ClusterSummary>,
    /// What the evidence means, if it was analysed.
    pub analysis: Option<Analysis>,
    /// Folds names: `worker-00[1-4,7]`.
    pub fold: fn(&[NodeName]) -> String,
}
