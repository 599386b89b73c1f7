//! The changes in force on one node: renewed together, undone newest first. Undoing heeds neither
//! the run's stop nor its deadlines; it has a bound of its own, after which the guard on the node is
//! left to do it. The kubelet's verbosity has no guard: its note on the node is left then.

use super::dockerd_debug::Window;
use super::kubelet_verbosity::{Raised, Verbosity};
use super::receipt::ChangeRecord;
use super::shell::{Shell, ShellError};

/// A change in force.
pub enum Applied {
    /// dockerd logs at debug level.
    DockerdDebug(Box<Window>),
    /// The kubelet logs more.
    KubeletVerbosity(Box<Raised>),
}

/// See the module. Dropping it with changes in force only says so in the log: the guard on the node
/// ends dockerd's once the lease has run out.
#[derive(Default)]
pub struct Scope {
    open: Vec<Applied>,
}

impl Scope {
    /// Takes over a change that is in force.
    pub fn add(&mut self, change: Applied) {
        self.open.push(change);
    }

    /// Returns whether nothing is in force.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns what is known of each change so far, newest first.
    #[must_use]
    pub fn receipts(&self) -> Vec<ChangeRecord> {
        let receipt = |change: &Applied| match change {
            Applied::DockerdDebug(window) => window.record().clone(),
            Applied::KubeletVerbosity(raised) => raised.record().clone(),
        };
        self.open.iter().rev().map(receipt).collect()
    }

    /// Gives the node a sign of life. Returns `false` if a change has come to its end on the node
    /// without us.
    ///
    /// # Errors
    /// When the node could not be told.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn renew(&self, shell: &dyn Shell) -> Result<bool, ShellError> {
        let mut in_force = true;
        for change in &self.open {
            match change {
                Applied::DockerdDebug(window) => {
                    in_force &= window.renew(shell).await? == super::dockerd_debug::GuardState::On
                }
                // Nothing on the node waits for one.
                Applied::KubeletVerbosity(_) => {}
            }
        }
        Ok(in_force)
    }

    /// Undoes all changes, newest first, and returns what became of each.
    ///
    /// # Cancel safety
    /// Not to be dropped: dockerd's debug would be ended by the node, and nobody would have seen it; the kubelet's
    /// verbosity may stay raised.
    pub async fn revert(mut self, shell: &dyn Shell, kubelet: Option<&dyn Verbosity>) -> Vec<ChangeRecord> {
        let mut records = Vec::with_capacity(self.open.len());
        while let Some(change) = self.open.pop() {
            records.push(match change {
                Applied::DockerdDebug(window) => window.close(shell).await,
                Applied::KubeletVerbosity(raised) => match kubelet {
                    Some(kubelet) => raised.lower(shell, kubelet).await,
                    None => raised.abandoned(),
                },
            });
        }
        records
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            tracing::warn!("changes in force are left to what is on the node");
        }
    }
}
