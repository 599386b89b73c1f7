//! The board: what is going on right now, kept up to date from events. Holds numbers and names
//! only; `frame.rs` makes lines of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{Event, EventKind, NodeResult};
use crate::inventory::NodeName;
use crate::plan::{ChangeId, StepId};

/// State of the whole run.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) started: Option<Timestamp>,
    pub(crate) total: usize,
    pub(crate) done: usize,
    pub(crate) partial: usize,
    pub(crate) unreached: usize,
    pub(crate) steps: usize,
    /// Bytes of finished steps; those under way are in their flights.
    bytes: u64,
    pub(crate) stopping: bool,
    /// Nodes in flight in the order they were started, so that rows stay where they are.
    flights: BTreeMap<u64, Flight>,
    numbers: HashMap<NodeName, u64>,
    next: u64,
}

/// A node in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) node: NodeName,
    pub(crate) since: Timestamp,
    pub(crate) deadline: Duration,
    pub(crate) stage: Stage,
    pub(crate) planned: Option<usize>,
    pub(crate) finished: usize,
    bytes: u64,
    /// Oldest first.
    pub(crate) steps: Vec<Running>,
    /// A change in force on the node.
    pub(crate) changed: Option<ChangeId>,
}

/// How far a node has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    Retrying(u32),
    Connected,
}

/// A step under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: StepId,
    pub(crate) since: Timestamp,
    pub(crate) timeout: Duration,
    bytes: u64,
}

impl Flight {
    /// Returns the bytes received, finished steps and those under way.
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.iter().fold(self.bytes, |sum, s| sum.saturating_add(s.bytes))
    }
}

impl Board {
    /// Returns the bytes received of the whole run.
    pub(crate) fn bytes(&self) -> u64 {
        let under_way = self.flights.values().flat_map(|f| &f.steps).map(|s| s.bytes);
        under_way.fold(self.bytes, u64::saturating_add)
    }

    /// Returns the nodes in flight, longest first.
    pub(crate) fn flights(&self) -> impl ExactSizeIterator<Item = &Flight> {
        self.flights.values()
    }

    fn flight(&mut self, node: &NodeName) -> Option<&mut Flight> {
        self.flights.get_mut(self.numbers.get(node)?)
    }

    /// Takes an event into account. Events about nodes that are not in flight change nothing.
    pub(crate) fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { nodes, .. } => {
                self.started = Some(event.at);
                self.total = nodes.len();
            }
            EventKind::NodeStarted { node, deadline } => {
                let number = self.next;
                self.next += 1;
                if let Some(old) = self.numbers.insert(node.clone(), number) {
                    self.flights.remove(&old);
                }
                let flight = Flight {
                    node: node.clone(),
                    since: event.at,
                    deadline: *deadline,
                    stage: Stage::Connecting,
                    planned: None,
                    finished: 0,
                    bytes: 0,
                    steps: Vec::new(),
                    changed: None,
                };
                self.flights.insert(number, flight);
            }
            EventKind::ConnectRetry { node, attempt, .. } => {
                if let Some(f) = self.flight(node) {
                    f.stage = Stage::Retrying(*attempt);
                }
            }
            EventKind::NodeConnected { node, .. } => {
                if let Some(f) = self.flight(node) {
                    f.stage = Stage::Connected;
                }
            }
            EventKind::NodePlanned { node, steps } => {
                if let Some(f) = self.flight(node) {
                    f.planned = Some(*steps);
                }
            }
            EventKind::StepStarted { node, step, timeout } => {
                let running = Running { id: step.clone(), since: event.at, timeout: *timeout, bytes: 0 };
                if let Some(f) = self.flight(node) {
                    f.steps.push(running);
                }
            }
            EventKind::Progress { node, step, bytes } => {
                if let Some(s) = self.flight(node).and_then(|f| f.steps.iter_mut().find(|s| s.id == *step)) {
                    s.bytes = *bytes;
                }
            }
            EventKind::StepFinished { node, record } => {
                self.steps += 1;
                self.bytes = self.bytes.saturating_add(record.bytes());
                if let Some(f) = self.flight(node) {
                    f.steps.retain(|s| s.id != record.id);
                    f.finished += 1;
                    f.bytes = f.bytes.saturating_add(record.bytes());
                }
            }
            EventKind::NodeFinished(summary) => {
                if let Some(number) = self.numbers.remove(&summary.node) {
                    self.flights.remove(&number);
                }
                match summary.result {
                    NodeResult::Complete => {}
                    NodeResult::Partial => self.partial += 1,
                    NodeResult::Unreached => self.unreached += 1,
                    // It neither was in flight nor is done.
                    NodeResult::NotStarted => return,
                }
                self.done += 1;
            }
            EventKind::Change { node, change, state, .. } => {
                if let Some(f) = self.flight(node) {
                    match state {
                        None => f.changed = Some(*change),
                        Some(_) if f.changed == Some(*change) => f.changed = None,
                        Some(_) => {}
                    }
                }
            }
            EventKind::Interrupted { .. } => self.stopping = true,
            EventKind::Warning { .. } | EventKind::RunFinished { .. } => {}
        }
    }
}
