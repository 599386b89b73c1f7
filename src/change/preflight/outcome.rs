//! What the checks before a change come to, and who else is at it. Plain data.

use std::fmt;

use super::shown;
use crate::change::{Check, Client, DebugTarget, Process};
use crate::evidence::ChangeState;

/// What the checks came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// Whether to go on.
    pub outcome: PreflightOutcome,
    /// All checks that could be made, in order.
    pub checks: Vec<Check>,
    /// What the operator should know besides, one sentence each.
    pub warnings: Vec<String>,
}

/// Whether the window may be opened.
#[derive(Debug, Clone, PartialEq)]
pub enum PreflightOutcome {
    /// It may, with this.
    Ready(Box<DebugTarget>),
    /// It must not, or need not.
    Not {
        /// Refused or skipped.
        state: ChangeState,
        /// The first reason, one sentence.
        text: String,
    },
    /// Somebody else is in a window.
    Busy(Owner),
    /// An earlier window was not closed and nobody is at it any more.
    Stale(Owner),
    /// Files of an earlier window are beside the configuration file.
    Leftover(Box<Leftover>),
}

/// What is left of an earlier window without its lock (after a reboot, say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The configuration file's path.
    pub config: String,
    /// `CONFIG.plegcollect-orig` is there.
    pub orig: bool,
    /// `CONFIG.plegcollect-new` is there.
    pub new: bool,
    /// dockerd, as far as it was identified.
    pub process: Option<Process>,
    /// The socket of its API, if it listens there alone.
    pub socket: Option<String>,
    /// How the node asks the API.
    pub client: Option<Client>,
}

/// Who holds the node's lock, as that file `owner` says; all of it is the node's word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Run id.
    pub run: Option<String>,
    /// Who.
    pub who: Option<String>,
    /// From which machine.
    pub host: Option<String>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
}

impl Owner {
    /// Reads the lines `key=value` of the file.
    #[must_use]
    pub fn read<T: AsRef<str>>(lines: &[T]) -> Self {
        let value = |name: &str| {
            let mut values =
                lines.iter().filter_map(|line| line.as_ref().split_once('=').filter(|(key, _)| *key == name));
            values.next().map(|(_, value)| shown(value)).filter(|value| !value.is_empty())
        };
        Self { run: value("run"), who: value("who"), host: value("host"), since: value("since") }
    }
}

impl Owner {
    /// Returns the refusal where the owner is in a window, one sentence.
    #[must_use]
    pub fn busy(&self) -> String {
        format!("{self} is in a debug window on this node; look for that evidence there, or run this again afterwards")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.who.as_deref().unwrap_or("somebody unknown"))?;
        let details = [("on ", &self.host), ("run ", &self.run), ("since ", &self.since)];
        let details: Vec<String> =
            details.into_iter().filter_map(|(word, value)| Some(format!("{word}{}", value.as_deref()?))).collect();
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join(", ")) }
    }
}

/// State of the node's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lock {
    Free,
    Busy(Owner),
    Stale(Owner),
}
