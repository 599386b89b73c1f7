//! The header and the manifest of a bundle, and the version rule: a minor version adds fields
//! with defaults and opens everywhere, a higher major version is refused.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::change::ChangeRecord;
use crate::event::StepCounts;
use crate::evidence::{FileRecord, StepRecord};
use crate::inventory::NodeName;
use crate::kubelet::AccessRecord;
use crate::plan::NodeFacts;
use crate::plan::facts::{Daemon, Rights};
use crate::session::ConnectionFacts;

/// Version of the bundle format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FormatVersion {
    /// Grows when old readers would misunderstand.
    pub major: u32,
    /// Grows when a field is added.
    pub minor: u32,
}

/// The version this program writes.
pub const FORMAT: FormatVersion = FormatVersion { major: 1, minor: 2 };

impl FormatVersion {
    /// Returns whether this program understands the version.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.major == FORMAT.major
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What every bundle begins with (`plegcollect.json`), and what the manifest repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Header {
    /// Version of the format.
    pub format: FormatVersion,
    /// Id of the run; the name of its directory.
    pub run_id: String,
    /// Which node.
    pub node: NodeName,
    /// When work on the node began, operator's clock.
    pub started: Timestamp,
    /// Version of plegcollect.
    pub tool_version: String,
    /// Arguments of the program; redacted again on the way in.
    #[serde(default)]
    pub command_line: Vec<String>,
    /// `user@host` of the operator.
    #[serde(default)]
    pub operator: String,
}

impl Header {
    /// Returns a header of the present format and program version.
    #[must_use]
    pub fn new(run_id: impl Into<String>, node: NodeName, started: Timestamp) -> Self {
        Self {
            format: FORMAT,
            run_id: run_id.into(),
            node,
            started,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            command_line: Vec::new(),
            operator: String::new(),
        }
    }
}

/// How the work on a node came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every planned step was run.
    Complete,
    /// Something was left undone: the link, the deadline, the disk.
    #[default]
    Partial,
    /// The operator stopped it.
    Interrupted,
}

/// What the manifest says of the node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct FactsSummary {
    /// `uname -n`.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// Kernel boot id.
    pub boot_id: String,
    /// Seconds since boot, at the probe.
    pub uptime_s: Option<u64>,
    /// Rights commands had.
    pub rights: Rights,
}

impl From<&NodeFacts> for FactsSummary {
    fn from(facts: &NodeFacts) -> Self {
        Self {
            hostname: facts.hostname.clone(),
            kernel: facts.kernel.clone(),
            machine: facts.machine.clone(),
            os: facts.os.clone(),
            boot_id: facts.boot_id.clone(),
            uptime_s: facts.uptime_s,
            rights: facts.shell.rights,
        }
    }
}

/// The daemons before and after, by name: the proof that nothing was restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
pub struct RestartProof {
    /// At the first probe.
    pub before: BTreeMap<String, Daemon>,
    /// After the last step; empty if the node could not be asked any more.
    pub after: BTreeMap<String, Daemon>,
}

impl RestartProof {
    /// Returns the names of daemons whose process is another one now: pid, start or invocation
    /// differ. `None` if they could not be looked at again.
    #[must_use]
    pub fn restarted(&self) -> Option<Vec<&str>> {
        if self.after.is_empty() && !self.before.is_empty() {
            return None;
        }
        let same = |a: &Daemon, b: &Daemon| {
            a.pid == b.pid && a.start_ticks == b.start_ticks && a.invocation_id == b.invocation_id
        };
        let changed =
            |(name, before): &(&String, &Daemon)| self.after.get(*name).is_none_or(|after| !same(before, after));
        Some(self.before.iter().filter(changed).map(|(name, _)| name.as_str()).collect())
    }
}

/// What the engine knows when a bundle is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// When.
    pub finished: Timestamp,
    /// How.
    pub ending: Ending,
    /// Why, one sentence, unless complete.
    pub reason: Option<String>,
    /// What is known of the connection.
    pub connection: ConnectionFacts,
    /// The node.
    pub facts: Option<FactsSummary>,
    /// The node's clock minus ours, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Daemons before and after.
    pub restart_proof: Option<RestartProof>,
    /// Changes made to the node, or not made.
    pub changes: Vec<ChangeRecord>,
    /// How the kubelet was asked, if it was.
    pub kubelet: Option<AccessRecord>,
}

impl Closing {
    /// Returns a closing of now with nothing but its ending.
    #[must_use]
    pub fn now(ending: Ending) -> Self {
        Self {
            finished: Timestamp::now(),
            ending,
            reason: None,
            connection: ConnectionFacts::default(),
            facts: None,
            clock_offset_ms: None,
            restart_proof: None,
            changes: Vec::new(),
            kubelet: None,
        }
    }
}

/// The last entry of a sealed bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// As in the header.
    #[serde(flatten)]
    pub header: Header,
    /// When the bundle was sealed.
    pub finished: Timestamp,
    /// How the work ended.
    #[serde(default)]
    pub ending: Ending,
    /// Why, one sentence, unless complete.
    #[serde(default)]
    pub reason: Option<String>,
    /// How the node was reached, with the fingerprint of its host key.
    #[serde(default)]
    pub connection: ConnectionFacts,
    /// The node.
    #[serde(default)]
    pub facts: Option<FactsSummary>,
    /// The node's clock minus ours, milliseconds.
    #[serde(default)]
    pub clock_offset_ms: Option<i64>,
    /// Steps by outcome.
    #[serde(default)]
    pub counts: StepCounts,
    /// Every step, in the order they ended.
    pub steps: Vec<StepRecord>,
    /// Files that belong to no step.
    #[serde(default)]
    pub other_files: Vec<FileRecord>,
    /// Replacements made, by rule.
    #[serde(default)]
    pub redactions: BTreeMap<String, u64>,
    /// Changes made to the node and undone, and those that were not made, with the reason.
    #[serde(default)]
    pub changes: Vec<ChangeRecord>,
    /// How the kubelet was asked, if it was.
    #[serde(default)]
    pub kubelet: Option<AccessRecord>,
    /// Daemons before and after.
    #[serde(default)]
    pub restart_proof: Option<RestartProof>,
}

impl Manifest {
    /// Returns every file the manifest vouches for.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.other_files.iter().chain(self.steps.iter().flat_map(|s| s.files.iter()))
    }

    /// Returns the bytes of evidence.
    #[must_use]
    pub fn evidence_bytes(&self) -> u64 {
        self.steps.iter().map(StepRecord::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_restart() {
        let daemon = |pid| Daemon { pid: Some(pid), start_ticks: Some(7), ..Daemon::default() };
        let of = |pid| BTreeMap::from([("dockerd".to_owned(), daemon(pid))]);
        assert_eq!(RestartProof { before: of(1), after: of(1) }.restarted(), Some(vec![]));
        assert_eq!(RestartProof { before: of(1), after: of(2) }.restarted(), Some(vec!["dockerd"]));
        assert_eq!(RestartProof { before: of(1), after: BTreeMap::new() }.restarted(), None);
    }

    #[test]
    fn opens_minor_and_refuses_major_versions() {
        assert!(FormatVersion { major: 1, minor: 9 }.is_readable());
        assert!(!FormatVersion { major: 2, minor: 0 }.is_readable());
    }
}
