//! What each function costs, summed up sample by sample.

use std::collections::HashMap;
use std::sync::Arc;

use super::tables::Tables;
use super::wire::proto;
use super::{Cost, MAX_KINDS, PprofError};

/// Frames of all samples together; a large API server's heap has half a million.
const MAX_STEPS: u64 = 20_000_000;

/// The sums so far.
pub(super) struct Sums<'a> {
    tables: &'a Tables<'a>,
    pub(super) costs: Vec<Cost>,
    /// Place in `costs` of each function, by its place in the table.
    place: Vec<Option<usize>>,
    by_name: HashMap<(i64, i64), usize>,
    /// Texts in use, each kept once.
    texts: HashMap<i64, Arc<str>>,
    /// The last sample that counted a cost, so that recursion counts once.
    seen: Vec<u64>,
    pub(super) totals: Vec<i64>,
    pub(super) samples: u64,
    /// Steps left: a small profile could otherwise name a long place again and again.
    pub(super) steps: u64,
}

impl<'a> Sums<'a> {
    pub(super) fn new(tables: &'a Tables<'a>, kinds: usize) -> Self {
        Self {
            tables,
            costs: Vec::new(),
            place: vec![None; tables.functions.len()],
            by_name: HashMap::new(),
            texts: HashMap::new(),
            seen: Vec::new(),
            totals: vec![0; kinds],
            samples: 0,
            steps: MAX_STEPS,
        }
    }

    pub(super) fn add(&mut self, sample: &proto::Sample) -> Result<(), PprofError> {
        self.samples += 1;
        let values = |into: &mut dyn Iterator<Item = &mut i64>| {
            for (sum, value) in into.zip(&sample.values) {
                *sum = sum.saturating_add(*value);
            }
        };
        values(&mut self.totals.iter_mut());
        let tables = self.tables;
        let mut innermost = true;
        for location in &sample.locations {
            self.step()?;
            for function in tables.functions_at(*location) {
                self.step()?;
                let Some(at) = function.and_then(|function| self.cost(function)) else { continue };
                let Some((cost, seen)) = self.costs.get_mut(at).zip(self.seen.get_mut(at)) else { continue };
                if std::mem::take(&mut innermost) {
                    values(&mut cost.flat.iter_mut());
                }
                if *seen != self.samples {
                    *seen = self.samples;
                    values(&mut cost.cum.iter_mut());
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), PprofError> {
        self.steps =
            self.steps.checked_sub(1).ok_or(PprofError::Form("its stacks are longer than any genuine one's"))?;
        Ok(())
    }

    /// Returns the place in `costs` of a function; those of one name and file are one.
    fn cost(&mut self, function: usize) -> Option<usize> {
        let place = self.place.get_mut(function)?;
        if place.is_none() {
            let (name, file) = *self.tables.functions.get(function)?;
            let next = self.costs.len();
            let at = *self.by_name.entry((name, file)).or_insert(next);
            if at == next {
                let tables = self.tables;
                let mut text = |at| Arc::clone(self.texts.entry(at).or_insert_with(|| tables.text(at)));
                let (name, file) = (text(name), text(file));
                self.costs.push(Cost { name, file, flat: [0; MAX_KINDS], cum: [0; MAX_KINDS] });
                self.seen.push(0);
            }
            *place = Some(at);
        }
        *place
    }
}
