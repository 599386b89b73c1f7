//! Moments by the manifest: what we changed and put back, and the samples we took. Its times are the operator's and are
//! told by the node's clock here.

use jiff::{SignedDuration, Timestamp};

use super::{Found, MomentKind};
use crate::analyze::finding::Severity;
use crate::analyze::view::NodeView;
use crate::bundle::layout;
use crate::evidence::{ChangeState, Outcome};
use crate::plan::ChangeId;
use crate::wording;

/// A line of a log belongs to our change if it is no farther from it; the clocks' offset is known to half of the round trip.
const NEAR: SignedDuration = SignedDuration::from_secs(10);
/// Samples that begin within this are told as one.
const TOGETHER: SignedDuration = SignedDuration::from_secs(5);
/// A sample that took less has one time.
const LONG_MS: u64 = 1000;
/// Steps that are samples of something that moves, beside those in pairs.
const SAMPLES: [&str; 3] = ["containerd/shims", "kubelet/heap", "kubelet/profile"];
/// Steps that come in pairs.
const PAIRS: [&str; 6] = [
    "docker/stacks",
    "docker/pprof-goroutine",
    "containerd/stacks",
    "kubelet/goroutine",
    "kubelet/goroutine-groups",
    "kubelet/metrics",
];

/// Returns when we may have caused lines of dockerd and containerd, by the node's clock.
pub(super) fn windows(view: &NodeView) -> Vec<(Timestamp, Timestamp)> {
    let near = |time: Timestamp, by: SignedDuration| time.checked_add(by).unwrap_or(time);
    let changes = view.manifest.iter().flat_map(|m| &m.changes).filter_map(|change| {
        let applied = view.by_node(change.applied?)?;
        let end = change.reverted.and_then(|time| view.by_node(time)).unwrap_or(applied);
        Some((near(applied, -NEAR), near(end, NEAR)))
    });
    let steps = view.steps.iter().filter(|step| step.id.as_str().contains("/stacks")).filter_map(|step| {
        let from = view.by_node(step.started?)?;
        let took = SignedDuration::from_millis(i64::try_from(step.duration_ms).unwrap_or_default());
        Some((near(from, -NEAR), near(near(from, took), NEAR)))
    });
    changes.chain(steps).collect()
}

pub(super) fn read(found: &mut Found<'_>) {
    changes(found);
    samples(found);
}

fn changes(found: &mut Found<'_>) {
    let view = found.view;
    let cited = Some((layout::MANIFEST, None));
    for change in view.manifest.iter().flat_map(|m| &m.changes) {
        let Some(applied) = change.applied.and_then(|time| view.by_node(time)) else { continue };
        let subject = if change.subject.is_empty() { "a daemon" } else { change.subject.as_str() };
        let (made, undone) = match change.change {
            ChangeId::DockerdDebug => {
                ("we switched dockerd's debug log on".to_owned(), "we switched dockerd's debug log off".to_owned())
            }
            ChangeId::StackDump => {
                (format!("we asked {subject} for its stacks"), format!("we removed what {subject} wrote of its stacks"))
            }
            ChangeId::KubeletVerbosity => {
                ("we raised the kubelet's verbosity".to_owned(), "we put the kubelet's verbosity back".to_owned())
            }
        };
        found.push(MomentKind::OurChange, Severity::Info, (applied, None, 1), cited, &made);
        let (severity, text) = match change.state {
            ChangeState::StillChanged => {
                (Severity::Critical, format!("{made} and did not see it undone: {}", change.text))
            }
            ChangeState::EndedByRestart => (Severity::Warning, format!("{undone}: a restart by somebody else did it")),
            _ => (Severity::Info, undone),
        };
        // What may still be changed has no such time; it is told where it was made.
        let ended = change.reverted.and_then(|time| view.by_node(time));
        let ended = ended.or_else(|| (change.state == ChangeState::StillChanged).then_some(applied));
        if let Some(ended) = ended {
            found.push(MomentKind::OurChange, severity, (ended, None, 1), cited, &text);
        }
    }
}

fn samples(found: &mut Found<'_>) {
    let view = found.view;
    let mut whole: Vec<(Timestamp, Timestamp, &str)> = Vec::new();
    for step in &view.steps {
        let id = step.id.as_str();
        let pair = id.strip_suffix("-1").or_else(|| id.strip_suffix("-2")).is_some_and(|stem| PAIRS.contains(&stem));
        let Some(started) = step.started.filter(|_| pair || SAMPLES.contains(&id)) else { continue };
        if step.outcome == Outcome::Absent || step.outcome == Outcome::Skipped {
            continue;
        }
        let Some(time) = view.by_node(started) else { continue };
        let took = i64::try_from(step.duration_ms).ok().map(SignedDuration::from_millis);
        let end = took.and_then(|took| time.checked_add(took).ok()).unwrap_or(time);
        if step.outcome == Outcome::Complete {
            whole.push((time, end, id));
            continue;
        }
        let detail = step.detail.as_deref().map(|d| format!(", {}", wording::safe(d))).unwrap_or_default();
        let text = format!("sample {id} not whole: {}{detail}", step.outcome.word());
        let file = step.files.first().map_or(layout::MANIFEST, |file| file.path.as_str());
        let until = Some(end).filter(|_| step.duration_ms >= LONG_MS);
        found.push(MomentKind::OurSample, Severity::Warning, (time, until, 1), Some((file, None)), &text);
    }
    whole.sort_unstable();
    let mut rest = whole.as_slice();
    while let Some((time, ..)) = rest.first() {
        let near = |(at, ..): &(Timestamp, Timestamp, &str)| at.duration_since(*time) <= TOGETHER;
        let (group, later) = rest.split_at(rest.partition_point(near));
        let end = group.iter().map(|(_, end, _)| *end).max().unwrap_or(*time);
        let until = Some(end).filter(|end| end.duration_since(*time).as_millis() >= i128::from(LONG_MS));
        let names: Vec<&str> = group.iter().map(|(.., id)| *id).collect();
        let text = format!("samples taken: {}", names.join(", "));
        found.push(MomentKind::OurSample, Severity::Info, (*time, until, 1), Some((layout::MANIFEST, None)), &text);
        rest = later;
    }
}
