//! Changes in force at this moment, over all nodes: what must be named when the run ends at once, or
//! a node's task dies, before they were seen to be undone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::ChangeSummary;
use crate::inventory::NodeName;

/// See the module; clones share it.
#[derive(Debug, Clone, Default)]
pub struct OpenChanges(Arc<Mutex<BTreeMap<NodeName, ChangeSummary>>>);

impl OpenChanges {
    /// Notes that a node is about to be changed; `told` is what to say should the run end now.
    pub(crate) fn opened(&self, node: &NodeName, told: ChangeSummary) {
        self.lock().insert(node.clone(), told);
    }

    /// Notes that the end of the node's change is known and told elsewhere.
    pub(crate) fn closed(&self, node: &NodeName) {
        self.lock().remove(node);
    }

    /// Returns what to say of a node whose task died.
    pub(crate) fn of(&self, node: &NodeName) -> Option<ChangeSummary> {
        self.lock().get(node).cloned()
    }

    /// Returns all that is open, by node.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeName, ChangeSummary)> {
        self.lock().iter().map(|(node, told)| (node.clone(), told.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, ChangeSummary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
