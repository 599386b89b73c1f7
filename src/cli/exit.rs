//! Exit codes: documented, ordered by gravity. When several apply the gravest wins.

use crate::event::{NodeResult, NodeSummary};
use crate::evidence::ChangeState;

/// Everything that was asked for was got.
pub(crate) const COMPLETE: u8 = 0;
/// A defect of the program.
pub(crate) const INTERNAL: u8 = 1;
/// Unusable flags or patterns.
pub(crate) const USAGE: u8 = 2;
/// Inventory, key, output path or local disk not usable.
pub(crate) const SETUP: u8 = 3;
/// All nodes reached; some evidence is missing.
pub(crate) const EVIDENCE_MISSING: u8 = 10;
/// Some nodes were not reached.
pub(crate) const NODES_UNREACHED: u8 = 11;
/// No node was reached.
pub(crate) const NONE_REACHED: u8 = 12;
/// A node may still be changed.
pub(crate) const STILL_CHANGED: u8 = 20;
/// Interrupted by the operator, after what had to be undone was undone.
pub(crate) const INTERRUPTED: u8 = 130;

/// What bears on the exit code besides the nodes themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances {
    pub(crate) interrupted: bool,
    pub(crate) disk_failed: bool,
    /// Evidence of the cluster was asked for and is not whole.
    pub(crate) cluster_missing: bool,
}

/// Returns the exit code of a run.
#[must_use]
pub(crate) fn of_run(nodes: &[NodeSummary], circumstances: Circumstances) -> u8 {
    let internal = nodes.iter().any(|n| n.failure.as_deref() == Some("internal"));
    let reached = |n: &NodeSummary| matches!(n.result, NodeResult::Complete | NodeResult::Partial);
    if any_still_changed(nodes) {
        STILL_CHANGED
    } else if circumstances.interrupted {
        INTERRUPTED
    } else if internal {
        INTERNAL
    } else if circumstances.disk_failed {
        SETUP
    } else if !nodes.is_empty() && !nodes.iter().any(reached) {
        NONE_REACHED
    } else if !nodes.iter().all(reached) {
        NODES_UNREACHED
    } else if circumstances.cluster_missing || nodes.iter().any(|n| n.result != NodeResult::Complete) {
        EVIDENCE_MISSING
    } else {
        COMPLETE
    }
}

/// Returns whether one of the nodes may still be changed, which outranks everything.
#[must_use]
pub(crate) fn any_still_changed(nodes: &[NodeSummary]) -> bool {
    nodes.iter().flat_map(|n| &n.changes).any(|change| change.state == ChangeState::StillChanged)
}

/// Returns an exit code in words.
#[must_use]
pub(crate) const fn meaning(code: u8) -> &'static str {
    match code {
        COMPLETE => "all evidence there was to collect, from all nodes",
        INTERNAL => "internal error",
        USAGE => "usage error",
        SETUP => "setup error (inventory, key, output path or local disk)",
        EVIDENCE_MISSING => "all nodes reached, some evidence is missing",
        NODES_UNREACHED => "some nodes were not reached",
        NONE_REACHED => "no node was reached",
        STILL_CHANGED => "a node may still be changed: the summary names it and the command that mends it",
        INTERRUPTED => "interrupted",
        _ => "unknown",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::StepCounts;

    pub(in crate::cli) fn node(result: NodeResult, failure: Option<&str>) -> NodeSummary {
        NodeSummary {
            node: "n1".parse().unwrap(),
            result,
            steps: StepCounts::default(),
            bundle_bytes: 0,
            evidence_bytes: 0,
            took_ms: 0,
            bundle: None,
            sha256: None,
            failure: failure.map(str::to_owned),
            reason: None,
            hint: None,
            missing: Vec::new(),
            changes: Vec::new(),
            restarts: crate::event::Restarts::default(),
        }
    }

    #[test]
    fn the_gravest_wins() {
        use NodeResult::{Complete, NotStarted, Partial, Unreached};
        let calm = Circumstances::default();
        for (results, circumstances, want) in [
            (vec![Complete, Complete], calm, COMPLETE),
            (vec![Complete, Partial], calm, EVIDENCE_MISSING),
            (vec![Complete, Partial, Unreached], calm, NODES_UNREACHED),
            (vec![Complete, NotStarted], calm, NODES_UNREACHED),
            (vec![Unreached, Unreached], calm, NONE_REACHED),
            (vec![Unreached, NotStarted], calm, NONE_REACHED),
            (vec![Complete, Partial], Circumstances { disk_failed: true, ..calm }, SETUP),
            (vec![Complete, Unreached], Circumstances { interrupted: true, disk_failed: true, ..calm }, INTERRUPTED),
            (vec![Complete, Complete], Circumstances { cluster_missing: true, ..calm }, EVIDENCE_MISSING),
            (vec![Complete, Unreached], Circumstances { cluster_missing: true, ..calm }, NODES_UNREACHED),
        ] {
            let nodes: Vec<_> = results.iter().map(|r| node(*r, None)).collect();
            assert_eq!(of_run(&nodes, circumstances), want, "{results:?} {circumstances:?}");
        }
        for (state, want) in [
            (ChangeState::StillChanged, STILL_CHANGED),
            (ChangeState::Refused, INTERRUPTED),
            (ChangeState::Skipped, INTERRUPTED),
        ] {
            let mut changed = node(Complete, Some("internal"));
            let change = crate::plan::ChangeId::DockerdDebug;
            changed.changes.push(crate::event::ChangeSummary { change, state, text: String::new(), mend: None });
            let all = Circumstances { interrupted: true, disk_failed: true, cluster_missing: true };
            assert_eq!(of_run(&[changed, node(Unreached, None)], all), want);
        }
        assert_eq!(of_run(&[node(Partial, Some("internal")), node(Unreached, None)], calm), INTERNAL);
    }
}
