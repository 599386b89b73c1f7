//! The node's zone, and with it how to date stamps of its logs: by the probe, else as the logs themselves tell it. Asked
//! through the view, which keeps the answer.

use std::io::Read as _;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::log::{Clock, zone};
use super::view::NodeView;
use crate::bundle::layout;
use crate::plan::NodeFacts;

/// A probe prints about 10 KB.
const MAX_FACTS: u64 = 8 << 20;
/// Logs that tell the node's zone, where the probe did not.
const TELLING: [&str; 3] = ["kubelet/journal.txt", "docker/journal.txt", "containerd/journal.txt"];

/// What is read once.
#[derive(Debug, Default)]
pub(super) struct Told {
    facts: OnceLock<Option<NodeFacts>>,
    zone: OnceLock<Option<Offset>>,
}

impl NodeView {
    /// Returns what the probe found; `None` if it is not there.
    #[must_use]
    pub fn facts(&self) -> Option<&NodeFacts> {
        let read = || {
            let mut bytes = Vec::new();
            self.open(layout::FACTS)?.take(MAX_FACTS).read_to_end(&mut bytes).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        self.told.facts.get_or_init(read).as_ref()
    }

    /// Returns the node's zone by the probe, else as its logs tell it; `None` where nothing tells.
    #[must_use]
    pub fn zone(&self) -> Option<Offset> {
        *self.told.zone.get_or_init(|| {
            let probed = self.facts().and_then(|facts| Offset::from_seconds(facts.utc_offset_s?).ok());
            let near = self.collected().unwrap_or_else(Timestamp::now);
            probed.or_else(|| TELLING.iter().find_map(|path| zone::of_log(self.open(path)?, near)))
        })
    }

    /// Returns how to date stamps that leave out the year or the zone; UTC where the zone is not known.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let near = self.collected().unwrap_or_else(Timestamp::now);
        Clock { near, zone: self.zone().unwrap_or(Offset::UTC) }
    }

    /// Returns how to date stamps of the kernel's log: as [`Self::clock`], but journalctl is asked for UTC.
    #[must_use]
    pub fn kernel_clock(&self) -> Clock {
        let journal = self.step("kernel/dmesg").is_some_and(|step| step.command.contains("journalctl"));
        let clock = self.clock();
        if journal { Clock { zone: Offset::UTC, ..clock } } else { clock }
    }
}
