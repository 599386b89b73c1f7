//! PLEG unhealthy by the kubelet's own log: since when, how often, for how long, and whether it is over. The node's Ready
//! goes with it.

use super::Rule;
use super::note::{self, Source, at, between};
use super::since::{self, Since};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::history::{FILE, KubeletHistory};
use crate::analyze::view::NodeView;
use crate::wording;
use std::time::Duration;

pub(super) const RULE: Rule =
    Rule { id: "pleg", about: "PLEG unhealthy: since when, how often, how long", reads: &[FILE], check };

const LOG: Source = Source { rule: RULE.id, step: "kubelet/journal", file: FILE, says: "whether PLEG was healthy" };

/// A relist that has never ended is said to have been active when time began, in 1677 or so.
const EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

fn check(view: &NodeView) -> Vec<Finding> {
    let Some(history) = view.history() else { return note::missing(view, &LOG).into_iter().collect() };
    if history.unhealthy.is_empty() {
        let sentence = format!(
            "PLEG was healthy: the kubelet's log says nothing else from {} to {}.",
            at(history.whole.first),
            at(history.whole.last.max(history.fetched))
        );
        return vec![Finding::new(&view.node, "pleg/healthy", Severity::Info, &sentence).cites(FILE, 0, 0)];
    }
    vec![unhealthy(view, history)]
}

fn unhealthy(view: &NodeView, history: &KubeletHistory) -> Finding {
    let spells = &history.unhealthy;
    let Some(last) = spells.last() else {
        return Finding::new(&view.node, "pleg/unhealthy", Severity::Warning, "PLEG was unhealthy.");
    };
    let recovered = history.recovered();
    let when = since::of_pleg(history).unwrap_or(Since::Now);
    let never = last.longest >= EVER;
    let since = last.active.filter(|_| !never).or(last.span.first);
    let mut sentence = format!("PLEG is not healthy: relist was last active at {}", at(since));
    let longest = wording::whole_seconds(last.longest);
    match recovered {
        None if never => {
            sentence = format!(
                "PLEG is not healthy: no relist has ended since the kubelet's start (said from {} to {})",
                at(last.span.first),
                at(last.span.last)
            );
        }
        Some(time) => {
            let took = since.map_or_else(|| longest.clone(), |since| between(since, time));
            sentence = format!("PLEG was not healthy for {took}, from {} to {}", at(since), at(Some(time)));
        }
        None => sentence.push_str(&format!(", {longest} before the last line that says so ({})", at(last.span.last))),
    }
    if spells.len() > 1 {
        sentence.push_str(&format!(
            "; {} spells in the log, the first at {}",
            spells.len(),
            at(spells.first().and_then(|spell| spell.active.or(spell.span.first)))
        ));
    }
    match (history.not_ready.count, history.ready.count) {
        (0, _) => sentence.push('.'),
        (lost, got) => {
            let first = format!(" (first at {})", at(history.not_ready.first));
            let first = if spells.len() > 1 { "" } else { first.as_str() };
            let ready = if got == 0 { "not Ready since".to_owned() } else { format!("Ready again {}", times(got)) };
            sentence.push_str(&format!("; the node was set NotReady {}{first} and {ready}.", times(lost)));
        }
    }
    let (id, signature) = match when {
        Since::Now => ("pleg/unhealthy", "PLEG is not healthy"),
        Since::Lately => ("pleg/unhealthy", "PLEG was not healthy (over by the end of the log)"),
        Since::LongAgo => ("pleg/was-unhealthy", "PLEG was not healthy earlier"),
    };
    let mut finding = Finding::new(&view.node, id, when.severity(), &sentence)
        .alike(signature)
        .blames(Layer::Runtime)
        .then("Why relist does not end: the runtime calls that ran out of time, and where relist stands in the goroutine dump.");
    for span in [last.span, history.not_ready, history.ready] {
        if span.count > 0 {
            finding = finding.cites_ends(FILE, span.first_line, span.last_line);
        }
    }
    finding
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
