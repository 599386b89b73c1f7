//! How often each rule replaced something, as the manifest tells it. Filled by the redactor and its streams.

use std::collections::BTreeMap;

/// Replacements by rule.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts(Vec<u64>);

impl Counts {
    pub(super) fn add(&mut self, rule: usize) {
        self.add_many(rule, 1);
    }

    pub(super) fn add_many(&mut self, rule: usize, more: u64) {
        if more > 0 && self.0.len() <= rule {
            self.0.resize(rule + 1, 0);
        }
        if let Some(n) = self.0.get_mut(rule) {
            *n += more;
        }
    }

    /// Returns all replacements.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds them to totals by name.
    pub(super) fn merge_into(&self, names: &[String], totals: &mut BTreeMap<String, u64>) {
        for (n, name) in self.0.iter().zip(names) {
            if *n > 0 {
                *totals.entry(name.clone()).or_default() += n;
            }
        }
    }
}
