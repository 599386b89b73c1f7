//! How much a figure has to differ before it is told, by kind, and figures in words. The limits are those at which a person would
//! look twice; they are no thresholds of health.

use std::time::Duration;

use crate::analyze::tables::quantity::whole;
use crate::wording;

/// Both must hold: the larger is at least `factor` times the smaller, and they are `least` apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limit {
    pub(super) factor: f64,
    pub(super) least: f64,
}

/// By the beginning of the name, the first that fits. KiB for sizes, percent points for shares.
const GAUGES: &[(&str, Limit)] = &[
    ("zombies", of(2.0, 3.0)),
    ("processes in state D", of(2.0, 2.0)),
    ("processes stopped", of(2.0, 1.0)),
    ("processes", of(1.5, 50.0)),
    ("processors", of(1.2, 25.0)),
    ("processor used by kswapd", of(1.5, 10.0)),
    ("load", of(2.0, 4.0)),
    ("pressure", of(2.0, 5.0)),
    ("memory available, %", of(1.5, 10.0)),
    // Told by its share, which holds for nodes of any size.
    ("memory available, KiB", of(f64::INFINITY, 0.0)),
    ("memory of", of(1.5, 100.0 * 1024.0)),
    ("swap", of(1.5, 100.0 * 1024.0)),
    ("slab", of(1.5, 500.0 * 1024.0)),
    ("dirty", of(2.0, 500.0 * 1024.0)),
    ("disk", of(1.1, 10.0)),
    ("inodes", of(1.1, 10.0)),
    ("descriptors", of(1.5, 500.0)),
    ("containers left over", of(1.0, 1.0)),
    ("containers paused", of(1.0, 1.0)),
    ("containers made", of(1.5, 3.0)),
    ("containers", of(1.3, 5.0)),
    ("pod sandboxes not ready", of(1.5, 5.0)),
    ("pods", of(1.3, 3.0)),
    ("runc processes", of(1.5, 2.0)),
    ("shims", of(1.3, 5.0)),
    ("images", of(1.5, 30.0)),
    ("mounts", of(1.5, 50.0)),
    ("network interfaces", of(1.5, 10.0)),
    ("sockets", of(1.5, 500.0)),
    ("TCP", of(2.0, 500.0)),
    ("orphaned", of(2.0, 100.0)),
    ("tracked", of(1.2, 10.0)),
    // Told by the dumps where there are any, with their places.
    ("goroutines", of(1.5, 50.0)),
];

/// Per second.
const RATES: &[(&str, Limit)] = &[
    ("relists", of(1.5, 0.3)),
    ("time in", of(2.0, 0.2)),
    ("runtime calls", of(2.0, 5.0)),
    ("context switches", of(2.0, 5000.0)),
    ("processes and threads", of(2.0, 20.0)),
    ("stalled", of(2.0, 0.05)),
    ("major page faults", of(2.0, 50.0)),
    ("pages", of(2.0, 100.0)),
    ("TCP", of(2.0, 10.0)),
    ("containers started", of(2.0, 0.1)),
    ("pods started", of(2.0, 0.1)),
];

/// Counters of what should not happen: each more is told.
const EVENTS: &[&str] =
    &["oom kills", "runtime calls that failed", "relist events", "packets lost", "connections dropped", "allocations"];
/// Of a name's end.
const FAILED: &str = " for errors";

/// Of seconds: a latency.
pub(super) const LATENCY: Limit = of(2.0, 0.1);
/// Processor time and what else has no row.
const OTHER: Limit = of(2.0, 0.2);

const fn of(factor: f64, least: f64) -> Limit {
    Limit { factor, least }
}

impl Limit {
    /// Returns by what factor two values differ, if that is enough to be told; beyond measure where one is nothing.
    pub(super) fn beyond(self, a: f64, b: f64) -> Option<f64> {
        let (low, high) = (a.min(b), a.max(b));
        if !(low.is_finite() && high.is_finite()) || low < 0.0 || high - low < self.least {
            return None;
        }
        let factor = if low > 0.0 { (high / low).min(1e6) } else { 1e6 };
        (factor >= self.factor && high > low).then_some(factor)
    }
}

/// Returns the limit of a gauge.
pub(super) fn gauge(name: &str) -> Limit {
    GAUGES.iter().find(|(start, _)| name.starts_with(start)).map_or(of(2.0, 10.0), |(_, limit)| *limit)
}

/// Returns the limit of a rate.
pub(super) fn rate(name: &str) -> Limit {
    RATES.iter().find(|(start, _)| name.starts_with(start)).map_or(OTHER, |(_, limit)| *limit)
}

/// Tells whether each more of a counter is worth telling.
pub(super) fn is_event(name: &str) -> bool {
    EVENTS.iter().any(|start| name.starts_with(start)) || name.ends_with(FAILED)
}

/// Splits `memory of dockerd, KiB` into name and unit.
pub(super) fn parts(name: &str) -> (&str, &str) {
    match name.rsplit_once(", ") {
        Some((name, unit)) if matches!(unit, "KiB" | "%" | "s") => (name, unit),
        _ => (name, ""),
    }
}

/// Returns a value in words, with its unit.
pub(super) fn words(value: f64, unit: &str) -> String {
    match unit {
        "KiB" => whole(value * 1024.0).map_or_else(|| number(value), wording::bytes),
        "%" => format!("{} %", number(value)),
        "s" => seconds(value),
        _ => number(value),
    }
}

/// Returns a number to three digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.4}"),
    }
}

/// Returns a duration in seconds as people read it.
pub(super) fn seconds(value: f64) -> String {
    match Duration::try_from_secs_f64(value) {
        Ok(_) if value < 0.0995 => format!("{:.1} ms", value * 1000.0),
        Ok(_) if value < 10.0 => format!("{value:.2} s"),
        Ok(_) if value < 60.0 => format!("{value:.1} s"),
        Ok(duration) => wording::whole_seconds(duration),
        Err(_) => number(value),
    }
}
