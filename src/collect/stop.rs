//! Why work is cut short, so that records name the true cause: the operator, a deadline, or the
//! local disk. The token says when; the cause says why. Asked by node, phase and step.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::evidence::Outcome;

/// What ended the work early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The operator asked.
    Operator,
    /// The run's deadline, this long.
    RunDeadline(Duration),
    /// The node's own deadline, this long.
    NodeDeadline(Duration),
    /// Another node found the local disk full or broken.
    Disk,
}

impl StopCause {
    /// Returns the cause as a clause.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Operator => "the run was stopped".to_owned(),
            Self::RunDeadline(d) => format!("the run's deadline of {} passed", humantime::format_duration(d)),
            Self::NodeDeadline(d) => format!("the node's deadline of {} passed", humantime::format_duration(d)),
            Self::Disk => "the run was given up because the local disk takes no more".to_owned(),
        }
    }

    /// Returns the outcome of a step that was cut short for it.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Operator => Outcome::Cancelled,
            Self::RunDeadline(_) | Self::NodeDeadline(_) | Self::Disk => Outcome::Lost,
        }
    }

    /// Returns whether time ran out.
    pub(crate) const fn is_deadline(self) -> bool {
        matches!(self, Self::RunDeadline(_) | Self::NodeDeadline(_))
    }
}

/// The end of a whole run before its time; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct RunStop {
    token: CancellationToken,
    cause: Arc<OnceLock<StopCause>>,
}

impl RunStop {
    /// Returns one that follows the operator's wish.
    pub(crate) fn new(operator: &CancellationToken) -> Self {
        Self { token: operator.child_token(), cause: Arc::default() }
    }

    /// Ends the run; the first cause stays.
    pub(crate) fn stop(&self, cause: StopCause) {
        if !self.token.is_cancelled() {
            // Before the token, so that nobody sees one without the other.
            let _ = self.cause.set(cause);
        }
        self.token.cancel();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns why, once it is stopped; without a cause of ours it was the operator.
    pub(crate) fn cause(&self) -> Option<StopCause> {
        self.is_stopped().then(|| self.cause.get().copied().unwrap_or(StopCause::Operator))
    }
}

/// The end of one node's work before its time.
#[derive(Debug)]
pub(crate) struct NodeStop {
    run: RunStop,
    token: CancellationToken,
    expired: OnceLock<Duration>,
}

impl NodeStop {
    pub(crate) fn new(run: &RunStop) -> Self {
        Self { run: run.clone(), token: run.token.child_token(), expired: OnceLock::new() }
    }

    /// Ends the node's work because `deadline` passed, unless it ended for another reason before.
    pub(crate) fn expire(&self, deadline: Duration) {
        if !self.token.is_cancelled() {
            let _ = self.expired.set(deadline);
        }
        self.token.cancel();
    }

    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns why the work is over, once it is.
    pub(crate) fn cause(&self) -> Option<StopCause> {
        match self.expired.get() {
            Some(deadline) => Some(StopCause::NodeDeadline(*deadline)),
            None => self.run.cause(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_stays() {
        let operator = CancellationToken::new();
        let run = RunStop::new(&operator);
        let (early, late) = (NodeStop::new(&run), NodeStop::new(&run));
        assert_eq!((run.cause(), early.cause()), (None, None));

        early.expire(Duration::from_secs(300));
        assert_eq!(run.cause(), None, "a node's deadline is its own");
        operator.cancel();
        late.expire(Duration::from_secs(300));
        run.stop(StopCause::Disk);
        assert_eq!(early.cause(), Some(StopCause::NodeDeadline(Duration::from_secs(300))));
        assert_eq!(late.cause(), Some(StopCause::Operator));
        assert_eq!(run.cause(), Some(StopCause::Operator));
        assert!(late.token().is_cancelled());
    }

    #[test]
    fn only_the_operator_cancels() {
        let run = RunStop::new(&CancellationToken::new());
        run.stop(StopCause::RunDeadline(Duration::from_secs(90)));
        run.stop(StopCause::Operator);
        let cause = NodeStop::new(&run).cause().unwrap();
        assert_eq!(cause.text(), "the run's deadline of 1m 30s passed");
        assert_eq!((cause.outcome(), StopCause::Operator.outcome()), (Outcome::Lost, Outcome::Cancelled));
    }
}
