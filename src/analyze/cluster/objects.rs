//! Objects of Kubernetes as they lie in the cluster's evidence, one a line: what rules want of them, the rest skipped. Any
//! bytes do; a line that is no such object, or is too long, is left out.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::raw::{List, RawEvent, RawLease, RawNode};
use crate::analyze::line::skip_line;
use crate::analyze::view::NodeView;
use crate::plan::cluster::POOL_LABELS;
use crate::printable::printable;

/// Bytes of one object; nodes of large clusters have some 30 kB, and more is skipped.
const MAX_OBJECT: u64 = 4 << 20;
/// Bytes of a list in one piece, as `kubectl get -o json` writes it.
const MAX_LIST: u64 = 64 << 20;
/// Nodes kept; Kubernetes is built for 5,000.
const MAX_NODES: usize = 20_000;
/// Events kept of one file.
const MAX_EVENTS: usize = 20_000;
/// Conditions, addresses, taints kept of one node.
const MAX_PARTS: usize = 64;
/// Bytes of text kept of all nodes, or of the events of one file; 5,000 nodes have some 10 MB.
const MAX_TEXT: usize = 64 << 20;
/// Characters of a message.
const MESSAGE: usize = 400;
/// Characters of a name; those of Kubernetes have 253 at most.
const NAME: usize = 256;

/// A node as the API server has it. Texts are printable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// Its name in the cluster.
    pub name: String,
    /// Its addresses: InternalIP, Hostname, ….
    pub addresses: Vec<String>,
    /// Addresses of type Hostname.
    pub hostnames: Vec<String>,
    /// Every condition.
    pub conditions: Vec<Condition>,
    /// Nothing is scheduled there by choice (`kubectl cordon`).
    pub unschedulable: bool,
    /// Taints: `key:effect`.
    pub taints: Vec<String>,
    /// Label and value that name its pool, if one does.
    pub pool: Option<(String, String)>,
    /// `v1.30.4`.
    pub kubelet: String,
    /// `containerd://1.6.20`.
    pub runtime: String,
    /// `6.1.0-30-amd64`.
    pub kernel: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// Boot of its kernel.
    pub boot_id: String,
    /// Line it stands in.
    pub line: u64,
}

impl NodeStatus {
    /// Returns a condition by its type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Returns the Ready condition.
    #[must_use]
    pub fn ready(&self) -> Option<&Condition> {
        self.condition("Ready")
    }

    /// Returns the bytes of its texts that may be many.
    fn text(&self) -> usize {
        let conditions =
            self.conditions.iter().map(|c| c.kind.len() + c.status.len() + c.reason.len() + c.message.len());
        let lists = [&self.addresses, &self.hostnames, &self.taints];
        conditions.sum::<usize>() + lists.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Tells whether the cluster calls it so; `name` in lower case.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let same = |own: &String| own.eq_ignore_ascii_case(name);
        same(&self.name) || self.hostnames.iter().any(same)
    }
}

/// A condition of a node. Times are the node's own, but for a status of `Unknown`, which the node controller sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// `Ready`, `MemoryPressure`.
    pub kind: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// `KubeletNotReady`.
    pub reason: String,
    /// `PLEG is not healthy: …`.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When the kubelet last said so.
    pub heartbeat: Option<Timestamp>,
}

/// A lease of a node, renewed by its kubelet every 10 s where nobody set it otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// When it was last renewed, by the node's clock.
    pub renewed: Option<Timestamp>,
    /// For how long it holds, seconds.
    pub seconds: Option<u32>,
    /// Line it stands in.
    pub line: u64,
}

/// An event. Texts are printable; `namespace` and `about` name what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterEvent {
    /// `Node`, `Pod`.
    pub kind: String,
    /// Namespace of what it is about; empty for nodes.
    pub namespace: String,
    /// Name of what it is about.
    pub about: String,
    /// `NodeNotReady`, `FailedToRetrieveImagePullSecret`.
    pub reason: String,
    /// What it says.
    pub message: String,
    /// Whether its type is `Warning`.
    pub warning: bool,
    /// The machine it comes from, if it names one.
    pub host: String,
    /// How often it happened; 1 at least.
    pub count: u64,
    /// When it happened first.
    pub first: Option<Timestamp>,
    /// When it happened last.
    pub last: Option<Timestamp>,
    /// Line it stands in.
    pub line: u64,
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn name(text: &str) -> String {
    printable(text, NAME)
}

/// Calls `take` for every object of a file with its line, until it has enough; a list in one piece has line 0.
fn objects<T: DeserializeOwned>(view: &NodeView, file: &str, mut take: impl FnMut(T, u64) -> bool) {
    let Some(mut input) = view.open(file) else { return };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match (&mut input).take(MAX_OBJECT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if number == 1 && line.trim_ascii() == b"{" {
            return list(line, input, take);
        }
        if line.len() as u64 == MAX_OBJECT && !line.ends_with(b"\n") {
            let _ = skip_line(&mut input);
            continue;
        }
        if let Ok(object) = serde_json::from_slice(&line)
            && !take(object, number)
        {
            return;
        }
    }
}

/// Reads what `kubectl get -o json` writes: an object in many lines, or a list of such.
fn list<T: DeserializeOwned>(begun: Vec<u8>, input: impl Read, mut take: impl FnMut(T, u64) -> bool) {
    let mut text = begun;
    if input.take(MAX_LIST).read_to_end(&mut text).is_err() {
        return;
    }
    let items = serde_json::from_slice::<List<'_>>(&text).map(|list| list.items).unwrap_or_default();
    if items.is_empty()
        && let Ok(object) = serde_json::from_slice(&text)
    {
        take(object, 0);
    }
    for item in items {
        if let Ok(object) = serde_json::from_str(item.get())
            && !take(object, 0)
        {
            return;
        }
    }
}

pub(super) fn nodes(view: &NodeView, file: &str) -> Vec<NodeStatus> {
    let (mut nodes, mut text): (Vec<NodeStatus>, usize) = (Vec::new(), 0);
    objects(view, file, |raw: RawNode, line| {
        if !raw.metadata.name.is_empty() {
            let node = node(raw, line);
            text += node.text();
            nodes.push(node);
        }
        nodes.len() < MAX_NODES && text < MAX_TEXT
    });
    nodes
}

fn node(raw: RawNode, line: u64) -> NodeStatus {
    let labels = raw.metadata.labels.unwrap_or_default();
    let pool = POOL_LABELS.iter().find_map(|label| {
        labels.get(*label).filter(|value| !value.is_empty()).map(|value| ((*label).to_owned(), name(value)))
    });
    let addresses = raw.status.addresses.unwrap_or_default();
    let addresses = || addresses.iter().take(MAX_PARTS);
    let conditions = raw.status.conditions.unwrap_or_default().into_iter().take(MAX_PARTS);
    let info = raw.status.node_info;
    NodeStatus {
        name: name(&raw.metadata.name),
        addresses: addresses().map(|a| name(&a.address)).collect(),
        hostnames: addresses().filter(|a| a.r#type == "Hostname").map(|a| name(&a.address)).collect(),
        conditions: conditions
            .map(|c| Condition {
                since: time(c.last_transition_time.as_ref()),
                heartbeat: time(c.last_heartbeat_time.as_ref()),
                kind: name(&c.r#type),
                status: name(&c.status),
                reason: name(&c.reason.unwrap_or_default()),
                message: printable(&c.message.unwrap_or_default(), MESSAGE),
            })
            .collect(),
        unschedulable: raw.spec.unschedulable.unwrap_or_default(),
        taints: raw
            .spec
            .taints
            .unwrap_or_default()
            .iter()
            .take(MAX_PARTS)
            .map(|t| name(&format!("{}:{}", t.key, t.effect)))
            .collect(),
        pool,
        kubelet: name(&info.kubelet_version),
        runtime: name(&info.container_runtime_version),
        kernel: name(&info.kernel_version),
        os: name(&info.os_image),
        boot_id: name(&info.boot_id),
        line,
    }
}

pub(super) fn leases(view: &NodeView, file: &str) -> BTreeMap<String, Lease> {
    let mut leases = BTreeMap::new();
    objects(view, file, |raw: RawLease, line| {
        let lease =
            Lease { renewed: time(raw.spec.renew_time.as_ref()), seconds: raw.spec.lease_duration_seconds, line };
        leases.insert(name(&raw.metadata.name), lease);
        leases.len() < MAX_NODES
    });
    leases
}

pub(super) fn events(view: &NodeView, file: &str) -> Vec<ClusterEvent> {
    let (mut events, mut text) = (Vec::new(), 0);
    objects(view, file, |raw: RawEvent, line| {
        if raw.reason.is_some() {
            let event = event(raw, line);
            text +=
                event.message.len() + event.about.len() + event.namespace.len() + event.reason.len() + event.host.len();
            events.push(event);
        }
        events.len() < MAX_EVENTS && text < MAX_TEXT
    });
    events
}

fn event(raw: RawEvent, line: u64) -> ClusterEvent {
    let text = |text: Option<String>| name(&text.unwrap_or_default());
    let series = raw.series.unwrap_or_default();
    let once = time(raw.event_time.as_ref());
    let count = series.count.or(raw.count).and_then(|n| u64::try_from(n).ok()).unwrap_or(1).max(1);
    let host = raw.source.and_then(|source| source.host).filter(|host| !host.is_empty()).or(raw.reporting_instance);
    ClusterEvent {
        kind: text(raw.involved_object.kind),
        namespace: text(raw.involved_object.namespace.or(raw.metadata.namespace)),
        about: text(raw.involved_object.name),
        reason: text(raw.reason),
        message: printable(&raw.message.unwrap_or_default(), MESSAGE),
        warning: raw.r#type.as_deref() == Some("Warning"),
        host: text(host),
        count,
        first: time(raw.first_timestamp.as_ref()).or(once),
        last: time(series.last_observed_time.as_ref()).or(time(raw.last_timestamp.as_ref())).or(once),
        line,
    }
}
