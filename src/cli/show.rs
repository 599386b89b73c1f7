//! `plegcollect show BUNDLE [FILE]`: what is in a bundle, or one file of it on standard output.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::error::AppError;
use super::{exit, output};
use crate::bundle::reader::End;
use crate::bundle::{Bundle, ReadError, layout};
use crate::evidence::{Outcome, StepRecord};
use crate::printable::printable;

/// List a bundle's files, or print one of them
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A bundle, sealed or .partial
    bundle: PathBuf,
    /// A file in it, for example docker/ps.txt, or a step, docker/ps; without it, everything is listed
    file: Option<String>,
    /// Print control sequences from the node as they are, even on a terminal
    #[arg(long)]
    raw: bool,
}

/// Runs the command: 0, or 10 if the bundle is not sealed or the file in it is cut short.
pub(crate) fn run(args: &ShowArgs) -> Result<u8, AppError> {
    let failed = |e: ReadError| AppError::from_chain(exit::SETUP, &e);
    if args.bundle.is_dir() {
        let shown = args.bundle.display();
        return Err(AppError::usage(format!("{shown} is a directory, not a bundle"))
            .hint(format!("name a file in it: plegcollect show {shown}/NODE.tar.zst")));
    }
    let bundle = Bundle::open(&args.bundle).map_err(failed)?;
    if let Some(file) = &args.file {
        let file = &file_of(&bundle, file)?;
        let mut out = io::stdout().lock();
        let whole = if io::stdout().is_terminal() && !args.raw {
            bundle.cat(file, &mut Harmless(&mut out))
        } else {
            bundle.cat(file, &mut out)
        };
        return match whole {
            Ok(true) => Ok(exit::COMPLETE),
            Ok(false) => Ok(exit::EVIDENCE_MISSING),
            Err(ReadError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(exit::COMPLETE),
            Err(error) => {
                Err(failed(error).hint(format!("plegcollect show {} lists what it holds", args.bundle.display())))
            }
        };
    }
    let (entries, end) = bundle.list().map_err(failed)?;
    let records = match bundle.manifest().map_err(failed)? {
        Some(manifest) => manifest.steps,
        None => bundle.records().map_err(failed)?,
    };
    let header = bundle.header();
    let mut text = format!("{} of run {}, {}\n", header.node, printable(&header.run_id, 200), header.started);
    for entry in entries.iter().filter(|e| !e.path.as_str().starts_with(layout::RECORDS)) {
        let path = entry.path.as_str();
        writeln!(text, "{:>12}  {:<34} {}", entry.size, printable(path, 200), remark(&records, path)).ok();
    }
    for record in records.iter().filter(|r| r.files.is_empty()) {
        writeln!(text, "{:>12}  {:<34} {}", "-", record.id, words(record)).ok();
    }
    let (note, code) = match end {
        End::Sealed => ("sealed".to_owned(), exit::COMPLETE),
        End::Open => (
            "not sealed: the run is going on, or was killed; everything listed is whole".to_owned(),
            exit::EVIDENCE_MISSING,
        ),
        End::Cut { .. } => {
            ("cut in the middle of a file; everything listed is whole".to_owned(), exit::EVIDENCE_MISSING)
        }
        End::Damaged(why) => (format!("damaged after what is listed: {why}"), exit::SETUP),
    };
    writeln!(text, "{}", printable(&note, 400)).ok();
    output::print(&text).map_err(|e| AppError::new(exit::INTERNAL, format!("cannot write to standard output: {e}")))?;
    Ok(code)
}

/// A step's id names its first file: `docker/ps` is `docker/ps.txt`.
fn file_of(bundle: &Bundle, asked: &str) -> Result<String, AppError> {
    let (entries, _) = bundle.list().map_err(|e| AppError::from_chain(exit::SETUP, &e))?;
    if entries.iter().any(|e| e.path.as_str() == asked) {
        return Ok(asked.to_owned());
    }
    let records = bundle.records().unwrap_or_default();
    let first = records.iter().find(|r| r.id.to_string() == asked).and_then(|r| r.files.first());
    Ok(first.map_or_else(|| asked.to_owned(), |f| f.path.clone()))
}

/// What the record of the step says of one of its files, if there is something to say.
fn remark(records: &[StepRecord], path: &str) -> String {
    let Some(record) = records.iter().find(|r| r.files.first().is_some_and(|f| f.path == path)) else {
        return String::new();
    };
    if record.outcome == Outcome::Complete && record.detail.is_none() { String::new() } else { words(record) }
}

fn words(record: &StepRecord) -> String {
    let detail = record.detail.as_deref().map(|d| format!(": {}", printable(d, 300))).unwrap_or_default();
    format!("{}{detail}", record.outcome.word())
}

/// Takes control sequences out of what goes to a terminal, line by line.
struct Harmless<'a>(&'a mut dyn Write);

impl Write for Harmless<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whole characters only matter to the eye here; what is cut shows as U+FFFD.
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            let text = String::from_utf8_lossy(line);
            let kept: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
            self.0.write_all(kept.as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
