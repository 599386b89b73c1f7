//! One view over nodes and sources: what happened when, by the operator's clock.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::moment::{BOOTED, Moment, MomentKind, thin};
use super::node::NodeAnalysis;
use crate::inventory::NodeName;

/// Moments of a timeline; beyond, the least grave are taken together.
pub const MOST: usize = 5000;
/// Two collections of one node tell the same within this; their clock offsets were measured anew.
const SAME: SignedDuration = SignedDuration::from_secs(2);
/// The same of the boot, which is reckoned back from the probe, and in older bundles from the first step.
const SAME_BOOT: SignedDuration = SignedDuration::from_mins(3);

/// Merges what happened on all nodes, in order of time, clock offsets taken out. What several collections of one node tell
/// is told once. At most 5,000 moments, or three of each node if there are more nodes than that allows: the least grave of a
/// node are taken together, with their count.
#[must_use]
pub fn merge(nodes: &[NodeAnalysis]) -> Vec<Moment> {
    let mut all: Vec<(usize, Moment)> = Vec::new();
    for (source, node) in nodes.iter().enumerate() {
        let offset = SignedDuration::from_millis(node.about.clock_offset_ms.unwrap_or_default());
        all.extend(node.moments.iter().cloned().map(|mut moment| {
            moment.time = moment.time.checked_sub(offset).unwrap_or(moment.time);
            moment.until = moment.until.map(|time| time.checked_sub(offset).unwrap_or(time));
            (source, moment)
        }));
    }
    all.sort_by_key(|(_, moment)| moment.time);
    let mut merged = once(all);
    thin::thin(&mut merged, MOST);
    thin::sort(&mut merged);
    merged
}

/// Leaves out what another collection of the same node tells, too; of two bursts the longer one stays.
fn once(all: Vec<(usize, Moment)>) -> Vec<Moment> {
    let mut kept: Vec<(usize, Moment)> = Vec::with_capacity(all.len());
    let mut last: HashMap<(NodeName, MomentKind, String), usize> = HashMap::new();
    for (source, moment) in all {
        let key = (moment.node.clone(), moment.kind, moment.what().to_owned());
        let within = if moment.what() == BOOTED { SAME_BOOT } else { SAME };
        let known = last.get(&key).and_then(|at| kept.get_mut(*at));
        let same = known.filter(|(from, before)| *from != source && moment.time.duration_since(before.time) <= within);
        if let Some((_, before)) = same {
            if moment.count > before.count {
                // Where it stands, it stays: later ones are compared by time.
                *before = Moment { time: before.time, ..moment };
            }
        } else {
            last.insert(key, kept.len());
            kept.push((source, moment));
        }
    }
    kept.into_iter().map(|(_, moment)| moment).collect()
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
