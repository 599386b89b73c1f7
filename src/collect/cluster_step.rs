//! One step of the cluster's evidence on its way into the bundle: its file is made when the first byte comes, so that a refusal
//! leaves a record and no empty file. Called by `cluster.rs`.

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::ending::millis;
use crate::bundle::{BundleError, BundleWriter, StepEnd, StepSink};
use crate::cluster::ApiEnd;
use crate::evidence::{Outcome, StepRecord};
use crate::plan::{Encoding, PlannedStep};
use crate::session::{Sink, StdStream};

/// The way of a step's evidence into the bundle, opened when the first byte comes.
pub(super) struct StepWay<'a> {
    bundle: &'a BundleWriter,
    step: &'a PlannedStep,
    cap: u64,
    sink: Option<StepSink>,
    disk: Option<BundleError>,
}

impl<'a> StepWay<'a> {
    /// Returns the way of this step, of which `cap` bytes are kept.
    pub(super) const fn new(bundle: &'a BundleWriter, step: &'a PlannedStep, cap: u64) -> Self {
        Self { bundle, step, cap, sink: None, disk: None }
    }

    async fn open(&mut self) -> Option<&mut StepSink> {
        if self.sink.is_none() && self.disk.is_none() {
            match self.bundle.step(self.step, Encoding::Plain, self.cap).await {
                Ok(sink) => self.sink = Some(sink),
                Err(error) => self.disk = Some(error),
            }
        }
        self.sink.as_mut()
    }

    /// Records the step, with its file if there is one; what was complete has one though it be empty.
    ///
    /// # Errors
    /// The bundle cannot be written.
    ///
    /// # Cancel safety
    /// Dropped early, the step may be recorded or not; the bundle stays whole.
    pub(super) async fn finish(
        mut self,
        command: String,
        end: ApiEnd,
        started: Option<Timestamp>,
        took: Duration,
    ) -> Result<StepRecord, (StepRecord, BundleError)> {
        if end.outcome == Outcome::Complete {
            self.open().await;
        }
        let mut record = StepRecord {
            id: self.step.id.clone(),
            phase: self.step.phase,
            command,
            as_root: None,
            started,
            duration_ms: millis(took),
            outcome: end.outcome,
            detail: end.detail,
            exit_status: None,
            signal: None,
            wire_bytes: 0,
            files: Vec::new(),
        };
        if let Some(error) = self.disk {
            (record.outcome, record.detail) = (Outcome::Failed, Some(error.to_string()));
            // There is room left for a record at least; if not, there is nothing more to be done.
            drop(self.bundle.record(record.clone()).await);
            return Err((record, error));
        }
        let kept = match self.sink {
            None => self.bundle.record(record.clone()).await,
            Some(sink) => {
                let end = StepEnd {
                    command: record.command.clone(),
                    as_root: None,
                    started: started.unwrap_or_else(Timestamp::now),
                    duration: took,
                    outcome: record.outcome,
                    detail: record.detail.clone(),
                    exit_status: None,
                    signal: None,
                    hung: None,
                };
                sink.finish(end).await
            }
        };
        kept.map_err(|error| {
            (record.outcome, record.detail) = (Outcome::Failed, Some(error.to_string()));
            (record, error)
        })
    }
}

impl Sink for StepWay<'_> {
    fn write<'a>(&'a mut self, stream: StdStream, chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        async move {
            match self.open().await {
                Some(sink) => sink.write(stream, chunk).await,
                None => ControlFlow::Break(()),
            }
        }
        .boxed()
    }
}
