//! How far the evidence itself can be trusted: bundles that do not hold what their manifest says, that were never sealed, or
//! files too large to be read whole. Judges no node.

use super::Rule;
use super::note::some;
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::view::NodeView;
use crate::wording;

pub(super) const RULE: Rule =
    Rule { id: "evidence", about: "bundles that are not whole, or not what their manifest says", reads: &[], check };

fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    if !view.altered.is_empty() {
        let sentence = format!(
            "The bundle is not what it was when it was sealed: {}. What is said here of these files may not be what the node \
             said.",
            some(&view.altered, 3)
        );
        let next =
            "plegcollect verify on it tells everything that differs; take the bundle from where it was collected.";
        found.push(Finding::new(&view.node, "evidence/altered", Severity::Warning, &sentence).then(next));
    }
    if let Some(why) = &view.unfinished {
        let sentence =
            format!("The bundle is not whole, {} in it ended: {why}.", wording::count(view.steps.len(), "step"));
        found.push(Finding::new(&view.node, "evidence/incomplete", Severity::Info, &sentence));
    }
    if !view.limits.is_empty() {
        let sentence = format!("Only the beginning was read of some files: {}.", some(&view.limits, 4));
        found.push(Finding::new(&view.node, "evidence-size/incomplete", Severity::Info, &sentence));
    }
    found
}
