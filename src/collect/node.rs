//! One node's life: bundle opened, connect, probe, plan, steps phase by phase, bundle sealed.
//! Never fails as a whole: whatever happens becomes the node's summary (`ending.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use tokio::sync::watch;

use super::changes::Changes;
use super::ending::{Ended, seal, without_bundle};
use super::kubelet::KubeletLane;
use super::open_changes::OpenChanges;
use super::phase::{Ground, PhaseRun, Tally, not_run};
use super::probe::{self, Probed};
use super::proof;
use super::step::{StepContext, run_step};
use super::stop::{NodeStop, RunStop, StopCause};
use super::sudo_password::SudoPassword;
use super::way::NodeWay;
use crate::bundle::{BundleError, BundleOptions, BundleWriter, Header, layout};
use crate::change::Way as _;
use crate::event::{EventKind, EventSender, NodeSummary};
use crate::evidence::{Outcome, StepRecord};
use crate::inventory::{NodeName, Target};
use crate::kubelet::{Kubelet, KubeletAccess};
use crate::plan::{Action, Catalog, NodeFacts, NodePlan, Phase, PlannedStep, Run, Selection};
use crate::session::{ConnectionFacts, Connector, FailureKind, Session, SessionError, Timings};

/// Share of a node's deadline kept back for sealing its bundle.
const SEAL_RESERVE: Duration = Duration::from_secs(2);

/// What every node of a run shares.
pub(crate) struct NodeContext {
    pub(crate) connector: Arc<Connector>,
    pub(crate) catalog: Catalog,
    pub(crate) selection: Selection,
    pub(crate) password: Option<SudoPassword>,
    pub(crate) run_dir: PathBuf,
    pub(crate) run: RunIdentity,
    pub(crate) bundle: BundleOptions,
    pub(crate) deadline: Duration,
    pub(crate) events: EventSender,
    pub(crate) stop: RunStop,
    pub(crate) kubelet: KubeletAccess,
    pub(crate) open: OpenChanges,
}

impl NodeContext {
    pub(crate) fn password(&self) -> Option<&SecretString> {
        self.password.as_ref().map(SudoPassword::secret)
    }

    pub(super) fn header(&self, node: &NodeName) -> Header {
        let mut header = Header::new(&self.run.run_id, node.clone(), Timestamp::now());
        header.command_line.clone_from(&self.run.command_line);
        header.operator.clone_from(&self.run.operator);
        header
    }
}

/// Who runs what; stands in every bundle.
#[derive(Debug, Clone)]
pub struct RunIdentity {
    /// Name of the run directory.
    pub run_id: String,
    /// Arguments, redacted.
    pub command_line: Vec<String>,
    /// `user@host` of the operator.
    pub operator: String,
    /// Flags by which nodes were found and reached, as words of a shell, redacted: another command needs them too.
    pub way: String,
    /// Nodes whose name alone does not say where they are: `user@host:port` as given on the command line.
    pub spelled: BTreeMap<NodeName, String>,
}

/// A node's summary, and whether the local disk failed us meanwhile.
pub(crate) struct NodeEnd {
    pub(crate) summary: NodeSummary,
    pub(crate) disk: Option<BundleError>,
}

/// Collects one node.
///
/// # Cancel safety
/// Dropping it leaves the node's bundle as `.partial`, readable up to the last finished step.
pub(crate) async fn collect_node(ctx: &NodeContext, target: &Target) -> NodeEnd {
    let clock = Instant::now();
    ctx.events.send(EventKind::NodeStarted { node: target.name.clone(), deadline: ctx.deadline }).await;

    let bundle = match BundleWriter::create(&ctx.run_dir, &target.name, &ctx.header(&target.name), ctx.bundle.clone())
        .await
    {
        Ok(bundle) => bundle,
        Err(error) => return NodeEnd { summary: without_bundle(target, &error, clock.elapsed()), disk: Some(error) },
    };
    let stop = NodeStop::new(&ctx.stop);
    let mut life = Life { ctx, target, bundle, stop: &stop, ended: Ended::default() };
    // The deadline ends steps by the same token as a request to stop.
    let budget = ctx.deadline.saturating_sub(SEAL_RESERVE).max(ctx.deadline / 2);
    {
        let mut body = std::pin::pin!(life.collect());
        tokio::select! {
            () = &mut body => {}
            () = tokio::time::sleep(budget) => {
                stop.expire(ctx.deadline);
                // Steps heed the token and are drained, so that what they got is kept.
                body.await;
            }
        }
    }
    let Life { bundle, mut ended, .. } = life;
    // A node's own words may be in them, and they go to run.json and the summary.
    let redactor = &ctx.bundle.redactor;
    ended.tally.missing.iter_mut().for_each(|text| *text = redactor.text(text));
    if let Some(failure) = &mut ended.tally.failure {
        failure.text = redactor.text(&failure.text);
    }
    seal(target, bundle, ended, &stop, clock).await
}

struct Life<'a> {
    ctx: &'a NodeContext,
    target: &'a Target,
    bundle: BundleWriter,
    stop: &'a NodeStop,
    ended: Ended,
}

impl Life<'_> {
    async fn collect(&mut self) {
        let Some(session) = self.connect().await else { return };
        let way = NodeWay::new(self.ctx, self.target, session);
        self.work(&way).await;
        way.session().close().await;
    }

    async fn connect(&mut self) -> Option<Session> {
        let clock = Instant::now();
        let node = self.target.name.clone();
        let mut retries = Vec::new();
        let mut on_retry = |attempt: u32, error: &SessionError, pause: Duration| {
            retries.push(Attempt {
                attempt,
                failure: error.clone(),
                pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            });
            self.ctx.events.offer(EventKind::ConnectRetry {
                node: node.clone(),
                attempt,
                reason: self.ctx.bundle.redactor.text(&error.text),
                pause,
            });
        };
        let connected = self.ctx.connector.connect(self.target, self.stop.token(), &mut on_retry).await;
        let connected = connected.map_err(|error| blame(error, self.stop, true));
        let evidence = ConnectionEvidence {
            outcome: connected.as_ref().map_or_else(|error| error.kind.word(), |_| "connected"),
            connection: connected.as_ref().ok().map(Session::facts),
            failure: connected.as_ref().err(),
            retries: &retries,
        };
        let kept = self.bundle.add_json(layout::CONNECTION, &evidence).await.map(drop);
        self.kept(kept).await;
        match connected {
            Ok(session) => {
                self.ended.connection = Some(session.facts().clone());
                self.ctx.events.send(EventKind::NodeConnected { node, took: clock.elapsed() }).await;
                Some(session)
            }
            Err(error) => {
                self.ended.tally.failure = Some(error);
                None
            }
        }
    }

    /// Probes, plans and runs all steps, with the changes among them.
    async fn work(&mut self, way: &NodeWay<'_>) {
        let (ctx, target) = (self.ctx, self.target);
        let probed = probe::probe(&way.session(), target, &ctx.catalog, ctx.password.as_ref(), self.stop.token()).await;
        let probed = match probed {
            Ok(probed) => probed,
            Err(error) => {
                self.ended.tally.failure = Some(blame(error, self.stop, false));
                return;
            }
        };
        for warning in probed.complaint.iter().chain(&probed.cut) {
            ctx.events.warn(Some(&target.name), ctx.bundle.redactor.text(warning)).await;
        }
        self.ended.complaint = probed.complaint.as_deref().map(|c| ctx.bundle.redactor.text(c));
        // Its steps are absent, which alone would not catch the eye.
        for stopped in probed.facts.stopped_daemons() {
            ctx.events.warn(Some(&target.name), ctx.bundle.redactor.text(&stopped)).await;
        }
        let plan = crate::plan::build(&ctx.catalog, &ctx.selection, &probed.facts, Timestamp::now());
        self.keep(layout::FACTS, &probed.facts).await;
        if let Some(clock) = &probed.clock {
            self.keep(layout::CLOCK, clock).await;
        }
        self.keep(layout::PLAN, &plan).await;
        ctx.events.send(EventKind::NodePlanned { node: target.name.clone(), steps: plan.steps.len() }).await;

        let Probed { facts, clock, .. } = probed;
        let runs = facts.kubelet.as_ref().is_some_and(|kubelet| kubelet.pid.is_some());
        let kubelet = runs.then(|| Kubelet::new(&ctx.kubelet, target, &facts));
        let (bundle, stop) = (&self.bundle, self.stop);
        let ground = NodeGround { ctx, target, bundle, stop, facts: &facts, way, kubelet: kubelet.as_ref() };
        let (tally, changed) = (&mut self.ended.tally, &mut self.ended.changes);
        let (at, phase) = watch::channel(Phase::Before);
        let (asked, ()) = tokio::join!(ground.ask_kubelet(&plan, phase), async {
            if plan.to_change() > 0 {
                ground.phases(&plan, &[Phase::Before], tally).await;
                at.send_replace(Phase::During);
                let changes = Changes { ground: &ground, way, plan: &plan, policy: &ctx.selection.changes, tally };
                *changed = changes.run().await;
            } else {
                // Nothing is changed, so what would run under a change need not wait for the samples (sar, iostat)
                // that take seconds; it still starts after all that is more volatile.
                at.send_replace(Phase::During);
                ground.phases(&plan, &[Phase::Before, Phase::During], tally).await;
            }
            at.send_replace(Phase::After);
            ground.phases(&plan, &[Phase::After], tally).await;
        });
        self.ended.tally.merge(asked);
        self.ended.kubelet = kubelet.as_ref().filter(|_| plan.to_ask() > 0).map(Kubelet::record);
        self.ended.proof = Some(proof::take(&ground, way).await);
        self.ended.planned = true;
        self.ended.facts = Some(facts);
        self.ended.clock = clock;
    }

    async fn keep(&mut self, path: &str, value: &(impl Serialize + Sync)) {
        let kept = self.bundle.add_json(path, value).await.map(drop);
        self.kept(kept).await;
    }

    async fn kept(&mut self, kept: Result<(), BundleError>) {
        if let Err(error) = kept {
            self.ctx.events.warn(Some(&self.target.name), error.to_string()).await;
            self.ended.tally.disk.get_or_insert(error);
        }
    }
}

/// A failure that is only the echo of our own stop is named after its cause.
fn blame(error: SessionError, stop: &NodeStop, connecting: bool) -> SessionError {
    let Some(cause) = stop.cause().filter(|_| error.kind == FailureKind::Cancelled) else { return error };
    let kind = if cause.is_deadline() { FailureKind::Deadline } else { FailureKind::Cancelled };
    let mut named = SessionError::new(kind, format!("{}{}", cause.text(), until(&error.timings, connecting)));
    named.timings = error.timings;
    match cause {
        StopCause::NodeDeadline(_) => named.with_hint("raise --node-deadline, or leave slow steps out with --exclude"),
        StopCause::RunDeadline(_) => named.with_hint("raise --run-deadline, or ask for fewer nodes"),
        StopCause::Operator | StopCause::Disk => named,
    }
}

/// How far an attempt to connect had come that was stopped: no banner and no route are told apart.
const fn until(t: &Timings, connecting: bool) -> &'static str {
    match (t.tcp_ms, t.banner_ms, t.kex_ms) {
        _ if !connecting => "",
        (None, ..) => "; until then there was no connection",
        (_, None, _) => "; until then the port was open and no SSH banner came",
        (.., None) => "; until then the key exchange had not ended",
        _ => "; until then the login had not ended",
    }
}

/// What the phases and the changes of this node stand on.
pub(super) struct NodeGround<'a> {
    pub(super) ctx: &'a NodeContext,
    pub(super) target: &'a Target,
    pub(super) bundle: &'a BundleWriter,
    pub(super) stop: &'a NodeStop,
    pub(super) facts: &'a NodeFacts,
    pub(super) way: &'a NodeWay<'a>,
    /// The node's kubelet, if it runs.
    pub(super) kubelet: Option<&'a Kubelet>,
}

impl Ground for NodeGround<'_> {
    type Link = Session;

    async fn run(
        &self,
        link: &Session,
        step: &PlannedStep,
        run: &Run,
    ) -> Result<(StepRecord, Option<SessionError>), BundleError> {
        let ctx = StepContext {
            node: &self.target.name,
            session: link,
            facts: self.facts,
            password: self.ctx.password(),
            bundle: self.bundle,
            events: &self.ctx.events,
            stop: self.stop,
        };
        let result = run_step(&ctx, step, run).await;
        match &result {
            Ok((record, _)) => self.tell(record.clone()).await,
            Err(error) => {
                // The display has seen it begin.
                self.tell(not_run(step, Outcome::Failed, error.to_string())).await;
                self.ctx.events.warn(Some(&self.target.name), error.to_string()).await;
            }
        }
        result
    }

    async fn record(&self, record: StepRecord) -> Result<(), BundleError> {
        let kept = self.bundle.record(record.clone()).await;
        // What the bundle hands back is redacted.
        self.tell(kept.as_ref().cloned().unwrap_or(record)).await;
        kept.map(drop)
    }

    async fn reconnect(
        &self,
        gone: Session,
        error: &SessionError,
        left: usize,
    ) -> Result<Session, (Session, SessionError)> {
        let node = &self.target.name;
        let why = self.ctx.bundle.redactor.text(&error.text);
        let text = format!("{why}; connecting again for the {left} steps that are left");
        self.ctx.events.warn(Some(node), text).await;
        match self.way.again(&gone, self.stop.token()).await {
            Ok(()) => Ok(self.way.session()),
            Err(error) => Err((gone, blame(error, self.stop, true))),
        }
    }
}

impl NodeGround<'_> {
    /// Runs the steps of some phases as one queue.
    async fn phases(&self, plan: &NodePlan, phases: &[Phase], tally: &mut Tally) {
        let here = |step: &&PlannedStep| phases.contains(&step.phase) && !matches!(step.action, Action::Kubelet(_));
        let steps = plan.steps.iter().filter(here);
        PhaseRun::new(self, self.target.parallel_steps, self.stop, tally, steps).finish(self.way.session()).await;
    }

    /// Makes the requests to the kubelet.
    async fn ask_kubelet(&self, plan: &NodePlan, phase: watch::Receiver<Phase>) -> Tally {
        match self.kubelet {
            Some(kubelet) => KubeletLane::new(self, kubelet, plan, phase).run().await,
            None => Tally::default(),
        }
    }

    pub(super) async fn tell(&self, record: StepRecord) {
        self.ctx.events.send(EventKind::StepFinished { node: self.target.name.clone(), record }).await;
    }
}

/// `node/connection.json`: how we got in, or how we did not.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ConnectionEvidence<'a> {
    outcome: &'a str,
    connection: Option<&'a ConnectionFacts>,
    failure: Option<&'a SessionError>,
    retries: &'a [Attempt],
}

/// One attempt that failed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Attempt {
    attempt: u32,
    failure: SessionError,
    pause_ms: u64,
}
