//! The analysis at the end of a run: one process of our own per bundle, two at a time, each bounded, so that neither a huge
//! bundle nor a defect of the analysis can touch what was gathered or hold up the summary. Called by `run_end.rs`; writes
//! nothing but what is unpacked for the while.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::{error, exit, output};
use crate::analyze::gather::gather;
use crate::analyze::node::{NodeAnalysis, analyze};
use crate::bundle::{free_bytes, layout};
use crate::environment::without_secrets;
use crate::event::{ClusterSummary, NodeResult, NodeSummary};
use crate::inventory::NodeName;
use crate::printable::{printable, printable_bytes};
use crate::report::analysis::{Analysis, Unjudged};
use crate::report::report_command;

/// Bundles looked at at a time: what is left of the machine is the operator's.
const AT_A_TIME: usize = 2;
/// What one node may take.
const PER_NODE: Duration = Duration::from_secs(20);
/// What all may take: the operator waits for the summary.
const IN_ALL: Duration = Duration::from_secs(60);
/// Left free on the disk beside what is unpacked.
const RESERVE: u64 = 256 << 20;
/// What is taken of the analysis of one node; they have some 100 KiB.
const MAX_ANSWER: u64 = 64 << 20;
/// What is taken of an error.
const MAX_COMPLAINT: u64 = 4 << 10;
/// After so long it is said what is waited for where there is no terminal.
const QUIET_FOR: Duration = Duration::from_secs(5);

/// Analyse one bundle and print the result as JSON
#[derive(Debug, Args)]
pub(crate) struct AnalyzeBundleArgs {
    /// The bundle
    bundle: PathBuf,
}

/// Runs `plegcollect analyze-bundle` (hidden): the process that [`Judge`] starts for each bundle.
pub(crate) fn analyze_bundle(args: &AnalyzeBundleArgs) -> Result<u8, AppError> {
    let analysis = analysis_of(&args.bundle).map_err(|reason| AppError::new(exit::SETUP, reason))?;
    let json = serde_json::to_string(&analysis)
        .map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write the analysis as JSON: {e}")))?;
    output::print(&json).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(exit::COMPLETE)
}

/// What the cluster says of the node lies beside its bundle.
fn analysis_of(bundle: &Path) -> Result<NodeAnalysis, String> {
    let mut found = None;
    let not_read = gather(&[bundle.to_owned()], |view, source| found = Some(analyze(view, source.to_owned())));
    let why = || not_read.into_iter().next().map_or_else(|| "it holds nothing".to_owned(), |not| not.reason);
    found.ok_or_else(why)
}

/// How the bundles of a run are analysed.
pub(crate) struct Judge {
    /// This program, and what stands before the path of a bundle.
    program: PathBuf,
    arguments: Vec<&'static str>,
    per_node: Duration,
    in_all: Duration,
    /// Whether to tell how far it is.
    told: bool,
}

/// A bundle to be looked at.
struct Case {
    node: NodeName,
    bundle: PathBuf,
    evidence_bytes: u64,
    is_cluster: bool,
}

/// Why a node has no verdict.
enum Without {
    Because(String),
    /// The run was interrupted.
    Stopped,
    /// The time for all was over.
    Late,
}

impl Judge {
    /// Returns one with the usual bounds. `told`: progress goes to standard error.
    pub(crate) fn new(told: bool) -> Self {
        // What runs, also when the file was replaced meanwhile.
        let own = Path::new("/proc/self/exe");
        let program = if own.exists() { own.to_owned() } else { std::env::current_exe().unwrap_or_default() };
        Self { program, arguments: vec!["analyze-bundle"], per_node: PER_NODE, in_all: IN_ALL, told }
    }

    /// Analyses the bundles of a run in `dir`. Never fails: a node that could not be analysed is told of as one without a
    /// verdict. Ends soon after `stop`.
    ///
    /// # Cancel safety
    /// Dropping the future ends its processes and removes what they unpacked.
    pub(crate) async fn analysis(
        &self,
        nodes: &[NodeSummary],
        cluster: Option<&ClusterSummary>,
        dir: &Path,
        stop: &CancellationToken,
    ) -> Analysis {
        let (cases, mut unjudged) = cases(nodes, cluster);
        let (mut found, mut clusters) = (Vec::new(), Vec::new());
        let (mut late, mut stopped) = (Vec::new(), Vec::new());
        let until = Instant::now() + self.in_all;
        let all = cases.len();
        let mut progress = Progress::new(self.told, all, self.in_all);
        {
            let one = |case: Case| async move {
                let result = self.one(&case, dir, until, stop).await;
                (case, result)
            };
            let mut results = futures::stream::iter(cases).map(one).buffer_unordered(AT_A_TIME);
            let mut tick = tokio::time::interval(Duration::from_millis(250));
            loop {
                let next = tokio::select! {
                    next = results.next() => next,
                    _ = tick.tick() => {
                        progress.show();
                        continue;
                    }
                };
                let Some((case, result)) = next else { break };
                progress.done += 1;
                match result {
                    Ok(analysis) if case.is_cluster => clusters.push(*analysis),
                    Ok(analysis) => found.push(*analysis),
                    Err(Without::Because(reason)) => unjudged.push(Unjudged { node: case.node, reason, next: None }),
                    Err(Without::Late) => late.push(case.node),
                    Err(Without::Stopped) => stopped.push(case.node),
                }
            }
        }
        progress.clear();
        let place = |node: &NodeName| nodes.iter().position(|n| n.node == *node).unwrap_or(usize::MAX);
        found.sort_by_cached_key(|analysis| place(&analysis.node));
        let time = humantime::format_duration(self.in_all);
        let many = format!("not analysed: {time} for all bundles were over");
        for (list, reason) in [(late, many), (stopped, "not analysed: interrupted".to_owned())] {
            let next = Some(report_command(dir));
            unjudged.extend(list.into_iter().map(|node| Unjudged { node, reason: reason.clone(), next: next.clone() }));
        }
        unjudged.sort_by_cached_key(|one| place(&one.node));
        Analysis::new(found, None, Vec::new()).with_clusters(clusters).and_unjudged(unjudged)
    }

    async fn one(
        &self,
        case: &Case,
        dir: &Path,
        until: Instant,
        stop: &CancellationToken,
    ) -> Result<Box<NodeAnalysis>, Without> {
        let left = until.saturating_duration_since(Instant::now());
        if stop.is_cancelled() {
            return Err(Without::Stopped);
        }
        if left.is_zero() {
            return Err(Without::Late);
        }
        tokio::select! {
            result = self.ask(case, dir) => result.map_err(Without::Because),
            () = tokio::time::sleep(self.per_node) => {
                let time = humantime::format_duration(self.per_node);
                Err(Without::Because(format!("not analysed within {time}: plegcollect report takes the time it needs")))
            }
            () = tokio::time::sleep(left) => Err(Without::Late),
            () = stop.cancelled() => Err(Without::Stopped),
        }
    }

    /// Has one bundle analysed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process and removes what it unpacked.
    async fn ask(&self, case: &Case, dir: &Path) -> Result<Box<NodeAnalysis>, String> {
        let arguments = self.arguments.iter().map(OsStr::new).chain([case.bundle.as_os_str()]);
        let out =
            self.output(arguments, case.evidence_bytes, dir).await.map_err(|why| format!("not analysed: {why}"))?;
        serde_json::from_slice(&out)
            .map(Box::new)
            .map_err(|e| format!("not analysed: its result cannot be understood: {e}"))
    }

    /// Has the page for a browser written into the run's directory, which reads the bundles once more.
    ///
    /// # Errors
    /// Why there is none, a few words.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process; the page is whole or not there.
    pub(crate) async fn page(&self, nodes: &[NodeSummary], dir: &Path, stop: &CancellationToken) -> Result<(), String> {
        let evidence = nodes.iter().fold(0_u64, |sum, node| sum.saturating_add(node.evidence_bytes));
        let page = dir.join(layout::PAGE);
        let words = ["report", "--format", "html", "--output"].map(OsStr::new);
        let arguments = words.into_iter().chain([page.as_os_str(), OsStr::new("--"), dir.as_os_str()]);
        tokio::select! {
            result = self.output(arguments, evidence, dir) => result.map(drop),
            () = tokio::time::sleep(self.in_all) => {
                Err(format!("not done within {}", humantime::format_duration(self.in_all)))
            }
            () = stop.cancelled() => Err("interrupted".to_owned()),
        }
    }

    /// Runs this program and returns its standard output.
    ///
    /// # Cancel safety
    /// As [`ask`](Self::ask).
    async fn output<'a>(
        &self,
        arguments: impl Iterator<Item = &'a OsStr>,
        evidence_bytes: u64,
        dir: &Path,
    ) -> Result<Vec<u8>, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        // Beside the bundles: there is room for evidence, and a temporary directory may be memory.
        let scratch = tempfile::Builder::new()
            .prefix(".analysis-")
            .tempdir_in(dir)
            .map_err(|e| failed("cannot make a directory to unpack in", &e))?;
        has_room(scratch.path(), evidence_bytes)?;
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(arguments)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us to hear, and to pass on.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = Process {
            _scratch: scratch,
            child: without_secrets(&mut command).spawn().map_err(|e| failed("start", &e))?,
        };
        let (out, complaint) = (child.child.stdout.take(), child.child.stderr.take());
        let (out, complaint, status) =
            tokio::join!(all_of(out, MAX_ANSWER), all_of(complaint, MAX_COMPLAINT), child.child.wait());
        let status = status.map_err(|e| failed("wait for its process", &e))?;
        if !status.success() {
            let text = printable_bytes(&complaint, 300);
            let text = text.trim().trim_start_matches("error: ");
            let how = if text.is_empty() { status.to_string() } else { text.to_owned() };
            return Err(how);
        }
        Ok(out)
    }
}

/// A process, and where it unpacks: the directory goes after the process.
struct Process {
    child: tokio::process::Child,
    _scratch: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL is sent, and a moment later nobody writes there any more; the directory is removed after this.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        drop(self.child.start_kill());
        let until = Instant::now() + Duration::from_secs(1);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Reads at most `most` bytes; the rest is read and dropped, for a full pipe would hold its writer up.
async fn all_of(from: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What came before an error is all there is.
        let _ = (&mut from).take(most).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    bytes
}

fn has_room(dir: &Path, evidence_bytes: u64) -> Result<(), String> {
    let needed = evidence_bytes.saturating_add(RESERVE);
    match free_bytes(dir) {
        Ok(free) if free < needed => {
            let [needed, free] = [needed, free].map(|n| bytesize::ByteSize::b(n).display().si().to_string());
            Err(format!("no room to unpack it beside the bundles, {needed} are needed and {free} free"))
        }
        // Where it cannot be told, unpacking will.
        _ => Ok(()),
    }
}

/// Returns the bundles to be looked at, those with trouble first, and the nodes that nothing can be said of.
fn cases(nodes: &[NodeSummary], cluster: Option<&ClusterSummary>) -> (Vec<Case>, Vec<Unjudged>) {
    let (mut cases, mut unjudged) = (Vec::new(), Vec::new());
    for node in nodes {
        let why = match node.result {
            NodeResult::NotStarted => Some("not started".to_owned()),
            NodeResult::Unreached => {
                let class = node.failure.as_deref().map(|class| format!(" ({})", printable(class, 60)));
                Some(format!("not reached{}", class.unwrap_or_default()))
            }
            NodeResult::Complete | NodeResult::Partial => None,
        };
        match (why, &node.bundle) {
            (None, Some(bundle)) => {
                let trouble = node.steps.timed_out + node.steps.failed + node.steps.lost;
                let (node, evidence_bytes) = (node.node.clone(), node.evidence_bytes);
                cases.push((trouble, Case { node, bundle: bundle.clone(), evidence_bytes, is_cluster: false }));
            }
            (None, None) => {
                unjudged.push(Unjudged { node: node.node.clone(), reason: "no bundle".to_owned(), next: None });
            }
            (Some(reason), _) => unjudged.push(Unjudged { node: node.node.clone(), reason, next: None }),
        }
    }
    cases.sort_by_key(|(trouble, _)| std::cmp::Reverse(*trouble));
    let mut cases: Vec<Case> = cases.into_iter().map(|(_, case)| case).collect();
    let of_cluster = cluster.and_then(|cluster| Some((cluster, cluster.bundle.clone()?)));
    if let (Some((cluster, bundle)), Ok(node)) = (of_cluster, "cluster".parse()) {
        cases.insert(0, Case { node, bundle, evidence_bytes: cluster.evidence_bytes, is_cluster: true });
    }
    (cases, unjudged)
}

/// A line on standard error that tells how far it is.
struct Progress {
    told: bool,
    live: bool,
    began: Instant,
    in_all: Duration,
    all: usize,
    done: usize,
    /// Something stands on the terminal, or was said.
    shown: bool,
}

impl Progress {
    fn new(told: bool, all: usize, in_all: Duration) -> Self {
        let live = std::io::stderr().is_terminal();
        Self { told: told && all > 0, live, began: Instant::now(), in_all, all, done: 0, shown: false }
    }

    fn show(&mut self) {
        let took = self.began.elapsed();
        if !self.told {
            return;
        }
        if self.live {
            let text = format!(
                "\r\u{1b}[Kanalysing bundles: {} of {} done, {}s (Ctrl-C: go on without)",
                self.done,
                self.all,
                took.as_secs()
            );
            put(&text);
            self.shown = true;
        } else if took >= QUIET_FOR && !self.shown {
            let most = humantime::format_duration(self.in_all);
            error::note(&format!("analysing bundles: {} of {} done; {most} at the most", self.done, self.all));
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if self.live && self.shown {
            put("\r\u{1b}[K");
        }
    }
}

/// A standard error that nobody reads is no reason to stop.
fn put(text: &str) {
    let mut err = std::io::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

#[cfg(test)]
#[path = "run_analysis_tests.rs"]
mod tests;
