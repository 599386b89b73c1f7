//! The blocking task of one bundle: takes messages from the asynchronous side, one at a time,
//! and is the only one that touches the file. Ends when it has sealed, or nobody can send more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::BundleError;
use super::archive::{Archive, Frame, Medium};
use super::atomic;
use super::error::{free_bytes, is_full};
use super::intake::{Intake, Paths, Shared, Stop};
use super::layout::{self, BundlePath};
use super::manifest::{Closing, Header, Manifest};
use super::message::Message;
use super::step_files::StepFiles;
use super::writer::{BundleOptions, Sealed, StepEnd};
use crate::event::StepCounts;
use crate::evidence::{FileRecord, Outcome, StepRecord};
use crate::plan::step::{Encoding, PlannedStep};
use crate::session::StdStream;

/// Kept of a step that comes when the limit of the node is reached.
const GLIMPSE: u64 = 4 << 10;

pub(crate) struct Worker {
    archive: Archive,
    partial: PathBuf,
    sealed: PathBuf,
    dir: PathBuf,
    header: Header,
    options: BundleOptions,
    open: BTreeMap<u64, Intake>,
    names: BTreeSet<BundlePath>,
    steps: Vec<StepRecord>,
    other: Vec<FileRecord>,
    redactions: BTreeMap<String, u64>,
    /// Bytes of evidence in whole frames.
    used: u64,
    /// The file cannot be written any more, not even taken back to a whole frame.
    broken: Option<BundleError>,
}

impl Worker {
    pub(crate) fn create(
        partial: PathBuf,
        sealed: PathBuf,
        header: Header,
        options: BundleOptions,
    ) -> Result<Self, BundleError> {
        if atomic::exists(&sealed) {
            return Err(BundleError::io("create", &sealed, io::ErrorKind::AlreadyExists.into()));
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|e| BundleError::io("create", &partial, e))?;
        Self::on(Box::new(file), partial.clone(), sealed, header, options)
            .inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// Begins a bundle on any medium.
    pub(crate) fn on(
        medium: Box<dyn Medium>,
        partial: PathBuf,
        sealed: PathBuf,
        header: Header,
        options: BundleOptions,
    ) -> Result<Self, BundleError> {
        let dir = match partial.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let archive = Archive::new(medium, options.level.clamp(1, 19));
        let mut worker = Self {
            archive,
            partial,
            sealed,
            dir,
            header,
            options,
            open: BTreeMap::new(),
            names: BTreeSet::new(),
            steps: Vec::new(),
            other: Vec::new(),
            redactions: BTreeMap::new(),
            used: 0,
            broken: None,
        };
        // Reserved: no step may take the name of the last entry.
        worker.reserve(&[&layout::MANIFEST.parse()?])?;
        let bytes = json(layout::HEADER, &worker.header)?;
        worker.file(layout::HEADER.parse()?, &bytes)?;
        Ok(worker)
    }

    /// Works until the bundle is sealed or abandoned, or nobody can send any more.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(message) = queue.blocking_recv() {
            // Whoever does not wait for an answer does not get one.
            match message {
                Message::File { path, bytes, reply } => drop(reply.send(self.file(path, &bytes))),
                Message::Open { key, step, paths, encoding, cap, shared, reply } => {
                    drop(reply.send(self.open_step(key, &step, *paths, encoding, cap, shared)));
                }
                Message::Data { key, stream, chunk } => self.data(key, stream, &chunk),
                Message::Finish { key, end, reply } => drop(reply.send(self.finish(key, *end))),
                Message::Record { record, reply } => drop(reply.send(self.record(*record))),
                Message::Seal { closing, reply } => {
                    drop(reply.send(self.seal(*closing)));
                    return;
                }
                Message::Abandon { reply } => {
                    self.orphans(Outcome::Cancelled, "the bundle was given up while the step ran");
                    let synced = self.archive.sync().map_err(|e| BundleError::io("sync", &self.partial, e));
                    drop(reply.send(synced));
                    return;
                }
            }
        }
        self.orphans(Outcome::Lost, "plegcollect stopped while the step ran");
    }

    fn reserve(&mut self, paths: &[&BundlePath]) -> Result<(), BundleError> {
        if let Some(taken) = paths.iter().find(|p| self.names.contains(**p)) {
            return Err(BundleError::Duplicate(taken.to_string()));
        }
        self.names.extend(paths.iter().map(|p| (*p).clone()));
        Ok(())
    }

    /// Fails when the local disk is down to the reserve.
    fn disk_has_room(&self) -> Result<(), BundleError> {
        let needed = self.options.reserve_bytes;
        match free_bytes(&self.dir) {
            Ok(available) if available < needed => {
                Err(BundleError::DiskFull { path: self.partial.clone(), needed, available })
            }
            // A file system that does not tell is tried until it refuses.
            _ => Ok(()),
        }
    }

    /// Writes one frame; a failure leaves the file as it was before.
    fn frame<T>(
        &mut self,
        at: Timestamp,
        fill: impl FnOnce(&mut Frame<'_>) -> io::Result<T>,
    ) -> Result<T, BundleError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let mtime = u64::try_from(at.as_second()).unwrap_or(0);
        self.archive.frame(mtime, fill).map_err(|(e, undo)| {
            let error = if is_full(&e) {
                let available = free_bytes(&self.dir).unwrap_or(0);
                BundleError::DiskFull { path: self.partial.clone(), needed: self.options.reserve_bytes, available }
            } else {
                BundleError::io("write", &self.partial, e)
            };
            if undo.is_some() {
                self.broken = Some(error.clone());
            }
            error
        })
    }

    /// Redacts JSON of ours.
    fn redacted(&mut self, bytes: &[u8]) -> (Vec<u8>, u64) {
        let (out, counts) = self.options.redactor.json(bytes);
        self.options.redactor.tally(&counts, &mut self.redactions);
        (out, counts.total())
    }

    /// Redacts what a record says in words, by the same way as the manifest goes later.
    fn clean(&self, mut record: StepRecord) -> StepRecord {
        let redactor = &self.options.redactor;
        record.command = redactor.text(&record.command);
        record.detail = record.detail.map(|d| redactor.text(&d));
        let again = json_io(&record).ok().and_then(|json| serde_json::from_slice(&redactor.json(&json).0).ok());
        again.unwrap_or(record)
    }

    fn file(&mut self, path: BundlePath, bytes: &[u8]) -> Result<FileRecord, BundleError> {
        self.reserve(&[&path])?;
        let (bytes, redactions) = self.redacted(bytes);
        match self.frame(Timestamp::now(), |frame| frame.bytes(&path, &bytes)) {
            Ok(mut record) => {
                record.redactions = redactions;
                self.other.push(record.clone());
                Ok(record)
            }
            Err(e) => {
                self.names.remove(&path);
                Err(e)
            }
        }
    }

    fn open_step(
        &mut self,
        key: u64,
        step: &PlannedStep,
        paths: Paths,
        encoding: Encoding,
        cap: u64,
        shared: Arc<Shared>,
    ) -> Result<(), BundleError> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.disk_has_room()?;
        self.reserve(&paths.all())?;
        // Beyond the limit a step still gets a glimpse, but not a megabyte each.
        let left = self.options.max_bundle_bytes.saturating_sub(self.used).max(GLIMPSE);
        let mut step = Intake::new(step, paths, encoding, cap.min(left), &self.dir, shared);
        step.limited = left < cap;
        self.open.insert(key, step);
        Ok(())
    }

    fn data(&mut self, key: u64, stream: StdStream, chunk: &[u8]) {
        let others: u64 = self.open.iter().filter(|(k, _)| **k != key).map(|(_, s)| s.kept()).sum();
        let spare = self.options.max_bundle_bytes.saturating_sub(self.used.saturating_add(others));
        let (dir, reserve) = (&self.dir, self.options.reserve_bytes);
        let mut disk = || free_bytes(dir).map_or(true, |free| free >= reserve);
        if let Some(step) = self.open.get_mut(&key) {
            if self.broken.is_some() {
                step.halt(Stop::Disk);
            }
            step.push(&self.options.redactor, stream, chunk, spare, &mut disk);
        }
    }

    fn finish(&mut self, key: u64, end: StepEnd) -> Result<StepRecord, BundleError> {
        let Some(step) = self.open.remove(&key) else {
            return Err(BundleError::Ended { path: self.partial.clone() });
        };
        self.write_step(step, end)
    }

    /// Writes a step's files and its record as one frame. If the disk does not take them, head
    /// and tail of them are tried, for the spools hold disk space themselves.
    fn write_step(&mut self, step: Intake, end: StepEnd) -> Result<StepRecord, BundleError> {
        let redactor = Arc::clone(&self.options.redactor);
        let at = end.started;
        let lost = StepRecord {
            id: step.id.clone(),
            phase: step.phase,
            command: end.command.clone(),
            as_root: end.as_root,
            started: Some(at),
            duration_ms: u64::try_from(end.duration.as_millis()).unwrap_or(u64::MAX),
            outcome: Outcome::Failed,
            detail: Some("its evidence could not be read back from the local disk".to_owned()),
            exit_status: end.exit_status,
            signal: end.signal.clone(),
            wire_bytes: step.wire_bytes,
            files: Vec::new(),
        };
        let mut files = match StepFiles::new(step, end, &self.dir, &redactor) {
            Ok(files) => files,
            Err(e) => {
                self.steps.push(self.clean(lost));
                return Err(BundleError::io("read back", &self.partial, e));
            }
        };
        let record = self.clean(files.record());
        let mut written = self.frame(at, |frame| files.write(frame, record));
        if written.as_ref().is_err_and(BundleError::is_disk_full) && files.salvage().is_ok() {
            let record = self.clean(files.record());
            written = self.frame(at, |frame| files.write(frame, record));
        }
        match written {
            Ok(record) => {
                for counts in files.counts() {
                    redactor.tally(counts, &mut self.redactions);
                }
                self.used += record.bytes();
                self.steps.push(record.clone());
                Ok(record)
            }
            Err(e) => {
                let mut record = self.clean(files.record());
                record.outcome = Outcome::Failed;
                let why = if e.is_disk_full() { "the local disk is full" } else { "the bundle could not be written" };
                record.detail = Some(format!("{why}: this step's evidence is not in the bundle"));
                self.steps.push(record);
                Err(e)
            }
        }
    }

    fn record(&mut self, record: StepRecord) -> Result<StepRecord, BundleError> {
        let path = BundlePath::record(&record.id)?;
        self.reserve(&[&path])?;
        let record = self.clean(record);
        let bytes = json(path.as_str(), &record)?;
        // In the manifest even if the disk does not take its own entry.
        self.steps.push(record.clone());
        self.frame(record.started.unwrap_or_else(Timestamp::now), |frame| frame.bytes(&path, &bytes))?;
        Ok(record)
    }

    /// Writes steps nobody will finish.
    fn orphans(&mut self, outcome: Outcome, why: &str) {
        for step in std::mem::take(&mut self.open).into_values() {
            let end = StepEnd {
                command: String::new(),
                as_root: None,
                started: Timestamp::now(),
                duration: std::time::Duration::ZERO,
                outcome,
                detail: Some(why.to_owned()),
                exit_status: None,
                signal: None,
                hung: None,
            };
            // A failure is in the manifest, or nothing can be told any more.
            drop(self.write_step(step, end));
        }
    }

    fn seal(&mut self, closing: Closing) -> Result<Sealed, BundleError> {
        self.orphans(Outcome::Cancelled, "the bundle was sealed while the step ran");
        let mut counts = StepCounts::default();
        self.steps.iter().for_each(|s| counts.add(s.outcome));
        let redactor = Arc::clone(&self.options.redactor);
        let manifest = Manifest {
            header: self.header.clone(),
            finished: closing.finished,
            ending: closing.ending,
            reason: closing.reason.map(|r| redactor.text(&r)),
            connection: closing.connection,
            facts: closing.facts,
            clock_offset_ms: closing.clock_offset_ms,
            counts,
            steps: std::mem::take(&mut self.steps),
            other_files: std::mem::take(&mut self.other),
            redactions: self.redactions.clone(),
            kubelet: closing.kubelet.map(|access| access.map_text(|text| redactor.text(text))),
            changes: closing.changes.into_iter().map(|change| change.map_text(|text| redactor.text(text))).collect(),
            restart_proof: closing.restart_proof,
        };
        let (bytes, _) = self.redacted(&json(layout::MANIFEST, &manifest)?);
        // What is handed back tells no more than what is written.
        let manifest = serde_json::from_slice(&bytes).unwrap_or(manifest);
        let path: BundlePath = layout::MANIFEST.parse()?;
        self.frame(closing.finished, |frame| {
            frame.bytes(&path, &bytes)?;
            frame.end()
        })?;
        self.archive.sync().map_err(|e| BundleError::io("sync", &self.partial, e))?;
        self.publish()?;
        Ok(Sealed { path: self.sealed.clone(), bytes: self.archive.len(), sha256: self.archive.sha256(), manifest })
    }

    fn publish(&self) -> Result<(), BundleError> {
        if atomic::exists(&self.sealed) {
            return Err(BundleError::io("rename", &self.sealed, io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&self.partial, &self.sealed).map_err(|e| BundleError::io("rename", &self.partial, e))?;
        atomic::sync_dir(&self.dir)
    }
}

fn json<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>, BundleError> {
    json_io(value).map_err(|e| BundleError::io("encode", Path::new(what), e))
}

fn json_io<T: serde::Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests;
