//! The API server's series on requests it turned away. Counters appear with the first such request: a series that is
//! not there means none (measured with kube-apiserver 1.36.2, where `apiserver_dropped_requests_total` is gone).

use super::Scrape;

/// What [`Scrape::read`] has to keep for the functions here.
pub const PREFIXES: [&str; 6] = [
    "apiserver_request_terminations_total",
    "apiserver_dropped_requests",
    "apiserver_current_in",
    "apiserver_flowcontrol_rejected_requests_total",
    "apiserver_flowcontrol_current_in",
    "process_start_time_seconds",
];

/// Requests of one priority level that were turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The flow schema.
    pub flow_schema: String,
    /// The priority level.
    pub priority_level: String,
    /// `queue-full`, `concurrency-limit`, `time-out`, `cancelled`.
    pub reason: String,
    /// How many since the start.
    pub count: f64,
    /// Line it stands in.
    pub line: u64,
}

/// How the API server limits requests.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Throttling {
    /// Requests ended by the server itself to protect itself, since its start.
    pub terminated: f64,
    /// Requests answered 429 for want of room, as versions before 1.23 or so count them.
    pub dropped: f64,
    /// Requests turned away by priority and fairness; the most first.
    pub rejected: Vec<Rejected>,
    /// Reads in flight (the highest number of the last second).
    pub inflight_read: Option<f64>,
    /// Writes in flight.
    pub inflight_write: Option<f64>,
    /// Requests that wait in queues.
    pub queued: Option<f64>,
}

impl Throttling {
    /// Returns all requests turned away by priority and fairness.
    #[must_use]
    pub fn rejected_total(&self) -> f64 {
        self.rejected.iter().map(|r| r.count).sum()
    }
}

/// Returns how the API server limits requests.
#[must_use]
pub fn throttling(scrape: &Scrape) -> Throttling {
    let label =
        |s: &super::Series, names: [&str; 2]| names.iter().find_map(|n| s.label(n)).unwrap_or_default().to_owned();
    let mut rejected: Vec<Rejected> = scrape
        .all("apiserver_flowcontrol_rejected_requests_total")
        .iter()
        .filter(|s| s.value > 0.0)
        .map(|s| Rejected {
            // Before 1.20 the labels were written flowSchema and priorityLevel.
            flow_schema: label(s, ["flow_schema", "flowSchema"]),
            priority_level: label(s, ["priority_level", "priorityLevel"]),
            reason: label(s, ["reason", "reason"]),
            count: s.value,
            line: s.line,
        })
        .collect();
    rejected.sort_by(|a, b| b.count.total_cmp(&a.count));
    let inflight = |kinds: [&str; 2]| {
        let one = |kind: &&str| scrape.one("apiserver_current_inflight_requests", &[("request_kind", kind)]);
        let old = |kind: &&str| scrape.one("apiserver_current_inflight_requests", &[("requestKind", kind)]);
        kinds.iter().find_map(|kind| one(kind).or_else(|| old(kind))).map(|s| s.value)
    };
    Throttling {
        terminated: scrape.sum("apiserver_request_terminations_total").unwrap_or_default(),
        dropped: ["apiserver_dropped_requests_total", "apiserver_dropped_requests"]
            .iter()
            .find_map(|name| scrape.sum(name))
            .unwrap_or_default(),
        rejected,
        inflight_read: inflight(["readOnly", "read_only"]),
        inflight_write: inflight(["mutating", "mutating"]),
        queued: scrape
            .sum("apiserver_current_inqueue_requests")
            .or_else(|| scrape.sum("apiserver_flowcontrol_current_inqueue_requests")),
    }
}
