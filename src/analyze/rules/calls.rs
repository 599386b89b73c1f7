//! The runtime does not answer, by the kubelet's log: which calls ran out of time, how often, about which containers.

use super::Rule;
use super::note::{at, some};
use super::since::{Since, of_calls};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::history::{FILE, Span};
use crate::analyze::view::NodeView;
use crate::wording;

pub(super) const RULE: Rule =
    Rule { id: "runtime-calls", about: "calls of the runtime that ran out of time", reads: &[FILE], check };

/// Calls that take as long as the pod's own probe or image: they run out of time on healthy nodes.
const OWN: [&str; 3] = ["ExecSync", "PullImage", "Exec"];
/// Calls about one container that make it stand out.
const AGAIN: u64 = 2;
/// Kinds of calls that are named and cited, the most frequent first.
const SHOWN: usize = 4;

fn check(view: &NodeView) -> Vec<Finding> {
    // The rule about PLEG says that the log is missing.
    let Some(history) = view.history() else { return Vec::new() };
    if history.deadlines.is_empty() {
        return Vec::new();
    }
    let mut kinds: Vec<(&String, &Span)> = history.deadlines.iter().map(|(rpc, calls)| (rpc, &calls.span)).collect();
    kinds.sort_by_key(|(_, span)| std::cmp::Reverse(span.count));
    let first = kinds.iter().filter_map(|(_, span)| span.first).min();
    let last = kinds.iter().filter_map(|(_, span)| span.last).max();
    let words: Vec<String> = kinds.iter().map(|(rpc, span)| format!("{rpc} × {}", span.count)).collect();
    let own = kinds.iter().all(|(rpc, _)| OWN.contains(&rpc.as_str()));
    let telling = kinds.iter().filter(|(rpc, _)| !OWN.contains(&rpc.as_str())).filter_map(|(_, span)| span.last).max();
    let when = of_calls(history, telling.or(last));
    let head = match when {
        _ if own => "Probes or image pulls ran out of time",
        Since::Now => "The runtime does not answer: calls ran out of time",
        _ => "Calls of the runtime ran out of time",
    };
    let mut sentence = format!("{head} from {} to {}: {}", at(first), at(last), some(&words, SHOWN));
    let relist = history.relist_deadlines;
    if relist.count > 0 {
        sentence.push_str(&format!(
            "; {} failed with it",
            wording::count(usize::try_from(relist.count).unwrap_or(usize::MAX), "relist")
        ));
    }
    let mut again: Vec<(&String, u64)> = Vec::new();
    for (id, span) in history.deadlines.values().flat_map(|calls| &calls.ids) {
        match again.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += span.count,
            None => again.push((id, span.count)),
        }
    }
    let named = again.len();
    again.retain(|(_, count)| *count >= AGAIN);
    again.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if !again.is_empty() {
        let ids: Vec<String> = again.iter().map(|(id, n)| format!("{} × {n}", short(id))).collect();
        sentence.push_str(&format!("; the same containers again and again: {}", some(&ids, 4)));
    } else if named > 0 {
        sentence.push_str(&format!("; about {}, each once", wording::count(named, "container")));
    }
    sentence.push('.');
    let (id, severity, signature) = match when {
        _ if own => ("runtime-calls/own", Severity::Info, "probes or image pulls run out of time"),
        Since::Now if relist.count > 0 => ("runtime-calls/deadline", Severity::Critical, "runtime does not answer"),
        Since::LongAgo => ("runtime-calls/earlier", Severity::Info, "runtime did not answer earlier"),
        _ if relist.count > 0 => {
            ("runtime-calls/deadline", Severity::Warning, "runtime did not answer (over by the end of the log)")
        }
        _ => ("runtime-calls/deadline", Severity::Warning, "single calls of the runtime ran out of time"),
    };
    let mut finding = Finding::new(&view.node, id, severity, &sentence)
        .blames(Layer::Runtime)
        .alike(signature)
        .then("The stacks of the runtime (dockerd, containerd) of that time: what its goroutines wait for.");
    for (_, span) in kinds.iter().take(SHOWN) {
        finding = finding.cites_ends(FILE, span.first_line, span.last_line);
    }
    vec![finding]
}

/// A container's id as people write it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
