//! Relist by the kubelet's metrics: how long it takes, how far apart, and whether it stands still. In a hang no relist may
//! end between two scrapes: what ended before says nothing of now.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use super::note::{self, Note, Source, at, seconds};
use super::present::{self, Of, Slow, present};
use super::relist;
use super::since::{self, Since};
use crate::analyze::finding::{Finding, Layer, Severity};
use crate::analyze::metrics::{Scrape, kubelet};
use crate::analyze::view::NodeView;
use crate::wording;

const FILES: &[&str] = &["kubelet/metrics-1.txt", "kubelet/metrics-2.txt"];

pub(super) const RULE: Rule = Rule { id: "relist-time", about: "how long relist takes", reads: FILES, check };

const METRICS: Source =
    Source { rule: RULE.id, step: "kubelet/metrics-1", file: "kubelet/metrics-1.txt", says: "how long relist takes" };

/// Relist is begun every second; one that takes so long is slow.
const SLOW: f64 = 1.0;
/// The kubelet calls PLEG unhealthy after so much.
const THRESHOLD: Duration = Duration::from_secs(180);
/// The same where the runtime tells of events itself.
const EVENTED: Duration = Duration::from_secs(600);
/// A relist that lives was last begun no longer ago, on a busy node, too.
const FRESH: Duration = Duration::from_secs(30);
/// Between the start of a process by the kernel and by its own metrics.
const SAME_START: SignedDuration = SignedDuration::from_secs(60);

/// Whether relist goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// It stands: when it was last active, as far as that is told, and the line that says it.
    Stands(Option<Timestamp>, u64),
    /// It goes on.
    Moves,
    /// The metrics do not say.
    Unknown,
}

/// Tells whether relist goes on.
pub(super) fn pace(view: &NodeView) -> Pace {
    let [first, second] = view.scrapes();
    let Some(scrape) = second.as_ref().or(first.as_ref()) else { return Pace::Unknown };
    let now = kubelet::relist(scrape);
    let evented = kubelet::is_evented(scrape);
    if let Some(first) = first.as_ref().filter(|_| present::two(view) && !evented) {
        let was = kubelet::relist(first);
        if let Some(((seen, line), (before, _))) = now.last_seen.zip(was.last_seen) {
            return if seen == before { Pace::Stands(Some(seen), line) } else { Pace::Moves };
        }
        if let Some((duration, before)) = now.duration.zip(was.duration) {
            let ended = duration.since(&before).and_then(|added| added.count);
            return match ended {
                Some(count) if count > 0.0 => Pace::Moves,
                Some(_) => Pace::Stands(None, duration.line),
                None => Pace::Unknown,
            };
        }
        return Pace::Unknown;
    }
    let step = if second.is_some() { "kubelet/metrics-2" } else { "kubelet/metrics-1" };
    let Some((seen, line)) = now.last_seen else { return Pace::Unknown };
    match age(view, scrape, step, seen) {
        Some(age) if age >= if evented { EVENTED } else { THRESHOLD } => Pace::Stands(Some(seen), line),
        Some(age) if age <= FRESH => Pace::Moves,
        _ => Pace::Unknown,
    }
}

/// Returns how long before its scrape relist was last active; only if the scrape is known to be one of the process that
/// runs on the node, and the clocks agree.
fn age(view: &NodeView, scrape: &Scrape, step: &str, seen: Timestamp) -> Option<Duration> {
    let manifest = view.manifest.as_ref()?;
    let offset = SignedDuration::from_millis(manifest.clock_offset_ms?);
    let facts = note::facts(view)?;
    let ticks = facts.kubelet.as_ref()?.start_ticks?;
    let start = ticks / u64::from(facts.ticks_per_second.filter(|ticks| *ticks > 0)?);
    let up = facts.uptime_s?.checked_sub(start)?;
    let probed = manifest.header.started.checked_add(offset).ok()?;
    let start = probed.checked_sub(SignedDuration::from_secs(i64::try_from(up).ok()?)).ok()?;
    if kubelet::started(scrape)?.duration_since(start).abs() > SAME_START {
        return None;
    }
    let asked = view.step(step)?.started?.checked_add(offset).ok()?;
    Some(Duration::try_from(asked.duration_since(seen)).unwrap_or_default())
}

fn check(view: &NodeView) -> Vec<Finding> {
    let [first, second] = view.scrapes();
    let Some(scrape) = second.as_ref().or(first.as_ref()) else {
        return note::missing(view, &METRICS).into_iter().collect();
    };
    let file = if second.is_some() { "kubelet/metrics-2.txt" } else { "kubelet/metrics-1.txt" };
    let now = kubelet::relist(scrape);
    let mut found = Vec::new();
    let stands = match pace(view) {
        Pace::Stands(seen, line) => {
            found.push(stands(view, file, seen, line));
            true
        }
        Pace::Moves | Pace::Unknown => false,
    };
    let Some(duration) = now.duration else { return found };
    let before = second.as_ref().and(first.as_ref()).and_then(|first| kubelet::relist(first).duration);
    let figure = present(&duration, before.as_ref());
    let slow = figure.slow(SLOW);
    // Nothing ended since it stands; what was before is no figure of now.
    if stands && (slow != Slow::Yes || figure.of != Of::Between) {
        return found;
    }
    if slow != Slow::Yes && is_blocked(view) {
        let sentence = format!(
            "Relists that ended were fast {}: {}; the one that stands is not among them.",
            figure.of.words(),
            figure.words()
        );
        let finding = Finding::new(&view.node, "relist-time/before", Severity::Info, &sentence);
        found.push(finding.cites(file, duration.line, duration.line));
        return found;
    }
    let (id, head, severity) = match slow {
        Slow::Yes => ("relist-time/slow", "relist is too slow", Severity::Warning),
        Slow::AtTimes => ("relist-time/at-times", "relist was slow at times", Severity::Info),
        Slow::No => ("relist-time/fast", "relist is fast", Severity::Info),
    };
    let worst = figure.of == Of::Between && figure.figure.mean().is_some_and(|mean| mean >= THRESHOLD.as_secs_f64());
    let severity = if worst { Severity::Critical } else { severity };
    let interval =
        now.interval.as_ref().and_then(|d| d.quantile(0.5)).map(|q| format!("; median interval {}", seconds(q.value)));
    let sentence = format!("{head} {}: {}{}.", figure.of.words(), figure.words(), interval.unwrap_or_default());
    let finding = Finding::new(&view.node, id, severity, &sentence).cites(file, duration.line, duration.line);
    found.push(if slow == Slow::Yes {
        let next = "Which runtime operations are slow, and how many containers the node has.";
        finding.blames(Layer::Runtime).alike("relist is too slow").then(next)
    } else {
        finding
    });
    found
}

/// Returns whether the kubelet's dumps or its log show a relist that stands; no histogram has it before it ends.
fn is_blocked(view: &NodeView) -> bool {
    let by_log = view.history().is_some_and(|history| since::of_pleg(history) == Some(Since::Now));
    let by_dump = || relist::check(view).iter().any(|finding| finding.severity == Severity::Critical);
    pace(view) != Pace::Moves && (by_log || by_dump())
}

fn stands(view: &NodeView, file: &str, seen: Option<Timestamp>, line: u64) -> Finding {
    let both = present::two(view);
    let sentence = match seen {
        Some(seen) if both => {
            format!(
                "relist stands still: it was last active at {} in both scrapes of the kubelet's metrics.",
                at(Some(seen))
            )
        }
        Some(seen) => format!(
            "relist stands still: it was last active at {}, more than {} before the kubelet was asked.",
            at(Some(seen)),
            wording::whole_seconds(THRESHOLD)
        ),
        None => "relist stands still: none ended between the two scrapes of the kubelet's metrics.".to_owned(),
    };
    Note::new(view, "relist-time/stands", Severity::Critical, &sentence)
        .layer(Layer::Runtime)
        .cite(file, line)
        .signature("relist stands still")
        .next("Where relist stands in the goroutine dump.")
        .done()
}
