//! Groups: which nodes share a row, and which share a paragraph. A fleet of hundreds reads as a
//! handful of rows; nodes with evidence missing keep a row of their own, unless they are many and miss the same.

use std::collections::{BTreeMap, HashMap};

use crate::event::{NodeResult, NodeSummary, StepCounts};
use crate::inventory::NodeName;
use crate::wording::safe;

use super::missing;
use super::words::claim;

/// Up to so many nodes each has a row of its own.
const ROWS_EACH: usize = 40;

/// Nodes that share a row, with their figures taken together.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) nodes: Vec<&'a NodeSummary>,
    pub(super) result: NodeResult,
    /// Of each of its nodes.
    pub(super) steps: StepCounts,
}

impl Row<'_> {
    /// Returns the names.
    pub(super) fn names(&self) -> Vec<NodeName> {
        self.nodes.iter().map(|n| n.node.clone()).collect()
    }

    /// Returns the bytes of all its bundles.
    pub(super) fn bytes(&self) -> u64 {
        self.nodes.iter().fold(0, |sum, n| sum.saturating_add(n.bundle_bytes))
    }

    /// Returns the time of its slowest node, milliseconds.
    pub(super) fn slowest_ms(&self) -> u64 {
        self.nodes.iter().map(|n| n.took_ms).max().unwrap_or(0)
    }
}

/// Returns the rows of the table, in the order of the nodes.
pub(super) fn rows(nodes: &[NodeSummary]) -> Vec<Row<'_>> {
    let folds = nodes.len() > ROWS_EACH;
    let many_partial = with(nodes, NodeResult::Partial).len() > ROWS_EACH;
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut places: HashMap<(String, Vec<String>), usize> = HashMap::new();
    for node in nodes {
        let result = claim(node);
        let is_partial = result == NodeResult::Partial;
        if folds && (!is_partial || many_partial) {
            let missing = if is_partial { missing::key(node) } else { Vec::new() };
            let at = *places.entry((format!("{result:?} {:?}", node.steps), missing)).or_insert(rows.len());
            if let Some(row) = rows.get_mut(at) {
                row.nodes.push(node);
                continue;
            }
        }
        rows.push(Row { nodes: vec![node], result, steps: node.steps });
    }
    rows
}

/// Returns the nodes that were not reached, by class of failure (deadlines: and by what was
/// being waited for); the largest group first.
pub(super) fn unreached(nodes: &[NodeSummary]) -> Vec<(String, Vec<&NodeSummary>)> {
    let mut groups: BTreeMap<(String, &str), Vec<&NodeSummary>> = BTreeMap::new();
    for node in nodes.iter().filter(|n| claim(n) == NodeResult::Unreached) {
        let class = node.failure.as_deref().map_or_else(|| "unknown".to_owned(), safe);
        // A deadline is no cause: a node without a banner and one without a route must not share a paragraph.
        let cause = if class == "deadline" { node.reason.as_deref().unwrap_or_default() } else { "" };
        groups.entry((class, cause)).or_default().push(node);
    }
    let mut groups: Vec<_> = groups.into_iter().map(|((class, _), nodes)| (class, nodes)).collect();
    groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    groups
}

/// Returns the nodes of which this result may be claimed.
pub(super) fn with(nodes: &[NodeSummary], result: NodeResult) -> Vec<&NodeSummary> {
    nodes.iter().filter(|n| claim(n) == result).collect()
}

/// Returns the names of nodes.
pub(super) fn names(nodes: &[&NodeSummary]) -> Vec<NodeName> {
    nodes.iter().map(|n| n.node.clone()).collect()
}

/// Returns whether folded names hold no comma but within brackets.
pub(super) fn is_one_pattern(folded: &str) -> bool {
    let mut depth = 0_usize;
    for c in folded.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_one_pattern;

    #[test]
    fn only_one_pattern_can_stand_in_a_path() {
        for (folded, want) in [
            ("worker-001", true),
            ("worker-00[1-4,7]", true),
            ("worker-[001-120]n[1,2]", true),
            ("a,b", false),
            ("worker-[1-4],db", false),
            ("a,b-[1-2]", false),
        ] {
            assert_eq!(is_one_pattern(folded), want, "{folded}");
        }
    }
}
