//! API servers by their own account: checks of `readyz` and `livez` that fail. Of the cluster as a whole, once per run.

use std::sync::Arc;

use super::note::{self, Note, Source, some};
use crate::analyze::cluster::ClusterView;
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::view::NodeView;

pub(super) fn health(view: &NodeView) -> Vec<Finding> {
    let cluster = read(view);
    let mut found = Vec::new();
    if cluster.health.is_empty() {
        let source = Source {
            rule: "apiserver",
            step: "cluster/readyz",
            file: "cluster/readyz.txt",
            says: "whether the API server is well",
        };
        // A hand-made collection need not have it.
        found.extend(note::missing(view, &source).filter(|_| view.step(source.step).is_some()));
    }
    // What is missing of the cluster's evidence is said here once and not of each node.
    let missing = view.steps.iter().filter(|step| !step.outcome.is_clean() && step.id.as_str() != "cluster/readyz");
    let why = |id: &str| view.why_missing(id).unwrap_or_default();
    let missing: Vec<String> = missing.map(|step| format!("{} ({})", step.id, why(step.id.as_str()))).collect();
    if !missing.is_empty() {
        let sentence = format!("Of the cluster's evidence is missing or not whole: {}.", some(&missing, 6));
        found.push(Note::new(view, "apiserver-evidence/incomplete", Severity::Info, &sentence).done());
    }
    for health in &cluster.health {
        if health.failing.is_empty() {
            continue;
        }
        let names: Vec<String> = health.failing.iter().map(|check| check.name.clone()).collect();
        let sentence = format!(
            "The API server is not well by its own account: {} of {} checks fail: {}.",
            names.len(),
            health.checks,
            some(&names, 6)
        );
        let grave =
            if names.iter().any(|name| name.starts_with("etcd")) { Severity::Critical } else { Severity::Warning };
        let next =
            "Its own log says why a check fails; of etcd: whether its members answer, and the latency of their disks.";
        let note = Note::new(view, "apiserver/unhealthy", grave, &sentence).layer(Layer::ApiServer).next(next);
        found.push(note.cite_all(&health.file, health.failing.iter().map(|check| check.line)).done());
    }
    let checks = cluster.health.iter().map(|health| health.checks).sum::<usize>();
    if checks > 0 && cluster.health.iter().all(|health| health.failing.is_empty()) {
        let sentence = format!("The API server is well by its own account: {checks} checks.");
        let note = Note::new(view, "apiserver/well", Severity::Info, &sentence);
        found.push(cluster.health.iter().fold(note, |note, health| note.cite(&health.file, 0)).done());
    }
    found
}

/// Returns what is read already, or reads it.
pub(super) fn read(view: &NodeView) -> Arc<ClusterView> {
    view.cluster.clone().unwrap_or_else(|| Arc::new(ClusterView::read(view)))
}
