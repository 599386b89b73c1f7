//! What differs between two looks: at two nodes, or at one node at two times. Judges nothing; the most telling comes first.
//!
//! What counts as a difference, and in which order it is told:
//!
//! - findings above info that are new, gone, graver or less grave; where the evidence of one look is missing, that is said instead;
//! - the machine or a daemon started again, versions and settings (both known, and not the same);
//! - figures that differ by a factor *and* by a least amount, both by kind (`limits.rs`); latencies by a factor of 2 and 0.1 s;
//! - goroutines: a total 1.5 times the other and 50 apart; a group of 5 or more that is not in the base at all, or twice as large and
//!   5 more; a single one in relist, or that waits for a lock for a minute or more;
//! - rates: of one node within one boot, by how much a counter grew from one look to the other; else by how fast it grew within each
//!   look. Never across a start of the process that counts.

mod figures;
mod findings;
mod goroutines;
mod limits;
mod rates;
#[cfg(test)]
pub(super) mod tests;
mod versions;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::node::NodeAnalysis;
use crate::printable::printable;

/// Characters of a text.
const TEXT: usize = 500;

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// What differs: `kernel`, `goroutines of dockerd`, `relist p99`.
    pub what: String,
    /// What kind.
    pub kind: DifferenceKind,
    /// There; `None`: not there at all.
    pub base: Option<String>,
    /// Here; `None`: not here at all.
    pub other: Option<String>,
    /// One line, printable.
    pub text: String,
}

/// What kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// A finding that is new, gone, or graver.
    Finding,
    /// A version, a size or a setting; that the machine or a daemon was started again.
    Version,
    /// A count, a size, a latency.
    Figure,
    /// A rate.
    Rate,
    /// Goroutines in a place.
    Goroutines,
}

/// A difference and how telling it is.
struct Told {
    weight: u32,
    difference: Difference,
}

impl Told {
    fn new(
        weight: u32,
        kind: DifferenceKind,
        what: &str,
        base: Option<String>,
        other: Option<String>,
        text: &str,
    ) -> Self {
        let safe = |text: String| printable(&text, TEXT);
        let difference = Difference {
            what: printable(what, TEXT),
            kind,
            base: base.map(safe),
            other: other.map(safe),
            text: printable(text, TEXT),
        };
        Self { weight, difference }
    }
}

/// Compares two looks; `base` is the healthy node or the earlier time. The most telling first; as many as there are, which is
/// bounded by what is kept of a node.
#[must_use]
pub fn compare(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Difference> {
    let mut all = findings::differences(base, other);
    all.extend(versions::differences(base, other));
    all.extend(figures::differences(&base.figures, &other.figures));
    all.extend(goroutines::differences(&base.figures, &other.figures));
    all.extend(rates::differences(base, other));
    all.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.difference.what.cmp(&b.difference.what)));
    all.into_iter().map(|told| told.difference).collect()
}

/// Tells whether two looks are at one node within one boot; `None` where a boot is not known.
#[must_use]
pub fn same_boot(base: &NodeAnalysis, other: &NodeAnalysis) -> Option<bool> {
    if base.node != other.node {
        return Some(false);
    }
    Some(base.about.boot_id.as_ref()? == other.about.boot_id.as_ref()?)
}

/// Returns how much later the other look was, by the clocks of the nodes; negative if it was the earlier one.
#[must_use]
pub fn apart(base: &NodeAnalysis, other: &NodeAnalysis) -> Option<SignedDuration> {
    Some(other.about.collected?.duration_since(base.about.collected?))
}
