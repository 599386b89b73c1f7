//! The kubelet's own series: relist, calls of the runtime, what runs. Names of 1.8 to 1.36: microseconds and
//! summaries until 1.14 (`kubelet_pleg_relist_latency_microseconds`), seconds and histograms since.

use jiff::Timestamp;

use super::{Distribution, Scrape, Series};

/// What [`Scrape::read`] has to keep for the functions here.
pub const PREFIXES: [&str; 12] = [
    "kubelet_pleg_",
    "kubelet_evented_pleg_connection_success_count",
    "kubelet_runtime_operations",
    "kubelet_running_",
    "kubelet_started_",
    "kubelet_node_name",
    "kubernetes_build_info",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "go_goroutines",
];

/// How relist does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Relist {
    /// How long one takes.
    pub duration: Option<Distribution>,
    /// From one start to the next.
    pub interval: Option<Distribution>,
    /// When one was last begun with success, with its line; standing still between two scrapes is the sign of a hang.
    pub last_seen: Option<(Timestamp, u64)>,
    /// Events thrown away because nobody took them.
    pub discarded: Option<f64>,
}

/// Returns how relist does.
#[must_use]
pub fn relist(scrape: &Scrape) -> Relist {
    let duration = [
        "kubelet_pleg_relist_duration_seconds",
        "kubelet_pleg_relist_latency_seconds",
        "kubelet_pleg_relist_latency_microseconds",
    ];
    let interval = ["kubelet_pleg_relist_interval_seconds", "kubelet_pleg_relist_interval_microseconds"];
    Relist {
        duration: scrape.distribution(&duration, &[]),
        interval: scrape.distribution(&interval, &[]),
        last_seen: scrape.one("kubelet_pleg_last_seen_seconds", &[]).and_then(|s| Some((instant(s.value)?, s.line))),
        discarded: ["kubelet_pleg_discard_events", "kubelet_pleg_discard_events_total"]
            .iter()
            .find_map(|name| scrape.sum(name)),
    }
}

/// Returns whether the runtime tells the kubelet of events itself: relist then comes every 5 minutes instead of every
/// second, and may take 10 (feature EventedPLEG, by its enhancement proposal 3386).
#[must_use]
pub fn is_evented(scrape: &Scrape) -> bool {
    scrape.sum("kubelet_evented_pleg_connection_success_count").is_some_and(|count| count > 0.0)
}

/// Calls of the runtime of one kind since the kubelet's start.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// `list_podsandbox`, `container_status`, `stop_container`, ….
    pub kind: String,
    /// Calls begun (the kubelet counts before it calls).
    pub count: Option<f64>,
    /// Calls that failed; the series is not there before the first.
    pub errors: f64,
    /// How long calls took.
    pub latency: Option<Distribution>,
    /// Line of the count, else of the latency.
    pub line: u64,
}

/// Returns the calls of the runtime by kind, in the order of the alphabet.
#[must_use]
pub fn operations(scrape: &Scrape) -> Vec<Operation> {
    const COUNT: [&str; 2] = ["kubelet_runtime_operations_total", "kubelet_runtime_operations"];
    const ERRORS: [&str; 2] = ["kubelet_runtime_operations_errors_total", "kubelet_runtime_operations_errors"];
    const LATENCY: [&str; 3] = [
        "kubelet_runtime_operations_duration_seconds",
        "kubelet_runtime_operations_latency_seconds",
        "kubelet_runtime_operations_latency_microseconds",
    ];
    let parts = LATENCY.iter().map(|name| format!("{name}_count"));
    let named = COUNT.iter().chain(&ERRORS).map(|n| (*n).to_owned()).chain(parts);
    let mut kinds: Vec<String> = named.flat_map(|name| scrape.values_of(&name, "operation_type")).collect();
    kinds.sort();
    kinds.dedup();
    let of = |kind: String| {
        let label: [(&str, &str); 1] = [("operation_type", &kind)];
        let one = |names: &[&str]| names.iter().find_map(|name| scrape.one(name, &label));
        let latency = scrape.distribution(&LATENCY, &label);
        let count: Option<&Series> = one(&COUNT);
        let line = count.map(|s| s.line).or(latency.as_ref().map(|l| l.line)).unwrap_or_default();
        let (count, errors) = (count.map(|s| s.value), one(&ERRORS).map_or(0.0, |s| s.value));
        Operation { count, errors, latency, line, kind }
    };
    kinds.into_iter().map(of).collect()
}

/// Returns how many pods run by the kubelet's count.
#[must_use]
pub fn running_pods(scrape: &Scrape) -> Option<f64> {
    ["kubelet_running_pods", "kubelet_running_pod_count"].iter().find_map(|name| scrape.sum(name))
}

/// Returns how many containers there are by the kubelet's count, those that ended included where it counts them.
#[must_use]
pub fn containers(scrape: &Scrape) -> Option<f64> {
    ["kubelet_running_containers", "kubelet_running_container_count"].iter().find_map(|name| scrape.sum(name))
}

/// Returns when the process was started: counters are not older.
#[must_use]
pub fn started(scrape: &Scrape) -> Option<Timestamp> {
    instant(scrape.one("process_start_time_seconds", &[])?.value)
}

/// Returns a time given in seconds since 1970; nothing before 2001, as an unset gauge is 0.
fn instant(seconds: f64) -> Option<Timestamp> {
    if !(1e9..1e11).contains(&seconds) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    let millis = (seconds * 1000.0) as i64;
    Timestamp::from_millisecond(millis).ok()
}
