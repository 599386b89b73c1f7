//! Keeps `run.json` up to date while nodes end: at once where few do, and where many do so seldom
//! that the whole of its rewriting stays a small share of the run (1,000 nodes would otherwise
//! write it 1,000 times, half a gigabyte with a sync each).

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::bundle::{BundleError, RunRecord};
use crate::event::{ClusterSummary, EventSender, NodeSummary};

/// Least time between the end of one save and the next.
const LEAST: Duration = Duration::from_secs(1);
/// And this many times what the last save took.
const SHARE: u32 = 20;

/// The record of the run on its way to the disk.
pub(crate) struct RecordKeeper<'a> {
    record: &'a mut RunRecord,
    dir: &'a Path,
    /// Nodes were noted since the last save.
    behind: bool,
    next: Instant,
}

impl<'a> RecordKeeper<'a> {
    /// Saves the record as it is.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn begin(record: &'a mut RunRecord, dir: &'a Path) -> Result<Self, BundleError> {
        record.save(dir)?;
        Ok(Self { record, dir, behind: false, next: Instant::now() })
    }

    /// Notes that a node is over.
    pub(crate) fn note(&mut self, summary: NodeSummary) {
        self.record.nodes.push(summary);
        self.behind = true;
    }

    /// Notes that the evidence of the cluster is there.
    pub(crate) fn note_cluster(&mut self, summary: ClusterSummary) {
        self.record.cluster = Some(summary);
        self.behind = true;
    }

    /// Waits until [`catch_up`](Self::catch_up) is to be called; for ever if there is nothing to save.
    pub(crate) async fn due(&self) {
        if self.behind {
            tokio::time::sleep_until(self.next).await;
        } else {
            std::future::pending().await
        }
    }

    /// Saves what was noted. A failure is a warning: the bundles tell the same.
    pub(crate) async fn catch_up(&mut self, events: &EventSender) {
        if !self.behind {
            return;
        }
        // In line, not in a task: after it nobody can put an older record over a newer one.
        let clock = std::time::Instant::now();
        if let Err(error) = self.record.save(self.dir) {
            events.warn(None, format!("run.json is behind: {error}")).await;
        }
        self.behind = false;
        self.next = Instant::now() + LEAST.max(clock.elapsed() * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::collect::ending::not_started;

    #[tokio::test(start_paused = true)]
    async fn the_first_node_is_saved_at_once_and_many_together() {
        let dir = tempfile::tempdir().unwrap();
        let (events, _display) = crate::event::channel();
        let saved = || RunRecord::load(dir.path()).unwrap().nodes.len();
        let mut record = RunRecord::new("r", jiff::Timestamp::now());
        let mut keeper = RecordKeeper::begin(&mut record, dir.path()).unwrap();
        assert_eq!(saved(), 0);
        assert!(keeper.due().now_or_never().is_none(), "there is nothing to save");

        keeper.note(not_started(&"n1".parse().unwrap(), "why"));
        assert!(keeper.due().now_or_never().is_some());
        keeper.catch_up(&events).await;
        assert_eq!(saved(), 1);

        for i in 2..=100 {
            keeper.note(not_started(&format!("n{i}").parse().unwrap(), "why"));
            assert!(keeper.due().now_or_never().is_none(), "a save is not due again yet");
        }
        assert_eq!(saved(), 1);
        let before = Instant::now();
        keeper.due().await;
        assert!(before.elapsed() >= LEAST / 2);
        keeper.catch_up(&events).await;
        assert_eq!(saved(), 100);
    }
}
