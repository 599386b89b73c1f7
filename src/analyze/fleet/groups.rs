//! Nodes that suffer from the same: those with one verdict and layer. A verdict that is only the gravest finding's sentence has the
//! node's own numbers in it; there the finding and its signature decide.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::Group;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::node::NodeAnalysis;
use crate::analyze::verdict::Verdict;

/// What is equal for nodes of one group.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Verdict(&'a str, Option<Layer>),
    Finding(&'a str, Option<&'a str>),
}

fn key(node: &NodeAnalysis) -> Key<'_> {
    let Verdict { layer, sentence } = &node.verdict;
    let repeated = |finding: &&Finding| finding.severity > Severity::Info && finding.sentence == *sentence;
    match node.findings.iter().find(repeated) {
        Some(finding) => Key::Finding(&finding.id, finding.signature.as_deref()),
        None => Key::Verdict(sentence, *layer),
    }
}

/// Returns the groups, the gravest and largest first.
pub(super) fn groups(nodes: &[NodeAnalysis]) -> Vec<Group> {
    let mut places: HashMap<Key<'_>, usize> = HashMap::new();
    let mut groups: Vec<(Group, usize)> = Vec::new();
    for node in nodes {
        let worst = node.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Info);
        let at = *places.entry(key(node)).or_insert(groups.len());
        if let Some((group, others)) = groups.get_mut(at) {
            group.worst = group.worst.max(worst);
            *others += usize::from(node.verdict.sentence != group.sentence);
            group.nodes.push(node.node.clone());
        } else {
            let Verdict { layer, sentence } = node.verdict.clone();
            let group = Group { nodes: vec![node.node.clone()], sentence, layer, worst, shared: Vec::new() };
            groups.push((group, 0));
        }
    }
    groups.sort_by_key(|(group, _)| Reverse((group.worst, group.nodes.len())));
    let one_sentence = |(mut group, others): (Group, usize)| {
        if let Some(first) = group.nodes.first().filter(|_| others > 0) {
            group.sentence = format!("{} ({first}; with other numbers {others} more)", group.sentence);
        }
        group
    };
    groups.into_iter().map(one_sentence).collect()
}
