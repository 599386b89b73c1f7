//! Events: what happened, for displays and logs. The only interface between the engine and
//! `progress/`. Events carry ids and numbers; wording lives in the displays.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::evidence::{ChangeState, Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::plan::{ChangeId, StepId};

/// One event with the moment it was raised (operator's clock, UTC).
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// Returns `kind` stamped with the present moment.
    #[must_use]
    pub fn now(kind: EventKind) -> Self {
        Self { at: Timestamp::now(), kind }
    }
}

/// What happened. `Progress` may be dropped when a display is slow; nothing else may.
///
/// # As JSON
///
/// `--events json` and `run.log` hold one object per line: `at` (RFC 3339, UTC), `event` (the
/// variant's name in kebab case, for example `step-finished`) and the variant's fields in kebab
/// case; those of [`NodeSummary`] stand directly in `node-finished`. Durations are seconds with
/// three decimals, except fields ending in `-ms`; sizes are bytes; paths that are not UTF-8 have
/// U+FFFD in place of the odd bytes. What is not printable ASCII is escaped as `\uXXXX`. New
/// fields and events may come: readers ignore what they do not know. `events-lost` (`count`)
/// stands where a reader was too slow and events had to be left out.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum EventKind {
    /// The run begins.
    RunStarted {
        /// Run id, also in every manifest.
        run_id: String,
        /// All nodes of the run, in order.
        nodes: Vec<NodeName>,
        /// Where bundles go.
        out: PathBuf,
        /// Nodes worked on at a time.
        parallel: usize,
    },
    /// A node's turn has come; we are connecting.
    NodeStarted {
        /// Which.
        node: NodeName,
        /// Time the node may take.
        #[serde(serialize_with = "seconds")]
        deadline: Duration,
    },
    /// A connection attempt failed and is to be repeated.
    ConnectRetry {
        /// Which.
        node: NodeName,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Why, one sentence.
        reason: String,
        /// Pause before the next.
        #[serde(serialize_with = "seconds")]
        pause: Duration,
    },
    /// Connected and authenticated.
    NodeConnected {
        /// Which.
        node: NodeName,
        /// Time from the first dial.
        #[serde(serialize_with = "seconds")]
        took: Duration,
    },
    /// The node's plan is known.
    NodePlanned {
        /// Which.
        node: NodeName,
        /// Steps in it, those included that are only recorded (absent, skipped).
        steps: usize,
    },
    /// A step is about to run.
    StepStarted {
        /// Which node.
        node: NodeName,
        /// Which step.
        step: StepId,
        /// Its bound on the node.
        #[serde(serialize_with = "seconds")]
        timeout: Duration,
    },
    /// Bytes of a step so far.
    Progress {
        /// Which node.
        node: NodeName,
        /// Which step.
        step: StepId,
        /// Bytes received, decompressed.
        bytes: u64,
    },
    /// A step is over and its evidence is on our disk.
    StepFinished {
        /// Which node.
        node: NodeName,
        /// What the manifest will say.
        record: StepRecord,
    },
    /// A change to a node begins to take effect, or has come to its end.
    Change {
        /// Which node.
        node: NodeName,
        /// Which change.
        change: ChangeId,
        /// Its end; `None` while it is in force.
        state: Option<ChangeState>,
        /// One sentence: what was done, or why not.
        text: String,
    },
    /// A node is over; its bundle is final.
    NodeFinished(NodeSummary),
    /// Something an operator should read, about a node or the run.
    Warning {
        /// Which node, if one.
        node: Option<NodeName>,
        /// One sentence.
        text: String,
    },
    /// The operator asked to stop; `again` is the second time.
    Interrupted {
        /// Second request: stop now.
        again: bool,
    },
    /// The run is over; the last event, displays take none after it.
    RunFinished {
        /// Its exit code.
        exit_code: u8,
        /// Whole time.
        #[serde(serialize_with = "seconds")]
        took: Duration,
    },
}

/// Events under way between engine and display; room for the bursts of 64 nodes.
const CHANNEL: usize = 1024;

/// The engine's end of the event channel.
#[derive(Debug, Clone)]
pub struct EventSender(mpsc::Sender<Event>);

/// Returns both ends of a bounded event channel. The receiver belongs to a display, which goes on
/// draining it whatever happens to its output.
#[must_use]
pub fn channel() -> (EventSender, mpsc::Receiver<Event>) {
    let (tx, rx) = mpsc::channel(CHANNEL);
    (EventSender(tx), rx)
}

impl EventSender {
    /// Sends an event stamped with the present moment; waits while the channel is full. Without
    /// a display at the other end it is dropped: a run does not fail for its display.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is done loses the event, nothing else.
    pub async fn send(&self, kind: EventKind) {
        let _ = self.0.send(Event::now(kind)).await;
    }

    /// Sends a warning about a node, or about the run.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn warn(&self, node: Option<&NodeName>, text: String) {
        self.send(EventKind::Warning { node: node.cloned(), text }).await;
    }

    /// Sends an event from where nothing can wait; dropped when the channel is full.
    pub fn offer(&self, kind: EventKind) {
        let _ = self.0.try_send(Event::now(kind));
    }

    /// Tells how many bytes of a step have come so far. Never waits: dropped when the channel is
    /// half full, so that the other half is left to events that matter.
    pub fn progress(&self, node: &NodeName, step: &StepId, bytes: u64) {
        if self.0.capacity() > CHANNEL / 2 {
            let kind = EventKind::Progress { node: node.clone(), step: step.clone(), bytes };
            let _ = self.0.try_send(Event::now(kind));
        }
    }
}

/// How a node's part of the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeResult {
    /// Every step clean.
    Complete,
    /// Reached; some evidence is missing.
    Partial,
    /// Never authenticated, or nothing could be run on it.
    Unreached,
    /// Its turn had not come when the run was stopped.
    NotStarted,
}

/// Steps by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepCounts {
    /// See [`Outcome::Complete`].
    pub complete: usize,
    /// See [`Outcome::Absent`].
    pub absent: usize,
    /// See [`Outcome::Skipped`].
    pub skipped: usize,
    /// See [`Outcome::Truncated`].
    pub truncated: usize,
    /// See [`Outcome::TimedOut`].
    pub timed_out: usize,
    /// See [`Outcome::Failed`].
    pub failed: usize,
    /// See [`Outcome::Lost`] and [`Outcome::Cancelled`].
    pub lost: usize,
}

impl StepCounts {
    /// Counts one more outcome.
    pub const fn add(&mut self, outcome: Outcome) {
        let slot = match outcome {
            Outcome::Complete => &mut self.complete,
            Outcome::Absent => &mut self.absent,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Truncated => &mut self.truncated,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::Failed => &mut self.failed,
            Outcome::Lost | Outcome::Cancelled => &mut self.lost,
        };
        *slot += 1;
    }

    /// Adds the counts of other steps.
    pub const fn merge(&mut self, other: &Self) {
        self.complete += other.complete;
        self.absent += other.absent;
        self.skipped += other.skipped;
        self.truncated += other.truncated;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
        self.lost += other.lost;
    }

    /// Returns whether nothing is missing.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.truncated == 0 && self.timed_out == 0 && self.failed == 0 && self.lost == 0
    }
}

/// The line of a node in the summary and in `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeSummary {
    /// Which.
    pub node: NodeName,
    /// How it ended.
    pub result: NodeResult,
    /// Steps by outcome.
    pub steps: StepCounts,
    /// Size of the bundle file.
    pub bundle_bytes: u64,
    /// Bytes of evidence inside it.
    pub evidence_bytes: u64,
    /// Whole time for the node, milliseconds.
    pub took_ms: u64,
    /// The bundle, if one was written.
    pub bundle: Option<PathBuf>,
    /// Hex sha256 of the bundle file; `None` if it is not sealed.
    pub sha256: Option<String>,
    /// Class of the failure, one word such as `no-banner`, if there was one.
    pub failure: Option<String>,
    /// The failure in one sentence.
    pub reason: Option<String>,
    /// What to try next, one sentence.
    pub hint: Option<String>,
    /// Steps that are not clean, `id: outcome: detail`, for the summary.
    pub missing: Vec<String>,
    /// Changes that were made, or were to be made.
    #[serde(default)]
    pub changes: Vec<ChangeSummary>,
    /// Whether the daemons are the same processes as before.
    #[serde(default)]
    pub restarts: Restarts,
}

/// The evidence of the cluster in the summary and in `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterSummary {
    /// Every step clean, and the bundle sealed.
    pub complete: bool,
    /// One line: `9 of 10 steps; API server https://…: not reached: …`.
    pub text: String,
    /// Steps by outcome.
    #[serde(default)]
    pub steps: StepCounts,
    /// Size of the bundle file.
    #[serde(default)]
    pub bundle_bytes: u64,
    /// Bytes of evidence inside it.
    #[serde(default)]
    pub evidence_bytes: u64,
    /// Whole time, milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// The bundle, if one was written.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// Hex sha256 of the bundle file; `None` if it is not sealed.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Steps that are not clean, `id: outcome: detail`.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// A change in the summary and in `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeSummary {
    /// Which.
    pub change: ChangeId,
    /// What became of it.
    pub state: ChangeState,
    /// One sentence: what was done, why not, or what is still different.
    pub text: String,
    /// The exact command that mends the node, where it may still be changed.
    #[serde(default)]
    pub mend: Option<String>,
}

/// Whether daemons were restarted while we were on the node (pid, start time and invocation id).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Restarts {
    /// The node could not be asked again.
    #[default]
    Unknown,
    /// The same processes, by name.
    None {
        /// dockerd, containerd, kubelet, …: those that ran.
        same: Vec<String>,
    },
    /// Other processes than before.
    Some {
        /// Their names.
        restarted: Vec<String>,
    },
}

/// Serialises a duration as seconds.
fn seconds<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64((d.as_secs_f64() * 1000.0).round() / 1000.0)
}
