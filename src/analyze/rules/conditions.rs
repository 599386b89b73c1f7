//! What the API server holds of the node: not Ready, since when and why; flapping; other conditions; a lease that is not
//! renewed; a kubelet that is well by its own account and silent all the same. Silent where the cluster was not asked.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::note::{at, between, some};
use super::{Rule, note};
use crate::analyze::cluster::{ClusterView, Condition, LEASES, NODE_EVENTS, NODES, NodeStatus};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::view::NodeView;
use crate::wording;

pub(super) const RULE: Rule = Rule {
    id: "conditions",
    about: "the node by the API server: not Ready, flapping, under pressure, its lease not renewed",
    reads: &["kubelet/healthz-10248.txt"],
    check,
};

/// The kubelet's answer to itself.
const OWN: &str = "kubelet/healthz-10248.txt";
/// How long a lease holds where it does not say so (kubelet's nodeLeaseDurationSeconds).
const LEASE: u32 = 40;
/// Times the node was set not ready by events, from which on it flaps: events are kept for an hour by default.
const FLAPS: u64 = 2;
/// Conditions whose `True` is bad, of the kubelet and of node-problem-detector; others may mean anything.
const BAD: &[(&str, Option<Layer>)] = &[
    ("MemoryPressure", Some(Layer::Memory)),
    ("DiskPressure", Some(Layer::Disk)),
    ("PIDPressure", Some(Layer::Kernel)),
    ("NetworkUnavailable", Some(Layer::Cni)),
    ("KernelDeadlock", Some(Layer::Kernel)),
    ("ReadonlyFilesystem", Some(Layer::Disk)),
    ("CorruptDockerOverlay2", Some(Layer::Dockerd)),
    ("FrequentKubeletRestart", Some(Layer::Kubelet)),
    ("FrequentDockerRestart", Some(Layer::Dockerd)),
    ("FrequentContainerdRestart", Some(Layer::Containerd)),
    ("FrequentUnregisterNetDevice", Some(Layer::Kernel)),
    ("KubeletUnhealthy", Some(Layer::Kubelet)),
    ("ContainerRuntimeUnhealthy", Some(Layer::Runtime)),
    ("KubeletProblem", Some(Layer::Kubelet)),
    ("ContainerRuntimeProblem", Some(Layer::Runtime)),
    ("FilesystemCorruptionProblem", Some(Layer::Disk)),
    ("XfsShutdown", Some(Layer::Disk)),
];

fn check(view: &NodeView) -> Vec<Finding> {
    let Some(cluster) = &view.cluster else { return Vec::new() };
    let Some((node, _)) = cluster.node_of(view) else {
        let file = cluster.file(NODES);
        let why = match cluster.gap(NODES) {
            Some(why) => format!("{file} is missing or not whole: {why}"),
            None if cluster.nodes.is_empty() => format!("{file} holds no node"),
            None => format!("{file} has no node of this name, address or host name"),
        };
        let sentence = format!("It cannot be said what the API server holds of this node: {why}.");
        return vec![Finding::new(&view.node, "conditions/missing", Severity::Info, &sentence)];
    };
    let mut found = Vec::new();
    found.extend(ready(view, cluster, node));
    found.extend(flaps(view, cluster, node));
    found.extend(pressure(view, cluster, node));
    found.extend(lease(view, cluster, node));
    found
}

/// Cites the node's line; a list in one piece has no lines.
fn cite(finding: Finding, cluster: &ClusterView, node: &NodeStatus) -> Finding {
    finding.cites(cluster.file(NODES), node.line, node.line)
}

fn ready(view: &NodeView, cluster: &ClusterView, node: &NodeStatus) -> Option<Finding> {
    let Some(ready) = node.ready() else {
        let sentence = "The API server holds no Ready condition of this node: its kubelet never reported.";
        let finding = Finding::new(&view.node, "conditions/not-ready", Severity::Warning, sentence);
        return Some(cite(
            finding.blames(Layer::Kubelet).alike("the kubelet never reported to the API server"),
            cluster,
            node,
        ));
    };
    if ready.status == "True" {
        let sentence = format!("The API server has the node Ready since {}.", at(ready.since));
        return Some(cite(Finding::new(&view.node, "conditions/ready", Severity::Info, &sentence), cluster, node));
    }
    if ready.status == "Unknown" {
        return Some(silent(view, cluster, node, ready));
    }
    let (layer, alike) = blamed(ready);
    let sentence = format!("The API server has the node not Ready since {}: {}.", at(ready.since), told(ready));
    let mut finding = Finding::new(&view.node, "conditions/not-ready", Severity::Warning, &sentence).alike(alike).then(
        "The kubelet itself says so, so it reaches the API server: its log and its relist tell what it waits for.",
    );
    finding.layer = layer;
    Some(cite(finding, cluster, node))
}

/// Blames a layer by the kubelet's own words (its `runtimeState` and `nodestatus` setters).
fn blamed(ready: &Condition) -> (Option<Layer>, &'static str) {
    let says = |words: &[&str]| words.iter().any(|word| ready.message.contains(word));
    if says(&["PLEG is not healthy"]) {
        (Some(Layer::Runtime), "not Ready by the API server: PLEG is not healthy")
    } else if says(&["container runtime is down", "container runtime status check may not have completed"]) {
        (Some(Layer::Runtime), "not Ready by the API server: the container runtime is down")
    } else if says(&[
        "NetworkPluginNotReady",
        "network plugin is not ready",
        "cni plugin not initialized",
        "NetworkReady=false",
    ]) {
        (Some(Layer::Cni), "not Ready by the API server: the network plugin is not ready")
    } else {
        (None, "not Ready by the API server")
    }
}

/// The kubelet stopped posting its status; the node controller says so.
fn silent(view: &NodeView, cluster: &ClusterView, node: &NodeStatus, ready: &Condition) -> Finding {
    let mut sentence = format!("The kubelet stopped reporting to the API server: Unknown since {}", at(ready.since));
    if ready.heartbeat.is_some() {
        sentence.push_str(&format!(", last report at {}", at(ready.heartbeat)));
    }
    let well = well(view);
    let renewed = renewed(view, cluster, node).is_some_and(|(_, _, _, stale)| !stale);
    let next = if renewed {
        sentence
            .push_str("; it still renews its lease, so it reaches the API server and its status does not get through");
        "The kubelet's log for failed node status updates (\"Error updating node status\"), and whether the API server turns \
         requests away."
    } else if well {
        sentence.push_str("; it answers its own health check all the same");
        "The way from the kubelet to the API server: its log for connections refused or timed out, expired client \
         certificates (x509), requests turned away (429), and the load balancer in front of the API server."
    } else {
        "Whether the kubelet runs (kubelet/status.txt), whether the machine has memory and processor left for it, and its way \
         to the API server."
    };
    sentence.push('.');
    let id = if well { "conditions/kubelet-well-but-silent" } else { "conditions/silent" };
    let mut finding = Finding::new(&view.node, id, Severity::Warning, &sentence)
        .blames(Layer::Kubelet)
        .alike("the kubelet stopped reporting to the API server")
        .then(next);
    finding = cite(finding, cluster, node);
    if well { finding.cites(OWN, 0, 0) } else { finding }
}

/// Tells whether the kubelet answered `ok` to the health check of its own.
fn well(view: &NodeView) -> bool {
    note::text(view, OWN).is_some_and(|text| text.trim() == "ok")
}

fn told(condition: &Condition) -> String {
    let Condition { reason, message, .. } = condition;
    let message = wording::cut(message.trim_end_matches('.'), 240);
    if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") }
}

fn flaps(view: &NodeView, cluster: &ClusterView, node: &NodeStatus) -> Option<Finding> {
    let events = cluster.events_of(node);
    let lost: Vec<_> = events.iter().filter(|event| event.reason == "NodeNotReady").collect();
    let back: u64 = events.iter().filter(|event| event.reason == "NodeReady").map(|event| event.count).sum();
    let times: u64 = lost.iter().map(|event| event.count).sum();
    if times < FLAPS {
        return None;
    }
    let first = lost.iter().filter_map(|event| event.first.or(event.last)).min();
    let last = lost.iter().filter_map(|event| event.last.or(event.first)).max();
    let sentence = format!(
        "Ready flaps: events of the cluster have the node NotReady {times} times from {} to {}, and Ready again {back} times.",
        at(first),
        at(last)
    );
    let finding = Finding::new(&view.node, "conditions/flaps", Severity::Warning, &sentence)
        .alike("Ready flaps by the events of the cluster")
        .then("What in the kubelet's log repeats at these times; on systemd before 242 the D-Bus cookie of PID 1.");
    Some(lost.iter().fold(finding, |finding, event| finding.cites(cluster.file(NODE_EVENTS), event.line, event.line)))
}

fn pressure(view: &NodeView, cluster: &ClusterView, node: &NodeStatus) -> Option<Finding> {
    let mut bad = Vec::new();
    let mut layer = None;
    for (kind, blamed) in BAD {
        if let Some(condition) = node.condition(kind).filter(|condition| condition.status == "True") {
            layer = layer.or(*blamed);
            bad.push(format!("{kind} since {} ({})", at(condition.since), told(condition)));
        }
    }
    if bad.is_empty() {
        return None;
    }
    let kinds: Vec<&str> = bad.iter().filter_map(|text| text.split(' ').next()).collect();
    let sentence = format!("The API server has conditions of trouble: {}.", some(&bad, 4));
    let mut finding = Finding::new(&view.node, "conditions/trouble", Severity::Warning, &sentence)
        .alike(&format!("the API server has {}", kinds.join(", ")));
    finding.layer = layer;
    Some(cite(finding, cluster, node))
}

/// Returns when the lease was renewed, when that was looked at, for how long it holds, and whether it ran out before.
fn renewed(view: &NodeView, cluster: &ClusterView, node: &NodeStatus) -> Option<(Timestamp, Timestamp, u32, bool)> {
    let lease = cluster.leases.get(&node.name)?;
    let renewed = lease.renewed?;
    let holds = lease.seconds.unwrap_or(LEASE);
    // Both by the node's clock: the kubelet writes its own time into the lease.
    let offset = view.manifest.as_ref().and_then(|m| m.clock_offset_ms).unwrap_or_default();
    let looked = cluster.asked?.checked_add(SignedDuration::from_millis(offset)).ok()?;
    let stale = looked.duration_since(renewed) > SignedDuration::from_secs(i64::from(holds));
    Some((renewed, looked, holds, stale))
}

fn lease(view: &NodeView, cluster: &ClusterView, node: &NodeStatus) -> Option<Finding> {
    let (renewed, looked, holds, stale) = renewed(view, cluster, node)?;
    if !stale {
        return None;
    }
    let holds = wording::whole_seconds(Duration::from_secs(u64::from(holds)));
    let mut sentence = format!(
        "The kubelet has not renewed its lease since {}, {} before the API server was asked; it holds for {holds}",
        at(Some(renewed)),
        between(renewed, looked)
    );
    if node.ready().is_some_and(|ready| ready.status == "True") {
        sentence.push_str("; the node is still called Ready, and will not be for long");
    }
    sentence.push('.');
    let line = cluster.leases.get(&node.name).map_or(0, |lease| lease.line);
    Some(
        Finding::new(&view.node, "conditions/lease", Severity::Warning, &sentence)
            .blames(Layer::Kubelet)
            .alike("the kubelet does not renew its lease")
            .then("Whether the kubelet runs, and its way to the API server; a runtime that hangs does not stop leases.")
            .cites(cluster.file(LEASES), line, line),
    )
}
