//! Changes in force at this moment, over all nodes: what must be named when the run ends at once, or
//! a node's task dies, before they were seen to be undone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::ChangeSummary;
use crate::inventory::NodeName;
use crate::plan::ChangeId;

/// See the module; clones share it.
#[derive(Debug, Clone, Default)]
pub struct OpenChanges(Arc<Mutex<Open>>);

type Open = BTreeMap<(NodeName, ChangeId), ChangeSummary>;

impl OpenChanges {
    /// Notes that a node is about to be changed; `told` is what to say should the run end now.
    pub(crate) fn opened(&self, node: &NodeName, told: ChangeSummary) {
        self.lock().insert((node.clone(), told.change), told);
    }

    /// Notes that the end of one of the node's changes is known and told elsewhere.
    pub(crate) fn closed(&self, node: &NodeName, change: ChangeId) {
        self.lock().remove(&(node.clone(), change));
    }

    /// Returns what to say of a node whose task died.
    pub(crate) fn of(&self, node: &NodeName) -> Vec<ChangeSummary> {
        self.lock().iter().filter(|((of, _), _)| of == node).map(|(_, told)| told.clone()).collect()
    }

    /// Returns all that is open, by node.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeName, ChangeSummary)> {
        self.lock().iter().map(|((node, _), told)| (node.clone(), told.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::ChangeState;

    #[test]
    fn two_changes_of_a_node_are_named_until_each_has_ended() {
        let (open, node) = (OpenChanges::default(), "n1".parse::<NodeName>().unwrap());
        for change in [ChangeId::DockerdDebug, ChangeId::KubeletVerbosity] {
            let told = ChangeSummary { change, state: ChangeState::StillChanged, text: change.to_string(), mend: None };
            open.opened(&node, told);
        }
        assert_eq!(open.all().len(), 2);
        open.closed(&node, ChangeId::DockerdDebug);
        let left: Vec<ChangeId> = open.of(&node).iter().map(|told| told.change).collect();
        assert_eq!(left, [ChangeId::KubeletVerbosity]);
    }
}
