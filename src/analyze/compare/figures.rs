//! Figures: how long relists and calls of the runtime take, and gauges.

use super::limits::{self, LATENCY, parts, seconds, words};
use super::{DifferenceKind, Told};
use crate::analyze::figures::{Figures, Latency};

/// Kinds of calls that are told; in a hang all of them are slow.
const CALLS: usize = 5;

pub(super) fn differences(base: &Figures, other: &Figures) -> Vec<Told> {
    let mut found = Vec::new();
    found.extend(latency(640, "relist", base.relist.as_ref(), other.relist.as_ref()));
    found.extend(latency(
        635,
        "interval between relists",
        base.relist_interval.as_ref(),
        other.relist_interval.as_ref(),
    ));
    let mut calls: Vec<Told> = other
        .operations
        .iter()
        .filter_map(|now| {
            let was = base.operations.iter().find(|earlier| earlier.kind == now.kind)?;
            latency(500, &format!("runtime call {}", now.kind), Some(&was.latency), Some(&now.latency))
        })
        .collect();
    calls.sort_by_key(|told| std::cmp::Reverse(told.weight));
    calls.truncate(CALLS);
    found.extend(calls);
    for (name, now) in &other.gauges {
        let Some(was) = base.gauges.get(name) else { continue };
        // A dump tells it better, with the places.
        let dumped = |figures: &Figures| {
            figures.goroutines.iter().any(|g| name.strip_prefix("goroutines of ") == Some(g.process.as_str()))
        };
        if dumped(base) && dumped(other) {
            continue;
        }
        let Some(factor) = limits::gauge(name).beyond(*was, *now) else { continue };
        let (what, unit) = parts(name);
        let (was, now) = (words(*was, unit), words(*now, unit));
        let text = format!("{what}: {now} instead of {was}");
        found.push(Told::new(300 + steps(factor), DifferenceKind::Figure, what, Some(was), Some(now), &text));
    }
    found
}

/// Up to 90, by the factor: twice is 9, a thousand times 90.
fn steps(factor: f64) -> u32 {
    let doubled = factor.log2().clamp(0.0, 10.0) * 9.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 90")]
    let steps = doubled as u32;
    steps
}

fn latency(weight: u32, what: &str, base: Option<&Latency>, other: Option<&Latency>) -> Option<Told> {
    let (base, other) = (base?, other?);
    let values = |of: fn(&Latency) -> Option<f64>| of(base).zip(of(other));
    let mut factor = None;
    let mut phrases: Vec<(String, String, String)> = Vec::new();
    for (name, pair) in [("p99", values(|l| l.p99)), ("mean", values(|l| l.mean)), ("p50", values(|l| l.p50))] {
        let Some((was, now)) = pair else { continue };
        let Some(by) = LATENCY.beyond(was, now) else { continue };
        factor = factor.max(Some(steps(by)));
        let word = |value: f64, latency: &Latency| {
            let least = if name == "p99" && latency.p99_at_least { "at least " } else { "" };
            format!("{least}{}", seconds(value))
        };
        phrases.push((name.to_owned(), word(was, base), word(now, other)));
    }
    let (first, was, now) = phrases.first()?.clone();
    let words: Vec<String> = phrases.iter().map(|(name, was, now)| format!("{name} {now} instead of {was}")).collect();
    let span = match (base.between_scrapes, other.between_scrapes) {
        (true, false) => " (now since the kubelet's start, there between two scrapes)",
        (false, true) => " (now between two scrapes, there since the kubelet's start)",
        _ => "",
    };
    let text = format!("{what}: {}{span}", words.join(", "));
    let weight = weight + factor.unwrap_or_default();
    Some(Told::new(weight, DifferenceKind::Figure, &format!("{what} {first}"), Some(was), Some(now), &text))
}
