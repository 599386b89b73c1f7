//! The end of a run, once every bundle is sealed: run.json and SUMMARY.md first, then what the evidence means, which is put
//! before the rest of the summary and into findings.json. What fails of the latter is a remark; the exit code is that of
//! collecting.

use std::path::Path;
use std::pin::Pin;

use super::error::AppError;
use super::run_analysis::Judge;
use super::{exit, output, report as cli_report};
use crate::analyze::finding::Severity;
use crate::bundle::{BundleError, RunRecord, atomic, layout};
use crate::collect::Shutdown;
use crate::event::NodeSummary;
use crate::report::analysis::Analysis;
use crate::report::{self, RunSummary};

/// What is left to do.
pub(crate) struct RunEnd<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) nodes: &'a [NodeSummary],
    pub(crate) record: &'a RunRecord,
    /// Without an analysis yet.
    pub(crate) summary: RunSummary,
    pub(crate) shutdown: &'a Shutdown,
    /// The operator wants no analysis.
    pub(crate) no_analysis: bool,
    /// Only trouble is told.
    pub(crate) quiet: bool,
    /// Standard output is for events.
    pub(crate) events: bool,
}

impl RunEnd<'_> {
    /// Writes the files of the run and prints the summary. `signals` goes on turning signals into requests: one that comes
    /// during the analysis ends it.
    ///
    /// # Errors
    /// When run.json or SUMMARY.md cannot be written, or standard output fails.
    ///
    /// # Cancel safety
    /// Each file is whole or not there; the processes of the analysis end.
    pub(crate) async fn finish(mut self, mut signals: Pin<&mut impl Future<Output = ()>>) -> Result<(), AppError> {
        let recorded = self.record.save(self.dir);
        let written = recorded.and_then(|()| self.write_summary());
        if self.no_analysis {
            // Nothing is said of what nobody wanted.
        } else if self.shutdown.is_requested() {
            self.summary.notes.push(format!(
                "interrupted, so the evidence was not analysed: {} does it",
                report::report_command(self.dir)
            ));
        } else {
            let judge = Judge::new(!self.quiet && !self.events);
            let cluster = self.summary.cluster.clone();
            let analysis = judge.analysis(self.nodes, cluster.as_ref(), self.dir, self.shutdown.wind_down());
            let analysis = heeding(analysis, signals.as_mut()).await;
            let done = analysis.unjudged.iter().all(|node| node.next.is_none());
            self.summary.notes.extend(findings(self.dir, &analysis).err());
            if done && cli_report::has_page() {
                let page = judge.page(self.nodes, self.dir, self.shutdown.wind_down());
                let why = heeding(page, signals.as_mut()).await.err();
                self.summary.notes.extend(why.map(|why| format!("{} was not written: {why}", layout::PAGE)));
            }
            self.summary.analysis = Some(analysis);
            // The one without a verdict stays, where there is no room for the other.
            if written.is_ok()
                && let Err(error) = self.write_summary()
            {
                self.summary.notes.push(format!("the verdict is not in SUMMARY.md: {error}"));
            }
        }
        self.print()?;
        written.map_err(|e| AppError::from_chain(self.summary.exit_code.max(exit::SETUP), &e))
    }

    fn write_summary(&self) -> Result<(), BundleError> {
        let text = report::markdown::render(self.nodes, &self.summary);
        atomic::write(&self.dir.join("SUMMARY.md"), text.as_bytes())
    }

    fn print(&self) -> Result<(), AppError> {
        let critical = |analysis: &Analysis| {
            let findings = analysis.nodes.iter().chain(&analysis.clusters).flat_map(|node| &node.findings);
            findings.into_iter().any(|finding| finding.severity == Severity::Critical)
        };
        let trouble = self.summary.exit_code != exit::COMPLETE || self.summary.analysis.as_ref().is_some_and(critical);
        if self.events || (self.quiet && !trouble) {
            return Ok(());
        }
        let text = report::summary::render(self.nodes, &self.summary, output::width(), output::color());
        output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))
    }
}

/// Waits for `work` while `signals` turns signals into requests.
///
/// # Cancel safety
/// That of `work`.
async fn heeding<T>(work: impl Future<Output = T>, mut signals: Pin<&mut impl Future<Output = ()>>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = &mut signals => {}
        }
    }
}

/// Writes findings.json; the error is one sentence.
fn findings(dir: &Path, analysis: &Analysis) -> Result<(), String> {
    let name = layout::FINDINGS;
    let json = analysis.json().map_err(|e| format!("{name} was not written: {e}"))?;
    atomic::write(&dir.join(name), json.as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{name} was not written: {error}{cause}")
    })
}
