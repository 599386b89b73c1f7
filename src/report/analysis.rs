//! What the analysis says of one node or many, as one value: the source of every form, and itself the JSON form. Adds no
//! judgement. Made by `plegcollect report` and at the end of a run.
//!
//! The JSON form is described by `report.schema.json`, which `plegcollect report --schema` prints. Fields may be added; a
//! change that breaks readers raises `schema`.

use serde::Serialize;

use crate::analyze::fleet::{Fleet, roll_up};
use crate::analyze::moment::Moment;
use crate::analyze::node::NodeAnalysis;
use crate::analyze::timeline::merge;
use crate::inventory::NodeName;
use crate::printable::ascii_json;

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// The JSON Schema of the JSON form.
pub const JSON_SCHEMA: &str = include_str!("report.schema.json");

/// A path that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unreadable {
    /// Which.
    pub path: String,
    /// Why, one sentence.
    pub reason: String,
}

/// A node that nothing can be said of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unjudged {
    /// Which.
    pub node: NodeName,
    /// Why, a few words, printable; the same for nodes in the same situation: `not reached (no-banner)`.
    pub reason: String,
    /// What to do about it, printable.
    pub next: Option<String>,
}

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Analysis {
    /// Version of the JSON form.
    pub schema: u32,
    /// The roll-up over nodes.
    pub fleet: Fleet,
    /// The nodes that there is a verdict on.
    pub nodes: Vec<NodeAnalysis>,
    /// The cluster of each run, as far as API servers were asked: what is of no single node.
    pub clusters: Vec<NodeAnalysis>,
    /// The nodes that there is none on.
    pub unjudged: Vec<Unjudged>,
    /// What happened when, over all nodes, by the operator's clock.
    pub timeline: Vec<Moment>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

impl Analysis {
    /// Returns an analysis of these nodes. Those without a verdict are kept apart: nobody is to be held against them.
    #[must_use]
    pub fn new(nodes: Vec<NodeAnalysis>, baseline: Option<&NodeName>, unreadable: Vec<Unreadable>) -> Self {
        let (unjudged, nodes): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| node.verdict.why_there_is_none().is_some());
        let unjudged = unjudged
            .into_iter()
            .map(|node| Unjudged {
                reason: node.verdict.why_there_is_none().unwrap_or_default().to_owned(),
                node: node.node,
                next: None,
            })
            .collect();
        let (fleet, timeline) = (roll_up(&nodes, baseline), merge(&nodes));
        Self { schema: SCHEMA, fleet, nodes, clusters: Vec::new(), unjudged, timeline, unreadable }
    }

    /// Adds what was seen of clusters.
    #[must_use]
    pub fn with_clusters(mut self, clusters: Vec<NodeAnalysis>) -> Self {
        self.clusters = clusters;
        self
    }

    /// Adds nodes that nothing can be said of.
    #[must_use]
    pub fn and_unjudged(mut self, unjudged: impl IntoIterator<Item = Unjudged>) -> Self {
        self.unjudged.extend(unjudged);
        self
    }

    /// Returns the JSON form: indented, in pure ASCII, the same for the same evidence, ending in a line break.
    ///
    /// # Errors
    /// When a value has no JSON form, which is a defect.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let mut text = ascii_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }
}
