//! Evidence: what one step yielded, as it stands in the manifest. Leaf types; no I/O.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::{Phase, StepId};

/// How a step ended.
///
/// Every outcome but `Absent` and `Skipped` may come with evidence: what a timed-out command
/// had printed is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything there was, under the cap, with an expected exit status.
    Complete,
    /// The node lacks what the step reads (tool, daemon, file): a state, not a failure.
    Absent,
    /// Not run by choice (profile, `--exclude`, memory pressure).
    Skipped,
    /// The byte cap was hit; head and tail are kept, the number of omitted bytes is recorded.
    Truncated,
    /// The bound was hit; what had been printed is kept.
    TimedOut,
    /// Unexpected exit status, signal, or an error on the way.
    Failed,
    /// The link or the node's deadline ended while the step ran or before it could run.
    Lost,
    /// The operator interrupted the run.
    Cancelled,
}

impl Outcome {
    /// Returns whether a run with this outcome may still call itself complete.
    #[must_use]
    pub const fn is_clean(self) -> bool {
        matches!(self, Self::Complete | Self::Absent | Self::Skipped)
    }

    /// Returns the word used in the manifest and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Absent => "absent",
            Self::Skipped => "skipped",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed-out",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a change to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeState {
    /// Not made: unsafe, not possible, or not undoable here. Nothing was touched.
    Refused,
    /// Not made: not permitted, or the node is already so and is left so.
    Skipped,
    /// Made, undone, and seen to be undone.
    Reverted,
    /// Made, and ended by somebody else's restart of the daemon; seen to be undone.
    EndedByRestart,
    /// Made, and not seen to be undone: the node may still be changed.
    StillChanged,
}

impl ChangeState {
    /// Returns the word used in the manifest and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Reverted => "reverted",
            Self::EndedByRestart => "ended-by-restart",
            Self::StillChanged => "still-changed",
        }
    }
}

/// One file of a bundle, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileRecord {
    /// Path inside the bundle.
    pub path: String,
    /// Bytes in the bundle (after redaction, cap marks included).
    pub bytes: u64,
    /// Bytes left out between head and tail; a lower bound if `omitted_at_least`.
    #[serde(default)]
    pub omitted_bytes: u64,
    /// The source was stopped before its end, so more may have come.
    #[serde(default)]
    pub omitted_at_least: bool,
    /// Hex sha256 of the file as it is in the bundle.
    pub sha256: String,
    /// Replacements made by redaction.
    #[serde(default)]
    pub redactions: u64,
}

/// What is recorded of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepRecord {
    /// Which step.
    pub id: StepId,
    /// When it was due, relative to the changes.
    pub phase: Phase,
    /// The exact command, as `plan` prints it; empty if nothing was run.
    pub command: String,
    /// Whether it ran with root's rights; `None` if it was not run.
    #[serde(default)]
    pub as_root: Option<bool>,
    /// Start by the operator's clock.
    pub started: Option<Timestamp>,
    /// Wall time in milliseconds, as seen from here.
    pub duration_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The reason, in one sentence, for any outcome that needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Exit status of the command on the node, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Signal that ended the command, without `SIG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Bytes that crossed the wire for it (compressed).
    #[serde(default)]
    pub wire_bytes: u64,
    /// Its files: output first, then standard error and the stacks of a hung command, if any.
    pub files: Vec<FileRecord>,
}

impl StepRecord {
    /// Returns the bytes of all its files in the bundle.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}
