//! When each step of a collection ran and how it ended, for the waterfall of a report.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::view::NodeView;
use crate::evidence::Outcome;
use crate::printable::printable;

/// Characters of a reason.
const DETAIL: usize = 400;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepSpan {
    /// Its id.
    pub id: String,
    /// When it began, by the operator's clock; `None` if it did not.
    pub started: Option<Timestamp>,
    /// How long it took, milliseconds.
    pub took_ms: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why not better, printable.
    pub detail: Option<String>,
    /// Bytes of evidence.
    pub bytes: u64,
}

/// Returns the steps in order of their start; those that did not start come last.
#[must_use]
pub fn steps(view: &NodeView) -> Vec<StepSpan> {
    let mut spans: Vec<StepSpan> = view
        .steps
        .iter()
        .map(|step| StepSpan {
            id: step.id.to_string(),
            started: step.started,
            took_ms: step.started.map(|_| step.duration_ms),
            outcome: step.outcome,
            detail: step.detail.as_deref().map(|detail| printable(detail, DETAIL)),
            bytes: step.bytes(),
        })
        .collect();
    spans.sort_by_key(|span| (span.started.is_none(), span.started));
    spans
}
