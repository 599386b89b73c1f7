//! One phase of a node: its steps in order, several at a time, heavy ones one at a time. A lost
//! link is mended once a phase; whatever is not run is recorded with the reason. Knows nothing of
//! bundles, events and SSH: those are behind [`Ground`]. Called by `node.rs`.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::stop::NodeStop;
use crate::bundle::BundleError;
use crate::event::StepCounts;
use crate::evidence::{Outcome, StepRecord};
use crate::plan::{Action, PlannedStep, Run};
use crate::session::{FailureKind, Session, SessionError};

/// What a phase needs of a connection.
pub(crate) trait Link: Send + Sync {
    /// Steps that may run at a time now.
    fn slots(&self) -> usize;
    /// Why the connection is gone, if it is.
    fn lost(&self) -> Option<SessionError>;
}

impl Link for Session {
    fn slots(&self) -> usize {
        Self::slots(self)
    }

    fn lost(&self) -> Option<SessionError> {
        self.is_closed().then(|| {
            self.cause_of_death().unwrap_or_else(|| SessionError::new(FailureKind::LinkLost, "the link was lost"))
        })
    }
}

/// What a phase stands on: the node's connection, bundle and events.
pub(crate) trait Ground: Sync {
    /// A connection.
    type Link: Link;

    /// Runs a step and records it; the second value is why it did not start, if it did not.
    ///
    /// # Errors
    /// When its evidence or its record could not be stored.
    fn run(
        &self,
        link: &Self::Link,
        step: &PlannedStep,
        run: &Run,
    ) -> impl Future<Output = Result<(StepRecord, Option<SessionError>), BundleError>> + Send;

    /// Records a step that is not run.
    ///
    /// # Errors
    /// When the record could not be stored.
    fn record(&self, record: StepRecord) -> impl Future<Output = Result<(), BundleError>> + Send;

    /// Replaces a connection that is gone, telling the operator for how many steps.
    fn reconnect(
        &self,
        gone: Self::Link,
        error: &SessionError,
        left: usize,
    ) -> impl Future<Output = Result<Self::Link, (Self::Link, SessionError)>> + Send;
}

/// What has become of the steps so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: StepCounts,
    /// Steps that are not clean, `id: outcome: detail`.
    pub(crate) missing: Vec<String>,
    /// Steps that want root's rights and ran without.
    pub(crate) without_rights: usize,
    /// Why the connection was given up.
    pub(crate) failure: Option<SessionError>,
    /// Nothing more can be written here.
    pub(crate) disk: Option<BundleError>,
}

impl Tally {
    pub(crate) fn count(&mut self, record: &StepRecord) {
        self.counts.add(record.outcome);
        if !record.outcome.is_clean() {
            let detail = record.detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default();
            self.missing.push(format!("{}: {}{detail}", record.id, record.outcome.word()));
        }
    }
}

impl Tally {
    /// Adds what has become of other steps of the node.
    pub(crate) fn merge(&mut self, other: Self) {
        self.counts.merge(&other.counts);
        self.missing.extend(other.missing);
        self.without_rights += other.without_rights;
        self.failure = self.failure.take().or(other.failure);
        self.disk = self.disk.take().or(other.disk);
    }
}

/// Returns the record of a step that is not run.
pub(crate) fn not_run(step: &PlannedStep, outcome: Outcome, reason: String) -> StepRecord {
    StepRecord {
        id: step.id.clone(),
        phase: step.phase,
        command: String::new(),
        as_root: None,
        started: None,
        duration_ms: 0,
        outcome,
        detail: Some(reason),
        exit_status: None,
        signal: None,
        wire_bytes: 0,
        files: Vec::new(),
    }
}

/// The steps of one phase on their way.
pub(crate) struct PhaseRun<'a, G> {
    ground: &'a G,
    /// Steps at a time, of which the connection may allow fewer.
    parallel: usize,
    stop: &'a NodeStop,
    tally: &'a mut Tally,
    queue: VecDeque<&'a PlannedStep>,
}

impl<'a, G: Ground> PhaseRun<'a, G> {
    pub(crate) fn new(
        ground: &'a G,
        parallel: usize,
        stop: &'a NodeStop,
        tally: &'a mut Tally,
        steps: impl Iterator<Item = &'a PlannedStep>,
    ) -> Self {
        Self { ground, parallel, stop, tally, queue: steps.collect() }
    }

    /// Runs or records every step; returns the connection in use at the end.
    ///
    /// # Cancel safety
    /// Not to be dropped: steps would be missing from the bundle. Use the stop.
    pub(crate) async fn finish(mut self, mut link: G::Link) -> G::Link {
        let mut mended = false;
        loop {
            let Some(error) = self.work(&link).await else { return link };
            if mended || self.queue.is_empty() || self.stop.cause().is_some() {
                self.give_up(&error).await;
                self.tally.failure.get_or_insert(error);
                return link;
            }
            mended = true;
            link = match self.ground.reconnect(link, &error, self.queue.len()).await {
                Ok(again) => again,
                Err((gone, error)) => {
                    self.give_up(&error).await;
                    self.tally.failure.get_or_insert(error);
                    return gone;
                }
            };
        }
    }

    /// Starts steps in order while there is room, until the queue is empty or the link is gone;
    /// always drains what it started. Returns the failure that ended the link, if one did.
    async fn work(&mut self, link: &G::Link) -> Option<SessionError> {
        let mut running = FuturesUnordered::new();
        let mut heavy = false;
        let mut lost: Option<SessionError> = None;
        loop {
            while lost.is_none() && self.tally.disk.is_none() {
                let Some(step) = self.queue.front().copied() else { break };
                if let Action::Run(run) = &step.action
                    && self.stop.cause().is_none()
                {
                    lost = link.lost();
                    let room = self.parallel.min(link.slots()).max(1);
                    if lost.is_some() || running.len() >= room || (heavy && step.heavy) {
                        break;
                    }
                    heavy |= step.heavy;
                    let ground = self.ground;
                    running.push(async move { (step, ground.run(link, step, run).await) });
                } else {
                    self.pass(step, None).await;
                }
                self.queue.pop_front();
            }
            let Some((step, result)) = running.next().await else { break };
            if step.heavy {
                heavy = false;
            }
            match result {
                Ok((record, failure)) => {
                    if let Some(error) = failure
                        && matches!(error.kind, FailureKind::LinkLost | FailureKind::ExecStalled)
                    {
                        lost.get_or_insert(error);
                    }
                    if record.as_root == Some(false) && matches!(&step.action, Action::Run(run) if run.privileged) {
                        self.tally.without_rights += 1;
                    }
                    self.tally.count(&record);
                }
                Err(error) => {
                    self.tally.count(&not_run(step, Outcome::Failed, error.to_string()));
                    self.tally.disk.get_or_insert(error);
                }
            }
        }
        if self.tally.disk.is_some() {
            let reason = SessionError::new(FailureKind::Other, "its evidence could not be stored");
            self.give_up(&reason).await;
            return None;
        }
        lost
    }

    /// Records every step still queued.
    async fn give_up(&mut self, error: &SessionError) {
        while let Some(step) = self.queue.pop_front() {
            self.pass(step, Some(error)).await;
        }
    }

    /// Records a step that is not run: for its own reason, because the node's work was stopped,
    /// or because of `error`.
    async fn pass(&mut self, step: &PlannedStep, error: Option<&SessionError>) {
        let (outcome, reason) = match (&step.action, self.stop.cause(), error) {
            (Action::Absent(reason), ..) => (Outcome::Absent, reason.clone()),
            (Action::Skipped(reason), ..) => (Outcome::Skipped, reason.clone()),
            (Action::Run(_) | Action::Kubelet(_) | Action::Change(_), Some(cause), _) => {
                (cause.outcome(), cause.text())
            }
            (Action::Run(_) | Action::Kubelet(_) | Action::Change(_), None, Some(error)) => {
                (Outcome::Lost, format!("not run: {}", error.text))
            }
            (Action::Run(_) | Action::Kubelet(_) | Action::Change(_), None, None) => {
                (Outcome::Lost, "not run".to_owned())
            }
        };
        let record = not_run(step, outcome, reason);
        self.tally.count(&record);
        if let Err(error) = self.ground.record(record).await {
            self.tally.disk.get_or_insert(error);
        }
    }
}

#[cfg(test)]
#[path = "phase_tests.rs"]
mod tests;
