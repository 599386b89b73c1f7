//! The files of a step that is over, and its record: what goes into its frame. Called by the
//! bundle task, twice if the disk does not take everything.

use std::io::{self, Write};
use std::path::Path;

use super::archive::Frame;
use super::decode::Verdict;
use super::intake::{Fate, Intake, Lane, Stop, mark, settle};
use super::layout::BundlePath;
use super::redact::{Counts, Redactor};
use super::spool::{Cut, HeadTail};
use super::writer::StepEnd;
use crate::evidence::{FileRecord, Outcome, StepRecord};

/// Stacks of a hung command beyond this are cut.
const HUNG_CAP: u64 = 1 << 20;
/// Kept, in memory, of a step whose files do not fit on the disk.
const SALVAGE: u64 = 96 << 10;

/// A step that is over, not yet written.
pub(crate) struct StepFiles {
    step: Intake,
    hung: Lane,
    end: StepEnd,
    verdict: Verdict,
    cuts: [Cut; 3],
}

impl StepFiles {
    /// Ends the streams and decides what is kept of them.
    pub(crate) fn new(mut step: Intake, mut end: StepEnd, dir: &Path, redactor: &Redactor) -> io::Result<Self> {
        let verdict = step.finish(redactor);
        let mut hung = Lane::new(dir, HUNG_CAP, false);
        // If the disk is full, less of it is kept.
        let stacks = end.hung.take().unwrap_or_default();
        let _ = hung.push(redactor, &stacks).and(hung.finish(redactor));
        let cuts = [step.out.spool.cut()?, step.err.spool.cut()?, hung.spool.cut()?];
        Ok(Self { step, hung, end, verdict, cuts })
    }

    /// Gives up most of the evidence, and the disk space it holds, so that the rest may fit.
    pub(crate) fn salvage(&mut self) -> io::Result<()> {
        self.step.halt(Stop::Disk);
        for lane in [&mut self.step.out, &mut self.step.err, &mut self.hung] {
            lane.spool.shrink(SALVAGE)?;
        }
        self.cuts = [self.step.out.spool.cut()?, self.step.err.spool.cut()?, self.hung.spool.cut()?];
        Ok(())
    }

    /// Returns whether more may have come than we know of.
    const fn at_least(&self) -> bool {
        self.step.stop.is_some() || matches!(self.end.outcome, Outcome::TimedOut | Outcome::Lost | Outcome::Cancelled)
    }

    /// Returns the record, without files and not yet redacted.
    pub(crate) fn record(&self) -> StepRecord {
        let [out, err, _] = &self.cuts;
        let fate = Fate {
            stop: self.step.stop,
            limited: self.step.limited,
            verdict: self.verdict.clone(),
            omitted: out.omitted + err.omitted,
            at_least: self.at_least(),
            binary: self.step.binary,
            ended: self.end.exit_status.is_some() || self.end.signal.is_some(),
        };
        let (outcome, detail) = settle(self.end.outcome, self.end.detail.clone(), &fate);
        StepRecord {
            id: self.step.id.clone(),
            phase: self.step.phase,
            command: self.end.command.clone(),
            as_root: self.end.as_root,
            started: Some(self.end.started),
            duration_ms: u64::try_from(self.end.duration.as_millis()).unwrap_or(u64::MAX),
            outcome,
            detail,
            exit_status: self.end.exit_status,
            signal: self.end.signal.clone(),
            wire_bytes: self.step.wire_bytes,
            files: Vec::new(),
        }
    }

    /// Writes the files, then `record` with them: where a record is, its files are whole.
    pub(crate) fn write(&mut self, frame: &mut Frame<'_>, mut record: StepRecord) -> io::Result<StepRecord> {
        let at_least = self.at_least();
        let [out, err, hung] = self.cuts;
        let paths = self.step.paths.clone();
        let step = &mut self.step;
        record.files.push(entry(frame, &paths.output, &mut step.out, &out, step.binary, at_least)?);
        // The others only if there is something.
        for (path, lane, cut) in [(&paths.stderr, &mut step.err, err), (&paths.hung, &mut self.hung, hung)] {
            if HeadTail::size(&cut, b"") > 0 || cut.omitted > 0 {
                record.files.push(entry(frame, path, lane, &cut, false, at_least)?);
            }
        }
        let mut json = serde_json::to_vec_pretty(&record)?;
        json.push(b'\n');
        frame.bytes(&paths.record, &json)?;
        Ok(record)
    }

    /// Returns the replacements made in all its files.
    pub(crate) const fn counts(&self) -> [&Counts; 3] {
        [self.step.out.redact.counts(), self.step.err.redact.counts(), self.hung.redact.counts()]
    }
}

fn entry(
    frame: &mut Frame<'_>,
    path: &BundlePath,
    lane: &mut Lane,
    cut: &Cut,
    binary: bool,
    at_least: bool,
) -> io::Result<FileRecord> {
    let mark = if binary { Vec::new() } else { mark(cut.omitted, at_least, lane.spool.head_ends_line(cut)) };
    let copy = |mut out: &mut dyn Write| lane.spool.copy(cut, &mark, &mut out);
    let mut file = frame.entry(path, HeadTail::size(cut, &mark), copy)?;
    file.omitted_bytes = cut.omitted;
    file.omitted_at_least = cut.omitted > 0 && at_least;
    file.redactions = lane.redact.counts().total();
    Ok(file)
}
