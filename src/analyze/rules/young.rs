//! What was started lately: the machine, a daemon, the kubelet. Their counters and stacks tell of no longer time; and a
//! kubelet that is started again and again is not well.

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use super::note::{self, Note, at, between, float, some};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::history;
use crate::analyze::metrics::kubelet;
use crate::analyze::view::NodeView;
use crate::bundle::layout;
use crate::plan::NodeFacts;
use crate::wording;
use std::time::Duration;

pub(super) const RULE: Rule = Rule {
    id: "young",
    about: "machine, daemons or kubelet started lately",
    reads: &[layout::FACTS, history::FILE, "kubelet/metrics-1.txt"],
    check,
};

/// What is older has seen an incident's beginning.
const YOUNG: Duration = Duration::from_secs(3600);
/// Starts of the kubelet that are no upgrade.
const STARTS: u64 = 3;
/// From one start to the next on average, if it is a loop.
const LOOP: SignedDuration = SignedDuration::from_mins(20);

fn check(view: &NodeView) -> Vec<Finding> {
    let facts = note::facts(view);
    let mut found: Vec<Finding> = facts.as_ref().and_then(|facts| lately(view, facts)).into_iter().collect();
    if facts.as_ref().and_then(|facts| facts.kubelet.as_ref()).is_none_or(|daemon| daemon.start_ticks.is_none()) {
        found.extend(by_metrics(view));
    }
    found.extend(again(view));
    found
}

/// Says what is young by the times of the node's own processes.
fn lately(view: &NodeView, facts: &NodeFacts) -> Option<Finding> {
    let up = facts.uptime_s?;
    let words = |age: Duration| wording::whole_seconds(age);
    let mut young = Vec::new();
    if up < YOUNG.as_secs() {
        young.push(format!("the machine was booted {} ago", words(Duration::from_secs(up))));
    } else {
        let ticks = facts.ticks_per_second.filter(|ticks| *ticks > 0)?;
        let all = [
            ("dockerd", &facts.dockerd),
            ("containerd", &facts.containerd),
            ("CRI-O", &facts.crio),
            ("the kubelet", &facts.kubelet),
        ];
        for (name, daemon) in all {
            let Some(start) = daemon.as_ref().and_then(|daemon| daemon.start_ticks) else { continue };
            let age = Duration::try_from_secs_f64(float(up) - float(start) / f64::from(ticks)).unwrap_or_default();
            if age < YOUNG {
                young.push(format!("{name} was started {} ago", words(age)));
            }
        }
    }
    young.first()?;
    let sentence = format!("{}: counters and stacks tell of no longer time.", capital(&some(&young, 5)));
    Some(Note::new(view, "young/started", Severity::Info, &sentence).cite(layout::FACTS, 0).done())
}

fn capital(text: &str) -> String {
    text.strip_prefix("the ").map_or_else(|| text.to_owned(), |rest| format!("The {rest}"))
}

fn by_metrics(view: &NodeView) -> Option<Finding> {
    let [first, second] = view.scrapes();
    let (scrape, file) = match (first, second) {
        (_, Some(second)) => (second, "kubelet/metrics-2.txt"),
        (Some(first), None) => (first, "kubelet/metrics-1.txt"),
        (None, None) => return None,
    };
    let (start, now) = kubelet::started(scrape).zip(view.collected())?;
    let age = Duration::try_from(now.duration_since(start)).ok().filter(|age| *age < YOUNG)?;
    let sentence = format!(
        "The kubelet was started {} ago: counters and stacks tell of no longer time.",
        wording::whole_seconds(age)
    );
    Some(Note::new(view, "young/started", Severity::Info, &sentence).cite(file, 0).done())
}

/// Says that the kubelet is started again and again, by its log.
fn again(view: &NodeView) -> Option<Finding> {
    let history = view.history()?;
    let starts = history.starts;
    let (first, last): (Timestamp, Timestamp) = starts.first.zip(starts.last)?;
    let times = i32::try_from(starts.count.checked_sub(1)?).ok()?;
    let apart = last.duration_since(first).checked_div(times)?;
    let end = history.whole.last.max(history.fetched)?;
    let now = end.duration_since(last) <= LOOP;
    if starts.count < STARTS || apart > LOOP || !now {
        return None;
    }
    let sentence = format!(
        "The kubelet was started {} times within {}, the last time at {}.",
        starts.count,
        between(first, last),
        at(Some(last))
    );
    let finding = Finding::new(&view.node, "young/again", Severity::Warning, &sentence)
        .blames(Layer::Kubelet)
        .alike("the kubelet is started again and again")
        .then("Its last lines before each start, and kubelet/status.txt: an error in its configuration, a kill, a watchdog.");
    Some(finding.cites_ends(history::FILE, starts.first_line, starts.last_line))
}
