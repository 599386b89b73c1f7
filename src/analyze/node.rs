//! What is kept of a node once its evidence is closed: everything the report, the roll-up over nodes, the comparison and the
//! timeline need, so that one node's files are open at a time. Made from a view; judged by nobody here.

use serde::{Deserialize, Serialize};

use super::about::{self, About};
use super::figures::{self, Figures};
use super::finding::Finding;
use super::moment::{self, Moment};
use super::reached::not_reached;
use super::rules;
use super::steps::{self, StepSpan};
use super::verdict::{self, Verdict, verdict};
use super::view::NodeView;
use crate::inventory::NodeName;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeAnalysis {
    /// Which node.
    pub node: NodeName,
    /// Path of the evidence, printable.
    pub source: String,
    /// Whether it is a sealed bundle.
    pub sealed: bool,
    /// What the node is: versions, sizes, when it was looked at.
    pub about: About,
    /// One line.
    pub verdict: Verdict,
    /// The gravest first.
    pub findings: Vec<Finding>,
    /// Figures to compare and to draw.
    pub figures: Figures,
    /// What happened when, by the node's own clock, in order of time; offsets are applied by who merges nodes.
    pub moments: Vec<Moment>,
    /// When each step ran and how it ended.
    pub steps: Vec<StepSpan>,
}

/// Looks at a node's evidence once and for all, or at the cluster's.
#[must_use]
pub fn analyze(view: &NodeView, source: String) -> NodeAnalysis {
    let without = not_reached(view);
    // Of a node that was not reached, rules would find no more than that everything is missing.
    let findings = if without.is_some() { Vec::new() } else { rules::findings(view) };
    let verdict =
        without.unwrap_or_else(|| if view.is_cluster() { verdict::of_cluster(&findings) } else { verdict(&findings) });
    NodeAnalysis {
        node: view.node.clone(),
        source,
        sealed: view.manifest.is_some(),
        about: about::about(view),
        verdict,
        findings,
        figures: figures::figures(view).finite(),
        moments: moment::moments(view),
        steps: steps::steps(view),
    }
}
