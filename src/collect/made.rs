//! Evidence that a change makes: which step is which, and how it gets into the bundle. The second half
//! of `changes.rs`.

use std::time::Instant;

use jiff::Timestamp;

use super::changes::Changes;
use super::phase::not_run;
use super::step::StepTally;
use crate::bundle::StepEnd;
use crate::change::ChangeRecord;
use crate::change::dockerd_debug::mend;
use crate::change::stack_dump::Subject;
use crate::event::{ChangeSummary, EventKind};
use crate::evidence::{ChangeState, Outcome, StepRecord};
use crate::plan::{ChangeId, ChangeStep, LogOf, PlannedStep, StepId};

/// What a step made by a change holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// A daemon's stacks, first or second sample.
    Stacks { subject: Subject, sample: u8 },
    /// The stacks of shims.
    Shims,
    /// What a daemon logged in the debug window.
    Window(LogOf),
    /// What the kubelet logged while its verbosity was raised.
    Verbose,
}

impl Made {
    pub(super) fn of(id: &StepId) -> Option<Self> {
        Some(match id.as_str() {
            "docker/stacks-1" => Self::Stacks { subject: Subject::Dockerd, sample: 1 },
            "docker/stacks-2" => Self::Stacks { subject: Subject::Dockerd, sample: 2 },
            "containerd/stacks-1" => Self::Stacks { subject: Subject::Containerd, sample: 1 },
            "containerd/stacks-2" => Self::Stacks { subject: Subject::Containerd, sample: 2 },
            "containerd/shims" => Self::Shims,
            "docker/journal-window" => Self::Window(LogOf::Docker),
            "containerd/journal-window" => Self::Window(LogOf::Containerd),
            "kubelet/journal-window" => Self::Window(LogOf::Kubelet),
            "kubelet/journal-verbose" => Self::Verbose,
            _ => return None,
        })
    }

    pub(super) const fn subject(self) -> Option<Subject> {
        match self {
            Self::Stacks { subject, .. } => Some(subject),
            Self::Shims | Self::Window(_) | Self::Verbose => None,
        }
    }
}

/// A step of ours on its way into the bundle.
pub(super) struct Taking<'a> {
    pub(super) sink: StepTally<'a>,
    started: Timestamp,
    clock: Instant,
}

/// Returns how a step ended by what came of it.
pub(super) fn verdict(complete: bool, text: &str) -> (Outcome, Option<String>) {
    let detail = (!text.is_empty()).then(|| text.to_owned());
    (if complete { Outcome::Complete } else { Outcome::Failed }, detail)
}

impl<'a> Changes<'a> {
    /// Begins a step; `None` if the local disk takes no more.
    pub(super) async fn begin(&mut self, step: &'a PlannedStep, how: &ChangeStep) -> Option<Taking<'a>> {
        let ground = self.ground;
        let node = &ground.target.name;
        let timeout = how.bounds.timeout;
        ground.ctx.events.send(EventKind::StepStarted { node: node.clone(), step: step.id.clone(), timeout }).await;
        match ground.bundle.step(step, how.encoding, how.bounds.max_bytes).await {
            Ok(sink) => {
                let sink = StepTally::new(sink, &ground.ctx.events, node, step);
                Some(Taking { sink, started: Timestamp::now(), clock: Instant::now() })
            }
            Err(error) => {
                self.pass(step, Outcome::Failed, error.to_string()).await;
                self.tally.disk.get_or_insert(error);
                None
            }
        }
    }

    /// Ends a step.
    pub(super) async fn finish(&mut self, taking: Taking<'a>, command: &str, end: (Outcome, Option<String>)) {
        let step = taking.sink.step();
        let end = StepEnd {
            command: command.to_owned(),
            as_root: Some(true),
            started: taking.started,
            duration: taking.clock.elapsed(),
            outcome: end.0,
            detail: end.1,
            exit_status: None,
            signal: None,
            hung: None,
        };
        match taking.sink.finish(end).await {
            Ok(record) => self.count(record).await,
            Err(error) => {
                self.count(not_run(step, Outcome::Failed, error.to_string())).await;
                self.tally.disk.get_or_insert(error);
            }
        }
    }

    /// Records a step that is not run.
    pub(super) async fn pass(&mut self, step: &PlannedStep, outcome: Outcome, why: String) {
        let record = not_run(step, outcome, why);
        match self.ground.bundle.record(record.clone()).await {
            Ok(record) => self.count(record).await,
            Err(error) => {
                self.count(record).await;
                self.tally.disk.get_or_insert(error);
            }
        }
    }

    /// Records a step that is not run because the work was stopped, the local disk takes no more, or the link is gone.
    pub(super) async fn pass_stopped(&mut self, step: &PlannedStep) {
        let (outcome, why) = match self.ground.stop.cause() {
            Some(cause) => (cause.outcome(), cause.text()),
            None if self.tally.disk.is_some() => {
                (Outcome::Lost, "not run: its evidence could not be stored".to_owned())
            }
            None => (Outcome::Lost, "not run: the link was lost".to_owned()),
        };
        self.pass(step, outcome, why).await;
    }

    async fn count(&mut self, record: StepRecord) {
        self.tally.count(&record);
        self.ground.tell(record).await;
    }

    /// Tells the display what became of a change.
    pub(super) async fn tell(&self, record: &ChangeRecord) {
        let text = self.ground.ctx.bundle.redactor.text(&record.text);
        let (node, change) = (self.ground.target.name.clone(), record.change);
        self.ground.ctx.events.send(EventKind::Change { node, change, state: Some(record.state), text }).await;
    }

    /// Puts the node's name into the command that mends it.
    pub(super) fn with_node(&self, mut record: ChangeRecord) -> ChangeRecord {
        if record.state == ChangeState::StillChanged {
            record.mend = Some(self.mend());
        }
        record
    }

    /// Returns the command that mends the node.
    pub(super) fn mend(&self) -> String {
        let (name, run) = (&self.ground.target.name, &self.ground.ctx.run);
        let command = mend(run.spelled.get(name).map_or(name.as_str(), String::as_str));
        match run.way.as_str() {
            "" => command,
            way => format!("{command} {way}"),
        }
    }

    /// What to say of the node should this program end while it is changed.
    pub(super) fn told_if_we_die(&self) -> ChangeSummary {
        let lease = humantime::format_duration(self.policy.lease);
        ChangeSummary {
            change: ChangeId::DockerdDebug,
            state: ChangeState::StillChanged,
            text: format!(
                "dockerd debug may have been on when the run ended; the guard on the node switches it off within {lease} and a few seconds"
            ),
            mend: Some(self.mend()),
        }
    }

    /// The same of the kubelet's verbosity, which nothing on the node puts back.
    pub(super) fn told_of_verbosity(&self) -> ChangeSummary {
        let level = self.policy.kubelet_verbosity.unwrap_or_default();
        ChangeSummary {
            change: ChangeId::KubeletVerbosity,
            state: ChangeState::StillChanged,
            text: format!(
                "the kubelet may log at level {level} since the run ended, until it is restarted or put back with its credential"
            ),
            mend: Some(self.mend()),
        }
    }
}
