//! Prometheus text, version 0.0.4 and what OpenMetrics adds to it, read in constant memory: [`Sample`] is a line,
//! [`Scrape`] the series of one file that somebody asked for. [`kubelet`] and [`apiserver`] know the names, of old
//! versions too. Comments (`# TYPE` included) are passed over: what a series is shows by its labels.

pub mod apiserver;
mod distribution;
pub mod kubelet;
mod sample;
mod scrape;

pub use distribution::{Distribution, Quantile};
pub use sample::{Labels, Sample, sample};
pub use scrape::{Scrape, Series, increase};

#[cfg(test)]
mod tests;
