//! The cluster's part of a run: API servers asked beside the nodes, into a bundle of its own. Never fails as a whole and never
//! holds up nodes; an API server that does not answer the first request is not asked again. Called by `fleet.rs`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;

use super::cluster_step::StepWay;
use super::ending::millis;
use super::node::NodeContext;
use super::phase::Tally;
use super::stop::{NodeStop, StopCause};
use crate::bundle::{BundleError, BundleWriter, Closing, Ending};
use crate::cluster::{ApiBounds, ApiEnd, Cluster, ClusterNode};
use crate::event::ClusterSummary;
use crate::evidence::{Outcome, StepRecord};
use crate::inventory::target::Reach;
use crate::inventory::{NodeName, Target};
use crate::plan::cluster::NODES_BY_NAME;
use crate::plan::{Action, ClusterAsk, ClusterStep, Phase, PlannedStep};
use crate::session::{ConnectionFacts, Sink, StdStream};

/// Time for all of it, from the first answer of an API server on.
const WHOLE: Duration = Duration::from_secs(60);
/// Where kubelets renew their leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const NODES: &str = "/api/v1/nodes";

/// What the cluster is asked in a run.
pub struct ClusterRun {
    /// Its API servers.
    pub cluster: Cluster,
    /// The chosen steps, in order.
    pub steps: Vec<&'static ClusterStep>,
}

/// How it went, and whether the local disk failed us meanwhile.
pub(crate) struct ClusterEnd {
    pub(crate) summary: ClusterSummary,
    pub(crate) disk: Option<BundleError>,
}

impl ClusterEnd {
    /// Returns the end of a part in which the program itself failed.
    pub(crate) fn panicked(error: &str) -> Self {
        Self { summary: summary(format!("internal error: {error}; please report this")), disk: None }
    }
}

fn summary(text: String) -> ClusterSummary {
    ClusterSummary {
        complete: false,
        text,
        steps: crate::event::StepCounts::default(),
        bundle_bytes: 0,
        evidence_bytes: 0,
        took_ms: 0,
        bundle: None,
        sha256: None,
        missing: Vec::new(),
    }
}

/// Returns the name of the bundle: `cluster`, unless a node of the run is called so.
fn bundle_name(targets: &[Target]) -> Option<NodeName> {
    let taken = |name: &str| targets.iter().any(|target| target.name.as_str().eq_ignore_ascii_case(name));
    let others = (2..).map(|n| format!("cluster-api-{n}"));
    let name = ["cluster", "cluster-api"].into_iter().map(str::to_owned).chain(others).find(|name| !taken(name))?;
    name.parse().ok()
}

/// Takes the evidence of the cluster.
///
/// # Cancel safety
/// Dropping it leaves the bundle as `.partial`, readable up to the last finished step.
pub(crate) async fn collect_cluster(run: &ClusterRun, ctx: &NodeContext, targets: &[Target]) -> ClusterEnd {
    let clock = Instant::now();
    let Some(name) = bundle_name(targets) else { return ClusterEnd::panicked("no name is left for its bundle") };
    let bundle = match BundleWriter::create(&ctx.run_dir, &name, &ctx.header(&name), ctx.bundle.clone()).await {
        Ok(bundle) => bundle,
        Err(error) => {
            return ClusterEnd {
                summary: summary(format!("its bundle cannot be written: {error}")),
                disk: Some(error),
            };
        }
    };
    let stop = NodeStop::new(&ctx.stop);
    let part = Part { run, bundle: &bundle, stop: &stop, targets, names: Mutex::default() };
    let Taken { records, silent, mut disk } = part.collect().await;

    let mut tally = Tally::default();
    for record in &records {
        // The reason for all steps of a silent server stands once.
        if silent.iter().any(|(_, why)| record.detail.as_deref().is_some_and(|detail| detail == not_tried(why))) {
            tally.counts.add(record.outcome);
        } else {
            tally.count(record);
        }
    }
    let clean = records.iter().filter(|record| record.outcome.is_clean()).count();
    let mut text = format!("{clean} of {}", crate::wording::count(records.len(), "step"));
    for (server, why) in &silent {
        text.push_str(&format!("; API server {server}: {why}"));
    }
    if let Some(cause) = stop.cause() {
        text.push_str(&format!("; {}", cause.text()));
    }
    let redact = |text: &String| ctx.bundle.redactor.text(text);
    let whole = clean == records.len() && disk.is_none();
    let closing = Closing {
        reason: (!whole).then(|| redact(&text)),
        connection: ConnectionFacts {
            transport: "kubernetes-api".to_owned(),
            route: run.cluster.servers(),
            ..ConnectionFacts::default()
        },
        ..Closing::now(match stop.cause() {
            Some(StopCause::Operator) => Ending::Interrupted,
            _ if whole => Ending::Complete,
            _ => Ending::Partial,
        })
    };
    let mut summary = ClusterSummary {
        complete: whole,
        steps: tally.counts,
        missing: tally.missing.iter().map(redact).collect(),
        bundle: Some(bundle.path().to_owned()),
        ..summary(redact(&text))
    };
    match bundle.seal(closing).await {
        Ok(sealed) => {
            summary.bundle_bytes = sealed.bytes;
            summary.evidence_bytes = sealed.manifest.evidence_bytes();
            summary.bundle = Some(sealed.path);
            summary.sha256 = Some(sealed.sha256);
        }
        Err(error) => {
            summary.complete = false;
            disk.get_or_insert(error);
        }
    }
    if let Some(error) = &disk {
        summary.complete = false;
        summary.text.push_str(&format!("; {error}"));
    }
    summary.took_ms = millis(clock.elapsed());
    ClusterEnd { summary, disk }
}

/// The detail of a step that was not tried because of `why`.
fn not_tried(why: &str) -> String {
    format!("not tried: {why}")
}

/// What became of the steps.
#[derive(Default)]
struct Taken {
    records: Vec<StepRecord>,
    /// API servers that gave no answer, and why.
    silent: Vec<(String, String)>,
    disk: Option<BundleError>,
}

/// What the first request to a server came to.
struct Gate {
    answer: Result<Vec<u8>, ApiEnd>,
    started: Timestamp,
    took: Duration,
}

/// The work on the API servers.
struct Part<'a> {
    run: &'a ClusterRun,
    bundle: &'a BundleWriter,
    stop: &'a NodeStop,
    targets: &'a [Target],
    /// Names of the run's nodes in the cluster, as far as they are known.
    names: Mutex<Vec<String>>,
}

impl Part<'_> {
    /// Asks all servers at a time, each one thing after the other; the first that answers is asked for objects too.
    async fn collect(&self) -> Taken {
        let cluster = &self.run.cluster;
        let servers = cluster.servers();
        let mut gates: Vec<BoxFuture<'_, Gate>> = Vec::new();
        for index in 0..servers.len() {
            gates.push(self.gate(index).boxed());
        }
        let gates = join_all(gates).await;
        let first = gates.iter().position(|gate| gate.answer.is_ok()).unwrap_or(0);
        let over = Instant::now() + WHOLE;
        let mut each: Vec<BoxFuture<'_, Taken>> = Vec::new();
        for (index, (address, gate)) in servers.iter().zip(gates).enumerate() {
            let server = Server { index, address, over, objects: index == first };
            each.push(self.server(server, gate).boxed());
        }
        let mut all = Taken::default();
        for taken in join_all(each).await {
            all.records.extend(taken.records);
            all.silent.extend(taken.silent);
            all.disk = all.disk.or(taken.disk);
        }
        all
    }

    async fn gate(&self, index: usize) -> Gate {
        let (started, clock) = (Timestamp::now(), Instant::now());
        let answer = self.run.cluster.version(index, self.stop.token()).await;
        Gate { answer, started, took: clock.elapsed() }
    }

    async fn server(&self, server: Server<'_>, gate: Gate) -> Taken {
        let mut taken = Taken::default();
        let mut silent = gate.answer.as_ref().err().map(ApiEnd::why);
        if let Some(why) = silent.clone().filter(|_| self.stop.cause().is_none()) {
            taken.silent.push((server.address.to_owned(), why));
        }
        let steps = self.run.steps.iter().filter(|step| server.objects || step.path().is_some());
        for step in steps {
            let Some(planned) = server.planned(step) else { continue };
            let mut way = StepWay::new(self.bundle, &planned, step.max_bytes);
            let command = server.command(step);
            let left = server.over.saturating_duration_since(Instant::now());
            let (end, started, took) = if let (Ok(version), "cluster/version") = (&gate.answer, step.id) {
                let _ = way.write(StdStream::Out, Bytes::copy_from_slice(version)).await;
                (ApiEnd { outcome: Outcome::Complete, detail: None, status: Some(200) }, Some(gate.started), gate.took)
            } else if let (Err(end), "cluster/version") = (&gate.answer, step.id) {
                (end.clone(), Some(gate.started), gate.took)
            } else if let Some(cause) = self.stop.cause() {
                (ApiEnd { outcome: cause.outcome(), detail: Some(cause.text()), status: None }, None, Duration::ZERO)
            } else if let Some(why) = &silent {
                (ApiEnd { outcome: Outcome::Failed, detail: Some(not_tried(why)), status: None }, None, Duration::ZERO)
            } else if left.is_zero() {
                let text = format!("the {} s for the evidence of the cluster were over", WHOLE.as_secs());
                (ApiEnd { outcome: Outcome::Lost, detail: Some(text), status: None }, None, Duration::ZERO)
            } else {
                let bounds = ApiBounds { within: step.within.min(left), max_bytes: step.max_bytes };
                let (started, clock) = (Timestamp::now(), Instant::now());
                let end = self.ask(server.index, step, bounds, &mut way).await;
                (end, Some(started), clock.elapsed())
            };
            let mut end = end;
            if let Some(cause) = self.stop.cause().filter(|_| end.outcome == Outcome::Cancelled) {
                (end.outcome, end.detail) = (cause.outcome(), Some(cause.text()));
            }
            if end.is_silent() && silent.is_none() && started.is_some() {
                // It hung or went away: each further step would cost its whole bound.
                silent = Some(end.why());
                taken.silent.push((server.address.to_owned(), end.why()));
            }
            match way.finish(command, end, started, took).await {
                Ok(record) => taken.records.push(record),
                Err((record, error)) => {
                    taken.records.push(record);
                    taken.disk.get_or_insert(error);
                }
            }
        }
        taken
    }

    async fn ask(&self, server: usize, step: &ClusterStep, bounds: ApiBounds, sink: &mut dyn Sink) -> ApiEnd {
        let (cluster, cancel) = (&self.run.cluster, self.stop.token());
        let few = self.targets.len() <= NODES_BY_NAME;
        match step.ask {
            ClusterAsk::Each(path) => cluster.get(server, path, bounds, sink, cancel).await,
            ClusterAsk::Lists(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
                cluster.list(server, &paths, bounds, &|_| true, sink, cancel).await
            }
            ClusterAsk::Nodes => self.nodes(server, bounds, sink, few).await,
            ClusterAsk::Leases => {
                let names = self.known();
                let paths = if few {
                    names.iter().map(|name| format!("{LEASES}/{name}")).collect()
                } else {
                    vec![LEASES.to_owned()]
                };
                let keep = |object: &ClusterNode| names.contains(&object.name);
                cluster.list(server, &paths, bounds, &keep, sink, cancel).await
            }
        }
    }

    /// Takes the nodes by name, as long as they are few, and those the cluster calls otherwise from the list.
    async fn nodes(&self, server: usize, bounds: ApiBounds, sink: &mut dyn Sink, few: bool) -> ApiEnd {
        let (cluster, cancel) = (&self.run.cluster, self.stop.token());
        let deadline = Instant::now() + bounds.within;
        let mut unknown: Vec<&Target> = self.targets.iter().collect();
        if few {
            unknown.clear();
            for target in self.targets {
                let left = deadline.saturating_duration_since(Instant::now());
                let path = [format!("{NODES}/{}", target.name)];
                let note = |node: &ClusterNode| self.note(node);
                let bounds = ApiBounds { within: left, ..bounds };
                let end = cluster.list(server, &path, bounds, &note, sink, cancel).await;
                match end.outcome {
                    Outcome::Complete => {}
                    Outcome::Absent => unknown.push(target),
                    _ => return end,
                }
            }
        }
        if unknown.is_empty() {
            return ApiEnd { outcome: Outcome::Complete, detail: None, status: Some(200) };
        }
        let seen: Mutex<Vec<NodeName>> = Mutex::default();
        let keep = |node: &ClusterNode| {
            let hit = unknown.iter().find(|target| node.is(target.name.as_str(), address(target)));
            if let Some(target) = hit {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(target.name.clone());
            }
            hit.is_some() && self.note(node)
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let bounds = ApiBounds { within: left, ..bounds };
        let mut end = cluster.list(server, &[NODES.to_owned()], bounds, &keep, sink, cancel).await;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<&str> =
            unknown.iter().filter(|target| !seen.contains(&target.name)).map(|target| target.name.as_str()).collect();
        if end.outcome == Outcome::Complete && !missing.is_empty() {
            let shown = crate::printable::printable(&missing.join(", "), 200);
            end.detail = Some(format!("the cluster has no node of this name or address: {shown}"));
            if missing.len() == self.targets.len() {
                end.outcome = Outcome::Absent;
            }
        }
        end
    }

    /// Remembers the name of a node; always true, for it is kept.
    fn note(&self, node: &ClusterNode) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).push(node.name.clone());
        true
    }

    /// Returns the nodes' names in the cluster, or ours where they were not asked for.
    fn known(&self) -> Vec<String> {
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() { self.targets.iter().map(|target| target.name.to_string()).collect() } else { known }
    }
}

/// Where the node is reached, without its jumps.
fn address(target: &Target) -> Option<&str> {
    match &target.reach {
        Reach::Local => None,
        Reach::Ssh { hop, .. } => Some(&hop.endpoint.host),
    }
}

/// One API server and its share.
struct Server<'a> {
    index: usize,
    address: &'a str,
    /// When the time for the cluster is over.
    over: Instant,
    /// It is asked for nodes and events too.
    objects: bool,
}

impl Server<'_> {
    /// `None` for no id of the table: a test holds that.
    fn planned(&self, step: &ClusterStep) -> Option<PlannedStep> {
        Some(PlannedStep {
            id: ClusterStep::of_server(step.id, self.index).parse().ok()?,
            file: ClusterStep::of_server(step.file, self.index),
            phase: Phase::Before,
            action: Action::Skipped(String::new()),
            about: step.about.to_owned(),
            heavy: false,
        })
    }

    fn command(&self, step: &ClusterStep) -> String {
        let path = match step.ask {
            ClusterAsk::Each(path) => path.to_owned(),
            ClusterAsk::Nodes => NODES.to_owned(),
            ClusterAsk::Leases => LEASES.to_owned(),
            ClusterAsk::Lists(paths) => paths.join(" "),
        };
        format!("GET {}{path}", self.address)
    }
}
