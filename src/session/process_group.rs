//! A process of this machine with all it starts, in a process group of its own: ended as a whole, TERM first, then KILL.
//! Used by `local.rs` and for commands that print a token.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// From TERM to KILL when a command is stopped from here.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A command and all in its process group; it was started with `process_group(0)`. As long as the child has not been
/// waited for, the group's number cannot be given to somebody else. Dropped before that, the group gets TERM.
pub(crate) struct ProcessGroup {
    pub(crate) child: Child,
}

impl ProcessGroup {
    /// TERM to the group (a wrapper on a node passes it on to the command's own group), then KILL.
    ///
    /// # Cancel safety
    /// Dropped early, the group has had TERM.
    pub(crate) async fn stop(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(STOP_GRACE, self.child.wait()).await;
        if let Ok(status) = status {
            return status.ok();
        }
        self.signal(Signal::KILL);
        // A process stuck in the kernel does not die; tokio reaps it when it does.
        tokio::time::timeout(STOP_GRACE, self.child.wait()).await.ok().and_then(Result::ok)
    }

    fn signal(&self, signal: Signal) {
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // ESRCH only: they have ended meanwhile.
            let _gone = kill_process_group(group, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Only where the future was dropped: after wait() there is no id any more.
        self.signal(Signal::TERM);
    }
}
