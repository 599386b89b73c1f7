//! `run.json`: what a run was asked for and how it ended. Written at the start and again soon
//! after every node, so that a killed run leaves a truthful record without `finished`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{FORMAT, FormatVersion};
use super::{BundleError, atomic, layout};
use crate::event::{ClusterSummary, NodeSummary};

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRecord {
    /// Version of the format.
    pub format: FormatVersion,
    /// Id of the run; the name of its directory.
    pub run_id: String,
    /// The incident it was run for.
    #[serde(default)]
    pub incident: Option<String>,
    /// Version of plegcollect.
    pub tool_version: String,
    /// `user@host` of the operator.
    #[serde(default)]
    pub operator: String,
    /// Arguments, already redacted by the caller.
    #[serde(default)]
    pub args: Vec<String>,
    /// Start.
    pub started: Timestamp,
    /// End; `None`: the run is going on or was killed.
    #[serde(default)]
    pub finished: Option<Timestamp>,
    /// Exit code, once it ended.
    #[serde(default)]
    pub exit_code: Option<u8>,
    /// Number of nodes asked for.
    #[serde(default)]
    pub planned_nodes: usize,
    /// Nodes that are over.
    #[serde(default)]
    pub nodes: Vec<NodeSummary>,
    /// The evidence of the cluster, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterSummary>,
    /// Warnings shown.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl RunRecord {
    /// Returns the record of a run that begins.
    #[must_use]
    pub fn new(run_id: impl Into<String>, started: Timestamp) -> Self {
        Self {
            format: FORMAT,
            run_id: run_id.into(),
            incident: None,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            operator: String::new(),
            args: Vec::new(),
            started,
            finished: None,
            exit_code: None,
            planned_nodes: 0,
            nodes: Vec::new(),
            cluster: None,
            warnings: Vec::new(),
        }
    }

    /// Returns where the record of the run in `dir` is.
    #[must_use]
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(layout::RUN_RECORD)
    }

    /// Writes the record into `dir`, whole or not at all. Blocks for a sync of the disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn save(&self, dir: &Path) -> Result<(), BundleError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|e| BundleError::Json { what: layout::RUN_RECORD.to_owned(), source: Arc::new(e) })?;
        text.push(b'\n');
        atomic::write(&Self::path(dir), &text)
    }

    /// Reads the record of the run in `dir`; `None` if there is none or it cannot be understood.
    #[must_use]
    pub fn load(dir: &Path) -> Option<Self> {
        let path = Self::path(dir);
        // A record of 1,000 nodes is about 1 MB; more than 64 MB is not one of ours.
        if std::fs::metadata(&path).ok()?.len() > 64 << 20 {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_run_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = RunRecord::new("r", "2026-11-20T23:15:07Z".parse().unwrap());
        record.save(dir.path()).unwrap();
        assert_eq!(RunRecord::load(dir.path()).unwrap().finished, None);
        record.finished = Some(record.started);
        record.exit_code = Some(10);
        record.save(dir.path()).unwrap();
        assert_eq!(RunRecord::load(dir.path()), Some(record));
    }
}
