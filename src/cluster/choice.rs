//! Which nodes of a cluster are meant, and under which names they are reached: `--not-ready`, `--selector`, `--pool-of`
//! against what the API server said. Pure; called by `cli/` before any node is contacted.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::ClusterNode;
use super::label_selector::{LabelSelector, key};
use crate::inventory::{FoundBy, FromCluster, InCluster, Inventory, NodeName, Placed, did_you_mean, fold};
use crate::plan::cluster::POOL_LABELS;
use crate::printable::printable;

/// Labels named in a hint at most.
const LABELS_SHOWN: usize = 12;

/// What is wanted of the cluster's nodes; all of it has to hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `--not-ready`: the Ready condition is not `True`.
    pub not_ready: bool,
    /// Every `--selector`.
    pub selectors: Vec<LabelSelector>,
    /// `--pool-of`: a name in the cluster or in the inventory.
    pub pool_of: Option<String>,
    /// `[cluster] pool-label`.
    pub pool_label: Option<String>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These nodes, and sentences for the operator.
    Nodes(FromCluster, Vec<String>),
    /// `--not-ready`, and all of them are Ready: nothing is to be done. One sentence.
    AllReady(String),
}

/// Why nothing can be chosen: one sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ChoiceError {
    /// One sentence.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Wanted {
    /// Chooses among the nodes of a cluster.
    ///
    /// # Errors
    /// Nothing matches a selector, the node of `--pool-of` is not known, or the label of its pool is not.
    pub fn choose(&self, nodes: &[ClusterNode], inventory: Option<&Inventory>) -> Result<Choice, ChoiceError> {
        let (all, mut warnings) = place(nodes, inventory);
        let labels: BTreeMap<&str, &ClusterNode> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let labels_of = |placed: &Placed| labels.get(placed.seen.node.as_str()).map(|node| &node.labels);
        if all.is_empty() {
            let text = "the API server knows no nodes".to_owned();
            return Err(ChoiceError { text, hint: Some("look whether this is the cluster that is meant".to_owned()) });
        }
        let pool = self.pool_of.as_deref().map(|node| self.pool(node, &all, &labels)).transpose()?;
        let mut by: Vec<String> = self.selectors.iter().map(|selector| format!("--selector {selector}")).collect();
        if let (Some(node), Some((label, value))) = (&self.pool_of, &pool) {
            by.push(format!("--pool-of {node} ({label}={value})"));
        }
        let matching: Vec<&Placed> = all
            .iter()
            .filter(|placed| {
                let Some(labels) = labels_of(placed) else { return false };
                self.selectors.iter().all(|selector| selector.matches(labels))
                    && pool.as_ref().is_none_or(|(label, value)| labels.get(label) == Some(value))
            })
            .collect();
        let count = |n: usize| format!("{n} {}", if n == 1 { "node" } else { "nodes" });
        if matching.is_empty() {
            let text = format!("none of the {} of the cluster matches {}", count(all.len()), by.join(" "));
            let hint = "kubectl get nodes --show-labels tells the labels there are".to_owned();
            return Err(ChoiceError { text, hint: Some(hint) });
        }
        let wanted = |placed: &&&Placed| !self.not_ready || placed.seen.ready != "True";
        let chosen: Vec<&Placed> = matching.iter().filter(wanted).copied().collect();
        if chosen.is_empty() {
            let of = if by.is_empty() { "of the cluster".to_owned() } else { format!("of {}", by.join(" ")) };
            return Ok(Choice::AllReady(match matching.len() {
                1 => format!("the 1 node {of} is Ready"),
                n => format!("all {n} nodes {of} are Ready"),
            }));
        }
        if self.not_ready {
            by.insert(0, "--not-ready".to_owned());
        }
        let outside: Vec<NodeName> = chosen
            .iter()
            .filter(|placed| inventory.is_some_and(Inventory::has_nodes) && placed.seen.found_by == FoundBy::Nothing)
            .map(|placed| placed.name.clone())
            .collect();
        if !outside.is_empty() {
            warnings.push(format!(
                "not in the inventory: {}; reached at the InternalIP the cluster gives, with [defaults]",
                fold(&outside)
            ));
        }
        let chosen = chosen.into_iter().map(|placed| placed.name.clone()).collect();
        Ok(Choice::Nodes(FromCluster { all, chosen, by: by.join(" ") }, warnings))
    }

    /// Returns the label of a node's pool, and its value.
    fn pool(
        &self,
        node: &str,
        all: &[Placed],
        nodes: &BTreeMap<&str, &ClusterNode>,
    ) -> Result<(String, String), ChoiceError> {
        let found = all.iter().find(|placed| placed.seen.node == node);
        let found = found.or_else(|| all.iter().find(|placed| placed.name.as_str() == node));
        let Some(of) = found.and_then(|placed| nodes.get(placed.seen.node.as_str())) else {
            let near = did_you_mean(node, all.iter().map(|placed| placed.seen.node.as_str()), 3);
            let shown: String = node.chars().take(120).collect();
            let text = format!("--pool-of {shown}: the cluster has no such node{near}");
            return Err(ChoiceError { text, hint: Some("name it as the cluster or as the inventory does".to_owned()) });
        };
        let value = |label: &str| of.labels.get(label).filter(|value| !value.is_empty());
        if let Some(label) = &self.pool_label {
            if let Err(reason) = key(label) {
                let text = format!("[cluster] pool-label: {reason}");
                return Err(ChoiceError { text, hint: None });
            }
            let text =
                || format!("the pool of {} is not known: it has no label {label} ([cluster] pool-label)", of.name);
            let found = value(label).map(|value| (label.clone(), value.clone()));
            return found.ok_or_else(|| ChoiceError { text: text(), hint: Some(told(&of.labels)) });
        }
        let known = POOL_LABELS.iter().find_map(|label| value(label).map(|value| ((*label).to_owned(), value.clone())));
        known.ok_or_else(|| ChoiceError {
            text: format!("the pool of {} is not known: it has none of the labels that pools are known by", of.name),
            hint: Some(told(&of.labels)),
        })
    }
}

/// What to do where no label tells the pool.
fn told(labels: &BTreeMap<String, String>) -> String {
    let own = |key: &&String| {
        let common = ["kubernetes.io/arch", "kubernetes.io/os", "kubernetes.io/hostname"];
        !key.starts_with("beta.kubernetes.io/") && !common.contains(&key.as_str())
    };
    let names: Vec<&str> = labels.keys().filter(own).map(String::as_str).take(LABELS_SHOWN).collect();
    let names = if names.is_empty() { String::new() } else { format!(" (it has {})", names.join(", ")) };
    format!(
        "set pool-label in [cluster] of the inventory to the label that names pools{names}, or use --selector KEY=VALUE"
    )
}

/// Returns every node under the name it is reached by, and sentences about those that have none. A node is found in the
/// inventory by its name, else by an address of type Hostname, else by an InternalIP that is the address of an entry.
#[must_use]
pub fn place(nodes: &[ClusterNode], inventory: Option<&Inventory>) -> (Vec<Placed>, Vec<String>) {
    let entries = inventory.map(|inventory| inventory.nodes.as_slice()).unwrap_or_default();
    let (mut names, mut addresses) = (HashMap::new(), HashMap::new());
    for entry in entries {
        names.entry(entry.name.as_str()).or_insert(&entry.name);
        let address = entry.address.as_deref().unwrap_or(entry.name.as_str());
        addresses.entry(canonical(address)).or_insert(&entry.name);
    }
    // The surest sign first for all nodes, so that an address never takes an entry from the node of that name.
    let mut found: HashMap<usize, (NodeName, FoundBy)> = HashMap::new();
    let mut taken: HashMap<NodeName, usize> = HashMap::new();
    for by in [FoundBy::Name, FoundBy::Hostname, FoundBy::InternalIp] {
        for (at, node) in nodes.iter().enumerate() {
            if found.contains_key(&at) {
                continue;
            }
            let entry = match by {
                FoundBy::Name => names.get(node.name.as_str()).copied(),
                FoundBy::Hostname => node.hostnames.iter().find_map(|host| names.get(host.as_str()).copied()),
                _ => node
                    .internal_ips
                    .iter()
                    .chain(&node.hostnames)
                    .find_map(|ip| addresses.get(&canonical(ip)).copied()),
            };
            if let Some(name) = entry.filter(|name| !taken.contains_key(*name)) {
                taken.insert(name.clone(), at);
                found.insert(at, (name.clone(), by));
            }
        }
    }
    let (mut all, mut warnings) = (Vec::with_capacity(nodes.len()), Vec::new());
    for (at, node) in nodes.iter().enumerate() {
        let (name, found_by) = match found.remove(&at) {
            Some((name, by)) => (Ok(name), by),
            None => (node.name.parse::<NodeName>(), FoundBy::Nothing),
        };
        let seen =
            InCluster { node: node.name.clone(), ready: node.ready.clone(), reason: node.reason.clone(), found_by };
        // A node writes its addresses itself, and this one goes into commands (ProxyCommand's %h): a name is not taken.
        let dialled = || node.internal_ips.iter().find_map(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_string());
        let address = if found_by == FoundBy::Nothing { dialled() } else { None };
        if found_by == FoundBy::Nothing && address.is_none() && !node.internal_ips.is_empty() && name.is_ok() {
            let shown = printable(node.internal_ips.first().map(String::as_str).unwrap_or_default(), 60);
            warnings.push(format!(
                "the InternalIP of node {} is no IP address ({shown:?}) and is not dialled: its name is",
                node.name
            ));
        }
        match name {
            Ok(name) if found_by == FoundBy::Nothing && taken.contains_key(&name) => warnings.push(format!(
                "node {name} of the cluster is left out: the inventory calls another node so, by its address"
            )),
            Ok(name) => all.push(Placed { name, address, seen }),
            Err(error) => warnings.push(format!("a node of the cluster is left out: {error}")),
        }
    }
    (all, warnings)
}

/// An address in one form, so that two ways to write one are the same.
fn canonical(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => address.to_ascii_lowercase(),
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
