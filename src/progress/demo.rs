//! A made-up run through the real channel, to look at the displays: `plegcollect test-progress`.
//! Reaches no node and writes nothing.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;

use crate::event::{EventKind, EventSender, NodeResult, NodeSummary, StepCounts};
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::plan::{Phase, StepId};

/// Nodes at a time, as in a real run.
const PARALLEL: usize = 64;

const STEPS: [&str; 12] = [
    "host/ps",
    "host/meminfo",
    "net/sockets",
    "kernel/dmesg",
    "docker/goroutine-stacks",
    "docker/info",
    "containerd/tasks",
    "cri/containers",
    "kubelet/metrics",
    "kubelet/goroutines",
    "kubelet/journal",
    "docker/journal",
];

/// Plays a run of `nodes` nodes in about twenty seconds a node, 64 at a time, and returns the
/// summaries it would end with. About one node in ten has trouble of some kind.
pub async fn demo(nodes: usize, sender: EventSender) -> Vec<NodeSummary> {
    let digits = nodes.to_string().len().max(3);
    let names: Vec<NodeName> = (1..=nodes).filter_map(|i| format!("worker-{i:0digits$}").parse().ok()).collect();
    let started = tokio::time::Instant::now();
    sender
        .send(EventKind::RunStarted {
            run_id: "demo".to_owned(),
            nodes: names.clone(),
            out: PathBuf::from("plegcollect-demo"),
            parallel: PARALLEL,
        })
        .await;
    let work = names.into_iter().enumerate().map(|(i, name)| {
        let sender = sender.clone();
        async move {
            let summary = node(i, name, &sender).await;
            sender.send(EventKind::NodeFinished(summary.clone())).await;
            summary
        }
    });
    let mut summaries: Vec<NodeSummary> = futures::stream::iter(work).buffer_unordered(PARALLEL).collect().await;
    summaries.sort_by(|a, b| a.node.cmp(&b.node));
    let exit_code = if summaries.iter().any(|s| s.result == NodeResult::Unreached) {
        11
    } else if summaries.iter().any(|s| s.result == NodeResult::Partial) {
        10
    } else {
        0
    };
    sender.send(EventKind::RunFinished { exit_code, took: started.elapsed() }).await;
    summaries
}

/// Returns a number below `below` that is always the same for the same `i` and `salt`.
fn dice(i: usize, salt: usize, below: u64) -> u64 {
    let mut x = u64::try_from(i * 131 + salt * 31 + 7).unwrap_or(7);
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x % below.max(1)
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn node(i: usize, node: NodeName, sender: &EventSender) -> NodeSummary {
    let began = tokio::time::Instant::now();
    let mut summary = NodeSummary {
        node: node.clone(),
        result: NodeResult::Complete,
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
    };
    sender.send(EventKind::NodeStarted { node: node.clone(), deadline: Duration::from_secs(600) }).await;
    pause(100 + dice(i, 1, 900)).await;
    if i % 29 == 5 {
        let reason = format!("{node}:22: TCP open, no banner for 10 s");
        let retry = EventKind::ConnectRetry {
            node: node.clone(),
            attempt: 1,
            reason: reason.clone(),
            pause: Duration::from_secs(2),
        };
        sender.send(retry).await;
        pause(6000).await;
        summary.result = NodeResult::Unreached;
        summary.failure = Some("no-banner".to_owned());
        summary.reason = Some(reason);
        summary.hint = Some("look at its console: a node out of memory or pids accepts and stays silent".to_owned());
        summary.took_ms = millis(began.elapsed());
        return summary;
    }
    sender.send(EventKind::NodeConnected { node: node.clone(), took: began.elapsed() }).await;
    pause(300).await;
    sender.send(EventKind::NodePlanned { node: node.clone(), steps: STEPS.len() }).await;
    let done = futures::stream::iter(STEPS.iter().enumerate())
        .map(|(n, id)| step(i, n, id, &node, sender))
        .buffer_unordered(3)
        .collect::<Vec<_>>()
        .await;
    for record in done.into_iter().flatten() {
        summary.steps.add(record.outcome);
        summary.evidence_bytes += record.bytes();
        if !record.outcome.is_clean() {
            let detail = record.detail.unwrap_or_default();
            summary.missing.push(format!("{}: {}: {detail}", record.id, record.outcome.word()));
        }
    }
    pause(400).await;
    if !summary.steps.is_clean() {
        summary.result = NodeResult::Partial;
        summary.hint = Some("docker/info hung: its kernel stacks are in docker/info.stacks.txt".to_owned());
    }
    summary.bundle_bytes = summary.evidence_bytes / 9;
    summary.bundle = Some(PathBuf::from(format!("plegcollect-demo/{node}.tar.zst")));
    summary.sha256 = Some("0".repeat(64));
    summary.took_ms = millis(began.elapsed());
    summary
}

async fn step(i: usize, n: usize, id: &str, node: &NodeName, sender: &EventSender) -> Option<StepRecord> {
    let id: StepId = id.parse().ok()?;
    let hangs = n == 5 && i % 13 == 3;
    let timeout = Duration::from_secs(if hangs { 8 } else { 20 });
    sender.send(EventKind::StepStarted { node: node.clone(), step: id.clone(), timeout }).await;
    let began = tokio::time::Instant::now();
    let ticks = if hangs { 80 } else { 2 + dice(i, n, 80) };
    let mut bytes = 0;
    for tick in 0..ticks {
        pause(100).await;
        bytes += if hangs { 0 } else { dice(i + n, usize::try_from(tick).unwrap_or(0), 400_000) };
        sender.progress(node, &id, bytes);
    }
    let (outcome, detail) = match (hangs, n == 7 && i % 4 == 1) {
        (true, _) => (Outcome::TimedOut, Some("docker info did not answer within 8 s".to_owned())),
        (_, true) => (Outcome::Absent, Some("no crictl on this node".to_owned())),
        _ => (Outcome::Complete, None),
    };
    if hangs {
        let text = "dockerd does not answer: \u{1b}[31mcolour from a node\u{1b}[0m".to_owned();
        sender.send(EventKind::Warning { node: Some(node.clone()), text }).await;
    }
    let file = FileRecord {
        path: format!("{id}.txt"),
        bytes,
        omitted_bytes: 0,
        omitted_at_least: false,
        sha256: "0".repeat(64),
        redactions: 0,
    };
    let record = StepRecord {
        id,
        phase: Phase::Before,
        command: String::new(),
        as_root: Some(true),
        started: Some(Timestamp::now()),
        duration_ms: millis(began.elapsed()),
        outcome,
        detail,
        exit_status: None,
        signal: None,
        wire_bytes: bytes / 8,
        files: vec![file],
    };
    sender.send(EventKind::StepFinished { node: node.clone(), record: record.clone() }).await;
    Some(record)
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
