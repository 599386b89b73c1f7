//! One node's evidence as rules see it: files by their paths in a bundle, wherever they lie (a bundle, a directory, one file),
//! with what the manifest says of each. Parsed once and kept where several rules want the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::cluster::ClusterView;
use super::files::{Files, Opened};
use super::goroutine::{self, Dump, Limits};
use super::history::KubeletHistory;
use super::listing::Listed;
use super::metrics::{Scrape, kubelet};
use super::rules;
use super::zone::Told;
use crate::bundle::Manifest;
use crate::evidence::{Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::wording;

/// What evidence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// A node.
    #[default]
    Node,
    /// The cluster: what API servers told.
    Cluster,
}

/// See the module.
pub struct NodeView {
    /// Which node, as it is called in findings; nodes of one name in several runs are told apart by it.
    pub node: NodeName,
    /// What the evidence calls it.
    pub name: NodeName,
    /// What it is about.
    pub subject: Subject,
    /// Id of the run that collected; `None` for a collection made by hand.
    pub run: Option<String>,
    /// What the bundle says of itself; `None` where it was not sealed, or there is no bundle.
    pub manifest: Option<Manifest>,
    /// Records of steps, from the manifest or from the bundle's frames.
    pub steps: Vec<StepRecord>,
    /// The cluster's evidence of the same run, if there is some; of the cluster's own view, what is in it.
    pub cluster: Option<Arc<ClusterView>>,
    /// Why the bundle is not sealed, one sentence.
    pub unfinished: Option<String>,
    /// What in the bundle does not agree with its manifest, one sentence each; a bounded number.
    pub altered: Vec<String>,
    /// What was not read because it is too large, one sentence each.
    pub limits: Vec<String>,
    files: Files,
    dumps: Mutex<BTreeMap<String, Arc<Vec<Dump>>>>,
    history: OnceLock<Option<KubeletHistory>>,
    scrapes: OnceLock<[Option<Scrape>; 2]>,
    pub(super) told: Told,
}

impl NodeView {
    /// Returns the view of files that lie in a directory.
    #[must_use]
    pub fn of_dir(node: NodeName, manifest: Option<Manifest>, steps: Vec<StepRecord>, dir: PathBuf) -> Self {
        Self::of_files(node, manifest, steps, Files::dir(&dir))
    }

    /// Returns the view of single files, each with the path in a bundle that it stands for.
    #[must_use]
    pub fn of_named(node: NodeName, files: Vec<(&'static str, PathBuf)>) -> Self {
        Self::of_files(node, None, Vec::new(), Files::Named(files))
    }

    pub(super) fn of_files(node: NodeName, manifest: Option<Manifest>, steps: Vec<StepRecord>, files: Files) -> Self {
        Self {
            name: node.clone(),
            node,
            subject: Subject::Node,
            run: manifest.as_ref().map(|manifest| manifest.header.run_id.clone()),
            manifest,
            steps,
            cluster: None,
            unfinished: None,
            altered: Vec::new(),
            limits: Vec::new(),
            files,
            dumps: Mutex::default(),
            history: OnceLock::new(),
            scrapes: OnceLock::new(),
            told: Told::default(),
        }
    }

    /// Tells whether it is the cluster's evidence and no node's.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.subject == Subject::Cluster
    }

    /// Opens a file by its path in the bundle; `None` if it is not there. It ends where it cannot be read further, and
    /// after 2 GiB.
    #[must_use]
    pub fn open(&self, path: &str) -> Option<Opened> {
        self.files.open(path)
    }

    /// Returns the name under which people find a file: its path in the bundle, or its own in a collection made by hand.
    #[must_use]
    pub fn shown(&self, path: &str) -> String {
        self.files.shown(path)
    }

    /// Returns the files there are, by the names under which findings cite them.
    #[must_use]
    pub fn files(&self) -> Vec<Listed> {
        self.files.list(rules::reads())
    }

    /// Opens a file of [`Self::files`], unpacked if it was packed by hand.
    #[must_use]
    pub fn open_listed(&self, file: &Listed) -> Option<Opened> {
        self.files.open_listed(file)
    }

    pub(super) fn too_large<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<String> {
        self.files.too_large(paths)
    }

    /// Returns the record of a step by its id.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&StepRecord> {
        self.steps.iter().find(|step| step.id.as_str() == id)
    }

    /// Returns why a step left no file, in words; `None` if the step was not for this collection at all.
    #[must_use]
    pub fn why_missing(&self, step: &str) -> Option<String> {
        match self.step(step) {
            None if self.steps.is_empty() => Some("it is not in this collection".to_owned()),
            None => None,
            Some(record) => {
                let detail = record.detail.as_deref().map(|d| format!(": {}", wording::safe(d))).unwrap_or_default();
                Some(match record.outcome {
                    Outcome::Complete => "the step ended well and left no file".to_owned(),
                    outcome => format!("{}{detail}", outcome.word()),
                })
            }
        }
    }

    /// Returns when the node was looked at, by its own clock: the start of the collection, which may take minutes. `None`
    /// where nothing tells.
    #[must_use]
    pub fn collected(&self) -> Option<Timestamp> {
        let first = self.steps.iter().filter_map(|step| step.started).min();
        self.by_node(self.manifest.as_ref().map(|m| m.header.started).or(first)?)
    }

    /// Returns when a step had fetched what it fetches, by the node's clock.
    #[must_use]
    pub fn fetched(&self, step: &str) -> Option<Timestamp> {
        let step = self.step(step)?;
        let took = SignedDuration::from_millis(i64::try_from(step.duration_ms).ok()?);
        self.by_node(step.started?.checked_add(took).ok()?)
    }

    /// Turns a time by the operator's clock into one by the node's.
    #[must_use]
    pub fn by_node(&self, ours: Timestamp) -> Option<Timestamp> {
        let offset = self.manifest.as_ref().and_then(|m| m.clock_offset_ms).unwrap_or_default();
        ours.checked_add(SignedDuration::from_millis(offset)).ok()
    }

    /// Returns the stack dumps of a file; none if it is not there.
    #[must_use]
    pub fn dumps(&self, path: &str) -> Arc<Vec<Dump>> {
        let mut kept = self.dumps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dumps) = kept.get(path) {
            return Arc::clone(dumps);
        }
        let read = self.open(path).and_then(|file| goroutine::read(file, Limits::default()).ok());
        let dumps = Arc::new(read.unwrap_or_default());
        kept.insert(path.to_owned(), Arc::clone(&dumps));
        dumps
    }

    /// Returns what the kubelet's log tells; `None` if it is not there.
    #[must_use]
    pub fn history(&self) -> Option<&KubeletHistory> {
        self.history.get_or_init(|| KubeletHistory::read(self)).as_ref()
    }

    /// Returns the two scrapes of the kubelet's metrics, as far as they are there.
    #[must_use]
    pub fn scrapes(&self) -> &[Option<Scrape>; 2] {
        self.scrapes.get_or_init(|| {
            ["kubelet/metrics-1.txt", "kubelet/metrics-2.txt"]
                .map(|path| Scrape::read(self.open(path)?, &kubelet::PREFIXES).ok().filter(|s| s.samples > 0))
        })
    }
}
