//! Counters as rates: from one look to the other where both are at one node within one boot, else within each look. A counter
//! that began anew has no rate.

use std::collections::BTreeSet;

use super::limits::{self, is_event, number, parts, seconds, words};
use super::{DifferenceKind, Told, same_boot};
use crate::analyze::figures::Reading;
use crate::analyze::metrics::increase;
use crate::analyze::node::NodeAnalysis;

/// Looks closer together say nothing.
const LEAST: f64 = 1.0;
/// Relist is begun every second; so seldom it is worth a look.
const SELDOM: f64 = 0.5;
/// Share of what makes a difference, below which a rate is not told for its own sake.
const WORTH: f64 = 0.05;
/// Events that are too seldom to differ between two nodes.
const EVENTS: f64 = 0.01;

pub(super) fn differences(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    match same_boot(base, other) {
        Some(true) => over_time(base, other),
        _ => within(base, other),
    }
}

/// Seconds from one reading to the other.
fn apart(was: &Reading, is: &Reading) -> Option<f64> {
    let seconds = is.time?.duration_since(was.time?).as_secs_f64();
    (seconds >= LEAST).then_some(seconds)
}

fn over_time(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    let mut found = Vec::new();
    let mut anew: BTreeSet<&str> = BTreeSet::new();
    let readings = |node: &NodeAnalysis, name: &str| node.figures.readings.get(name).cloned().unwrap_or_default();
    for (name, now) in &other.figures.counters {
        let was = match base.figures.counters.get(name) {
            Some(was) => *was,
            // The series of a failure is not there before the first one.
            None if is_event(name) && name.starts_with("runtime calls") && !base.figures.operations.is_empty() => 0.0,
            None => continue,
        };
        let (then, at) = (readings(base, name), readings(other, name));
        let began = then.of.is_some() && at.of.is_some() && then.of != at.of;
        if began || increase(was, *now).is_none() {
            if at.time.zip(then.time).is_none_or(|(now, then)| now > then) {
                anew.insert(name);
            }
            continue;
        }
        let Some(apart) = apart(&then, &at) else { continue };
        let rate = (*now - was) / apart;
        found.extend(grew(name, base.figures.rates.get(name).copied(), rate, *now - was, apart));
    }
    if let Some(first) = anew.iter().next() {
        let more = if anew.len() > 1 { format!(" and {} more", anew.len() - 1) } else { String::new() };
        let text = format!("started again, so there are no rates of it: {first}{more}");
        found.push(Told::new(460, DifferenceKind::Rate, "counters that began anew", None, None, &text));
    }
    found
}

/// A counter that grew from one look to the other. `usual`: how fast it grew within the first look.
fn grew(name: &str, usual: Option<f64>, rate: f64, by: f64, apart: f64) -> Option<Told> {
    let (what, unit) = parts(name);
    let event = is_event(name);
    if by <= 0.0 && (event || usual.unwrap_or_default() <= 0.0) {
        return None;
    }
    let limit = limits::rate(name);
    let changed = usual.and_then(|usual| limit.beyond(usual, rate));
    let weight = match () {
        () if event => 650,
        () if name == "relists" && rate < SELDOM => 560,
        () if changed.is_some() => 480,
        () if rate < limit.least * WORTH => return None,
        () => 150,
    };
    let per = |rate: f64| format!("{} per s", words(rate, unit));
    let text = if event {
        format!("{what}: {} more within {}", number(by), seconds(apart))
    } else {
        let usual = usual.map(|usual| format!(", {} during the first look", per(usual))).unwrap_or_default();
        format!("{what}: {} from one look to the other{usual}", per(rate))
    };
    Some(Told::new(weight, DifferenceKind::Rate, what, usual.map(per), Some(per(rate)), &text))
}

fn within(base: &NodeAnalysis, other: &NodeAnalysis) -> Vec<Told> {
    let one = |(name, now): (&String, &f64)| {
        let was = *base.figures.rates.get(name)?;
        let enough = if is_event(name) {
            was.max(*now) >= EVENTS && (was == 0.0 || limits::rate(name).beyond(was, *now).is_some())
        } else {
            limits::rate(name).beyond(was, *now).is_some()
        };
        let (what, unit) = parts(name);
        let per = |rate: f64| format!("{} per s", words(rate, unit));
        enough.then(|| {
            let text = format!("{what}: {} instead of {}", per(*now), per(was));
            let weight = if is_event(name) { 560 } else { 470 };
            Told::new(weight, DifferenceKind::Rate, what, Some(per(was)), Some(per(*now)), &text)
        })
    };
    other.figures.rates.iter().filter_map(one).collect()
}
