//! Which figure of one or two scrapes tells of the present, and whether it is slow. An episode that is over must not make
//! today's calls look slow, nor calls that have not ended yet let yesterday's look like today's.

use jiff::SignedDuration;

use super::note::seconds;
use crate::analyze::metrics::Distribution;
use crate::analyze::view::NodeView;

/// Fewer calls say nothing of the slowest hundredth.
const MANY: f64 = 100.0;
/// Relist is begun every second, and asks the runtime each time; a relist of a busy node may take some seconds.
const APART: SignedDuration = SignedDuration::from_secs(10);

/// Of what time a figure tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Between the two scrapes.
    Between,
    /// The last minutes: summaries of old kubelets forget.
    Minutes,
    /// All since the kubelet's start.
    Start,
}

impl Of {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Between => "between the scrapes",
            Self::Minutes => "over the last minutes",
            Self::Start => "since the kubelet's start",
        }
    }
}

/// How slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slow {
    /// Not at all.
    No,
    /// Some were.
    AtTimes,
    /// As a rule.
    Yes,
}

/// A latency that tells of the present as well as can be.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) figure: Distribution,
    pub(super) of: Of,
}

/// Returns what was added between two scrapes if there was anything, else the later one.
pub(super) fn present(now: &Distribution, before: Option<&Distribution>) -> Present {
    match before.and_then(|was| now.since(was)).filter(|added| added.count > Some(0.0)) {
        // What was added to a summary has no quantiles; its own are those of the last minutes.
        Some(figure) if now.quantile(0.5).is_none() || !now.is_summary() => Present { figure, of: Of::Between },
        _ => Present { figure: now.clone(), of: if now.is_summary() { Of::Minutes } else { Of::Start } },
    }
}

impl Present {
    pub(super) fn slow(&self, limit: f64) -> Slow {
        let over = |rank: f64| self.figure.quantile(rank).is_some_and(|q| q.value >= limit);
        let mean = self.figure.mean().is_some_and(|mean| mean >= limit);
        let many = self.figure.count >= Some(MANY);
        let yes = match self.of {
            Of::Between => mean || over(0.5) || (many && over(0.99)),
            Of::Minutes => over(0.5) || over(0.9),
            Of::Start => over(0.5) || (many && over(0.9)),
        };
        if yes {
            Slow::Yes
        } else if over(0.99) || (mean && self.of != Of::Minutes) {
            Slow::AtTimes
        } else {
            Slow::No
        }
    }

    /// Words a quantile: `0.004 s`, `over 10.000 s`.
    pub(super) fn quantile(&self, rank: f64) -> String {
        match self.figure.quantile(rank) {
            None => "unknown".to_owned(),
            Some(q) if q.at_least => format!("over {}", seconds(q.value)),
            Some(q) => seconds(q.value),
        }
    }

    /// Words what is exact where there is something: the mean, else quantiles, which a histogram only guesses.
    pub(super) fn typical(&self) -> String {
        match (self.of, self.figure.mean(), self.figure.count) {
            (Of::Between | Of::Start, Some(mean), Some(count)) => {
                format!("mean {} of {count:.0} {}", seconds(mean), if count > 1.0 { "calls" } else { "call" })
            }
            _ => format!("p50 {}, p99 {}", self.quantile(0.5), self.quantile(0.99)),
        }
    }

    /// Words median, 99th percentile and mean, as far as they tell of the same time.
    pub(super) fn words(&self) -> String {
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        match (self.of, self.figure.mean()) {
            (Of::Between | Of::Start, Some(mean)) => format!("p50 {p50}, p99 {p99}, mean {}", seconds(mean)),
            _ => format!("p50 {p50}, p99 {p99}"),
        }
    }
}

/// Returns whether two scrapes are two, far enough apart for a kubelet that lives to have asked the runtime in between.
pub(super) fn two(view: &NodeView) -> bool {
    let [Some(first), Some(second)] = view.scrapes() else { return false };
    let started = |id: &str| view.step(id).and_then(|step| step.started);
    let times = started("kubelet/metrics-1").zip(started("kubelet/metrics-2"));
    // Scrapes that agree in everything are one and the same answer.
    first != second && times.is_none_or(|(first, second)| second.duration_since(first) >= APART)
}
