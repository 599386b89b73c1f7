//! Figures of a node, to be compared with another time or another node, and to be drawn: relist, calls of the runtime,
//! goroutines by state, and counts by name. Judges nothing.

mod counters;
mod daemons;
mod goroutines;
mod latency;
mod machine;
mod sheet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use self::goroutines::shape;
use self::sheet::Sheet;
use super::finding::Citation;
use super::view::NodeView;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Figures {
    /// How long relists take.
    pub relist: Option<Latency>,
    /// How far relists are apart.
    pub relist_interval: Option<Latency>,
    /// Calls of the runtime, the most frequent first.
    pub operations: Vec<Operation>,
    /// Goroutines per process, as far as there are dumps.
    pub goroutines: Vec<Goroutines>,
    /// Other figures by name and unit (`memory available, KiB`), for comparison: counts of containers and pods, load,
    /// descriptors, memory, disks.
    pub gauges: BTreeMap<String, f64>,
    /// Counters by name, only ever growing until their process starts again; compared as rates.
    pub counters: BTreeMap<String, f64>,
    /// When each counter was read, and whose it is.
    pub readings: BTreeMap<String, Reading>,
    /// How fast counters grew while the node was looked at, per second, where they were read twice.
    pub rates: BTreeMap<String, f64>,
}

/// Where a counter is from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Reading {
    /// When it was read, by the node's clock; `None` where nothing tells.
    pub time: Option<Timestamp>,
    /// The process that counts: another text is another process, which began anew. `None`: the kernel since its boot, or not known.
    pub of: Option<String>,
}

/// A distribution of durations, seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Latency {
    /// Between the two scrapes, where both are there and something happened; else since the kubelet's start.
    pub between_scrapes: bool,
    /// How many.
    pub count: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The 99th percentile is above all bounds of the histogram: it is at least what is told, and nobody knows how much.
    pub p99_at_least: bool,
}

/// One kind of call of the runtime.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Operation {
    /// `list_containers`, `container_status`.
    pub kind: String,
    /// Calls that failed.
    pub errors: f64,
    /// How long they take.
    pub latency: Latency,
}

/// The goroutines of a process at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Goroutines {
    /// `kubelet`, `dockerd`, `containerd`, `shim`, `kube-apiserver`.
    pub process: String,
    /// 1 or 2: which of the two samples.
    pub sample: u8,
    /// The file.
    pub file: String,
    /// All of them.
    pub total: u64,
    /// By state (`select`, `semacquire`, `IO wait`, `chan receive`…), the most frequent first.
    pub states: Vec<(String, u64)>,
    /// Groups that stand in the same place, the largest first, a bounded number.
    pub groups: Vec<GoroutineGroup>,
    /// How many have each stack, by functions without lines: also of those that are not in `groups`. For comparison; not written out.
    #[serde(skip)]
    pub shapes: BTreeMap<u64, u64>,
}

/// Goroutines with the same stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GoroutineGroup {
    /// How many.
    pub count: u64,
    /// Their state.
    pub state: String,
    /// The longest any of them waits, minutes.
    pub minutes: u32,
    /// The frame that tells: `kubelet/pleg.(*GenericPLEG).Relist`.
    pub place: String,
    /// All frames, the innermost first, a bounded number.
    pub frames: Vec<String>,
    /// One of them in the file.
    pub at: Citation,
}

impl Figures {
    /// Leaves out what is not a number: JSON has no form for it, and nobody can compare it.
    #[must_use]
    pub fn finite(mut self) -> Self {
        let keep = |figure: &mut Option<f64>| *figure = figure.filter(|f| f.is_finite());
        let latencies = self.relist.iter_mut().chain(&mut self.relist_interval);
        for latency in latencies.chain(self.operations.iter_mut().map(|operation| &mut operation.latency)) {
            let Latency { count, mean, p50, p90, p99, between_scrapes: _, p99_at_least: _ } = latency;
            [count, mean, p50, p90, p99].into_iter().for_each(keep);
        }
        for operation in self.operations.iter_mut().filter(|operation| !operation.errors.is_finite()) {
            operation.errors = 0.0;
        }
        self.gauges.retain(|_, figure| figure.is_finite());
        self.counters.retain(|_, figure| figure.is_finite());
        self.rates.retain(|_, figure| figure.is_finite());
        self
    }
}

/// Reads the figures of a view.
#[must_use]
pub fn figures(view: &NodeView) -> Figures {
    let mut sheet = Sheet::new(view);
    machine::fill(&mut sheet);
    daemons::fill(&mut sheet);
    counters::fill(&mut sheet);
    let mut figures = sheet.done();
    latency::fill(view, &mut figures);
    figures.goroutines = goroutines::goroutines(view);
    figures
}
