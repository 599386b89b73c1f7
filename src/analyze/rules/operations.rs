//! Calls of the runtime by the kubelet's metrics: which are slow, which fail. Calls about one pod's own troubles (images,
//! probes, commands that do not exist) say nothing of the runtime and are left out.

use super::Rule;
use super::note::{Note, name, some};
use super::present::{self, Of, Present, Slow, present};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::metrics::increase;
use crate::analyze::metrics::kubelet::{self, Operation};
use crate::analyze::view::NodeView;
use crate::wording;

const FILES: &[&str] = &["kubelet/metrics-1.txt", "kubelet/metrics-2.txt"];

pub(super) const RULE: Rule =
    Rule { id: "operations", about: "calls of the runtime that are slow or fail", reads: FILES, check };

/// Seconds at which a call that only asks is slow; a healthy runtime needs milliseconds.
const ASKING: f64 = 1.0;
/// Seconds at which a call that makes or removes something is slow; a pod's network alone may take some.
const MAKING: f64 = 10.0;
/// Failures between two scrapes of a call that only asks; it fails for no reason of its own.
const FAILED: f64 = 2.0;
/// Failures between two scrapes of other calls, if they are half of all.
const FAILED_MAKING: f64 = 3.0;

/// One kind of call as it does now.
struct Now {
    kind: String,
    latency: Option<Present>,
    /// Failures between the scrapes; `None` with one scrape.
    failed: Option<f64>,
    /// Failures since the start.
    failed_ever: f64,
    /// Calls between the scrapes.
    calls: Option<f64>,
    line: u64,
}

fn check(view: &NodeView) -> Vec<Finding> {
    let [first, second] = view.scrapes();
    // The rule on relist says that the metrics are missing.
    let Some(scrape) = second.as_ref().or(first.as_ref()) else { return Vec::new() };
    let file = if second.is_some() { "kubelet/metrics-2.txt" } else { "kubelet/metrics-1.txt" };
    let before = second.as_ref().and(first.as_ref()).map(kubelet::operations);
    let all: Vec<Now> = kubelet::operations(scrape).into_iter().map(|op| now(op, before.as_deref())).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    found.extend(slow(view, file, &all));
    found.extend(failing(view, file, &all));
    if found.is_empty() {
        found.extend(well(view, file, &all));
    }
    found
}

fn now(op: Operation, before: Option<&[Operation]>) -> Now {
    let was = before.and_then(|list| list.iter().find(|was| was.kind == op.kind));
    // A kind that was not there before began at 0.
    let grown = |now: f64, was: Option<f64>| before.and_then(|_| increase(was.unwrap_or_default(), now));
    let calls = op.count.or(op.latency.as_ref().and_then(|l| l.count));
    let calls_was = was.and_then(|was| was.count.or(was.latency.as_ref().and_then(|l| l.count)));
    Now {
        failed: grown(op.errors, was.map(|w| w.errors)),
        calls: calls.and_then(|calls| grown(calls, calls_was)),
        failed_ever: op.errors,
        latency: op.latency.as_ref().map(|latency| present(latency, was.and_then(|w| w.latency.as_ref()))),
        line: op.line,
        kind: op.kind,
    }
}

/// Returns whether a call only asks.
fn asks(kind: &str) -> bool {
    kind.starts_with("list_")
        || kind.ends_with("status")
        || kind == "version"
        || kind.contains("stats")
        || kind == "info"
}

/// Returns from which duration on a call is slow; `None` for those that take as long as a pod wants.
fn limit(kind: &str) -> Option<f64> {
    let own = ["pull_image", "exec", "attach", "port_forward", "stop_container", "stop_podsandbox", "checkpoint"];
    if own.iter().any(|name| kind.starts_with(name)) {
        return None;
    }
    Some(if asks(kind) { ASKING } else { MAKING })
}

fn slow(view: &NodeView, file: &str, all: &[Now]) -> Option<Finding> {
    let judged = |op: &Now| op.latency.as_ref().zip(limit(&op.kind)).map_or(Slow::No, |(l, limit)| l.slow(limit));
    let worst = all.iter().map(judged).max().filter(|slow| *slow > Slow::No)?;
    let bad: Vec<&Now> = all.iter().filter(|op| judged(op) == worst).collect();
    let of = bad.iter().filter_map(|op| op.latency.as_ref()).map(|l| l.of).find(|of| *of == Of::Between);
    let of = of.or_else(|| bad.iter().find_map(|op| op.latency.as_ref()).map(|l| l.of)).unwrap_or(Of::Start);
    let bad: Vec<&Now> = bad.into_iter().filter(|op| op.latency.as_ref().is_some_and(|l| l.of == of)).collect();
    let words: Vec<String> =
        bad.iter().filter_map(|op| Some(format!("{} {}", op.kind, op.latency.as_ref()?.typical()))).collect();
    let (head, severity) = match worst {
        Slow::Yes => ("Runtime operations are slow", Severity::Warning),
        _ => ("Some runtime operations were slow", Severity::Info),
    };
    let sentence = format!("{head} {}: {}.", of.words(), some(&words, 4));
    let id = if worst == Slow::Yes { "operations/slow" } else { "operations/at-times" };
    let note = Note::new(view, id, severity, &sentence).cite_all(file, bad.iter().map(|op| op.line));
    if severity == Severity::Info {
        return Some(note.done());
    }
    let next = "Whether all kinds are slow, then the runtime as a whole, its disk or the node's memory; or one kind, then what \
                that one needs: the stacks of dockerd and containerd say it.";
    Some(note.layer(Layer::Runtime).signature("runtime operations are slow").next(next).done())
}

fn failing(view: &NodeView, file: &str, all: &[Now]) -> Option<Finding> {
    let own = ["pull_image", "image_status", "exec", "attach", "port_forward", "create_container", "start_container"];
    let bad: Vec<&Now> = all
        .iter()
        .filter(|op| !own.iter().any(|name| op.kind.starts_with(name)))
        .filter(|op| {
            let failed = op.failed.unwrap_or_default();
            let half = op.calls.is_none_or(|calls| failed * 2.0 >= calls);
            // A status may be asked of what has just gone.
            let whole = asks(&op.kind) && !op.kind.ends_with("_status");
            if whole { failed >= FAILED } else { failed >= FAILED_MAKING && half }
        })
        .collect();
    bad.first()?;
    let word = |op: &&Now| {
        let calls = op.calls.map(|calls| format!(" of {calls:.0}")).unwrap_or_default();
        format!("{} {:.0}{calls}", op.kind, op.failed.unwrap_or_default())
    };
    let words: Vec<String> = bad.iter().map(word).collect();
    let sentence = format!("Runtime operations failed between the scrapes: {}.", some(&words, 5));
    let next = "The errors themselves, in kubelet/journal.txt: time that ran out, a plug-in, a full disk.";
    let note = Note::new(view, "operations/failing", Severity::Warning, &sentence).layer(Layer::Runtime).next(next);
    Some(note.cite_all(file, bad.iter().map(|op| op.line)).signature("runtime operations fail").done())
}

fn well(view: &NodeView, file: &str, all: &[Now]) -> Option<Finding> {
    let between = all.iter().any(|op| op.calls.is_some_and(|calls| calls > 0.0));
    if present::two(view) && !between {
        let sentence = "No runtime operation ended between the two scrapes: how fast they are now cannot be said.";
        return Some(Note::new(view, "operations/none-ended", Severity::Info, sentence).cite(file, 0).done());
    }
    let asking =
        || all.iter().filter(|op| limit(&op.kind) == Some(ASKING)).filter_map(|op| Some((op, op.latency.as_ref()?)));
    let wanted = if asking().any(|(_, l)| l.of == Of::Between) { Some(Of::Between) } else { None };
    let slowest = asking()
        .filter(|(_, l)| wanted.is_none_or(|of| l.of == of))
        .filter_map(|(op, latency)| Some((op, latency, latency.figure.quantile(0.99)?.value)))
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let (op, latency, _) = slowest?;
    let failed: f64 = all.iter().map(|op| op.failed_ever).sum();
    let failed = if failed > 0.0 { format!("; {failed:.0} failed since the kubelet's start") } else { String::new() };
    let sentence = format!(
        "Runtime operations are fast {}: {}, the slowest that only ask are {} with p99 {}{failed}.",
        latency.of.words(),
        wording::count(all.len(), "kind"),
        name(&op.kind),
        latency.quantile(0.99)
    );
    Some(Note::new(view, "operations/fast", Severity::Info, &sentence).cite(file, op.line).done())
}
