//! How long relists and calls of the runtime take, by the kubelet's metrics: between the two scrapes where that can be told.

use super::{Figures, Latency, Operation};
use crate::analyze::metrics::{Distribution, kubelet};
use crate::analyze::view::NodeView;
use crate::wording;

/// Kinds of calls; a kubelet makes some thirty.
const KINDS: usize = 60;
/// Columns of a kind.
const KIND: usize = 60;

/// Fills in what the scrapes tell.
pub(super) fn fill(view: &NodeView, figures: &mut Figures) {
    let [first, second] = view.scrapes();
    let Some(scrape) = second.as_ref().or(first.as_ref()) else { return };
    let before = second.as_ref().and(first.as_ref());
    let (now, was) = (kubelet::relist(scrape), before.map(kubelet::relist).unwrap_or_default());
    figures.relist = now.duration.as_ref().map(|d| latency(d, was.duration.as_ref()));
    figures.relist_interval = now.interval.as_ref().map(|d| latency(d, was.interval.as_ref()));
    let was = before.map(kubelet::operations).unwrap_or_default();
    let mut operations: Vec<Operation> = kubelet::operations(scrape)
        .into_iter()
        .filter_map(|operation| {
            let was = was.iter().find(|earlier| earlier.kind == operation.kind).and_then(|o| o.latency.as_ref());
            let mut told = operation.latency.as_ref().map(|d| latency(d, was)).unwrap_or_default();
            told.count = told.count.or_else(|| finite(operation.count));
            let errors = if operation.errors.is_finite() { operation.errors } else { 0.0 };
            let kind = wording::cut(&wording::safe(&operation.kind), KIND);
            (told.count.is_some() || errors > 0.0).then_some(Operation { kind, errors, latency: told })
        })
        .collect();
    operations.sort_by(|a, b| b.latency.count.unwrap_or_default().total_cmp(&a.latency.count.unwrap_or_default()));
    operations.truncate(KINDS);
    figures.operations = operations;
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

/// What was added between the scrapes is the present; without it, all since the start.
fn latency(now: &Distribution, was: Option<&Distribution>) -> Latency {
    let added = was.and_then(|was| now.since(was)).filter(|added| added.count.is_some_and(|count| count > 0.0));
    let of = added.as_ref().unwrap_or(now);
    // A summary has quantiles of the last minutes, and no difference of them.
    let quantiles = if of.is_summary() { now } else { of };
    let quantile = |rank| quantiles.quantile(rank).filter(|q| q.value.is_finite());
    let p99 = quantile(0.99);
    Latency {
        between_scrapes: added.is_some(),
        count: finite(of.count),
        mean: of.mean(),
        p50: quantile(0.5).map(|q| q.value),
        p90: quantile(0.9).map(|q| q.value),
        p99: p99.map(|q| q.value),
        p99_at_least: p99.is_some_and(|q| q.at_least),
    }
}
