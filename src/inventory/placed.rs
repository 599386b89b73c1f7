//! Nodes of a cluster under the names this tool reaches them by. Made by `cluster/` from what the API server says, taken by
//! the selector in the place of patterns, or beside them. Asks nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::target::NodeName;

/// How a node of the cluster was found in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// By its name in the cluster.
    Name,
    /// By an address of type Hostname.
    Hostname,
    /// By an InternalIP that is an address of the inventory.
    InternalIp,
    /// It was not found there, or there is none.
    Nothing,
}

/// What the cluster says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InCluster {
    /// Its name there.
    pub node: String,
    /// Status of its Ready condition: `True`, `False`, `Unknown`; empty if it has none.
    pub ready: String,
    /// The reason of that.
    pub reason: String,
    /// How it was found in the inventory.
    pub found_by: FoundBy,
}

impl fmt::Display for InCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ready == "True" { "Ready" } else { "NotReady" };
        write!(f, "{} is {state}", self.node)?;
        if self.ready != "True" && !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        f.write_str(match self.found_by {
            FoundBy::Name => "",
            FoundBy::Hostname => "; found in the inventory by its Hostname",
            FoundBy::InternalIp => "; found in the inventory by its InternalIP",
            FoundBy::Nothing => "; not in the inventory",
        })
    }
}

/// A node of the cluster under its name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The inventory's name, or the cluster's where the inventory does not hold it.
    pub name: NodeName,
    /// The InternalIP to dial where the inventory does not hold it.
    pub address: Option<String>,
    /// What the cluster says of it.
    pub seen: InCluster,
}

/// What the cluster has, and what was chosen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FromCluster {
    /// Every node, in the cluster's order.
    pub all: Vec<Placed>,
    /// Those that are meant, by their names here.
    pub chosen: BTreeSet<NodeName>,
    /// How they were chosen, for messages: `--not-ready`, `--selector pool=a`.
    pub by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_condition_that_is_true_is_told_as_ready() {
        for (ready, reason, found_by, want) in [
            ("True", "KubeletReady", FoundBy::Name, "n1 is Ready"),
            ("False", "KubeletNotReady", FoundBy::Name, "n1 is NotReady (KubeletNotReady)"),
            ("Unknown", "", FoundBy::Nothing, "n1 is NotReady; not in the inventory"),
            ("", "", FoundBy::InternalIp, "n1 is NotReady; found in the inventory by its InternalIP"),
        ] {
            let (node, ready, reason) = ("n1".to_owned(), ready.to_owned(), reason.to_owned());
            assert_eq!(InCluster { node, ready, reason, found_by }.to_string(), want);
        }
    }
}
