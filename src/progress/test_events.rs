//! Events for the tests of the displays.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, EventKind, NodeResult, NodeSummary, StepCounts};
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::plan::Phase;

/// What a hostile node would like to print: repaint, retitle, forge a line, reorder, overflow.
pub(crate) const HOSTILE: &str =
    "\u{1b}[2J\u{1b}]0;title\u{7}a\r\nb\u{9b}31mc\u{202e}d\u{2066}e\0f 国`|<script>alert(1)</script>|``@team";

pub(crate) fn node(i: usize) -> NodeName {
    format!("worker-{i:03}").parse().unwrap()
}

/// An event so many seconds after 2026-11-20 23:17:00.
pub(crate) fn at(seconds: i64, kind: EventKind) -> Event {
    Event { at: moment(seconds), kind }
}

pub(crate) fn moment(seconds: i64) -> Timestamp {
    "2026-11-20T23:17:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn record(step: &str, outcome: Outcome, detail: Option<&str>) -> StepRecord {
    StepRecord {
        id: step.parse().unwrap(),
        phase: Phase::Before,
        command: "ps".to_owned(),
        as_root: Some(true),
        started: Some(moment(1)),
        duration_ms: 200,
        outcome,
        detail: detail.map(str::to_owned),
        exit_status: None,
        signal: None,
        wire_bytes: 100,
        files: vec![FileRecord {
            path: "host/ps.txt".to_owned(),
            bytes: 12_345,
            omitted_bytes: 0,
            omitted_at_least: false,
            sha256: "00".to_owned(),
            redactions: 0,
        }],
    }
}

pub(crate) fn summary(i: usize, result: NodeResult) -> NodeSummary {
    let bundle = matches!(result, NodeResult::Complete | NodeResult::Partial);
    let mut steps = StepCounts::default();
    if bundle {
        steps.complete = 74;
        steps.absent = 4;
    }
    if result == NodeResult::Partial {
        steps.timed_out = 1;
        steps.failed = 2;
    }
    NodeSummary {
        node: node(i),
        result,
        steps,
        bundle_bytes: if bundle { 12_345_678 } else { 0 },
        evidence_bytes: if bundle { 98_765_432 } else { 0 },
        took_ms: 41_500,
        bundle: bundle.then(|| PathBuf::from(format!("out/{}.tar.zst", node(i)))),
        sha256: bundle.then(|| "00".repeat(32)),
        failure: None,
        reason: None,
        hint: None,
        missing: Vec::new(),
        changes: Vec::new(),
        restarts: if bundle {
            let same = ["dockerd", "containerd", "kubelet"].map(str::to_owned).to_vec();
            crate::event::Restarts::None { same }
        } else {
            crate::event::Restarts::Unknown
        },
    }
}

/// The first moments of a run: all of `nodes` known, `in_flight` of them running three steps.
pub(crate) fn opening(nodes: usize, in_flight: usize) -> Vec<Event> {
    let mut events = vec![at(
        0,
        EventKind::RunStarted {
            run_id: "r1".to_owned(),
            nodes: (1..=nodes).map(node).collect(),
            out: PathBuf::from("out"),
            parallel: 64,
        },
    )];
    for i in 1..=in_flight {
        let node = node(i);
        events.push(at(1, EventKind::NodeStarted { node: node.clone(), deadline: Duration::from_secs(600) }));
        events.push(at(2, EventKind::NodeConnected { node: node.clone(), took: Duration::from_millis(340) }));
        events.push(at(3, EventKind::NodePlanned { node: node.clone(), steps: 78 }));
        for step in ["docker/goroutine-stacks", "kubelet/metrics", "host/ps"] {
            let step = step.parse().unwrap();
            events.push(at(4, EventKind::StepStarted { node: node.clone(), step, timeout: Duration::from_secs(20) }));
        }
        let step = "docker/goroutine-stacks".parse().unwrap();
        events.push(at(5, EventKind::Progress { node, step, bytes: 1_234_567 }));
    }
    events
}
