//! The rules of the chain kubelet, dockerd, containerd on genuine evidence: each case gives exactly the expected findings.

#![expect(clippy::disallowed_methods, reason = "files of a test's own, nobody reads them while they are made")]

mod any_evidence;
mod daemons;
mod kubelet;
mod metrics;
mod running;
mod spells;
mod verdicts;

use std::fs;
use std::path::{Path, PathBuf};

use super::findings;
use crate::analyze::finding::{Finding, Severity};
use crate::analyze::view::NodeView;
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::plan::Phase;

const HANG: &str = "kubelet/kubelet-1.36.2-pleg-hang";
const IDLE: &str = "kubelet/kubelet-1.36.2";
const OLD: &str = "kubelet/kubelet-1.21.1-dockershim";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Lays files out as a bundle has them: fixture, and path in the bundle.
fn laid_out(files: &[(&str, &str)]) -> (tempfile::TempDir, NodeView) {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixture(from), to).unwrap();
    }
    let view = NodeView::of_dir("worker-001".parse().unwrap(), None, Vec::new(), dir.path().to_owned());
    (dir, view)
}

/// Lays texts out as a bundle has them.
fn written(files: &[(&str, String)]) -> (tempfile::TempDir, NodeView) {
    written_with(files, Vec::new())
}

/// The same, with records of steps.
fn written_with(files: &[(&str, String)], steps: Vec<StepRecord>) -> (tempfile::TempDir, NodeView) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, text).unwrap();
    }
    let view = NodeView::of_dir("worker-001".parse().unwrap(), None, steps, dir.path().to_owned());
    (dir, view)
}

fn text(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap()
}

/// A step that took 30 ms, or timed out.
fn step(id: &str, outcome: Outcome, files: &[&str]) -> StepRecord {
    let record = |path: &&str| FileRecord {
        path: (*path).to_owned(),
        bytes: 1,
        omitted_bytes: 0,
        omitted_at_least: false,
        sha256: String::new(),
        redactions: 0,
    };
    StepRecord {
        id: id.parse().unwrap(),
        phase: Phase::Before,
        command: String::new(),
        as_root: None,
        started: None,
        duration_ms: 30,
        outcome,
        detail: None,
        exit_status: None,
        signal: None,
        wire_bytes: 0,
        files: files.iter().map(record).collect(),
    }
}

/// The sentence of the finding of an id.
fn says(found: &[Finding], id: &str) -> String {
    found.iter().find(|f| f.id == id).map(|f| f.sentence.clone()).unwrap_or_else(|| panic!("no {id}: {found:#?}"))
}

/// A goroutine as `debug=2` prints it, the innermost frame first.
fn goroutine(id: u64, state: &str, frames: &[&str]) -> String {
    let frames: String = frames.iter().map(|frame| format!("{frame}(0xc000)\n\tsome/file.go:7 +0x1\n")).collect();
    format!("goroutine {id} [{state}]:\n{frames}\n")
}

/// Ids of all findings but those that a file is missing, with their severity.
fn ids(findings: &[Finding]) -> Vec<(&str, Severity)> {
    let mut ids: Vec<(&str, Severity)> = findings
        .iter()
        .filter(|finding| !finding.id.ends_with("/missing"))
        .map(|finding| (finding.id.as_str(), finding.severity))
        .collect();
    ids.sort_unstable();
    ids
}
