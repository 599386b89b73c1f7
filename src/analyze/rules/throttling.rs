//! API servers that turn requests away, by their metrics: terminated, dropped, rejected by priority and fairness, and how many
//! are in flight. Reads the evidence of the cluster; a node's own has none.

use super::note::{self, Note, Source, float};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::metrics::Scrape;
use crate::analyze::metrics::apiserver::{self, PREFIXES, Throttling};
use crate::analyze::tables::quantity;
use crate::analyze::view::NodeView;

/// Requests turned away since the start; fewer are a burst, as at a start.
const TURNED_AWAY: f64 = 100.0;
/// The same an hour, where the start is known: over months a healthy server turns some away.
const AN_HOUR: f64 = 10.0;
/// Default of --max-requests-inflight.
const READS: f64 = 400.0;
/// Default of --max-mutating-requests-inflight.
const WRITES: f64 = 200.0;
/// Share of these defaults.
const SHARE: f64 = 0.8;
/// API servers looked at.
const MOST: usize = 16;

const METRICS: Source = Source {
    rule: "throttling",
    step: "cluster/metrics",
    file: "cluster/metrics.txt",
    says: "whether the API server turns requests away",
};

pub(super) fn check(view: &NodeView) -> Vec<Finding> {
    let mut found = Vec::new();
    if view.open(METRICS.file).is_none() {
        // A hand-made collection of a node has no cluster's evidence to miss.
        found.extend(note::missing(view, &METRICS).filter(|_| view.step(METRICS.step).is_some()));
    }
    let others = (2..=MOST).map(|n| format!("cluster/api-{n}/metrics.txt"));
    for file in std::iter::once(METRICS.file.to_owned()).chain(others) {
        let Some(input) = view.open(&file) else { continue };
        let Ok(scrape) = Scrape::read(input, &PREFIXES) else { continue };
        found.extend(judge(view, &file, &scrape));
    }
    found
}

fn judge(view: &NodeView, file: &str, scrape: &Scrape) -> Vec<Finding> {
    let t = apiserver::throttling(scrape);
    // What the server ended itself and what priority and fairness rejected are the same requests counted twice.
    let away = t.rejected_total().max(t.terminated) + t.dropped;
    let start = scrape.sum("process_start_time_seconds").and_then(quantity::whole);
    let hours = note::collected(view)
        .zip(start)
        .and_then(|(now, start)| u64::try_from(now.as_second()).ok()?.checked_sub(start))
        .map(|s| float(s) / 3600.0);
    let mut found = Vec::new();
    if away > 0.0 {
        let often = hours.filter(|h| *h > 1.0).is_none_or(|h| away / h >= AN_HOUR);
        let grave = if away >= TURNED_AWAY && often { Severity::Warning } else { Severity::Info };
        found.push(turned_away(view, file, scrape, &t, (grave, away, hours)));
    }
    for (kind, now, most, flag) in [
        ("reads", t.inflight_read, READS, "--max-requests-inflight"),
        ("writes", t.inflight_write, WRITES, "--max-mutating-requests-inflight"),
    ] {
        let Some(now) = now.filter(|n| *n >= most * SHARE) else { continue };
        // Large clusters raise the limit, so that only what it leads to makes it trouble.
        let grave = if away > 0.0 || t.queued > Some(0.0) { Severity::Warning } else { Severity::Info };
        let sentence = format!("The API server works on {now:.0} {kind} at once; the default of {flag} is {most:.0}.");
        let next =
            "Find who asks so much: apiserver_flowcontrol_* by flow_schema in the metrics, cluster/goroutines.txt.";
        let note = Note::new(view, "throttling/inflight", grave, &sentence).layer(Layer::ApiServer).next(next);
        let lines = scrape.all("apiserver_current_inflight_requests").iter().map(|s| s.line);
        found.push(note.cite_all(file, lines).done());
    }
    if found.is_empty() && scrape.samples > 0 {
        let sentence = "The API server turned no request away since its start.";
        found.push(Note::new(view, "throttling/well", Severity::Info, sentence).cite(file, 0).done());
    }
    found
}

fn turned_away(
    view: &NodeView,
    file: &str,
    scrape: &Scrape,
    t: &Throttling,
    (grave, away, hours): (Severity, f64, Option<f64>),
) -> Finding {
    let rate = hours.filter(|h| *h > 1.0).map(|h| format!(", {:.0} an hour", away / h)).unwrap_or_default();
    let levels: Vec<String> =
        t.rejected.iter().map(|r| format!("{} of {} ({})", r.count, r.priority_level, r.reason)).collect();
    let by = if levels.is_empty() { String::new() } else { format!(": {}", note::some(&levels, 3)) };
    let queued = t.queued.filter(|q| *q > 0.0).map(|q| format!("; {q:.0} wait in queues")).unwrap_or_default();
    let sentence = format!("The API server turned {away:.0} requests away since its start{rate}{by}{queued}.");
    let next = "Requests of kubelets and controllers that are turned away delay node status and leases: find the client by \
                flow schema, and raise the shares of the priority level that suffers.";
    let note =
        Note::new(view, "throttling/turned-away", grave, &sentence).cite_all(file, t.rejected.iter().map(|r| r.line));
    let lines =
        ["apiserver_request_terminations_total", "apiserver_dropped_requests_total", "apiserver_dropped_requests"];
    let note = note.cite_all(file, lines.iter().flat_map(|n| scrape.all(n)).map(|s| s.line));
    if grave == Severity::Info { note.done() } else { note.layer(Layer::ApiServer).next(next).done() }
}
