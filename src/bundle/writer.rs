//! The asynchronous side of a bundle: hands chunks to the blocking task that owns decoders,
//! redaction, spools, hashing, tar and zstd (`worker.rs`). Called by `collect/`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::intake::{Paths, Shared};
use super::layout::{self, BundlePath};
use super::manifest::{Closing, Header, Manifest};
use super::message::Message;
use super::redact::Redactor;
use super::worker::Worker;
use super::{BundleError, atomic};
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::inventory::NodeName;
use crate::plan::step::{Encoding, PlannedStep};
use crate::session::{Sink, StdStream};

/// Chunks on the way to the blocking task; an SSH packet is 32 KiB, so 1 MiB per node.
const QUEUE: usize = 32;
/// A chunk larger than this is handed over in pieces.
const CHUNK: usize = 256 << 10;

/// How bundles are written.
#[derive(Debug, Clone)]
pub struct BundleOptions {
    /// Rules against secrets; one for the whole run.
    pub redactor: Arc<Redactor>,
    /// Bytes of evidence a node may bring at most, unpacked; steps beyond are truncated. The
    /// last step may exceed it by 1 MiB.
    pub max_bundle_bytes: u64,
    /// zstd level, 1 to 19; 3 is a good one.
    pub level: i32,
    /// Bytes to be left free on the local disk. Below, no evidence is taken any more; records
    /// and manifest may still use them.
    pub reserve_bytes: u64,
}

impl BundleOptions {
    /// Returns the defaults: 2 GiB a node, level 3, 64 MiB left free.
    #[must_use]
    pub const fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, max_bundle_bytes: 2 << 30, level: 3, reserve_bytes: 64 << 20 }
    }
}

/// What the engine knows when a step is over.
#[derive(Debug, Clone)]
pub struct StepEnd {
    /// The exact command; redacted by the writer.
    pub command: String,
    /// Whether it ran with root's rights.
    pub as_root: Option<bool>,
    /// Start, operator's clock.
    pub started: Timestamp,
    /// Wall time.
    pub duration: Duration,
    /// How it ended by its exit. `Complete` when our own sink stopped it: the writer makes that
    /// `Truncated`.
    pub outcome: Outcome,
    /// The reason, one sentence; redacted by the writer.
    pub detail: Option<String>,
    /// Exit status, if told.
    pub exit_status: Option<i32>,
    /// Signal, if told.
    pub signal: Option<String>,
    /// State and stacks taken of the command when it hit its bound; 1 MiB are kept.
    pub hung: Option<Vec<u8>>,
}

/// A sealed bundle.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Hex sha256 of the file.
    pub sha256: String,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// A bundle that is being written.
///
/// Dropping it ends the blocking task; steps that were running are recorded as lost and the
/// bundle stays as `.partial`, readable.
#[derive(Debug)]
pub struct BundleWriter {
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
    partial: PathBuf,
    next: AtomicU64,
}

impl BundleWriter {
    /// Creates `DIR/NODE.tar.zst.partial`, mode 0600, with its header. Occupies one thread of the
    /// blocking pool until it is sealed, abandoned or dropped.
    ///
    /// # Errors
    /// When the file exists, or the disk does not take it.
    ///
    /// # Cancel safety
    /// Dropped early, an empty `.partial` may stay.
    pub async fn create(
        dir: &Path,
        node: &NodeName,
        header: &Header,
        options: BundleOptions,
    ) -> Result<Self, BundleError> {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let (ready, started) = oneshot::channel();
        let partial = layout::partial(dir, node);
        let sealed = layout::sealed(dir, node);
        let (path, header) = (partial.clone(), header.clone());
        let task = tokio::task::spawn_blocking(move || match Worker::create(path, sealed, header, options) {
            Ok(worker) => {
                if ready.send(Ok(())).is_ok() {
                    worker.run(receiver);
                }
            }
            Err(e) => drop(ready.send(Err(e))),
        });
        match started.await {
            Ok(Ok(())) => Ok(Self { queue, task, partial, next: AtomicU64::new(0) }),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(BundleError::Ended { path: partial }),
        }
    }

    /// Returns where the bundle is while it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Adds a file of JSON, redacted like everything else.
    ///
    /// # Errors
    /// When the path is unsafe or taken, or the disk does not take the file.
    ///
    /// # Cancel safety
    /// Once polled it may be written though nobody waits.
    pub async fn add_json<T: Serialize + ?Sized + Sync>(
        &self,
        path: &str,
        value: &T,
    ) -> Result<FileRecord, BundleError> {
        let path: BundlePath = path.parse()?;
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| BundleError::Json { what: path.to_string(), source: Arc::new(e) })?;
        bytes.push(b'\n');
        self.ask(|reply| Message::File { path, bytes, reply }).await
    }

    /// Opens the way for a step's evidence, of which `max_bytes` are kept, head and tail.
    ///
    /// # Errors
    /// When its path is unsafe or taken, or the local disk is down to the reserve: then nothing
    /// more can be collected, and [`record`](Self::record) still works.
    pub async fn step(&self, step: &PlannedStep, encoding: Encoding, max_bytes: u64) -> Result<StepSink, BundleError> {
        let paths = Paths::of(step)?;
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared::default());
        let (step, for_worker) = (step.clone(), Arc::clone(&shared));
        self.ask(|reply| Message::Open {
            key,
            step: Box::new(step),
            paths: Box::new(paths),
            encoding,
            cap: max_bytes,
            shared: for_worker,
            reply,
        })
        .await?;
        Ok(StepSink { key, queue: self.queue.clone(), shared, partial: self.partial.clone() })
    }

    /// Records a step without output: absent, skipped, lost before it began. Its text is redacted.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn record(&self, record: StepRecord) -> Result<StepRecord, BundleError> {
        self.ask(|reply| Message::Record { record: Box::new(record), reply }).await
    }

    /// Writes the manifest, syncs, and renames `.partial` away. Steps still open are recorded as
    /// cancelled, with what came of them.
    ///
    /// # Errors
    /// When the disk does not take it; the `.partial` then stays, readable up to the last whole step.
    ///
    /// # Cancel safety
    /// Once polled it runs to its end though nobody waits.
    pub async fn seal(self, closing: Closing) -> Result<Sealed, BundleError> {
        let result = self.ask(|reply| Message::Seal { closing: Box::new(closing), reply }).await;
        self.end().await;
        result
    }

    /// Leaves the bundle as `.partial`, with what came of steps still open, synced. Returns its path.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub async fn abandon(self) -> Result<PathBuf, BundleError> {
        let result = self.ask(|reply| Message::Abandon { reply }).await;
        let path = self.partial.clone();
        self.end().await;
        result.map(|()| path)
    }

    async fn end(self) {
        let Self { queue, task, .. } = self;
        drop(queue);
        // It has answered; what it may still do is drop its files.
        let _ = task.await;
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, BundleError>>) -> Message,
    ) -> Result<T, BundleError> {
        ask(&self.queue, &self.partial, message).await
    }
}

async fn ask<T>(
    queue: &mpsc::Sender<Message>,
    partial: &Path,
    message: impl FnOnce(oneshot::Sender<Result<T, BundleError>>) -> Message,
) -> Result<T, BundleError> {
    let ended = || BundleError::Ended { path: partial.to_owned() };
    let (reply, answer) = oneshot::channel();
    queue.send(message(reply)).await.map_err(|_| ended())?;
    answer.await.map_err(|_| ended())?
}

/// The way of one step's evidence into the bundle.
///
/// Dropped without [`finish`](Self::finish), what came stays in the bundle as a lost step.
#[derive(Debug)]
pub struct StepSink {
    key: u64,
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    partial: PathBuf,
}

impl StepSink {
    /// Returns the bytes received so far, unpacked; for progress.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Returns a counter that follows [`received`](Self::received) while the sink is in use elsewhere.
    #[must_use]
    pub fn counter(&self) -> ReceivedBytes {
        ReceivedBytes(Arc::clone(&self.shared))
    }

    /// Ends the step: its files and its record are in the bundle file when this returns.
    ///
    /// # Errors
    /// When the disk does not take them; they are then not in the bundle, and the manifest says so.
    ///
    /// # Cancel safety
    /// Once polled it runs to its end though nobody waits.
    pub async fn finish(self, end: StepEnd) -> Result<StepRecord, BundleError> {
        let key = self.key;
        ask(&self.queue, &self.partial, |reply| Message::Finish { key, end: Box::new(end), reply }).await
    }
}

/// Bytes of a step so far.
#[derive(Debug, Clone)]
pub struct ReceivedBytes(Arc<Shared>);

impl ReceivedBytes {
    /// Returns the bytes received so far, unpacked.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }
}

impl Sink for StepSink {
    /// Waits for the local disk only. `Break` when no more is wanted: the cap and what is looked
    /// at beyond it, the limit of the node, or the disk.
    fn write<'a>(&'a mut self, stream: StdStream, mut chunk: Bytes) -> BoxFuture<'a, ControlFlow<()>> {
        async move {
            while !chunk.is_empty() {
                if self.shared.enough.load(Ordering::Relaxed) {
                    return ControlFlow::Break(());
                }
                let piece = chunk.split_to(chunk.len().min(CHUNK));
                if self.queue.send(Message::Data { key: self.key, stream, chunk: piece }).await.is_err() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        }
        .boxed()
    }
}

/// Returns whether a bundle of this node is there already, sealed or not.
#[must_use]
pub fn is_taken(dir: &Path, node: &NodeName) -> bool {
    atomic::exists(&layout::sealed(dir, node)) || atomic::exists(&layout::partial(dir, node))
}
