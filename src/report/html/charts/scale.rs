//! Axes: where a value stands, and which values are written below.

use jiff::Timestamp;

/// Steps between marks of a time axis, seconds.
const STEPS: &[i64] = &[
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_592_000, 31_536_000,
];
/// Marks of a time axis, at most.
const MARKS: i64 = 9;

/// Seconds on a logarithmic axis; what is shorter or longer stands at its ends.
pub(super) struct Log {
    pub(super) from: f64,
    pub(super) to: f64,
    least: f64,
    most: f64,
}

impl Log {
    /// Returns an axis from `from` to `to` units, for durations of 1 ms up to at least `most` seconds.
    pub(super) fn new(from: f64, to: f64, most: f64) -> Self {
        let most = if most.is_finite() { most } else { 1.0 };
        Self { from, to, least: 0.001, most: 10_f64.powf(most.clamp(10.0, 1e6).log10().ceil()) }
    }

    /// Returns where a value stands.
    pub(super) fn at(&self, seconds: f64) -> f64 {
        let seconds = if seconds.is_finite() { seconds.clamp(self.least, self.most) } else { self.most };
        let part = (seconds / self.least).ln() / (self.most / self.least).ln();
        self.from + part * (self.to - self.from)
    }

    /// Returns the powers of ten on it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        (-3..=6).map(|power| 10_f64.powi(power)).filter(|tick| *tick <= self.most * 1.001).collect()
    }
}

/// Time on a linear axis.
pub(super) struct Time {
    from: f64,
    to: f64,
    first: Timestamp,
    last: Timestamp,
}

impl Time {
    /// Returns an axis from `from` to `to` units for a span of at least a second.
    pub(super) fn new(from: f64, to: f64, first: Timestamp, last: Timestamp) -> Self {
        let second = jiff::SignedDuration::from_secs(1);
        let last = last.max(first.checked_add(second).unwrap_or(last));
        Self { from, to, first, last }
    }

    /// Returns where a time stands; what is outside stands at the ends.
    pub(super) fn at(&self, time: Timestamp) -> f64 {
        let part = seconds(self.first, time) / seconds(self.first, self.last).max(1e-3);
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Returns the times to be written, and how: with the day on the first and where a new one begins.
    pub(super) fn ticks(&self) -> Vec<(Timestamp, String)> {
        let span = self.last.as_second().saturating_sub(self.first.as_second()).max(1);
        let step = STEPS.iter().copied().find(|step| span / step <= MARKS).unwrap_or(span / MARKS);
        let mut ticks = Vec::new();
        let mut at = self.first.as_second().div_euclid(step).saturating_add(1).saturating_mul(step);
        let mut day = None;
        while at <= self.last.as_second() && ticks.len() < 24 {
            let Ok(time) = Timestamp::from_second(at) else { break };
            let this = at.div_euclid(86_400);
            let form = match (day == Some(this), step) {
                (_, 86_400..) => "%Y-%m-%d",
                (false, 60..) => "%m-%d %H:%M",
                (false, _) => "%m-%d %H:%M:%S",
                (true, 60..) => "%H:%M",
                (true, _) => "%H:%M:%S",
            };
            day = Some(this);
            ticks.push((time, time.strftime(form).to_string()));
            at = at.saturating_add(step);
        }
        ticks
    }
}

/// Returns the seconds from one time to another.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Returns a duration in few characters: `3 ms`, `1.2 s`, `3.0 min`.
pub(in super::super) fn short(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "\u{221e}".to_owned(),
        s if s < 0.000_95 => "<1 ms".to_owned(),
        s if s < 0.995 => format!("{:.0} ms", s * 1000.0),
        s if s < 99.5 => format!("{}\u{a0}s", tenths(s)),
        s if s < 5940.0 => format!("{}\u{a0}min", tenths(s / 60.0)),
        s => format!("{}\u{a0}h", tenths(s / 3600.0)),
    }
}

/// Returns a mark of an axis, all of one unit where they can be: `100 ms`, `10 s`, `1000 s`.
pub(super) fn mark(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 0.995 => format!("{:.0}\u{a0}ms", s * 1000.0),
        s => format!("{}\u{a0}s", tenths(s)),
    }
}

fn tenths(value: f64) -> String {
    let text = if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Returns a count with its thousands apart: `12 345`.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_belong_and_none_leaves_the_axis() {
        let log = Log::new(100.0, 700.0, 180.0);
        assert_eq!((log.at(0.001), log.at(1000.0)), (100.0, 700.0));
        assert!((log.at(1.0) - 400.0).abs() < 0.01, "{}", log.at(1.0));
        for odd in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert!((100.0..=700.0).contains(&log.at(odd)), "{odd}");
        }
        assert_eq!(log.ticks().len(), 7);
    }

    #[test]
    fn times_are_marked_a_few_times_whatever_the_span() {
        let start: Timestamp = "2026-11-20T23:58:30Z".parse().unwrap();
        for span in [0, 1, 59, 3600, 90_000, 40_000_000, 4_000_000_000] {
            let last = start.checked_add(jiff::SignedDuration::from_secs(span)).unwrap();
            let ticks = Time::new(0.0, 100.0, start, last).ticks();
            assert!(ticks.len() <= 12, "{span}: {ticks:?}");
        }
        let last = start.checked_add(jiff::SignedDuration::from_mins(10)).unwrap();
        let texts: Vec<String> = Time::new(0.0, 1.0, start, last).ticks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts.first().map(String::as_str), Some("11-21 00:00"));
    }

    #[test]
    fn durations_and_counts_are_short() {
        for (value, want) in [(0.0, "<1 ms"), (0.0304, "30 ms"), (1.25, "1.2\u{a0}s"), (180.0, "3\u{a0}min")] {
            assert_eq!(short(value), want);
        }
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
