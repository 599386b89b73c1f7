//! The healthy node that others are held against: named by the operator, else the one most like those that are not well, so that
//! what differs is not everything. The same nodes always give the same choice.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::shared::may_be;
use super::{Health, Places, health};
use crate::analyze::node::NodeAnalysis;
use crate::inventory::NodeName;
use crate::printable::printable;

/// Characters of the sentence.
const SENTENCE: usize = 400;

type Choice<'a> = (Option<&'a NodeAnalysis>, Option<String>);

/// Takes the node the operator named, and says if it is not fit for it.
pub(super) fn named<'a>(nodes: &'a [NodeAnalysis], name: &NodeName, places: &Places) -> Choice<'a> {
    let Some(node) = nodes.iter().find(|node| node.node == *name) else {
        let why = format!("{name} is not among these nodes, so nothing was held against it; name one of them");
        return (None, Some(why));
    };
    let ready = places.get(name).and_then(|place| place.ready);
    let why = match health(node, places) {
        Health::Sick => {
            format!(
                "{name} was named, and is itself not well: {}; what it shares with others does not show",
                node.verdict.sentence
            )
        }
        _ if ready == Some(false) => format!("{name} was named, and is itself not Ready by the cluster"),
        Health::Unknown => format!("{name} was named; too little of it was looked at to say that it is well"),
        Health::Well => format!("{name} was named, and nothing wrong was recognised on it"),
    };
    (Some(node), Some(printable(&why, SENTENCE)))
}

/// What a node is like, in the order of its weight.
fn likeness(node: &NodeAnalysis) -> [(&'static str, Option<String>); 5] {
    let about = &node.about;
    [
        ("runtime", about.runtime.clone()),
        ("kernel", about.kernel.clone()),
        ("kubelet", about.kubelet.clone()),
        ("containerd", about.containerd.clone()),
        ("os", about.os.clone()),
    ]
}

/// Returns the most frequent of some values; of equally frequent ones the least.
fn most_frequent(values: impl Iterator<Item = String>) -> Option<String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    values.for_each(|value| *count.entry(value).or_default() += 1);
    count.into_iter().max_by_key(|(value, n)| (*n, Reverse(value.clone()))).map(|(value, _)| value)
}

/// Chooses the healthy node that is most like the sick ones: of their pool, size and versions, with the most evidence.
pub(super) fn chosen<'a>(sick: &[&'a NodeAnalysis], well: &[&'a NodeAnalysis], places: &Places) -> Choice<'a> {
    if sick.is_empty() {
        return (None, None);
    }
    let pool_of = |node: &NodeAnalysis| places.get(&node.node).and_then(|place| place.pool.clone());
    let ready = |node: &NodeAnalysis| places.get(&node.node).and_then(|place| place.ready) == Some(true);
    let pool = most_frequent(sick.iter().filter_map(|node| pool_of(node)));
    let cpus = most_frequent(sick.iter().filter_map(|node| Some(node.about.cpus?.to_string())));
    let common: BTreeMap<&str, String> = (0..5)
        .filter_map(|at| {
            let name = likeness(sick.first()?).get(at)?.0;
            let values = sick.iter().filter_map(|node| likeness(node).get(at).and_then(|(_, value)| value.clone()));
            Some((name, most_frequent(values)?))
        })
        .collect();
    let same = |node: &NodeAnalysis| -> Vec<&'static str> {
        likeness(node)
            .into_iter()
            .filter_map(|(name, value)| {
                value.filter(|value| common.get(name).is_some_and(|most| may_be(most, value))).map(|_| name)
            })
            .collect()
    };
    let score = |node: &NodeAnalysis| {
        let of_pool = pool.is_some() && pool_of(node) == pool;
        let size = cpus.is_some() && node.about.cpus.map(|n| n.to_string()) == cpus;
        let evidence = usize::from(node.figures.relist.is_some()) + usize::from(!node.figures.goroutines.is_empty());
        (of_pool, ready(node), size, same(node).len(), evidence)
    };
    let Some(best) = well.iter().copied().max_by_key(|node| (score(node), Reverse(node.node.clone()))) else {
        let why = "no node among these is known to be healthy; collect from a healthy one of the same pool, too";
        return (None, Some(why.to_owned()));
    };
    let mut signs = Vec::new();
    signs.extend(ready(best).then(|| "Ready".to_owned()));
    signs.extend(pool.filter(|pool| pool_of(best).as_ref() == Some(pool)).map(|pool| format!("of pool {pool}")));
    let alike = same(best);
    let other: Vec<&str> = likeness(best)
        .into_iter()
        .filter(|(name, value)| value.is_some() && common.contains_key(name) && !alike.contains(name))
        .map(|(name, _)| name)
        .collect();
    let with = |names: &[&str]| names.join(", ");
    let alike =
        if alike.is_empty() { String::new() } else { format!("; same {} as most that are not well", with(&alike)) };
    let other = if other.is_empty() { String::new() } else { format!("; other {}", with(&other)) };
    let signs = if signs.is_empty() { String::new() } else { format!(": {}", signs.join(", ")) };
    let chosen = match well.len() {
        1 => "is the only healthy node".to_owned(),
        n => format!("was chosen of {n} healthy nodes"),
    };
    let why = format!("{} {chosen}{signs}{alike}{other}", best.node);
    (Some(best), Some(printable(&why, SENTENCE)))
}
