//! What may be changed on a node, as data: the names of changes and the policy of a run. Pure; the
//! changes themselves are in `change/`. Made from flags and inventory by `cli/`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A change that is made to a node and undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeId {
    /// dockerd's log level is debug for a window.
    DockerdDebug,
    /// A daemon writes its goroutine stacks to a file, which is fetched and removed.
    StackDump,
    /// The kubelet logs more for a while (PUT /debug/flags/v).
    KubeletVerbosity,
}

impl ChangeId {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DockerdDebug, Self::StackDump, Self::KubeletVerbosity];

    /// Returns the name used in flags, inventory, manifest and summary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DockerdDebug => "dockerd-debug",
            Self::StackDump => "stack-dump",
            Self::KubeletVerbosity => "kubelet-verbosity",
        }
    }

    /// Returns what the change does to a node and how it is undone, one or more sentences, for people.
    #[must_use]
    pub fn describe(self, policy: &ChangePolicy) -> String {
        let shown = humantime::format_duration;
        match self {
            Self::DockerdDebug => format!(
                "dockerd debug, where the checks before it find it safe: a daemon.json with \"debug\": true stands on disk \
                 for the instant of a reload (SIGHUP), then the original file again; after {} the same with false. A \
                 guard on the node switches it off without us, too: {} after our last sign of life, after {} in any \
                 case. Nothing is restarted. Environments of containers created in that time, secrets included, go to \
                 the node's journal.",
                shown(policy.window),
                shown(policy.lease),
                shown(policy.deadline)
            ),
            Self::StackDump => {
                let shims = if policy.shim_stacks {
                    " SIGUSR1 once to each containerd-shim-runc-v2, while containerd answers: their stacks go to \
                     containerd's log."
                } else {
                    ""
                };
                format!(
                    "stacks: SIGUSR1 twice, {} apart, to dockerd and containerd, if they have {} goroutines at most (0.09 \
                     ms of standstill each); the file each writes is fetched, then removed.{shims}",
                    shown(policy.sample_gap),
                    policy.max_dump_goroutines
                )
            }
            Self::KubeletVerbosity => format!(
                "kubelet verbosity: PUT /debug/flags/v sets it to {} for {}, then back to the level read before, which is the \
                 one the kubelet started with; what somebody else had set since then is lost. Nothing on the node undoes it \
                 without us, for only we hold the credential: should this program die, the kubelet goes on logging more until \
                 it is restarted or `plegcollect revert` with the credential puts it back; a note in /run/plegcollect-kubelet \
                 says to which level. Level 4 was some 50 lines a second on an idle node with three pods (kubelet 1.36.2), and is more on a busy one.",
                policy.kubelet_verbosity.map_or_else(|| "the level asked for".to_owned(), |level| level.to_string()),
                shown(policy.window)
            ),
        }
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// By which change a step of the catalog comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// dockerd's debug window.
    DockerdDebug,
    /// SIGUSR1 to a daemon.
    StackDump,
    /// SIGUSR1 to shims, which is made on request only.
    ShimStackDump,
    /// The kubelet's raised verbosity, which is made on request only.
    KubeletVerbosity,
}

impl MadeBy {
    /// Returns the change.
    #[must_use]
    pub const fn change(self) -> ChangeId {
        match self {
            Self::DockerdDebug => ChangeId::DockerdDebug,
            Self::StackDump | Self::ShimStackDump => ChangeId::StackDump,
            Self::KubeletVerbosity => ChangeId::KubeletVerbosity,
        }
    }
}

/// What a run may change, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePolicy {
    /// `--read-only`: nothing at all.
    pub read_only: bool,
    /// dockerd's debug window, where it can be opened and closed safely.
    pub dockerd_debug: bool,
    /// SIGUSR1 to dockerd and containerd.
    pub stacks: bool,
    /// SIGUSR1 to shims (containerd-shim-runc-v2 only), while containerd answers.
    pub shim_stacks: bool,
    /// The kubelet's verbosity while changes are in force, 1 to 10; `None`: it is left alone.
    pub kubelet_verbosity: Option<u8>,
    /// Length of the debug window, 1 s to 10 m.
    pub window: Duration,
    /// Without a sign of life from us for so long, the node undoes everything by itself; 5 s to 10 m.
    pub lease: Duration,
    /// After so long it does so whatever we say; window and lease together to 1 h.
    pub deadline: Duration,
    /// Go on with docker 20.10 and `runtimes` in daemon.json, although the names `io.containerd.*` of
    /// built-in runtimes will be unknown until dockerd is restarted (moby@v20.10.24:daemon/reload_unix.go:23).
    pub allow_runtime_names: bool,
    /// Daemons with more goroutines than this are not sent SIGUSR1; at 0.09 ms each, the default of
    /// 20,000 stands for a freeze of 1.8 s.
    pub max_dump_goroutines: u64,
    /// Time between the two samples of stacks, 2 s to 2 m: a dump is named by the second, and another one in
    /// it takes its place (seen with docker 20.10.24).
    pub sample_gap: Duration,
}

impl Default for ChangePolicy {
    fn default() -> Self {
        Self {
            read_only: false,
            dockerd_debug: true,
            stacks: true,
            shim_stacks: false,
            kubelet_verbosity: None,
            window: Duration::from_secs(20),
            lease: Duration::from_secs(30),
            deadline: Duration::from_secs(600),
            allow_runtime_names: false,
            max_dump_goroutines: 20_000,
            sample_gap: Duration::from_secs(10),
        }
    }
}

impl ChangePolicy {
    /// Returns why this change is not made, one clause, or `None` if it may be.
    #[must_use]
    pub const fn forbids(&self, change: ChangeId) -> Option<&'static str> {
        match change {
            _ if self.read_only => Some("--read-only: nothing is changed on nodes"),
            ChangeId::DockerdDebug if !self.dockerd_debug => {
                Some("dockerd-debug is off ([changes] or --dockerd-debug)")
            }
            ChangeId::StackDump if !self.stacks => Some("stacks are off ([changes] or --stacks)"),
            ChangeId::KubeletVerbosity if self.kubelet_verbosity.is_none() => {
                Some("only on request: --kubelet-verbosity LEVEL")
            }
            _ => None,
        }
    }

    /// Returns why what a change would yield is left out, one clause, or `None` if it is not.
    #[must_use]
    pub const fn leaves_out(&self, made_by: MadeBy) -> Option<&'static str> {
        match (self.forbids(made_by.change()), made_by) {
            (None, MadeBy::ShimStackDump) if !self.shim_stacks => Some("only on request: --shim-stacks"),
            (forbidden, _) => forbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_change_does_is_told_with_the_numbers_of_the_policy() {
        let policy = ChangePolicy { window: Duration::from_secs(90), shim_stacks: true, ..ChangePolicy::default() };
        let debug = ChangeId::DockerdDebug.describe(&policy);
        for word in ["after 1m 30s", "30s after our last sign of life", "after 10m", "journal", "SIGHUP"] {
            assert!(debug.contains(word), "{word}: {debug}");
        }
        assert!(ChangeId::StackDump.describe(&policy).contains("shim-runc-v2"));
        assert!(!ChangeId::StackDump.describe(&ChangePolicy::default()).contains("shim"));
    }

    #[test]
    fn read_only_forbids_everything() {
        let policy = ChangePolicy { read_only: true, ..ChangePolicy::default() };
        for change in ChangeId::ALL {
            assert!(policy.forbids(change).is_some_and(|why| why.contains("--read-only")));
            let by_default = ChangePolicy::default().forbids(change);
            assert_eq!(by_default.is_some(), change == ChangeId::KubeletVerbosity, "{change}");
        }
        let off = ChangePolicy { dockerd_debug: false, ..ChangePolicy::default() };
        assert!(off.forbids(ChangeId::DockerdDebug).is_some() && off.forbids(ChangeId::StackDump).is_none());
    }
}
