//! What the sick nodes of a group have in common and no healthy node has. Always with counts: of few nodes it may be chance.

use std::collections::BTreeMap;

use super::Places;
use crate::analyze::node::NodeAnalysis;
use crate::printable::printable;

/// Phrases of one group.
const PHRASES: usize = 8;
/// Sick nodes; one alone shares nothing.
const SICK: usize = 2;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Returns what can be shared by nodes: name in the report, and value.
fn traits(node: &NodeAnalysis, places: &Places) -> Vec<(String, String)> {
    let about = &node.about;
    let gib = |kib: u64| format!("{} GiB", (kib + (1 << 19)) >> 20);
    let pool = places.get(&node.node).and_then(|place| place.pool.clone());
    let mut found: Vec<(String, String)> = [
        ("kernel", about.kernel.clone()),
        ("runtime", about.runtime.clone()),
        ("containerd", about.containerd.clone()),
        ("kubelet", about.kubelet.clone()),
        ("os", about.os.clone()),
        ("pool", pool),
        ("processors", about.cpus.map(|n| n.to_string())),
        ("memory", about.memory_kib.map(gib)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    found.extend(about.settings.iter().map(|(name, value)| (name.clone(), value.clone())));
    found
}

/// Returns one phrase for each thing that all of `sick` have and none of `well`.
pub(super) fn shared(sick: &[&NodeAnalysis], well: &[&NodeAnalysis], places: &Places) -> Vec<String> {
    let Some(first) = sick.first().filter(|_| sick.len() >= SICK && !well.is_empty()) else { return Vec::new() };
    let of = |nodes: &[&NodeAnalysis]| -> Vec<BTreeMap<String, String>> {
        nodes.iter().map(|node| traits(node, places).into_iter().collect()).collect()
    };
    let (ill, fit) = (of(sick), of(well));
    let mut phrases: Vec<String> = Vec::new();
    for (name, value) in traits(first, places) {
        let known: Vec<&String> = fit.iter().filter_map(|traits| traits.get(&name)).collect();
        let alike = ill.iter().all(|traits| traits.get(&name) == Some(&value));
        if alike && !known.is_empty() && !known.iter().any(|known| may_be(known, &value)) {
            phrases.push(format!("{name} {value}: {}", counts(sick.len(), known.len())));
        }
    }
    phrases.extend(age(sick, well));
    phrases.truncate(PHRASES);
    phrases.into_iter().map(|phrase| printable(&phrase, 300)).collect()
}

/// Tells whether two values may be of one thing: a runtime that does not answer does not tell its version.
pub(super) fn may_be(one: &str, other: &str) -> bool {
    let unversioned = |short: &str, long: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with(' '));
    one == other || unversioned(one, other) || unversioned(other, one)
}

fn counts(sick: usize, known: usize) -> String {
    format!("{sick} of {sick} sick, 0 of {known} healthy")
}

/// Tells when all sick nodes were booted long before, or shortly after, all healthy ones.
fn age(sick: &[&NodeAnalysis], well: &[&NodeAnalysis]) -> Option<String> {
    let up = |node: &NodeAnalysis| {
        Some(node.about.collected?.duration_since(node.about.booted?).as_secs()).filter(|seconds| *seconds > 0)
    };
    let all = |nodes: &[&NodeAnalysis]| nodes.iter().map(|node| up(node)).collect::<Option<Vec<i64>>>();
    let (ill, fit) = (all(sick)?, all(well)?);
    let (least, most) = (*ill.iter().min()?, *ill.iter().max()?);
    let (least_fit, most_fit) = (*fit.iter().min()?, *fit.iter().max()?);
    let counts = counts(sick.len(), well.len());
    if least >= 7 * DAY && least / 2 >= most_fit {
        return Some(format!("up for {} days or more: {counts}", least / DAY));
    }
    (most < DAY && least_fit >= 7 * DAY).then(|| format!("booted within the last day: {counts}"))
}
