//! The series of one scrape that somebody asked for, with the lines they stand in.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::{Distribution, sample};
use crate::analyze::line::Lines;

/// Series kept of one scrape; a kubelet of 600 pods has some 10,000 in all.
const MAX_SERIES: usize = 50_000;

/// One series: its labels and its value at the time of the scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Labels in the order of the line.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
    /// Line it stands in, for citing.
    pub line: u64,
}

impl Series {
    /// Returns the value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find_map(|(n, v)| (n == name).then_some(v.as_str()))
    }

    fn has(&self, wanted: &[(&str, &str)]) -> bool {
        wanted.iter().all(|(name, value)| self.label(name) == Some(*value))
    }
}

/// The wanted series of one scrape by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape {
    series: BTreeMap<String, Vec<Series>>,
    /// Samples in the file, wanted or not.
    pub samples: u64,
    /// Lines that are no sample, no comment and not empty: a file cut short, or no metrics at all.
    pub broken: u64,
    /// Wanted series that were not kept because there were more than 50,000.
    pub dropped: u64,
}

impl Scrape {
    /// Reads a scrape and keeps the series whose names start with one of `prefixes`.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn read(input: impl Read, prefixes: &[&str]) -> io::Result<Self> {
        let mut lines = Lines::new(input);
        let mut scrape = Self::default();
        let mut kept = 0;
        while let Some(line) = lines.next_line()? {
            let text = line.text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let Some(sample) = (!line.cut).then(|| sample(text)).flatten() else {
                scrape.broken += 1;
                continue;
            };
            scrape.samples += 1;
            if !prefixes.iter().any(|p| sample.name.starts_with(p)) {
                continue;
            }
            if kept == MAX_SERIES {
                scrape.dropped += 1;
                continue;
            }
            kept += 1;
            let labels = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.into_owned())).collect();
            let series = Series { labels, value: sample.value, line: line.number };
            match scrape.series.get_mut(sample.name) {
                Some(list) => list.push(series),
                None => {
                    scrape.series.insert(sample.name.to_owned(), vec![series]);
                }
            }
        }
        Ok(scrape)
    }

    /// Returns all series of a name.
    #[must_use]
    pub fn all(&self, name: &str) -> &[Series] {
        self.series.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the first series of a name with these labels.
    #[must_use]
    pub fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Series> {
        self.all(name).iter().find(|s| s.has(labels))
    }

    /// Returns the sum over all series of a name; `None` if there are none.
    #[must_use]
    pub fn sum(&self, name: &str) -> Option<f64> {
        let all = self.all(name);
        (!all.is_empty()).then(|| all.iter().map(|s| s.value).sum())
    }

    /// Returns the values of a label among the series of a name and of its parts, each once, in order.
    #[must_use]
    pub fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        let mut out: Vec<String> = self.all(name).iter().filter_map(|s| s.label(label)).map(str::to_owned).collect();
        out.sort();
        out.dedup();
        out
    }

    /// Returns a histogram or summary in seconds: the first of `names` that is there, with these labels. A name that
    /// ends in `_microseconds` is converted.
    #[must_use]
    pub fn distribution(&self, names: &[&str], labels: &[(&str, &str)]) -> Option<Distribution> {
        names.iter().find_map(|name| {
            let scale = if name.ends_with("_microseconds") { 1e-6 } else { 1.0 };
            let with = |name: &str| self.all(name).iter().filter(|s| s.has(labels)).cloned().collect::<Vec<_>>();
            let points = |list: Vec<Series>, label: &str, by: f64| {
                let point = |s: &Series| Some((s.label(label)?.parse::<f64>().ok()? * by, s.value, s.line));
                list.iter().filter_map(point).collect::<Vec<_>>()
            };
            let buckets = points(with(&format!("{name}_bucket")), "le", scale);
            let quantiles = points(with(name), "quantile", 1.0);
            let sum = self.one(&format!("{name}_sum"), labels).map(|s| s.value * scale);
            let count = self.one(&format!("{name}_count"), labels).map(|s| s.value);
            if buckets.is_empty() && quantiles.is_empty() && count.is_none() {
                return None;
            }
            let line = buckets.first().or(quantiles.first()).map(|p| p.2);
            let line = line.or_else(|| self.one(&format!("{name}_count"), labels).map(|s| s.line));
            let quantiles = quantiles.into_iter().map(|(q, v, _)| (q, v * scale)).collect();
            let buckets = buckets.into_iter().map(|(le, v, _)| (le, v)).collect();
            Some(Distribution::new((*name).to_owned(), buckets, quantiles, sum, count, line.unwrap_or_default()))
        })
    }
}

/// Returns by how much a counter grew; `None` if it went back, which means that the process was started anew.
#[must_use]
pub fn increase(before: f64, after: f64) -> Option<f64> {
    let grown = after - before;
    (grown >= 0.0 && grown.is_finite()).then_some(grown)
}
