//! The roll-up over nodes: who suffers from the same, what they have in common that others do not, and which healthy node
//! they can be held against. Made from what is kept of each node; reads no evidence.

mod baseline;
mod groups;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::{Difference, DifferenceKind, compare};
use super::finding::{Layer, Severity};
use super::node::NodeAnalysis;
use crate::inventory::NodeName;

/// Nodes that are told of together: they suffer from the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// In the order of the run.
    pub nodes: Vec<NodeName>,
    /// What blocks them all, in one line.
    pub sentence: String,
    /// What is to blame.
    pub layer: Option<Layer>,
    /// The gravest finding of any of them.
    pub worst: Severity,
    /// What all of them have and no healthy node has, one phrase each, with the counts: `kernel 5.10.0-9: 3 of 3 sick, 0 of 6
    /// healthy`. Only of two nodes or more, and where there is a healthy one.
    pub shared: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Fleet {
    /// The gravest and largest first.
    pub groups: Vec<Group>,
    /// The healthy node that others were held against.
    pub baseline: Option<NodeName>,
    /// How it was chosen, or why there is none, one sentence.
    pub baseline_why: Option<String>,
    /// What differs from it, per node that is not well.
    pub differences: Vec<NodeDifferences>,
}

/// What differs on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeDifferences {
    /// Which.
    pub node: NodeName,
    /// The most telling first, 12 at most; findings are told elsewhere.
    pub differences: Vec<Difference>,
    /// Differences beyond those.
    #[serde(default)]
    pub more: usize,
}

/// What the cluster says of a node, as far as its evidence is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Its pool.
    pub pool: Option<String>,
    /// Whether its Ready condition is True.
    pub ready: Option<bool>,
}

/// What the cluster says of nodes, by name.
pub type Places = BTreeMap<NodeName, Place>;

/// How a node is, as far as its evidence carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    /// Nothing above info, and the runtime, the relist or PLEG was looked at and found well.
    Well,
    /// Something above info.
    Sick,
    /// Nothing above info, but nothing vouches for it either; or the cluster calls it not ready.
    Unknown,
}

/// Findings that vouch for a node.
const VOUCHING: [&str; 4] = ["pleg/healthy", "relist/free", "relist-time/fast", "runtime-hung/answers"];
/// Differences that are kept of one node.
const SHOWN: usize = 12;

fn health(node: &NodeAnalysis, places: &Places) -> Health {
    let vouched = || node.findings.iter().any(|finding| VOUCHING.contains(&finding.id.as_str()));
    if node.findings.iter().any(|finding| finding.severity > Severity::Info) {
        Health::Sick
    } else if vouched() && places.get(&node.node).and_then(|place| place.ready) != Some(false) {
        Health::Well
    } else {
        Health::Unknown
    }
}

/// Rolls nodes up, with what is kept of each about its place in the cluster; see [`roll_up_in`].
#[must_use]
pub fn roll_up(nodes: &[NodeAnalysis], baseline: Option<&NodeName>) -> Fleet {
    let place = |node: &NodeAnalysis| Place { pool: node.about.pool.clone(), ready: node.about.ready };
    let places = nodes.iter().map(|node| (node.node.clone(), place(node))).collect();
    roll_up_in(nodes, baseline, &places)
}

/// Rolls nodes up. `baseline`: the node to hold others against, if the operator named one; `places`: what the cluster says of the
/// nodes.
#[must_use]
pub fn roll_up_in(nodes: &[NodeAnalysis], baseline: Option<&NodeName>, places: &Places) -> Fleet {
    let mut groups = groups::groups(nodes);
    let well: Vec<&NodeAnalysis> = nodes.iter().filter(|node| health(node, places) == Health::Well).collect();
    let sick: Vec<&NodeAnalysis> = nodes.iter().filter(|node| health(node, places) == Health::Sick).collect();
    for group in groups.iter_mut().filter(|group| group.worst > Severity::Info) {
        let members: Vec<&NodeAnalysis> =
            sick.iter().copied().filter(|node| group.nodes.contains(&node.node)).collect();
        group.shared = shared::shared(&members, &well, places);
    }
    let (chosen, why) = match baseline {
        Some(name) => baseline::named(nodes, name, places),
        None if nodes.len() > 1 => baseline::chosen(&sick, &well, places),
        None => (None, None),
    };
    let differences = chosen.map(|base| sick.iter().filter_map(|node| against(base, node)).collect());
    Fleet {
        groups,
        baseline: chosen.map(|node| node.node.clone()),
        baseline_why: why,
        differences: differences.unwrap_or_default(),
    }
}

fn against(base: &NodeAnalysis, node: &NodeAnalysis) -> Option<NodeDifferences> {
    if base.node == node.node {
        return None;
    }
    let mut differences = compare(base, node);
    differences.retain(|difference| difference.kind != DifferenceKind::Finding);
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    Some(NodeDifferences { node: node.node.clone(), differences, more })
}
