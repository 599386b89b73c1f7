//! Bounded fan-out over targets: as many nodes at a time as allowed, no batch barriers, one
//! ordered event stream, a deadline for the whole run. A node that panics is a node that failed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use super::cluster::{self, ClusterEnd, ClusterRun};
use super::ending::{not_started, panicked};
use super::keeper::RecordKeeper;
use super::node::{NodeContext, NodeEnd, RunIdentity, collect_node};
use super::open_changes::OpenChanges;
use super::shutdown::Shutdown;
use super::stop::{RunStop, StopCause};
use super::sudo_password::SudoPassword;
use crate::bundle::{BundleError, BundleOptions, RunDir, RunRecord};
use crate::event::{ClusterSummary, EventKind, EventSender, NodeSummary};
use crate::inventory::Target;
use crate::kubelet::KubeletAccess;
use crate::plan::{Catalog, Selection};
use crate::session::Connector;

/// What a run is to do.
pub struct RunOptions {
    /// The nodes, in order.
    pub targets: Vec<Target>,
    /// All steps there are.
    pub catalog: Catalog,
    /// Which of them.
    pub selection: Selection,
    /// Nodes worked on at a time, at least 1.
    pub parallel: usize,
    /// Time one node may take, sealing included.
    pub node_deadline: Duration,
    /// Time the whole run may take; nodes not begun by then are not started.
    pub run_deadline: Option<Duration>,
    /// Redaction, caps, disk reserve.
    pub bundle: BundleOptions,
    /// Evidence of the whole run beyond which no further node is started, in bytes.
    pub max_run_bytes: Option<u64>,
    /// Password for `sudo -S`.
    pub sudo_password: Option<SudoPassword>,
    /// Who runs what.
    pub run: RunIdentity,
    /// How kubelets are asked.
    pub kubelet: KubeletAccess,
    /// Tells, at any moment, which nodes are changed.
    pub open: OpenChanges,
    /// Evidence of the cluster, taken beside the nodes.
    pub cluster: Option<ClusterRun>,
}

/// How a run went.
pub struct RunOutcome {
    /// One per target, in the order of the targets.
    pub nodes: Vec<NodeSummary>,
    /// The local disk failed; what had been written is intact.
    pub disk: Option<BundleError>,
    /// The run's deadline passed before all nodes were done.
    pub deadline_passed: bool,
    /// The evidence of the cluster, if it was asked for.
    pub cluster: Option<ClusterSummary>,
}

/// Errors that keep a run from starting.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run record cannot be written.
    #[error(transparent)]
    Output(#[from] BundleError),
}

/// Collects all targets into `run_dir`.
///
/// # Errors
/// If `run.json` cannot be written at the start. Later trouble with the disk is part of the outcome.
///
/// # Cancel safety
/// Not to be dropped while nodes are in flight, except when the operator wants to stop at once:
/// bundles then stay `.partial`, readable up to their last finished step.
pub async fn run(
    options: RunOptions,
    connector: Arc<Connector>,
    run_dir: &RunDir,
    record: &mut RunRecord,
    events: &EventSender,
    shutdown: &Shutdown,
) -> Result<RunOutcome, RunError> {
    let mut keeper = RecordKeeper::begin(record, &run_dir.path)?;
    events
        .send(EventKind::RunStarted {
            run_id: options.run.run_id.clone(),
            nodes: options.targets.iter().map(|t| t.name.clone()).collect(),
            out: run_dir.path.clone(),
            parallel: options.parallel,
        })
        .await;

    let stop = RunStop::new(shutdown.wind_down());
    let ctx = Arc::new(NodeContext {
        connector,
        catalog: options.catalog,
        selection: options.selection,
        password: options.sudo_password,
        run_dir: run_dir.path.clone(),
        run: options.run,
        bundle: options.bundle,
        deadline: options.node_deadline,
        events: events.clone(),
        stop: stop.clone(),
        kubelet: options.kubelet,
        open: options.open,
    });

    let mut beside: JoinSet<ClusterEnd> = JoinSet::new();
    if let Some(run) = options.cluster {
        let (ctx, targets) = (Arc::clone(&ctx), options.targets.clone());
        beside.spawn(async move { cluster::collect_cluster(&run, &ctx, &targets).await });
    }

    let mut queue: VecDeque<(usize, Target)> = options.targets.iter().cloned().enumerate().collect();
    let mut slots: Vec<Option<NodeSummary>> = vec![None; options.targets.len()];
    let mut flying: JoinSet<NodeEnd> = JoinSet::new();
    let mut index_of: HashMap<Id, usize> = HashMap::new();
    let mut disk = None;
    let mut cluster = None;
    let mut deadline_passed = false;
    let mut evidence_bytes = 0_u64;
    let timer = tokio::time::sleep(options.run_deadline.unwrap_or(Duration::from_secs(u64::from(u32::MAX))));
    tokio::pin!(timer);

    loop {
        while !stop.is_stopped() && flying.len() < options.parallel.max(1) {
            if options.max_run_bytes.is_some_and(|max| evidence_bytes >= max) {
                break;
            }
            let Some((index, target)) = queue.pop_front() else { break };
            let ctx = Arc::clone(&ctx);
            let handle = flying.spawn(async move { collect_node(&ctx, &target).await });
            index_of.insert(handle.id(), index);
        }
        if flying.is_empty() && beside.is_empty() {
            break;
        }
        tokio::select! {
            () = &mut timer, if !deadline_passed => {
                deadline_passed = true;
                stop.stop(StopCause::RunDeadline(options.run_deadline.unwrap_or_default()));
            }
            () = keeper.due() => keeper.catch_up(events).await,
            Some(joined) = beside.join_next() => {
                let end = joined.unwrap_or_else(|error| ClusterEnd::panicked(&error.to_string()));
                if let Some(error) = end.disk {
                    stop.stop(StopCause::Disk);
                    disk.get_or_insert(error);
                }
                if !end.summary.complete {
                    events.warn(None, format!("cluster: {}", end.summary.text)).await;
                }
                evidence_bytes = evidence_bytes.saturating_add(end.summary.evidence_bytes);
                keeper.note_cluster(end.summary.clone());
                cluster = Some(end.summary);
            }
            Some(joined) = flying.join_next_with_id() => {
                let (id, end) = match joined {
                    Ok((id, end)) => (id, Ok(end)),
                    Err(error) => (error.id(), Err(error)),
                };
                let Some(index) = index_of.remove(&id) else { continue };
                let Some(target) = options.targets.get(index) else { continue };
                let summary = match end {
                    Ok(end) => {
                        if let Some(error) = end.disk {
                            // Every other node writes to the same disk.
                            stop.stop(StopCause::Disk);
                            disk.get_or_insert(error);
                        }
                        end.summary
                    }
                    Err(error) => panicked(&target.name, &error.to_string(), ctx.open.of(&target.name)),
                };
                evidence_bytes = evidence_bytes.saturating_add(summary.evidence_bytes);
                keeper.note(summary.clone());
                events.send(EventKind::NodeFinished(summary.clone())).await;
                if let Some(slot) = slots.get_mut(index) {
                    *slot = Some(summary);
                }
            }
        }
    }

    let reason = stop.cause().map_or_else(
        || "the run's evidence limit was reached before its turn".to_owned(),
        |cause| format!("{} before its turn", cause.text()),
    );
    let mut nodes = Vec::with_capacity(slots.len());
    for (slot, target) in slots.into_iter().zip(&options.targets) {
        let summary = match slot {
            Some(summary) => summary,
            None => {
                let summary = not_started(&target.name, &reason);
                keeper.note(summary.clone());
                events.send(EventKind::NodeFinished(summary.clone())).await;
                summary
            }
        };
        nodes.push(summary);
    }
    keeper.catch_up(events).await;
    Ok(RunOutcome { nodes, disk, deadline_passed, cluster })
}
