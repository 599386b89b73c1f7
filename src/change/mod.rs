//! The only writer to nodes. Every change keeps to one contract: probe (is it safe, is it needed) →
//! describe → apply → verify → revert → verify that it is reverted. A receipt and a guard that can
//! undo the change alone are on the node before anything is changed.
//!
//! Facts and the protocol rest on experiments with dockerd 20.10 and on the sources of the other
//! versions; the functions that build on one name it.

pub mod debug_target;
pub mod dockerd_debug;
pub mod journal_window;
pub mod kubelet_verbosity;
pub mod preflight;
pub mod receipt;
pub mod recover;
mod scope;
mod shell;
pub mod stack_dump;

pub use debug_target::{Client, DebugTarget, Edit, FileState, Process};
pub use receipt::{ChangeRecord, Check, Verdict};
pub use scope::{Applied, Scope};
pub use shell::{Answer, NodeShell, Script, Shell, ShellError, Way};

use crate::plan::{ChangeId, ChangePolicy};

/// Permission to make one kind of change in this run; only the policy gives it, and whatever writes
/// to a node asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit(ChangeId);

impl Permit {
    /// Returns the permission, if the policy gives it.
    ///
    /// # Errors
    /// The reason why not, one clause.
    pub fn of(policy: &ChangePolicy, change: ChangeId) -> Result<Self, &'static str> {
        policy.forbids(change).map_or(Ok(Self(change)), Err)
    }

    /// Returns what it permits.
    #[must_use]
    pub const fn change(self) -> ChangeId {
        self.0
    }
}
