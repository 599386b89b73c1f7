//! Checks a bundle against what it says of itself: every hash, missing and extra files, its end,
//! and its own hash in `run.json` if that is beside it. One pass, constant memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::archive::hex;
use super::layout;
use super::manifest::{Header, Manifest};
use super::reader::{Bundle, End, ReadError, read_json};
use super::run_record::RunRecord;
use super::walk::Walk;
use crate::evidence::{FileRecord, StepRecord};

/// What was found.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// Which bundle.
    pub path: PathBuf,
    /// What it begins with.
    pub header: Header,
    /// Its manifest; `None`: it is not sealed.
    pub manifest: Option<Manifest>,
    /// The steps it holds, from the manifest or from their own records.
    pub steps: Vec<StepRecord>,
    /// Where it ends.
    pub end: End,
    /// Files whose hash was checked and holds.
    pub verified: usize,
    /// Hex sha256 of the bundle file.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// What is wrong, one sentence each.
    pub problems: Vec<String>,
}

impl VerifyReport {
    /// Returns whether the bundle is sealed and everything in it is as it was written.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.manifest.is_some() && self.problems.is_empty()
    }
}

/// Checks the bundle at `path`. A bundle that is not sealed is checked against the records of its
/// steps; that it is not sealed is a problem too.
///
/// # Errors
/// When it cannot be opened, is no bundle, or holds what no bundle holds.
pub fn verify(path: &Path) -> Result<VerifyReport, ReadError> {
    let header = Bundle::open(path)?.header().clone();
    let open = |source| ReadError::Open { path: path.to_owned(), source };
    let mut file = Hashing { file: File::open(path).map_err(open)?, hash: Sha256::new(), len: 0 };

    let mut found: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut manifest: Option<Manifest> = None;
    let mut records: Vec<StepRecord> = Vec::new();
    let mut problems = Vec::new();
    let end = Walk::over(path.to_owned(), &mut file).each(|entry, body| {
        let mut tee = Tee::new(body);
        let name = entry.path.as_str();
        if name == layout::MANIFEST {
            manifest = read_json(entry, &mut tee);
            if manifest.is_none() {
                problems.push("manifest.json cannot be understood".to_owned());
            }
        } else if name.starts_with(layout::RECORDS) {
            match read_json(entry, &mut tee) {
                Some(record) => records.push(record),
                None => problems.push(format!("{name} cannot be understood")),
            }
        }
        io::copy(&mut tee, &mut io::sink())?;
        let (len, sha256) = tee.told();
        if len == entry.size {
            found.insert(name.to_owned(), (len, sha256));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let end = end.unwrap_or(End::Open);
    // What follows the end mark counts for the hash of the whole file.
    io::copy(&mut file, &mut io::sink()).map_err(open)?;
    let (bytes, sha256) = (file.len, hex(file.hash));

    problems.extend(end_problem(&end, manifest.is_some()));
    let verified = disagreements(&header, manifest.as_ref(), &records, &found, &mut problems);
    problems.extend(told_by_run(path, &header, &sha256));
    let steps = manifest.as_ref().map_or(records, |m| m.steps.clone());
    Ok(VerifyReport { path: path.to_owned(), header, manifest, steps, end, verified, sha256, bytes, problems })
}

/// Adds what does not agree in a bundle, one sentence each; returns the number of files that are as told. `found` has the
/// size and hex sha256 of every whole file by its path; `records` those of the steps' own entries.
pub(crate) fn disagreements(
    header: &Header,
    manifest: Option<&Manifest>,
    records: &[StepRecord],
    found: &BTreeMap<String, (u64, String)>,
    problems: &mut Vec<String>,
) -> usize {
    let expected: Vec<&FileRecord> = match manifest {
        Some(manifest) => manifest.files().collect(),
        None => records.iter().flat_map(|r| r.files.iter()).collect(),
    };
    let verified = compare(&expected, found, manifest.is_some(), problems);
    if let Some(manifest) = manifest {
        if manifest.header.run_id != header.run_id || manifest.header.node != header.node {
            problems.push("manifest and header name different runs or nodes".to_owned());
        }
        let same = |a: &StepRecord, b: &StepRecord| a.id == b.id && a.outcome == b.outcome && a.files == b.files;
        for record in records.iter().filter(|r| !manifest.steps.iter().any(|m| same(r, m))) {
            problems.push(format!("the record of {} differs from the manifest", record.id));
        }
    }
    verified
}

/// Says how a bundle ends, unless it ends as it should.
pub(crate) fn end_problem(end: &End, sealed: bool) -> Option<String> {
    match end {
        End::Sealed if sealed => None,
        End::Sealed => Some("it has no manifest".to_owned()),
        End::Open if sealed => Some("it ends without an end mark".to_owned()),
        End::Open => Some("it is not sealed: the run is going on, was killed, or its disk was full".to_owned()),
        End::Cut { entry: Some(entry) } => Some(format!("it is cut off within {entry}")),
        End::Cut { entry: None } => Some("it is cut off".to_owned()),
        End::Damaged(text) => Some(text.clone()),
    }
}

/// Returns the number of files that are as told.
fn compare(
    expected: &[&FileRecord],
    found: &BTreeMap<String, (u64, String)>,
    sealed: bool,
    problems: &mut Vec<String>,
) -> usize {
    let mut verified = 0;
    let mut known: BTreeMap<&str, u32> = BTreeMap::new();
    for record in expected {
        let times = known.entry(record.path.as_str()).or_default();
        *times += 1;
        if *times == 2 {
            problems.push(format!("{} is listed twice", record.path));
        }
        match found.get(&record.path) {
            None => problems.push(format!("{} is missing", record.path)),
            Some((bytes, _)) if *bytes != record.bytes => {
                problems.push(format!("{} has {bytes} bytes, not {}", record.path, record.bytes));
            }
            Some((_, sha256)) if *sha256 != record.sha256 => {
                problems.push(format!("{} has been changed: its sha256 differs", record.path));
            }
            Some(_) => verified += 1,
        }
    }
    if sealed {
        let own = |name: &str| name == layout::MANIFEST || name.starts_with(layout::RECORDS);
        for name in found.keys().filter(|n| !own(n) && !known.contains_key(n.as_str())) {
            problems.push(format!("{name} is not in the manifest"));
        }
    }
    verified
}

/// Compares with the hash of the whole file in the run's record, if there is one.
fn told_by_run(path: &Path, header: &Header, sha256: &str) -> Option<String> {
    let run = RunRecord::load(path.parent()?)?;
    let node = run.nodes.iter().find(|n| n.node == header.node && run.run_id == header.run_id)?;
    let name = node.bundle.as_ref()?.file_name();
    let told = node.sha256.as_ref()?;
    (name == path.file_name() && told != sha256).then(|| "its sha256 differs from the one in run.json".to_owned())
}

struct Hashing {
    file: File,
    hash: Sha256,
    len: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        self.len += n as u64;
        Ok(n)
    }
}

/// Counts and hashes what is read through it.
pub(crate) struct Tee<'a> {
    inner: &'a mut dyn Read,
    hash: Sha256,
    len: u64,
}

impl<'a> Tee<'a> {
    pub(crate) fn new(inner: &'a mut dyn Read) -> Self {
        Self { inner, hash: Sha256::new(), len: 0 }
    }

    /// Returns the bytes that were read, and their hex sha256.
    pub(crate) fn told(self) -> (u64, String) {
        (self.len, hex(self.hash))
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        self.len += n as u64;
        Ok(n)
    }
}
