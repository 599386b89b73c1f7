//! What was changed on nodes, and whether anything was restarted, grouped over the nodes. Words only; laid out by
//! `summary.rs` and `markdown.rs`.

use crate::event::{ChangeSummary, NodeResult, NodeSummary, Restarts};
use crate::evidence::ChangeState;
use crate::inventory::NodeName;
use crate::plan::ChangeId;
use crate::wording::{command, count, safe};

/// What the debug window left behind that nobody can take back: bodies of POST requests up to 4 KiB are logged at debug
/// level (moby@v20.10.24:api/server/middleware/debug.go:47).
const ENVIRONMENTS: &str = "While dockerd logged at debug level, the environments of containers created and commands \
    executed in them went to the node's journal in clear, secrets included, and to wherever that is shipped; the copy \
    in the bundle is redacted.";

/// Nodes of which the same is to be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// What, safe to print.
    pub(super) text: String,
    pub(super) nodes: Vec<NodeName>,
}

/// A node that may still be changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Still<'a> {
    pub(super) node: &'a NodeName,
    /// What is different, safe to print.
    pub(super) text: String,
    /// The command that mends it, safe to print.
    pub(super) mend: String,
}

/// Returns the nodes that may still be changed.
pub(super) fn still(nodes: &[NodeSummary]) -> Vec<Still<'_>> {
    changes(nodes)
        .filter(|(_, change)| change.state == ChangeState::StillChanged)
        .map(|(node, change)| {
            let mend = change.mend.clone().unwrap_or_else(|| format!("plegcollect revert --nodes {}", node.node));
            let text = format!("{}: {}", name(change.change), safe(&change.text));
            Still { node: &node.node, text, mend: command(&mend) }
        })
        .collect()
}

/// Returns what became of the other changes, the same of several nodes together.
pub(super) fn said(nodes: &[NodeSummary]) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for (node, change) in changes(nodes) {
        let how = match change.state {
            ChangeState::StillChanged => continue,
            ChangeState::Reverted => "",
            ChangeState::Refused => ", refused",
            ChangeState::Skipped => ", left out",
            ChangeState::EndedByRestart => ", ended by a restart that was not ours",
        };
        put(&mut said, &format!("{}{how}: {}", name(change.change), safe(&change.text)), node);
    }
    said
}

/// Returns what is to be known of the debug windows there were, if any.
pub(super) fn remark(nodes: &[NodeSummary]) -> Option<&'static str> {
    let made = |change: &ChangeSummary| !matches!(change.state, ChangeState::Refused | ChangeState::Skipped);
    changes(nodes).any(|(_, change)| change.change == ChangeId::DockerdDebug && made(change)).then_some(ENVIRONMENTS)
}

/// Returns whether daemons of the nodes that were reached are the same processes as before.
pub(super) fn restarts(nodes: &[NodeSummary]) -> Vec<Said> {
    let mut said: Vec<Said> = Vec::new();
    for node in nodes.iter().filter(|n| matches!(n.result, NodeResult::Complete | NodeResult::Partial)) {
        let text = match &node.restarts {
            Restarts::None { same } if same.is_empty() => "No dockerd, containerd or kubelet ran".to_owned(),
            Restarts::None { same } => {
                format!("Nothing was restarted: same pid, start time and invocation id of {}", safe(&same.join(", ")))
            }
            Restarts::Some { restarted } => {
                format!("RESTARTED while evidence was taken: {}", safe(&restarted.join(", ")))
            }
            Restarts::Unknown => "Whether anything was restarted could not be checked".to_owned(),
        };
        put(&mut said, &text, node);
    }
    // What asks for attention stands first.
    said.sort_by_key(|s| {
        (s.text.starts_with("Nothing") || s.text.starts_with("No "), !s.text.starts_with("RESTARTED"))
    });
    said
}

/// Returns `(3 nodes)`.
pub(super) fn how_many(said: &Said) -> String {
    format!("({})", count(said.nodes.len(), "node"))
}

fn changes(nodes: &[NodeSummary]) -> impl Iterator<Item = (&NodeSummary, &ChangeSummary)> {
    nodes.iter().flat_map(|node| node.changes.iter().map(move |change| (node, change)))
}

const fn name(change: ChangeId) -> &'static str {
    match change {
        ChangeId::DockerdDebug => "dockerd debug",
        ChangeId::StackDump => "stacks",
        ChangeId::KubeletVerbosity => "kubelet verbosity",
    }
}

fn put(said: &mut Vec<Said>, text: &str, node: &NodeSummary) {
    // The number of nodes stands behind it.
    let text = text.trim_end_matches('.').to_owned();
    match said.iter_mut().find(|s| s.text == text) {
        // A node may have said the same of two daemons.
        Some(same) if same.nodes.contains(&node.node) => {}
        Some(same) => same.nodes.push(node.node.clone()),
        None => said.push(Said { text, nodes: vec![node.node.clone()] }),
    }
}
