//! The end of a node's life: result decided, bundle sealed, summary written. Called by `node.rs`,
//! and by `fleet.rs` for nodes whose turn never came.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::node::NodeEnd;
use super::phase::Tally;
use super::proof;
use super::stop::{NodeStop, StopCause};
use crate::bundle::manifest::{FactsSummary, RestartProof};
use crate::bundle::{BundleError, BundleWriter, Closing, Ending};
use crate::change::ChangeRecord;
use crate::event::{ChangeSummary, NodeResult, NodeSummary, StepCounts};
use crate::inventory::{NodeName, Target};
use crate::kubelet::AccessRecord;
use crate::plan::NodeFacts;
use crate::session::command::ClockSample;
use crate::session::{ConnectionFacts, FailureKind};

/// What to do about a local disk that takes no more.
const DISK_HINT: &str = "free space there, or choose another directory with --out";

/// What to do about missing rights.
const RIGHTS_HINT: &str =
    "log in as root, give sudo a password with --ask-sudo-password, or allow what `plegcollect plan --sudoers` prints";

/// What happened to a node.
#[derive(Default)]
pub(crate) struct Ended {
    /// Set once it was connected.
    pub(crate) connection: Option<ConnectionFacts>,
    /// Its plan was known, and every step of it is recorded.
    pub(crate) planned: bool,
    pub(crate) facts: Option<NodeFacts>,
    pub(crate) clock: Option<ClockSample>,
    /// Why commands had no root's rights, if the node told.
    pub(crate) complaint: Option<String>,
    pub(crate) tally: Tally,
    /// What became of the changes.
    pub(crate) changes: Vec<ChangeRecord>,
    /// How the kubelet was asked, if it was.
    pub(crate) kubelet: Option<AccessRecord>,
    /// The daemons before and after.
    pub(crate) proof: Option<RestartProof>,
}

impl Ended {
    /// `NotStarted` is only for a node that was not even connected when the run was stopped: what
    /// has been asked something is a node that was not reached, or was.
    fn result(&self, stop: &NodeStop) -> NodeResult {
        let tally = &self.tally;
        let run_stopped =
            matches!(stop.cause(), Some(StopCause::Operator | StopCause::RunDeadline(_) | StopCause::Disk));
        let echo =
            tally.failure.as_ref().is_some_and(|f| matches!(f.kind, FailureKind::Cancelled | FailureKind::Deadline));
        // A step without the rights it wants ends well and shows a part, or nothing; a probe that was
        // cut short does not know all there is to ask. Neither may pass for complete.
        let whole = tally.without_rights == 0 && !self.facts.as_ref().is_some_and(|f| f.partial);
        match (self.planned, whole && tally.failure.is_none() && tally.disk.is_none() && tally.counts.is_clean()) {
            (true, true) => NodeResult::Complete,
            (true, false) => NodeResult::Partial,
            (false, _) if self.connection.is_none() && run_stopped && echo => NodeResult::NotStarted,
            (false, _) => NodeResult::Unreached,
        }
    }
}

/// Seals the bundle of a node and returns its summary.
pub(crate) async fn seal(
    target: &Target,
    bundle: BundleWriter,
    ended: Ended,
    stop: &NodeStop,
    clock: Instant,
) -> NodeEnd {
    let result = ended.result(stop);
    let mut hint = None;
    let mut remarks = Vec::new();
    if ended.tally.without_rights > 0 {
        let steps = crate::wording::count(ended.tally.without_rights, "step");
        let why = ended.complaint.as_ref().map(|w| format!(" ({w})")).unwrap_or_default();
        remarks.push(format!("{steps} ran without root's rights and may show little or nothing{why}"));
        hint = Some(RIGHTS_HINT.to_owned());
    }
    if ended.facts.as_ref().is_some_and(|f| f.partial) {
        remarks.push("the probe was cut short; what it had not told by then is not known".to_owned());
    }
    let changes = ended.changes.iter().map(ChangeRecord::summary).collect();
    let restarts = ended.proof.as_ref().map(proof::verdict).unwrap_or_default();
    let Tally { counts, missing, failure, disk, .. } = ended.tally;
    let closing = Closing {
        kubelet: ended.kubelet,
        finished: Timestamp::now(),
        ending: match result {
            NodeResult::Complete => Ending::Complete,
            _ if stop.cause() == Some(StopCause::Operator) => Ending::Interrupted,
            _ => Ending::Partial,
        },
        reason: failure.as_ref().map(|f| f.text.clone()),
        connection: ended.connection.unwrap_or_default(),
        facts: ended.facts.as_ref().map(FactsSummary::from),
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        clock_offset_ms: ended.clock.map(|c| c.offset_ms.round() as i64),
        changes: ended.changes,
        restart_proof: ended.proof,
    };
    let mut summary = NodeSummary {
        steps: counts,
        failure: failure.as_ref().map(|f| f.kind.word().to_owned()),
        reason: failure.as_ref().map(|f| f.text.clone()),
        hint: failure.as_ref().and_then(|f| f.hint.clone()).or(hint),
        missing: remarks.into_iter().chain(missing).collect(),
        changes,
        restarts,
        ..empty(&target.name, result)
    };
    let mut disk = disk;
    let partial = bundle.path().to_owned();
    match bundle.seal(closing).await {
        Ok(sealed) => {
            summary.bundle_bytes = sealed.bytes;
            summary.evidence_bytes = sealed.manifest.evidence_bytes();
            summary.bundle = Some(sealed.path);
            summary.sha256 = Some(sealed.sha256);
        }
        Err(error) => {
            summary.bundle_bytes = file_size(&partial);
            summary.bundle = Some(partial);
            if summary.result == NodeResult::Complete {
                summary.result = NodeResult::Partial;
            }
            disk.get_or_insert(error);
        }
    }
    if let Some(error) = &disk {
        summary.failure.get_or_insert_with(|| "output".to_owned());
        summary.reason.get_or_insert_with(|| error.to_string());
        summary.hint.get_or_insert_with(|| DISK_HINT.to_owned());
    }
    summary.took_ms = millis(clock.elapsed());
    NodeEnd { summary, disk }
}

/// Returns the summary of a node whose bundle could not even be created.
pub(crate) fn without_bundle(target: &Target, error: &BundleError, took: Duration) -> NodeSummary {
    NodeSummary {
        took_ms: millis(took),
        failure: Some("output".to_owned()),
        reason: Some(error.to_string()),
        hint: Some(DISK_HINT.to_owned()),
        ..empty(&target.name, NodeResult::Unreached)
    }
}

/// Returns the summary of a node whose turn never came.
pub(crate) fn not_started(node: &NodeName, reason: &str) -> NodeSummary {
    NodeSummary {
        failure: Some("not-started".to_owned()),
        reason: Some(reason.to_owned()),
        ..empty(node, NodeResult::NotStarted)
    }
}

/// Returns the summary of a node on which the program itself failed.
pub(crate) fn panicked(node: &NodeName, error: &str, open: Vec<ChangeSummary>) -> NodeSummary {
    NodeSummary {
        changes: open,
        failure: Some("internal".to_owned()),
        reason: Some(format!("internal error: {error}")),
        hint: Some("please report this; what had been collected is in the .partial bundle".to_owned()),
        ..empty(node, NodeResult::Partial)
    }
}

fn empty(node: &NodeName, result: NodeResult) -> NodeSummary {
    NodeSummary {
        node: node.clone(),
        result,
        steps: StepCounts::default(),
        bundle_bytes: 0,
        evidence_bytes: 0,
        took_ms: 0,
        bundle: None,
        sha256: None,
        failure: None,
        reason: None,
        hint: None,
        missing: Vec::new(),
        changes: Vec::new(),
        restarts: crate::event::Restarts::default(),
    }
}

fn file_size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
