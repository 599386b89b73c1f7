//! The part of a node's life in which it is changed: stacks, the debug window with the steps and the
//! second stacks in it, everything undone, and what the daemons wrote meanwhile. The order is that of
//! the evidence's worth: stacks before the window, because the window may be refused. What the changes
//! do is in `change/`; here is when, and where their evidence goes. Called by `node.rs`.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::made::Made;
use super::node::NodeGround;
use super::phase::{PhaseRun, Tally};
use super::stacks::Stacks;
use super::way::NodeWay;
use crate::bundle::layout;
use crate::change::dockerd_debug::{self, Operator, Window};
use crate::change::journal_window::{self, Cursors, WindowEnd};
use crate::change::kubelet_verbosity::{LOWER_WITHIN, OnNode, Verbosity};
use crate::change::preflight::{self, PreflightOutcome};
use crate::change::{Applied, ChangeRecord, Check, DebugTarget, NodeShell, Permit, Scope, Way as _, recover};
use crate::event::EventKind;
use crate::evidence::{ChangeState, Outcome};
use crate::plan::{Action, ChangeId, ChangePolicy, ChangeStep, LogOf, NodePlan, Phase, PlannedStep};

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

impl<'a> Changes<'a> {
    /// Runs all of phase *during*, with the changes around it; returns what became of the changes.
    ///
    /// # Cancel safety
    /// Not to be dropped: changes would be left to the guard on the node. Use the stop.
    pub(super) async fn run(mut self) -> Vec<ChangeRecord> {
        let mut stacks = self.prepare_stacks().await;
        self.sample(&mut stacks, 1).await;
        self.shims(&mut stacks).await;
        let Opened { scope, marks, refused: mut records } = self.open_all().await;
        if scope.is_empty() {
            self.during().await;
            self.sample_again(&mut stacks).await;
        } else {
            records.extend(self.window(scope, &marks, &mut stacks).await);
        }
        records.extend(self.conclude(stacks).await);
        records
    }

    /// Returns the steps this change makes, and what is made by each.
    pub(super) fn steps(&self, change: ChangeId) -> Vec<(&'a PlannedStep, &'a ChangeStep, Made)> {
        let made = |step: &'a PlannedStep| match &step.action {
            Action::Change(how) if how.change == change => Some((step, how, Made::of(&step.id)?)),
            _ => None,
        };
        self.plan.steps.iter().filter_map(made).collect()
    }

    pub(super) fn shell(&self, persistent: bool) -> NodeShell<'a> {
        NodeShell { way: self.way, facts: &self.ground.facts.shell, password: self.ground.ctx.password(), persistent }
    }

    /// Whether nothing is changed any more: the work was stopped, or what comes of it could not be stored here.
    pub(super) fn over(&self) -> bool {
        self.ground.stop.cause().is_some() || self.tally.disk.is_some()
    }

    /// Awaits what only reads the node, which may take long on a sick one; `None` if the work is stopped meanwhile.
    pub(super) async fn unless_stopped<T>(&self, reading: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.ground.stop.token().cancelled() => None,
            read = reading => Some(read),
        }
    }

    /// Runs the steps that a change does not make.
    async fn during(&mut self) {
        let steps = self.plan.steps.iter().filter(|step| {
            step.phase == Phase::During && !matches!(step.action, Action::Change(_) | Action::Kubelet(_))
        });
        let parallel = self.ground.target.parallel_steps;
        let run = PhaseRun::new(self.ground, parallel, self.ground.stop, self.tally, steps);
        run.finish(self.way.session()).await;
    }

    // --- the debug window -----------------------------------------------------------------------

    /// Opens what is wanted and allowed; one refused does not stop the other.
    async fn open_all(&mut self) -> Opened {
        let mut opened = Opened::default();
        // It only reads, and may take long on a sick node: not while a lease runs.
        let prepared = self.prepare_verbosity(&mut opened).await;
        match self.open_window().await {
            Ok((window, cursors)) => {
                opened.scope.add(Applied::DockerdDebug(Box::new(window)));
                opened.marks.push((ChangeId::DockerdDebug, cursors));
            }
            Err(refused) => opened.refused.extend(refused.map(|record| *record)),
        }
        if let Some(prepared) = prepared {
            self.raise_verbosity(prepared, &mut opened).await;
        }
        opened
    }

    /// Checks, and opens the window. `Err` holds the record of a window that was wanted and not opened.
    async fn open_window(&mut self) -> Result<(Window, Cursors), Option<Box<ChangeRecord>>> {
        let wanted = self.steps(ChangeId::DockerdDebug);
        if wanted.is_empty() {
            return Err(None);
        }
        let opened = if self.over() { Err(None) } else { self.try_window().await };
        match opened {
            Ok(opened) => Ok(opened),
            Err(None) => {
                for (step, ..) in wanted {
                    self.pass_stopped(step).await;
                }
                Err(None)
            }
            Err(Some(record)) => Err(Some(Box::new(self.not_opened(*record).await))),
        }
    }

    /// Tells of a change that was not made, and passes over its steps.
    pub(super) async fn not_opened(&mut self, record: ChangeRecord) -> ChangeRecord {
        let record = self.with_node(record);
        for (step, ..) in self.steps(record.change) {
            self.pass(step, Outcome::Skipped, record.text.clone()).await;
        }
        self.tell(&record).await;
        record
    }

    pub(super) fn operator(&self) -> Operator {
        Operator {
            run_id: self.ground.ctx.run.run_id.clone(),
            who: self.ground.ctx.run.operator.clone(),
            node: self.ground.target.name.to_string(),
        }
    }

    /// Nothing within `Err`: the work was stopped before anything was changed.
    async fn try_window(&mut self) -> Result<(Window, Cursors), Option<Box<ChangeRecord>>> {
        let change = ChangeId::DockerdDebug;
        let refused = |state, text: String| Some(Box::new(ChangeRecord::not_made(change, "dockerd", state, text)));
        if let Some(lost) = &self.tally.failure {
            let lost = self.ground.ctx.bundle.redactor.text(&lost.text);
            let text = format!("the link failed ({lost}) before the evidence that debug lines evict was collected");
            return Err(refused(ChangeState::Refused, text));
        }
        let permit = Permit::of(self.policy, change).map_err(|why| refused(ChangeState::Skipped, why.to_owned()))?;
        let mut record = ChangeRecord::not_made(change, "dockerd", ChangeState::Refused, "");
        let target = self.examine(&mut record).await?;

        let node = &self.ground.target.name;
        let operator = self.operator();
        // Here as well, and before anything is changed: what to put back, should the node forget.
        let receipt = Receipt { run: &operator.run_id, who: &operator.who, target: &target, checks: &record.checks };
        if let Err(error) = self.ground.bundle.add_json(layout::RECEIPT, &receipt).await {
            let text = format!("the receipt could not be stored here: {error}");
            return Err(refused(ChangeState::Refused, text));
        }
        let shell = self.shell(false);
        let marking = journal_window::mark(&shell, self.ground.facts, &self.ground.ctx.selection.logs);
        let Some(cursors) = self.unless_stopped(marking).await else { return Err(None) };
        self.ground.ctx.open.opened(node, self.told_if_we_die());
        let opened = dockerd_debug::open(&shell, target, self.policy, permit, &operator, record).await;
        match opened {
            Ok(window) => {
                let text = window.record().describe.clone();
                let node = node.clone();
                self.ground.ctx.events.send(EventKind::Change { node, change, state: None, text }).await;
                Ok((window, cursors))
            }
            Err(record) => {
                if record.state != ChangeState::StillChanged {
                    self.ground.ctx.open.closed(node, change);
                }
                Err(Some(record))
            }
        }
    }

    /// Runs the checks; what an earlier run left is mended first, once.
    async fn examine(&self, record: &mut ChangeRecord) -> Result<DebugTarget, Option<Box<ChangeRecord>>> {
        let shell = self.shell(false);
        let mut mended = false;
        loop {
            let examining = preflight::examine(&shell, self.ground.facts, self.policy);
            let Some(examined) = self.unless_stopped(examining).await else { return Err(None) };
            record.checks = examined.checks;
            let (state, text) = match examined.outcome {
                PreflightOutcome::Ready(target) => {
                    record.warnings.extend(examined.warnings);
                    return Ok(*target);
                }
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
            return Err(Some(Box::new(record.clone())));
        }
    }

    /// The window from its opening to what the daemons wrote in it. It is closed when its time is over, also under
    /// steps that hang: they go on without debug.
    async fn window(&mut self, scope: Scope, marks: &[(ChangeId, Cursors)], stacks: &mut Stacks) -> Vec<ChangeRecord> {
        let enough = CancellationToken::new();
        let holding = hold(self.ground, self.way, self.policy, scope, &enough);
        let (records, ()) = tokio::join!(holding, self.inside(stacks, &enough));
        let mut told = Vec::with_capacity(records.len());
        for record in records {
            let record = self.with_node(record);
            self.tell(&record).await;
            if record.state != ChangeState::StillChanged {
                self.ground.ctx.open.closed(&self.ground.target.name, record.change);
            }
            told.push(record);
        }
        self.journals(marks, &mut told).await;
        told
    }

    /// What happens while the changes are in force.
    async fn inside(&mut self, stacks: &mut Stacks, enough: &CancellationToken) {
        self.during().await;
        self.sample_again(stacks).await;
        if self.over() {
            enough.cancel();
        }
    }

    pub(super) async fn wait_until(&self, at: Instant) {
        if self.over() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = self.ground.stop.token().cancelled() => {}
        }
    }

    /// Fetches what was logged from just before each change until now.
    async fn journals(&mut self, marks: &[(ChangeId, Cursors)], records: &mut [ChangeRecord]) {
        let shell = self.shell(true);
        for (change, cursors) in marks {
            for (step, how, made) in self.steps(*change) {
                let log = match made {
                    Made::Window(log) => log,
                    Made::Verbose => LogOf::Kubelet,
                    Made::Stacks { .. } | Made::Shims => continue,
                };
                let Some(mut taking) = self.begin(step, how).await else { continue };
                let end =
                    journal_window::fetch(&shell, cursors, log, &how.bounds, how.encoding, &mut taking.sink).await;
                let end = match end {
                    WindowEnd::Complete => (Outcome::Complete, None),
                    WindowEnd::Absent(why) => (Outcome::Absent, Some(why)),
                    WindowEnd::Failed(why) => (Outcome::Failed, Some(why)),
                };
                self.finish(taking, &cursors.command(log), end).await;
            }
        }
        // The first mark is the earliest, and all of them are of the same logs.
        let Some((change, cursors)) = marks.first() else { return };
        let dropped = journal_window::suppressed(&shell, cursors).await;
        if let (Some(lines), Some(record)) = (dropped, records.iter_mut().find(|record| record.change == *change)) {
            let so_far = format!("{lines}, as far as journald had said when it was read");
            record.after.insert("lines-dropped".to_owned(), so_far);
            if lines > 0 {
                let when = match change {
                    ChangeId::KubeletVerbosity => "the kubelet logged more",
                    ChangeId::DockerdDebug | ChangeId::StackDump => "debug was on",
                };
                let text = format!(
                    "at least {lines} lines were dropped by journald's rate limit while {when} (it says so late)"
                );
                self.ground.ctx.events.warn(Some(&self.ground.target.name), text.clone()).await;
                record.warnings.push(text);
            }
        }
    }
}

/// The changes that were made, and those that were wanted and not made.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) scope: Scope,
    /// Where the logs ended before each that was made, the earliest first.
    pub(super) marks: Vec<(ChangeId, Cursors)>,
    pub(super) refused: Vec<ChangeRecord>,
}

/// Holds the changes in force for the time of the window, or until the work is stopped, there is `enough`, or the node
/// has ended them; then undoes them and returns what became of each.
async fn hold(
    ground: &NodeGround<'_>,
    way: &NodeWay<'_>,
    policy: &ChangePolicy,
    scope: Scope,
    enough: &CancellationToken,
) -> Vec<ChangeRecord> {
    let shell = NodeShell { way, facts: &ground.facts.shell, password: ground.ctx.password(), persistent: true };
    tokio::select! {
        () = tokio::time::sleep(policy.window) => {}
        () = ground.stop.token().cancelled() => {}
        () = enough.cancelled() => {}
        () = signs_of_life(ground, &shell, &scope, policy.lease) => {}
    }
    way.insist();
    let receipts = scope.receipts();
    let raised = receipts.iter().any(|record| record.change == ChangeId::KubeletVerbosity);
    let budget = if raised { REVERT_BUDGET + LOWER_WITHIN } else { REVERT_BUDGET };
    let unseen = |mut record: ChangeRecord| {
        record.state = ChangeState::StillChanged;
        record.differences.push("not seen to be undone".to_owned());
        let then = match record.change {
            ChangeId::KubeletVerbosity => "the kubelet may log more until it is restarted or put back",
            ChangeId::DockerdDebug | ChangeId::StackDump => "its guard switches debug off",
        };
        record.text = format!("not seen to be undone: the node did not answer in time; {then}");
        record
    };
    let on_node = ground.kubelet.map(|kubelet| OnNode { kubelet, way });
    let kubelet = on_node.as_ref().map(|kubelet| kubelet as &dyn Verbosity);
    let reverted = tokio::time::timeout(budget, scope.revert(&shell, kubelet)).await;
    reverted.unwrap_or_else(|_| receipts.into_iter().map(unseen).collect())
}

/// Tells the node that we live, until the change has come to an end there without us.
pub(super) async fn signs_of_life(ground: &NodeGround<'_>, shell: &NodeShell<'_>, scope: &Scope, lease: Duration) {
    loop {
        tokio::time::sleep(lease / RENEWALS_PER_LEASE).await;
        match scope.renew(shell).await {
            Ok(true) => {}
            Ok(false) => {
                let text = "the debug window ended on the node before its time".to_owned();
                return ground.ctx.events.warn(Some(&ground.target.name), text).await;
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
