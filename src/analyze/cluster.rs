//! The cluster's evidence as rules see it: what the API server holds of each node, leases, events, and how API servers are.
//! Read once per run from the cluster's bundle and shared by the views of its nodes; judges nothing.

mod health;
mod objects;
mod raw;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::view::NodeView;
use crate::bundle::layout;
use crate::plan::{ClusterStep, NodeFacts};

pub use health::{Check, Health};
pub use objects::{ClusterEvent, Condition, Lease, NodeStatus};

/// The nodes, one object a line.
pub const NODES: &str = "cluster/nodes.jsonl";
/// Their leases.
pub const LEASES: &str = "cluster/leases.jsonl";
/// Events about nodes.
pub const NODE_EVENTS: &str = "cluster/node-events.jsonl";
/// Events of image pulls.
pub const IMAGE_EVENTS: &str = "cluster/image-events.jsonl";

/// API servers looked at.
pub const SERVERS: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct ClusterView {
    /// Id of the run; `None` for a collection made by hand.
    pub run: Option<String>,
    /// When the API server was asked, by the operator's clock.
    pub asked: Option<Timestamp>,
    /// The nodes, in the order of the file; a bounded number.
    pub nodes: Vec<NodeStatus>,
    /// Leases by the node's name in the cluster.
    pub leases: BTreeMap<String, Lease>,
    /// Events about nodes, in the order of the file; a bounded number.
    pub node_events: Vec<ClusterEvent>,
    /// Events of failed image pulls; a bounded number.
    pub image_events: Vec<ClusterEvent>,
    /// `readyz` and `livez` of each API server that was asked.
    pub health: Vec<Health>,
    /// Why a file is missing or not whole, by its path.
    gaps: BTreeMap<&'static str, String>,
    /// Where a file really is, by its usual path.
    files: BTreeMap<&'static str, String>,
}

/// By what a node was found among those of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoundBy {
    /// Its name, or the Hostname the cluster knows.
    Name,
    /// The address it was reached at.
    Address,
    /// The name it has for itself, or the one its kubelet was told.
    OwnName,
    /// The boot of its kernel, which no other node of the cluster has.
    Boot,
}

impl ClusterView {
    /// Reads the evidence of a cluster.
    #[must_use]
    pub fn read(view: &NodeView) -> Self {
        let (mut gaps, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (step, file) in [
            ("cluster/nodes", NODES),
            ("cluster/leases", LEASES),
            ("cluster/node-events", NODE_EVENTS),
            ("cluster/image-events", IMAGE_EVENTS),
        ] {
            let server = asked_for_objects(view, step, file);
            let (step, actual) = (ClusterStep::of_server(step, server), ClusterStep::of_server(file, server));
            let whole = view.step(&step).is_none_or(|record| record.outcome.is_clean()) && view.open(&actual).is_some();
            if let Some(why) = view.why_missing(&step).filter(|_| !whole) {
                gaps.insert(file, why);
            }
            files.insert(file, actual);
        }
        let server = asked_for_objects(view, "cluster/nodes", NODES);
        let asked = view.step(&ClusterStep::of_server("cluster/nodes", server)).or(view.steps.first());
        let asked = asked.and_then(|step| step.started);
        let of = |file: &'static str| files.get(file).map_or(file, String::as_str);
        Self {
            run: view.run.clone(),
            asked: asked.or_else(|| view.manifest.as_ref().map(|manifest| manifest.finished)),
            nodes: objects::nodes(view, of(NODES)),
            leases: objects::leases(view, of(LEASES)),
            node_events: objects::events(view, of(NODE_EVENTS)),
            image_events: objects::events(view, of(IMAGE_EVENTS)),
            health: health::read(view),
            gaps,
            files,
        }
    }

    /// Returns where a file is in the bundle, to be cited: the first API server that answered was asked for objects, and that
    /// of another than the first lies below `cluster/api-N/`.
    #[must_use]
    pub fn file<'a>(&'a self, file: &'a str) -> &'a str {
        self.files.get(file).map_or(file, String::as_str)
    }

    /// Returns why a file is missing or not whole, in words; `None` where all is there or it was not asked for.
    #[must_use]
    pub fn gap(&self, file: &str) -> Option<&str> {
        self.gaps.get(file).map(String::as_str)
    }

    /// Finds the node that a view is of: by name, then by the address it was reached at, then by what it says of itself.
    #[must_use]
    pub fn node_of(&self, view: &NodeView) -> Option<(&NodeStatus, FoundBy)> {
        let called = |name: &str| {
            let name = name.to_ascii_lowercase();
            (!name.is_empty()).then(|| self.nodes.iter().find(|node| node.is_called(&name))).flatten()
        };
        if let Some(node) = called(view.name.as_str()) {
            return Some((node, FoundBy::Name));
        }
        let manifest = view.manifest.as_ref();
        // The endpoint dialled comes last; a jump in front of it is another machine.
        let dialled = manifest.and_then(|m| m.connection.route.last()).map(|route| host_of(route));
        if let Some(at) = dialled.filter(|at| !is_loopback(at)) {
            let by_address = self.nodes.iter().find(|node| node.addresses.iter().any(|a| a == at));
            if let Some(node) = by_address.or_else(|| called(at)) {
                return Some((node, FoundBy::Address));
            }
        }
        let facts = facts(view);
        let told = facts.as_ref().map(own_names).unwrap_or_default();
        let hostname = manifest.and_then(|m| m.facts.as_ref()).map(|f| f.hostname.clone());
        if let Some(node) = told.into_iter().chain(hostname).find_map(|name| called(&name)) {
            return Some((node, FoundBy::OwnName));
        }
        let boot = manifest.and_then(|m| m.facts.as_ref()).map(|f| f.boot_id.clone());
        let boot = boot.or_else(|| facts.map(|f| f.boot_id)).filter(|boot| boot.len() >= 32)?;
        let mut same = self.nodes.iter().filter(|node| node.boot_id == boot);
        // Nodes that are containers of one machine share its boot.
        same.next().filter(|_| same.next().is_none()).map(|node| (node, FoundBy::Boot))
    }

    /// Returns the events about a node, in order of time.
    #[must_use]
    pub fn events_of<'a>(&'a self, node: &NodeStatus) -> Vec<&'a ClusterEvent> {
        let mut events: Vec<&ClusterEvent> = self.node_events.iter().filter(|event| event.about == node.name).collect();
        events.sort_by_key(|event| event.first.or(event.last));
        events
    }
}

/// Returns the number, from 0, of the API server that was asked for objects.
fn asked_for_objects(view: &NodeView, step: &str, file: &str) -> usize {
    let holds = |server: &usize| view.open(&ClusterStep::of_server(file, *server)).is_some();
    let recorded = |server: &usize| view.step(&ClusterStep::of_server(step, *server)).is_some();
    (0..SERVERS).find(holds).or_else(|| (0..SERVERS).find(recorded)).unwrap_or(0)
}

/// Returns the facts of a view, as far as they can be understood.
fn facts(view: &NodeView) -> Option<NodeFacts> {
    use std::io::Read as _;
    let mut text = Vec::new();
    view.open(layout::FACTS)?.take(4 << 20).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Returns the names a node has for itself: the one its kubelet is told, and that of the machine.
fn own_names(facts: &NodeFacts) -> Vec<String> {
    let words = facts.kubelet.as_ref().map(|kubelet| kubelet.cmdline.as_slice()).unwrap_or_default();
    let mut names = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if let Some(rest) = word.strip_prefix("--hostname-override") {
            let value =
                rest.strip_prefix('=').or_else(|| words.get(at + 1).map(String::as_str).filter(|_| rest.is_empty()));
            names.extend(value.map(str::to_owned));
        }
    }
    names.push(facts.hostname.clone());
    names
}

/// Takes user and port off an endpoint: `root@10.0.0.7:22`, `[2001:db8::7]:22`.
fn host_of(route: &str) -> &str {
    let at = route.rsplit_once('@').map_or(route, |(_, host)| host);
    if let Some((inner, _)) = at.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inner;
    }
    at.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map_or(at, |(host, _)| host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[path = "cluster/tests.rs"]
mod tests;
