//! Reads bundles in constant memory: sealed ones, `.partial` ones, truncated ones up to their
//! last whole entry. Trusts nothing: links, absolute paths, `..`, duplicates and absurd sizes are
//! refused. Never extracts to disk; that is `tar`'s work.

use std::fs;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::layout::{self, BundlePath};
use super::manifest::{FormatVersion, Header, Manifest};
use super::walk::Walk;
use crate::evidence::StepRecord;

/// Header, records and manifest are read into memory.
const MAX_JSON: u64 = 64 << 20;

/// Why a bundle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error("open {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// No bundle at all.
    #[error("{} is no bundle: {reason}", path.display())]
    NotABundle {
        /// Which.
        path: PathBuf,
        /// One sentence.
        reason: String,
    },
    /// Written by a later major version.
    #[error("{} has bundle format {version}, this program reads format {}; use a newer plegcollect", path.display(), super::manifest::FORMAT)]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: FormatVersion,
    },
    /// Something no bundle of ours holds; it may be an attack.
    #[error("{} is refused: {reason}", path.display())]
    Hostile {
        /// Which.
        path: PathBuf,
        /// One sentence.
        reason: String,
    },
    /// The file asked for is not in it.
    #[error("{} holds no file {file:?}{}", path.display(), if *partial { " (it is not complete)" } else { "" })]
    NoSuchFile {
        /// Which bundle.
        path: PathBuf,
        /// Which file.
        file: String,
        /// The bundle is not sealed, so the file may have been lost.
        partial: bool,
    },
    /// There is no room to unpack it.
    #[error(
        "{} needs at least {} of room to be unpacked and {} has {} free; set TMPDIR to a directory with more",
        path.display(),
        bytesize::ByteSize(*needed),
        dir.display(),
        bytesize::ByteSize(*free)
    )]
    NoRoom {
        /// Which.
        path: PathBuf,
        /// Where it would be unpacked.
        dir: PathBuf,
        /// Bytes needed, as far as that is known.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// There is nowhere to unpack it.
    #[error("cannot unpack {} in {}; set TMPDIR to a directory that can be written to", path.display(), dir.display())]
    NoPlace {
        /// Which.
        path: PathBuf,
        /// Where it would be unpacked.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The reader of what we print is gone, or its disk is full.
    #[error("write the output")]
    Output(#[source] io::Error),
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: BundlePath,
    /// Its size.
    pub size: u64,
    /// Seconds since 1970, UTC.
    pub mtime: u64,
}

/// Where a bundle ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// At the end mark: it was sealed.
    Sealed,
    /// After a whole entry, without end mark: a `.partial` of a run that is going on or was killed.
    Open,
    /// In the middle of an entry, which is left out.
    Cut {
        /// The entry that is not whole, if its name is known.
        entry: Option<String>,
    },
    /// The packed data is damaged from here on; one sentence.
    Damaged(String),
}

/// A bundle file.
#[derive(Debug, Clone)]
pub struct Bundle {
    path: PathBuf,
    header: Header,
}

impl Bundle {
    /// Opens a bundle and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened, is no bundle, or is of a later major version.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let not = |reason: &str| ReadError::NotABundle { path: path.to_owned(), reason: reason.to_owned() };
        let mut header: Option<Result<Header, ReadError>> = None;
        let bundle = Walk::open(path)?;
        bundle.each(|entry, body| {
            header = Some(if entry.path.as_str() == layout::HEADER {
                read_json::<serde_json::Value>(entry, body)
                    .ok_or_else(|| not("its header cannot be understood"))
                    .and_then(|value| parse_header(path, value))
            } else {
                Err(not("it does not begin with plegcollect.json"))
            });
            Ok(ControlFlow::Break(()))
        })?;
        let header = header.ok_or_else(|| not("it holds no whole file"))??;
        Ok(Self { path: path.to_owned(), header })
    }

    /// Returns what the bundle begins with.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Calls `take` for every file, in order, with its content; `Break` ends the walk. A file
    /// that is not whole is offered too, for its beginning may be wanted: it is the one named by
    /// [`End::Cut`]. The answer is `None` if `take` ended the walk.
    ///
    /// # Errors
    /// When the file cannot be read, holds what must not be, or `take` fails.
    pub fn each(
        &self,
        take: impl FnMut(&Entry, &mut dyn Read) -> io::Result<ControlFlow<()>>,
    ) -> Result<Option<End>, ReadError> {
        Walk::open(&self.path)?.each(take)
    }

    /// Returns all whole files, and where the bundle ends.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn list(&self) -> Result<(Vec<Entry>, End), ReadError> {
        let mut entries = Vec::new();
        let end = self.each(|entry, body| {
            if io::copy(body, &mut io::sink())? == entry.size {
                entries.push(entry.clone());
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((entries, end.unwrap_or(End::Open)))
    }

    /// Writes the content of `file` to `out`. The answer tells whether the file was whole.
    ///
    /// # Errors
    /// When there is no such file, or `out` does not take it.
    pub fn cat(&self, file: &str, out: &mut dyn Write) -> Result<bool, ReadError> {
        let mut whole = None;
        let mut failed = None;
        let end = self.each(|entry, body| {
            if entry.path.as_str() != file {
                return Ok(ControlFlow::Continue(()));
            }
            let mut buffer = vec![0; 64 << 10];
            let mut copied = 0;
            loop {
                let n = match body.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => n,
                };
                copied += n as u64;
                if let Err(e) = out.write_all(buffer.get(..n).unwrap_or_default()) {
                    failed = Some(e);
                    break;
                }
            }
            whole = Some(copied == entry.size);
            Ok(ControlFlow::Break(()))
        })?;
        if let Some(e) = failed {
            return Err(ReadError::Output(e));
        }
        whole.ok_or_else(|| ReadError::NoSuchFile {
            path: self.path.clone(),
            file: file.chars().take(200).collect(),
            partial: !matches!(end, Some(End::Sealed)),
        })
    }

    /// Returns the manifest; `None` if the bundle is not sealed.
    ///
    /// # Errors
    /// When the file cannot be read, or its manifest not be understood.
    pub fn manifest(&self) -> Result<Option<Manifest>, ReadError> {
        let mut found = None;
        self.each(|entry, body| {
            if entry.path.as_str() != layout::MANIFEST {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(read_json::<Manifest>(entry, body));
            Ok(ControlFlow::Break(()))
        })?;
        match found {
            Some(None) => Err(ReadError::NotABundle {
                path: self.path.clone(),
                reason: "its manifest cannot be understood".to_owned(),
            }),
            found => Ok(found.flatten()),
        }
    }

    /// Returns the records of the steps that are in the bundle, from their own entries, so that
    /// this works without a manifest.
    ///
    /// # Errors
    /// As [`each`](Self::each).
    pub fn records(&self) -> Result<Vec<StepRecord>, ReadError> {
        let mut records = Vec::new();
        self.each(|entry, body| {
            if entry.path.as_str().starts_with(layout::RECORDS) {
                records.extend(read_json::<StepRecord>(entry, body));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(records)
    }
}

/// Returns the bundles at `path`: the file itself, or those of a run directory by name.
///
/// # Errors
/// When `path` cannot be read, or is a directory without bundles.
pub fn bundles_at(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let fail = |source| ReadError::Open { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(fail)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(layout::SEALED) || name.ends_with(layout::PARTIAL) {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() {
        let reason = format!("the directory holds no file *{} nor *{}", layout::SEALED, layout::PARTIAL);
        return Err(ReadError::NotABundle { path: path.to_owned(), reason });
    }
    Ok(found)
}

/// Reads a JSON entry; `None` if it is too large, not whole, or not understood.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(entry: &Entry, body: &mut dyn Read) -> Option<T> {
    if entry.size > MAX_JSON {
        return None;
    }
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 != entry.size {
        return None;
    }
    serde_json::from_slice(&bytes).ok()
}

/// Looks at the version before anything else: another major version may have other fields.
fn parse_header(path: &Path, value: serde_json::Value) -> Result<Header, ReadError> {
    let not = |reason: String| ReadError::NotABundle { path: path.to_owned(), reason };
    let version = value.get("format").cloned().unwrap_or_default();
    let version: FormatVersion =
        serde_json::from_value(version).map_err(|_| not("its header names no format version".to_owned()))?;
    if !version.is_readable() {
        return Err(ReadError::Version { path: path.to_owned(), version });
    }
    serde_json::from_value(value).map_err(|e| not(format!("its header cannot be understood: {e}")))
}
