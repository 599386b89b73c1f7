//! Steps: what is run on a node, as plain data that can be listed, printed, hashed and stored.
//! The catalog's form (with its alternatives and conditions) is in `catalog.rs`; here is what a
//! plan holds once a node's facts are known. Read by `collect/`, printed by `plegcollect plan`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::changes::ChangeId;
use super::kubelet::KubeletGet;

/// A step's name everywhere: flags, events, manifest, bundle path. `area/name`, for example
/// `host/ps`; each part is `[a-z0-9]` with `-` and `.` inside, so it is a safe path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(String);

/// Why a text is no step id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid step id {0:?}: write it as area/name in lower-case letters, digits, '-' and '.', for example host/ps")]
pub struct StepIdError(String);

impl StepId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the first slash: `host`, `docker`, …
    #[must_use]
    pub fn area(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl FromStr for StepId {
    type Err = StepIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let part_ok = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        };
        if s.len() <= 100 && s.contains('/') && s.split('/').all(part_ok) {
            Ok(Self(s.to_owned()))
        } else {
            Err(StepIdError(s.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for StepId {
    type Error = StepIdError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> Self {
        id.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// When a step runs, relative to the changes made to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before any change.
    Before,
    /// While changes are in force.
    During,
    /// After they have been reverted.
    After,
}

/// What is executed on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A program with its arguments; no shell takes part. The program is an absolute path where
    /// the probe found one.
    Argv(Vec<String>),
    /// A POSIX shell script, run by `/bin/sh -c`, with positional arguments.
    Script {
        /// Its text.
        text: String,
        /// `$1`, `$2`, …
        args: Vec<String>,
    },
}

/// The bounds of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bounds {
    /// Wall time on the node before TERM; the local bound is a little later.
    pub timeout: Duration,
    /// Time from TERM to KILL.
    pub grace: Duration,
    /// Bytes kept (head and tail together), after decompression.
    pub max_bytes: u64,
}

/// How evidence is packed on the node for the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As it is.
    #[default]
    Plain,
    /// By the node's `gzip -1`.
    Gzip,
    /// By the node's `zstd -1`.
    Zstd,
}

/// A command that will run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// What is executed.
    pub what: What,
    /// Wants root's rights; without them it still runs as the login user, and the record says so.
    pub privileged: bool,
    /// Time and size.
    pub bounds: Bounds,
    /// Exit statuses that count as success.
    pub ok_exit: Vec<i32>,
    /// Packing on the node.
    pub encoding: Encoding,
    /// Take state, wchan and kernel stacks of its processes when it hits its bound.
    pub stacks_on_timeout: bool,
}

/// A step of one node's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedStep {
    /// Which.
    pub id: StepId,
    /// Path in the bundle of its standard output, for example `host/ps.txt`.
    pub file: String,
    /// When.
    pub phase: Phase,
    /// What, or why not.
    pub action: Action,
    /// For people: one line saying what it is read for.
    pub about: String,
    /// Costs the node something: heavy steps run one at a time.
    #[serde(default)]
    pub heavy: bool,
}

/// What becomes of a step on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It runs.
    Run(Run),
    /// The node lacks what it needs; the reason, one sentence.
    Absent(String),
    /// Left out by choice; the reason, one sentence.
    Skipped(String),
    /// The kubelet is asked over HTTP; see `kubelet/`.
    Kubelet(KubeletGet),
    /// A change to the node yields it; see `change/`.
    Change(ChangeStep),
}

/// A step whose evidence a change to the node yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeStep {
    /// Which change.
    pub change: ChangeId,
    /// Time and size of fetching it.
    pub bounds: Bounds,
    /// Packing on the node.
    pub encoding: Encoding,
}

/// Everything that will be done on one node, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodePlan {
    /// Steps in the order they are started; phases do not mix.
    pub steps: Vec<PlannedStep>,
}
