//! Histograms and summaries: quantiles, means, the difference of two scrapes. In seconds.

use super::increase;

/// A quantile. A histogram knows it only up to the width of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// Seconds.
    pub value: f64,
    /// Whether it is above all bounds of the histogram: at least [`Self::value`], and nobody knows how much.
    pub at_least: bool,
}

/// A histogram or summary of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// The name it was found under.
    pub name: String,
    /// Upper bound and count up to it, both growing. Empty for a summary.
    buckets: Vec<(f64, f64)>,
    /// Rank and value. Empty for a histogram.
    quantiles: Vec<(f64, f64)>,
    /// Seconds in all.
    pub sum: Option<f64>,
    /// Observations.
    pub count: Option<f64>,
    /// First line of it.
    pub line: u64,
}

impl Distribution {
    pub(super) fn new(
        name: String,
        mut buckets: Vec<(f64, f64)>,
        quantiles: Vec<(f64, f64)>,
        sum: Option<f64>,
        count: Option<f64>,
        line: u64,
    ) -> Self {
        buckets.retain(|(bound, count)| *bound > f64::NEG_INFINITY && count.is_finite() && *count >= 0.0);
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Buckets are not read at one moment; a count that falls would make a negative quantile.
        let mut highest = 0.0_f64;
        for (_, count) in &mut buckets {
            highest = highest.max(*count);
            *count = highest;
        }
        // A bound that comes twice counts once, with the higher count.
        buckets.dedup_by(|later, kept| {
            let same = later.0.total_cmp(&kept.0).is_eq();
            if same {
                kept.1 = later.1;
            }
            same
        });
        let count = count.or_else(|| buckets.last().map(|b| b.1));
        Self { name, buckets, quantiles, sum, count, line }
    }

    /// Tells whether quantiles are the process's own over its last minutes (summary), not since its start (histogram).
    #[must_use]
    pub fn is_summary(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Returns the quantile of a rank between 0 and 1, interpolated within its bucket as `histogram_quantile` of
    /// Prometheus does; of a summary only ranks it has. `None` without observations.
    #[must_use]
    pub fn quantile(&self, rank: f64) -> Option<Quantile> {
        if self.is_summary() {
            let (_, value) = self.quantiles.iter().find(|(q, _)| (q - rank).abs() < 1e-9)?;
            return value.is_finite().then_some(Quantile { value: *value, at_least: false });
        }
        let total = self.buckets.last().map(|b| b.1).filter(|t| *t > 0.0)?;
        let wanted = rank.clamp(0.0, 1.0) * total;
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= wanted && *count > 0.0 {
                if bound.is_infinite() {
                    return Some(Quantile { value: below.0, at_least: true });
                }
                let within = (wanted - below.1) / (count - below.1);
                let within = if within.is_finite() { within.clamp(0.0, 1.0) } else { 1.0 };
                return Some(Quantile { value: below.0 + (bound - below.0) * within, at_least: false });
            }
            below = (bound.max(0.0), *count);
        }
        None
    }

    /// Returns the mean in seconds; `None` without observations.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let mean = self.sum? / self.count.filter(|c| *c > 0.0)?;
        mean.is_finite().then_some(mean)
    }

    /// Returns what was added since an earlier scrape; `None` if the process was started anew in between or the two
    /// are not of one kind. The quantiles of a summary have no difference and are left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if self.name != earlier.name || self.buckets.len() != earlier.buckets.len() {
            return None;
        }
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for ((bound, now), (was_bound, was)) in self.buckets.iter().zip(&earlier.buckets) {
            if bound.total_cmp(was_bound).is_ne() {
                return None;
            }
            buckets.push((*bound, increase(*was, *now)?));
        }
        let grown = |now: Option<f64>, was: Option<f64>| now.zip(was).map(|(now, was)| increase(was, now));
        let count = grown(self.count, earlier.count);
        if count == Some(None) {
            return None;
        }
        let sum = grown(self.sum, earlier.sum).flatten();
        Some(Self::new(self.name.clone(), buckets, Vec::new(), sum, count.flatten(), self.line))
    }
}
