//! The sheet that gauges, counters and rates are written on: names are safe and few, values are numbers, and counters carry the
//! time they were read at.

use jiff::{SignedDuration, Timestamp};

use super::{Figures, Reading};
use crate::analyze::rules::note;
use crate::analyze::view::NodeView;
use crate::wording;

/// Figures of one sort; a node has some eighty.
const MOST: usize = 400;
/// Columns of a name.
const NAME: usize = 100;

/// See the module.
pub(super) struct Sheet<'a> {
    pub(super) view: &'a NodeView,
    figures: Figures,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(view: &'a NodeView) -> Self {
        Self { view, figures: Figures::default() }
    }

    pub(super) fn done(self) -> Figures {
        self.figures
    }

    /// Returns the text of a file, bounded.
    pub(super) fn text(&self, file: &str) -> Option<String> {
        note::text(self.view, file)
    }

    /// Returns when a step read what it read, by the node's clock. An answer over HTTP holds the values of the moment the request
    /// began, however long it takes (seen with kubelet 1.36.2).
    pub(super) fn time(&self, step: &str) -> Option<Timestamp> {
        let offset = self.view.manifest.as_ref().and_then(|m| m.clock_offset_ms).unwrap_or_default();
        self.view.step(step)?.started?.checked_add(SignedDuration::from_millis(offset)).ok()
    }

    /// Writes a figure that goes up and down. The first of a name stays.
    pub(super) fn gauge(&mut self, name: &str, value: f64) {
        let gauges = &mut self.figures.gauges;
        if value.is_finite() && gauges.len() < MOST {
            gauges.entry(self::name(name)).or_insert(value);
        }
    }

    /// Writes a gauge that is a count.
    pub(super) fn count(&mut self, name: &str, value: u64) {
        self.gauge(name, note::float(value));
    }

    /// Tells whether there is a gauge of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.figures.gauges.contains_key(name)
    }

    /// Writes a counter, with the step that read it and the process that counts.
    pub(super) fn counter(&mut self, name: &str, value: f64, step: &str, of: Option<&str>) {
        let time = self.time(step);
        let name = self::name(name);
        if value.is_finite() && self.figures.counters.len() < MOST && !self.figures.counters.contains_key(&name) {
            self.figures.readings.insert(name.clone(), Reading { time, of: of.map(str::to_owned) });
            self.figures.counters.insert(name, value);
        }
    }

    /// Writes how fast a counter grew during the look.
    pub(super) fn rate(&mut self, name: &str, per_second: f64) {
        if per_second.is_finite() && per_second >= 0.0 && self.figures.rates.len() < MOST {
            self.figures.rates.entry(self::name(name)).or_insert(per_second);
        }
    }
}

fn name(text: &str) -> String {
    wording::cut(&wording::safe(text), NAME)
}
