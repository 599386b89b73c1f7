//! One step's evidence on its way into the bundle: unpacked, redacted, bounded. And the verdict
//! on it: what the engine says of the step is corrected by what became of its bytes.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::decode::{Verdict, WireDecoder};
use super::error::is_full;
use super::layout::{BundlePath, BundlePathError};
use super::redact::{RedactStream, Redactor};
use super::spool::HeadTail;
use crate::evidence::Outcome;
use crate::plan::step::{Encoding, PlannedStep};
use crate::plan::{Phase, StepId};
use crate::session::StdStream;

/// Standard error beyond this is cut.
const STDERR_CAP: u64 = 64 << 10;
/// Of endless output, this much at least is looked at beyond the cap for a tail.
const DRAIN_AT_LEAST: u64 = 64 << 20;
/// And this many times the cap.
const DRAIN_FACTOR: u64 = 8;
/// Free disk space is looked at again after this many bytes.
const DISK_CHECK_EVERY: u64 = 1 << 20;

/// What the sink and the bundle task share of a step.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Bytes received, unpacked.
    pub(crate) received: AtomicU64,
    /// No more is wanted.
    pub(crate) enough: AtomicBool,
}

/// Why a source was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Cap and drain limit of the step.
    Cap,
    /// Limit of evidence per node.
    NodeLimit,
    /// The local disk.
    Disk,
    /// The local system took it no more for another reason: too many open files, a broken disk.
    Store,
}

/// Where the files of a step go.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) output: BundlePath,
    pub(crate) stderr: BundlePath,
    pub(crate) hung: BundlePath,
    pub(crate) record: BundlePath,
}

impl Paths {
    pub(crate) fn of(step: &PlannedStep) -> Result<Self, BundlePathError> {
        let output: BundlePath = step.file.parse()?;
        let (stderr, hung) = (output.stderr()?, output.hung()?);
        Ok(Self { output, stderr, hung, record: BundlePath::record(&step.id)? })
    }

    pub(crate) fn all(&self) -> [&BundlePath; 4] {
        [&self.output, &self.stderr, &self.hung, &self.record]
    }
}

/// One of the streams of a step.
pub(crate) struct Lane {
    pub(crate) redact: RedactStream,
    pub(crate) spool: HeadTail,
    scratch: Vec<u8>,
}

impl Lane {
    pub(crate) fn new(dir: &Path, cap: u64, binary: bool) -> Self {
        Self { redact: RedactStream::new(binary), spool: HeadTail::new(dir, cap, binary), scratch: Vec::new() }
    }

    pub(crate) fn push(&mut self, redactor: &Redactor, bytes: &[u8]) -> io::Result<()> {
        self.redact.push(redactor, bytes, &mut self.scratch);
        self.spill()
    }

    pub(crate) fn finish(&mut self, redactor: &Redactor) -> io::Result<()> {
        self.redact.finish(redactor, &mut self.scratch);
        self.spill()
    }

    fn spill(&mut self) -> io::Result<()> {
        let result = self.spool.push(&self.scratch);
        self.scratch.clear();
        // A large piece is rare; its buffer is not kept for the life of the step.
        self.scratch.shrink_to(128 << 10);
        result
    }
}

/// A step whose evidence is coming in.
pub(crate) struct Intake {
    pub(crate) id: StepId,
    pub(crate) phase: Phase,
    pub(crate) paths: Paths,
    pub(crate) binary: bool,
    pub(crate) out: Lane,
    pub(crate) err: Lane,
    pub(crate) wire_bytes: u64,
    pub(crate) stop: Option<Stop>,
    /// The cap is lower than the step's, for the node's limit is near.
    pub(crate) limited: bool,
    decoder: WireDecoder,
    shared: Arc<Shared>,
    received: u64,
    most: u64,
    disk_checked: u64,
}

impl Intake {
    pub(crate) fn new(
        step: &PlannedStep,
        paths: Paths,
        encoding: Encoding,
        cap: u64,
        dir: &Path,
        shared: Arc<Shared>,
    ) -> Self {
        let binary = paths.output.is_binary();
        Self {
            id: step.id.clone(),
            phase: step.phase,
            binary,
            out: Lane::new(dir, cap, binary),
            err: Lane::new(dir, STDERR_CAP, false),
            paths,
            wire_bytes: 0,
            stop: None,
            limited: false,
            decoder: WireDecoder::new(encoding),
            shared,
            received: 0,
            // Of a binary file no tail is kept: nothing beyond the cap is worth the node's and the link's time.
            most: cap.saturating_add(if binary { 1 } else { cap.saturating_mul(DRAIN_FACTOR).max(DRAIN_AT_LEAST) }),
            disk_checked: 0,
        }
    }

    /// Takes one chunk from the wire. `spare` is what the node may still add to its bundle,
    /// `disk` tells whether the local disk has room.
    pub(crate) fn push(
        &mut self,
        redactor: &Redactor,
        stream: StdStream,
        chunk: &[u8],
        spare: u64,
        disk: &mut dyn FnMut() -> bool,
    ) {
        self.wire_bytes += chunk.len() as u64;
        if self.stop.is_some() {
            return;
        }
        if stream == StdStream::Err {
            // Standard error has a small cap and no drain limit of its own: count it to the same.
            self.received += chunk.len() as u64;
            let result = self.err.push(redactor, chunk);
            let _ = self.after(result, spare, disk);
            return;
        }
        let mut decoder = std::mem::replace(&mut self.decoder, WireDecoder::Dead(None));
        decoder.push(chunk, |piece| {
            self.received += piece.len() as u64;
            let result = self.out.push(redactor, piece);
            self.after(result, spare, disk)
        });
        self.decoder = decoder;
    }

    fn after(&mut self, result: io::Result<()>, spare: u64, disk: &mut dyn FnMut() -> bool) -> ControlFlow<()> {
        self.shared.received.store(self.received, Ordering::Relaxed);
        let mut stop = None;
        if let Err(e) = &result {
            stop = Some(not_stored(e));
        } else if self.received >= self.most {
            stop = Some(Stop::Cap);
        } else if self.kept() > spare {
            stop = Some(Stop::NodeLimit);
        } else if self.received - self.disk_checked >= DISK_CHECK_EVERY {
            self.disk_checked = self.received;
            if !disk() {
                stop = Some(Stop::Disk);
            }
        }
        match stop {
            None => ControlFlow::Continue(()),
            Some(stop) => {
                self.halt(stop);
                ControlFlow::Break(())
            }
        }
    }

    /// Wants no more.
    pub(crate) fn halt(&mut self, stop: Stop) {
        self.stop.get_or_insert(stop);
        self.shared.enough.store(true, Ordering::Relaxed);
    }

    /// Returns the bytes this step will add to the bundle.
    pub(crate) fn kept(&self) -> u64 {
        self.out.spool.kept() + self.err.spool.kept()
    }

    /// Ends the streams.
    pub(crate) fn finish(&mut self, redactor: &Redactor) -> Verdict {
        let decoder = std::mem::replace(&mut self.decoder, WireDecoder::Dead(None));
        let (rest, verdict) = decoder.finish();
        let mut result = Ok(());
        if self.stop.is_none() && !rest.is_empty() {
            result = self.out.push(redactor, &rest);
        }
        let result = result.and(self.out.finish(redactor)).and(self.err.finish(redactor));
        if let Err(e) = &result {
            self.halt(not_stored(e));
        }
        if self.stop.is_some() { Verdict::Whole } else { verdict }
    }
}

fn not_stored(error: &io::Error) -> Stop {
    if is_full(error) { Stop::Disk } else { Stop::Store }
}

/// What became of the bytes of a step.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub(crate) stop: Option<Stop>,
    /// See `Intake::limited`.
    pub(crate) limited: bool,
    pub(crate) verdict: Verdict,
    /// Left out of output and standard error.
    pub(crate) omitted: u64,
    pub(crate) at_least: bool,
    pub(crate) binary: bool,
    /// Exit status or signal is known: the command ended by itself.
    pub(crate) ended: bool,
}

/// Returns outcome and detail as the manifest shall have them.
pub(crate) fn settle(outcome: Outcome, detail: Option<String>, fate: &Fate) -> (Outcome, Option<String>) {
    let mut settled = outcome;
    let mut notes: Vec<String> = detail.into_iter().collect();
    if let Some(stop) = fate.stop {
        // We closed the channel ourselves: that is no failure of the command.
        if matches!(settled, Outcome::Complete | Outcome::Lost) || (settled == Outcome::Failed && !fate.ended) {
            settled = Outcome::Truncated;
        }
        match stop {
            Stop::Cap => {}
            Stop::NodeLimit => {}
            Stop::Disk => notes.push("the local disk is full".to_owned()),
            Stop::Store => {
                notes.push("no more could be stored here: a broken disk, or too many open files".to_owned());
            }
        }
    }
    if fate.stop == Some(Stop::NodeLimit) || (fate.limited && fate.omitted > 0) {
        notes.push("the limit of evidence for this node was reached".to_owned());
    }
    match &fate.verdict {
        Verdict::Whole => {}
        Verdict::Cut => {
            if settled == Outcome::Complete {
                settled = Outcome::Failed;
                notes.push("the packed stream from the node ended early; what could be unpacked is kept".to_owned());
            }
        }
        Verdict::Damaged(what) => {
            if settled == Outcome::Complete {
                settled = Outcome::Failed;
            }
            notes.push(format!("{what}; what could be unpacked is kept"));
        }
    }
    if fate.omitted > 0 {
        if settled == Outcome::Complete {
            settled = Outcome::Truncated;
        }
        let least = if fate.at_least { "at least " } else { "" };
        let place = if fate.binary { "at the end" } else { "between head and tail" };
        notes.push(format!("{least}{} left out {place}", amount(fate.omitted)));
    }
    (settled, if notes.is_empty() { None } else { Some(notes.join("; ")) })
}

/// Small amounts to the byte, large ones as a person reads them; the record has the exact number.
fn amount(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// Returns the line that stands for what was left out.
pub(crate) fn mark(omitted: u64, at_least: bool, after_line: bool) -> Vec<u8> {
    let least = if at_least { "at least " } else { "" };
    let nl = if after_line { "" } else { "\n" };
    format!("{nl}[plegcollect: {least}{omitted} bytes left out]\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_correct_the_outcome() {
        use Outcome::{Cancelled, Complete, Failed, Lost, TimedOut, Truncated};
        let whole = Fate {
            stop: None,
            limited: false,
            verdict: Verdict::Whole,
            omitted: 0,
            at_least: false,
            binary: false,
            ended: true,
        };
        let stopped = Fate { stop: Some(Stop::Cap), omitted: 5, at_least: true, ended: false, ..whole.clone() };
        let cut = Fate { verdict: Verdict::Cut, ..whole.clone() };
        let damaged = Fate { verdict: Verdict::Damaged("bad".into()), ..whole.clone() };
        let omitted = Fate { omitted: 7, ..whole.clone() };
        for (outcome, fate, want, says) in [
            (Complete, &whole, Complete, ""),
            (Failed, &whole, Failed, ""),
            (Complete, &stopped, Truncated, "at least 5 bytes left out"),
            (Failed, &stopped, Truncated, "at least 5"),
            (Lost, &stopped, Truncated, "at least 5"),
            (TimedOut, &stopped, TimedOut, "at least 5"),
            (Failed, &Fate { ended: true, ..stopped.clone() }, Failed, "at least 5"),
            (Complete, &Fate { stop: Some(Stop::Disk), ..stopped.clone() }, Truncated, "disk is full"),
            (Complete, &Fate { stop: Some(Stop::Store), ..stopped.clone() }, Truncated, "open files"),
            (Complete, &Fate { stop: Some(Stop::NodeLimit), ..stopped.clone() }, Truncated, "for this node"),
            (Complete, &Fate { limited: true, ..omitted.clone() }, Truncated, "for this node"),
            (Complete, &Fate { limited: true, ..whole.clone() }, Complete, ""),
            (Complete, &cut, Failed, "ended early"),
            (TimedOut, &cut, TimedOut, ""),
            (Lost, &cut, Lost, ""),
            (Cancelled, &cut, Cancelled, ""),
            (Complete, &damaged, Failed, "bad; what could"),
            (TimedOut, &damaged, TimedOut, "bad"),
            (Complete, &omitted, Truncated, "7 bytes left out between"),
            (Failed, &omitted, Failed, "7 bytes"),
        ] {
            let (got, detail) = settle(outcome, None, fate);
            assert_eq!(got, want, "{outcome:?} {fate:?}");
            let detail = detail.unwrap_or_default();
            assert!(detail.contains(says) && detail.is_empty() == says.is_empty(), "{outcome:?}: {detail}");
        }
        let (_, detail) = settle(Failed, Some("exit status 1".into()), &omitted);
        assert_eq!(detail.unwrap(), "exit status 1; 7 bytes left out between head and tail");
    }
}
