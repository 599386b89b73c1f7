//! What several pairs have alike, told once, and what is left of each.

use std::collections::{BTreeMap, BTreeSet};

use super::{Comparison, Pair, word};
use crate::analyze::compare::{Difference, DifferenceKind};
use crate::inventory::{NodeName, fold};

/// Differences of one pair that are told to people.
const TOLD: usize = 15;
/// Nodes that are told of one by one.
const NODES: usize = 30;

/// What several nodes have alike, all of it.
pub(super) struct Shared {
    verdicts: BTreeSet<String>,
    keys: BTreeSet<Key>,
    pub(super) list: Vec<Common>,
}

/// What one pair has beside that, as much as is told.
pub(super) struct Own<'a> {
    pub(super) pair: &'a Pair,
    pub(super) verdict: Option<String>,
    pub(super) differences: Vec<&'a Difference>,
    pub(super) more: usize,
}

/// One thing that several nodes have alike.
pub(super) struct Common {
    pub(super) label: &'static str,
    pub(super) critical: bool,
    text: String,
    nodes: Vec<NodeName>,
    /// Texts of others differ from this one.
    varies: bool,
}

/// What is equal for nodes that are told of together: kind, what differs, words.
type Key = (&'static str, String, String);

/// Findings have the node's own numbers and times in them.
fn key(difference: &Difference) -> Key {
    let text = difference.text.as_str();
    let head = || text.split_once(": ").map_or(text, |(head, _)| head);
    let label = word(difference.kind);
    match difference.kind {
        DifferenceKind::Finding => (label, difference.what.clone(), head().to_owned()),
        _ => (label, String::new(), text.to_owned()),
    }
}

/// Tells whether it is a finding that explains why a node is down, and new.
pub(super) fn is_critical(difference: &Difference) -> bool {
    difference.kind == DifferenceKind::Finding && difference.text.starts_with("new, critical")
}

impl Common {
    pub(super) fn words(&self) -> String {
        let names = fold(&self.nodes);
        match self.nodes.first().filter(|_| self.varies) {
            Some(first) => format!("{} ({names}; the words are {first}'s)", self.text),
            None => format!("{} ({names})", self.text),
        }
    }
}

/// Collects what is alike, in the order in which it comes.
#[derive(Default)]
struct Collection {
    list: Vec<Common>,
    places: BTreeMap<Key, usize>,
}

impl Collection {
    fn put(&mut self, key: Key, critical: bool, text: &str, node: &NodeName) {
        let label = key.0;
        let at = *self.places.entry(key).or_insert(self.list.len());
        if let Some(common) = self.list.get_mut(at) {
            common.varies |= common.text != text;
            common.nodes.push(node.clone());
        } else {
            let (text, nodes) = (text.to_owned(), vec![node.clone()]);
            self.list.push(Common { label, critical, text, nodes, varies: false });
        }
    }

    /// Keeps what two nodes or more have.
    fn several(mut self) -> (BTreeSet<Key>, Vec<Common>) {
        let list = &self.list;
        self.places.retain(|_, at| list.get(*at).is_some_and(|common| common.nodes.len() > 1));
        self.list.retain(|common| common.nodes.len() > 1);
        (self.places.into_keys().collect(), self.list)
    }
}

impl Comparison {
    /// Returns what two pairs or more have alike: changes of the verdict, then differences in the order of their weight.
    pub(super) fn shared(&self) -> Shared {
        let (mut verdicts, mut differences) = (Collection::default(), Collection::default());
        for pair in &self.pairs {
            let node = &pair.other.node;
            if let Some(verdict) = pair.verdict() {
                verdicts.put(("verdict", String::new(), verdict.clone()), false, &verdict, node);
            }
            for difference in &pair.differences {
                differences.put(key(difference), is_critical(difference), &difference.text, node);
            }
        }
        let (verdicts, mut list) = verdicts.several();
        let (keys, rest) = differences.several();
        list.extend(rest);
        Shared { verdicts: verdicts.into_iter().map(|(_, _, text)| text).collect(), keys, list }
    }

    /// Returns the nodes of which nothing is told but that nothing differs.
    pub(super) fn quiet(&self) -> Vec<NodeName> {
        let quiet = |pair: &&Pair| pair.is_quiet() && pair.notes.is_empty() && pair.verdict().is_none();
        let several = self.pairs.len() > 1;
        self.pairs.iter().filter(|pair| several && quiet(pair)).map(|pair| pair.other.node.clone()).collect()
    }

    /// Returns the pairs that have something beside what several have alike, and the nodes that are not told of for their number.
    pub(super) fn own<'a>(&'a self, shared: &Shared) -> (Vec<Own<'a>>, Vec<NodeName>) {
        let quiet = self.quiet();
        let (mut told, mut left) = (Vec::new(), Vec::new());
        for pair in self.pairs.iter().filter(|pair| !quiet.contains(&pair.other.node)) {
            let verdict = pair.verdict().filter(|verdict| !shared.verdicts.contains(verdict));
            let own: Vec<&Difference> = pair.differences.iter().filter(|d| !shared.keys.contains(&key(d))).collect();
            if own.is_empty() && verdict.is_none() && pair.notes.is_empty() && !pair.is_quiet() {
                continue;
            }
            if told.len() >= NODES {
                left.push(pair.other.node.clone());
                continue;
            }
            let more = own.len().saturating_sub(TOLD) + pair.more;
            told.push(Own { pair, verdict, differences: own.into_iter().take(TOLD).collect(), more });
        }
        (told, left)
    }
}
