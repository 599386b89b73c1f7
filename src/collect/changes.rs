//! The part of a node's life in which it is changed: stacks, the debug window with the steps and the
//! second stacks in it, everything undone, and what the daemons wrote meanwhile. The order is that of
//! the evidence's worth: stacks before the window, because the window may be refused. What the changes
//! do is in `change/`; here is when, and where their evidence goes. Called by `node.rs`.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::made::{Made, verdict};
use super::node::NodeGround;
use super::phase::{PhaseRun, Tally};
use super::way::NodeWay;
use crate::bundle::layout;
use crate::change::dockerd_debug::{self, Operator};
use crate::change::journal_window::{self, Cursors, WindowEnd};
use crate::change::preflight::{self, PreflightOutcome};
use crate::change::stack_dump::{self, DumpEnd, Prepared, Subject};
use crate::change::{Applied, ChangeRecord, Check, DebugTarget, NodeShell, Permit, Scope, Way as _, recover};
use crate::event::EventKind;
use crate::evidence::{ChangeState, Outcome};
use crate::plan::{Action, ChangeId, ChangePolicy, ChangeStep, NodePlan, Phase, PlannedStep};

/// Signs of life go out this much more often than the lease needs.
const RENEWALS_PER_LEASE: u32 = 6;
/// Time for all that undoes a change, past every deadline of the run; beyond it the guard is left to do it.
const REVERT_BUDGET: Duration = Duration::from_secs(120);

/// What a node's changes stand on, and what came of them.
pub(super) struct Changes<'a> {
    pub(super) ground: &'a NodeGround<'a>,
    pub(super) way: &'a NodeWay<'a>,
    pub(super) plan: &'a NodePlan,
    pub(super) policy: &'a ChangePolicy,
    pub(super) tally: &'a mut Tally,
}

/// The stacks of one node under way.
#[derive(Default)]
struct Stacks {
    prepared: Vec<(Subject, Result<Prepared, String>)>,
    ends: Vec<(Subject, DumpEnd)>,
    records: Vec<ChangeRecord>,
    first: Option<Instant>,
}

impl<'a> Changes<'a> {
    /// Runs all of phase *during*, with the changes around it; returns what became of the changes.
    ///
    /// # Cancel safety
    /// Not to be dropped: changes would be left to the guard on the node. Use the stop.
    pub(super) async fn run(mut self) -> Vec<ChangeRecord> {
        let mut stacks = self.prepare_stacks().await;
        self.sample(&mut stacks, 1).await;
        self.shims(&mut stacks).await;
        let mut records = match self.open_window().await {
            Ok((scope, cursors)) => self.window(scope, &cursors, &mut stacks).await,
            Err(refused) => {
                self.during().await;
                self.sample_again(&mut stacks, &CancellationToken::new()).await;
                refused.into_iter().map(|record| *record).collect()
            }
        };
        records.extend(self.conclude(stacks).await);
        records
    }

    /// Returns the steps this change makes, and what is made by each.
    fn steps(&self, change: ChangeId) -> Vec<(&'a PlannedStep, &'a ChangeStep, Made)> {
        let made = |step: &'a PlannedStep| match &step.action {
            Action::Change(how) if how.change == change => Some((step, how, Made::of(&step.id)?)),
            _ => None,
        };
        self.plan.steps.iter().filter_map(made).collect()
    }

    fn shell(&self, persistent: bool) -> NodeShell<'a> {
        NodeShell { way: self.way, facts: &self.ground.facts.shell, password: self.ground.ctx.password(), persistent }
    }

    /// Runs the steps that a change does not make.
    async fn during(&mut self) {
        let steps = self
            .plan
            .steps
            .iter()
            .filter(|step| step.phase == Phase::During && !matches!(step.action, Action::Change(_)));
        let parallel = self.ground.target.parallel_steps;
        let run = PhaseRun::new(self.ground, parallel, self.ground.stop, self.tally, steps);
        run.finish(self.way.session()).await;
    }

    // --- stacks ---------------------------------------------------------------------------------

    async fn prepare_stacks(&mut self) -> Stacks {
        let mut stacks = Stacks::default();
        let steps = self.steps(ChangeId::StackDump);
        let wanted = |subject: &Subject| steps.iter().any(|(_, _, made)| made.subject() == Some(*subject));
        for subject in [Subject::Dockerd, Subject::Containerd].into_iter().filter(wanted) {
            if self.ground.stop.cause().is_some() {
                break;
            }
            let prepared = match stack_dump::prepare(&self.shell(false), self.ground.facts, subject, self.policy).await
            {
                Ok(prepared) => Ok(prepared),
                Err(record) => {
                    let record = self.with_node(*record);
                    self.tell(&record).await;
                    let why = record.text.clone();
                    stacks.records.push(record);
                    Err(why)
                }
            };
            stacks.prepared.push((subject, prepared));
        }
        stacks
    }

    /// Takes one sample of each daemon, one after the other.
    async fn sample(&mut self, stacks: &mut Stacks, sample: u8) {
        if sample == 1 {
            stacks.first = Some(Instant::now());
        }
        let run = &self.ground.ctx.run.run_id;
        for (step, how, made) in self.steps(ChangeId::StackDump) {
            let Made::Stacks { subject, sample: of } = made else { continue };
            if of != sample {
                continue;
            }
            let prepared = stacks.prepared.iter().find(|(of, _)| *of == subject).map(|(_, prepared)| prepared);
            match prepared {
                Some(Ok(prepared)) if self.ground.stop.cause().is_none() => {
                    let Ok(permit) = Permit::of(self.policy, ChangeId::StackDump) else { continue };
                    let Some(mut taking) = self.begin(step, how).await else { continue };
                    let command = format!("SIGUSR1 to {subject}, pid {}", prepared.target.process.pid);
                    let shell = self.shell(false);
                    let end =
                        stack_dump::take(&shell, prepared, permit, run, sample, &mut taking.sink, how.encoding).await;
                    self.finish(taking, &command, verdict(end.complete, &end.text)).await;
                    stacks.ends.push((subject, end));
                }
                Some(Err(why)) => self.pass(step, Outcome::Skipped, why.clone()).await,
                Some(Ok(_)) | None => self.pass_stopped(step).await,
            }
        }
    }

    /// Takes the second sample when its time has come, or at once when the work is stopped.
    async fn sample_again(&mut self, stacks: &mut Stacks, ended: &CancellationToken) {
        // Nothing is waited for where there is nothing to take: debug may be on meanwhile.
        let prepared = |subject| stacks.prepared.iter().any(|(of, prepared)| *of == subject && prepared.is_ok());
        let any = self
            .steps(ChangeId::StackDump)
            .iter()
            .any(|(_, _, made)| matches!(made, Made::Stacks { subject, sample: 2 } if prepared(*subject)));
        if let Some(first) = stacks.first.filter(|_| any) {
            self.wait_until(first + self.policy.sample_gap, ended).await;
        }
        self.sample(stacks, 2).await;
    }

    async fn shims(&mut self, stacks: &mut Stacks) {
        for (step, how, made) in self.steps(ChangeId::StackDump) {
            let (Made::Shims, Ok(permit)) = (made, Permit::of(self.policy, ChangeId::StackDump)) else { continue };
            if self.ground.stop.cause().is_some() {
                self.pass_stopped(step).await;
                continue;
            }
            let Some(mut taking) = self.begin(step, how).await else { continue };
            let shell = self.shell(false);
            let record = stack_dump::shims(&shell, self.ground.facts, self.policy, permit, &mut taking.sink).await;
            let end = match record.state {
                ChangeState::Reverted | ChangeState::EndedByRestart => (Outcome::Complete, None),
                ChangeState::Refused | ChangeState::Skipped => (Outcome::Skipped, Some(record.text.clone())),
                ChangeState::StillChanged => (Outcome::Failed, Some(record.text.clone())),
            };
            self.finish(taking, "SIGUSR1 to each containerd-shim-runc-v2", end).await;
            let record = self.with_node(record);
            self.tell(&record).await;
            stacks.records.push(record);
        }
    }

    async fn conclude(&mut self, stacks: Stacks) -> Vec<ChangeRecord> {
        let Stacks { prepared, ends, mut records, .. } = stacks;
        for (subject, prepared) in prepared {
            let Ok(prepared) = prepared else { continue };
            let mine: Vec<DumpEnd> = ends.iter().filter(|(of, _)| *of == subject).map(|(_, end)| end.clone()).collect();
            if mine.is_empty() {
                continue;
            }
            let record = self.with_node(stack_dump::conclude(&prepared, &mine, self.ground.target.name.as_str()));
            self.tell(&record).await;
            records.push(record);
        }
        records
    }

    // --- the debug window -----------------------------------------------------------------------

    /// Checks, and opens the window. `Err` holds the record of a window that was wanted and not opened.
    async fn open_window(&mut self) -> Result<(Scope, Cursors), Option<Box<ChangeRecord>>> {
        let wanted = self.steps(ChangeId::DockerdDebug);
        if wanted.is_empty() {
            return Err(None);
        }
        if self.ground.stop.cause().is_some() {
            for (step, ..) in wanted {
                self.pass_stopped(step).await;
            }
            return Err(None);
        }
        match self.try_window().await {
            Ok(opened) => Ok(opened),
            Err(record) => {
                let record = self.with_node(*record);
                for (step, ..) in wanted {
                    self.pass(step, Outcome::Skipped, record.text.clone()).await;
                }
                self.tell(&record).await;
                Err(Some(Box::new(record)))
            }
        }
    }

    async fn try_window(&mut self) -> Result<(Scope, Cursors), Box<ChangeRecord>> {
        let change = ChangeId::DockerdDebug;
        let refused = |state, text: String| Box::new(ChangeRecord::not_made(change, "dockerd", state, text));
        let permit = Permit::of(self.policy, change).map_err(|why| refused(ChangeState::Skipped, why.to_owned()))?;
        let mut record = ChangeRecord::not_made(change, "dockerd", ChangeState::Refused, "");
        let target = self.examine(&mut record).await?;

        let node = &self.ground.target.name;
        let operator = Operator {
            run_id: self.ground.ctx.run.run_id.clone(),
            who: self.ground.ctx.run.operator.clone(),
            node: node.to_string(),
        };
        // Here as well, and before anything is changed: what to put back, should the node forget.
        let receipt = Receipt { run: &operator.run_id, who: &operator.who, target: &target, checks: &record.checks };
        if let Err(error) = self.ground.bundle.add_json(layout::RECEIPT, &receipt).await {
            let text = format!("the receipt could not be stored here: {error}");
            return Err(refused(ChangeState::Refused, text));
        }
        let shell = self.shell(false);
        let cursors = journal_window::mark(&shell, self.ground.facts, &self.ground.ctx.selection.logs).await;
        self.ground.ctx.open.opened(node, self.told_if_we_die());
        let opened = dockerd_debug::open(&shell, target, self.policy, permit, &operator, record).await;
        match opened {
            Ok(window) => {
                let text = window.record().describe.clone();
                let node = node.clone();
                self.ground.ctx.events.send(EventKind::Change { node, change, state: None, text }).await;
                let mut scope = Scope::default();
                scope.add(Applied::DockerdDebug(window));
                Ok((scope, cursors))
            }
            Err(record) => {
                if record.state != ChangeState::StillChanged {
                    self.ground.ctx.open.closed(node);
                }
                Err(record)
            }
        }
    }

    /// Runs the checks; what an earlier run left is mended first, once.
    async fn examine(&self, record: &mut ChangeRecord) -> Result<DebugTarget, Box<ChangeRecord>> {
        let shell = self.shell(false);
        let mut mended = false;
        loop {
            let examined = preflight::examine(&shell, self.ground.facts, self.policy).await;
            record.checks = examined.checks;
            record.warnings.extend(examined.warnings);
            let (state, text) = match examined.outcome {
                PreflightOutcome::Ready(target) => return Ok(*target),
                PreflightOutcome::Not { state, text } => (state, text),
                PreflightOutcome::Busy(owner) => (ChangeState::Refused, owner.busy()),
                PreflightOutcome::Stale(_) | PreflightOutcome::Leftover { .. } if !mended => {
                    mended = true;
                    match recover::recover_stale(&shell, self.ground.facts, self.ground.target.name.as_str()).await {
                        Ok(done) => {
                            record.warnings.extend(done);
                            continue;
                        }
                        Err(why) => (ChangeState::Refused, why),
                    }
                }
                PreflightOutcome::Stale(_) | PreflightOutcome::Leftover { .. } => (
                    ChangeState::Refused,
                    format!("what an earlier run left could not be mended; see what it is: {} --dry-run", self.mend()),
                ),
            };
            record.state = state;
            record.text = text;
            return Err(Box::new(record.clone()));
        }
    }

    /// The window from its opening to what the daemons wrote in it.
    async fn window(&mut self, scope: Scope, cursors: &Cursors, stacks: &mut Stacks) -> Vec<ChangeRecord> {
        let ended = CancellationToken::new();
        let every = self.policy.lease / RENEWALS_PER_LEASE;
        {
            let signs = signs_of_life(self.way, self.ground, &scope, every, &ended);
            let inside = self.inside(stacks, &ended);
            tokio::select! {
                () = inside => {}
                () = signs => {}
            }
        }
        let records = {
            let shell = self.shell(true);
            tokio::time::timeout(REVERT_BUDGET, scope.revert(&shell)).await
        };
        let records = records.unwrap_or_else(|_| {
            let mut record = ChangeRecord::not_made(ChangeId::DockerdDebug, "dockerd", ChangeState::StillChanged, "");
            record.text =
                "not seen to be undone: the node did not answer in time; its guard switches debug off".to_owned();
            vec![record]
        });
        let mut told = Vec::with_capacity(records.len());
        for record in records {
            let record = self.with_node(record);
            self.tell(&record).await;
            told.push(record);
        }
        if told.iter().all(|record| record.state != ChangeState::StillChanged) {
            self.ground.ctx.open.closed(&self.ground.target.name);
        }
        self.journals(cursors, &mut told).await;
        told
    }

    /// What happens while debug is on.
    async fn inside(&mut self, stacks: &mut Stacks, ended: &CancellationToken) {
        let begun = Instant::now();
        self.during().await;
        self.sample_again(stacks, ended).await;
        self.wait_until(begun + self.policy.window, ended).await;
    }

    async fn wait_until(&self, at: Instant, ended: &CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = self.ground.stop.token().cancelled() => {}
            () = ended.cancelled() => {}
        }
    }

    /// Fetches what was logged from just before the change until now.
    async fn journals(&mut self, cursors: &Cursors, records: &mut [ChangeRecord]) {
        let shell = self.shell(true);
        for (step, how, made) in self.steps(ChangeId::DockerdDebug) {
            let Made::Window(log) = made else { continue };
            let Some(mut taking) = self.begin(step, how).await else { continue };
            let end = journal_window::fetch(&shell, cursors, log, &how.bounds, how.encoding, &mut taking.sink).await;
            let end = match end {
                WindowEnd::Complete => (Outcome::Complete, None),
                WindowEnd::Absent(why) => (Outcome::Absent, Some(why)),
                WindowEnd::Failed(why) => (Outcome::Failed, Some(why)),
            };
            self.finish(taking, &cursors.command(log), end).await;
        }
        let dropped = journal_window::suppressed(&shell, cursors).await;
        if let (lines @ 1.., Some(record)) = (dropped, records.first_mut()) {
            let text = format!("{lines} lines were dropped by journald's rate limit while debug was on");
            self.ground.ctx.events.warn(Some(&self.ground.target.name), text.clone()).await;
            record.warnings.push(text);
        }
    }
}

/// Tells the node that we live, until the change has come to an end there without us.
async fn signs_of_life(
    way: &NodeWay<'_>,
    ground: &NodeGround<'_>,
    scope: &Scope,
    every: Duration,
    ended: &CancellationToken,
) {
    let shell = NodeShell { way, facts: &ground.facts.shell, password: ground.ctx.password(), persistent: true };
    loop {
        tokio::time::sleep(every).await;
        match scope.renew(&shell).await {
            Ok(true) => {}
            Ok(false) => {
                let text = "the debug window ended on the node before its time".to_owned();
                ground.ctx.events.warn(Some(&ground.target.name), text).await;
                ended.cancel();
                // Whoever is in the window ends it in order.
                return std::future::pending().await;
            }
            Err(error) => {
                let text =
                    format!("no sign of life could be given to the node: {error}; it undoes the change by itself");
                ground.ctx.events.warn(Some(&ground.target.name), ground.ctx.bundle.redactor.text(&text)).await;
            }
        }
    }
}

/// `node/receipt.json`: what is needed to put a node back, stored before it is changed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Receipt<'a> {
    run: &'a str,
    who: &'a str,
    target: &'a DebugTarget,
    checks: &'a [Check],
}
