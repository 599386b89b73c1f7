//! Where the files of a view lie: unpacked from a bundle into one file without a name, in a directory, or single files
//! given by hand. Opens nothing but regular files, follows no link out of a directory, and hands out no more than a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::journal_json::Plain;
use super::known_names::{PACKED, names};
use super::listing::{self, Listed, Place};
use crate::bundle::packed::unpacking;
use crate::wording;

/// Read of one file; parsers hold what follows to be cut off.
pub(super) const MAX_FILE: u64 = 2 << 30;

/// A file of evidence, being read.
pub type Opened = BufReader<Evidence>;

/// Reads one file of evidence. What cannot be read or unpacked ends it there: what came before is evidence.
#[derive(Debug)]
pub struct Evidence(Inner);

enum Inner {
    Part { file: Arc<File>, at: u64, end: u64 },
    Stream(io::Take<Box<dyn Read + Send>>),
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Part { at, end, .. } => f.debug_struct("Part").field("at", at).field("end", end).finish(),
            Self::Stream(stream) => f.debug_struct("Stream").field("left", &stream.limit()).finish(),
        }
    }
}

impl Read for Evidence {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.0 {
                Inner::Stream(stream) => stream.read(buffer),
                Inner::Part { file, at, end } => {
                    let left = usize::try_from(*end - *at).unwrap_or(usize::MAX).min(buffer.len());
                    let read = file.read_at(buffer.get_mut(..left).unwrap_or_default(), *at);
                    *at += read.as_ref().map_or(0, |n| *n as u64);
                    read
                }
            };
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(0),
                read => return read,
            }
        }
    }
}

/// Files unpacked one after the other into one that has no name, so that nothing is left of them however the program ends.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) file: Arc<File>,
    /// Path in the bundle: begin and length.
    pub(super) index: BTreeMap<String, (u64, u64)>,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Files {
    /// Of a bundle.
    Store(Store),
    /// Below a directory, with the names of a bundle or others.
    Dir(PathBuf),
    /// Single files, each for a path in a bundle.
    Named(Vec<(&'static str, PathBuf)>),
}

impl Files {
    /// Returns the files below a directory; links within it are followed.
    pub(super) fn dir(dir: &Path) -> Self {
        Self::Dir(fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()))
    }

    /// Opens a file by its path in a bundle; `None` if it is not there.
    pub(super) fn open(&self, path: &str) -> Option<Opened> {
        match self {
            Self::Store(store) => {
                let (at, len) = store.index.get(path)?;
                Some(opened(Inner::Part { file: Arc::clone(&store.file), at: *at, end: at + len }))
            }
            _ => streamed(&self.find(path)?.0),
        }
    }

    /// Returns where a file is, and its name within what was given.
    fn find(&self, path: &str) -> Option<(PathBuf, PathBuf)> {
        match self {
            Self::Store(_) => None,
            Self::Named(list) => {
                let (_, file) = list.iter().find(|(stands_for, _)| *stands_for == path)?;
                fs::metadata(file).is_ok_and(|meta| meta.is_file()).then(|| (file.clone(), name_of(file)))
            }
            Self::Dir(root) => {
                if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    return None;
                }
                let all = names(path).into_iter().flat_map(|name| PACKED.map(|end| format!("{name}{end}")));
                all.into_iter().find_map(|name| Some((inside(root, &name)?, PathBuf::from(name))))
            }
        }
    }

    /// Returns the name under which people find a file: its path in a bundle, or its own in a collection made by hand.
    pub(super) fn shown(&self, path: &str) -> String {
        self.find(path).map_or_else(|| path.to_owned(), |(_, name)| wording::path(&name))
    }

    /// Returns which of these files is there and larger than what is read of one, as people find it.
    pub(super) fn too_large<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Vec<String> {
        let found = paths.filter_map(|path| self.find(path));
        found
            .filter(|(file, _)| fs::metadata(file).is_ok_and(|m| m.len() > MAX_FILE))
            .map(|f| wording::path(&f.1))
            .collect()
    }

    /// Returns the files there are, by the names under which findings cite them; of a directory those that are in a place of
    /// evidence or that `read` names.
    pub(super) fn list<'a>(&self, read: impl Iterator<Item = &'a str>) -> Vec<Listed> {
        match self {
            Self::Store(store) => {
                let listed = |(path, (_, len)): (&String, &(u64, u64))| {
                    let (name, place) = (path.clone(), Place::Bundle(path.clone()));
                    Listed { name, size: *len, place }
                };
                store.index.iter().map(listed).collect()
            }
            Self::Named(list) => list.iter().filter_map(|(_, file)| listing::single(file)).collect(),
            Self::Dir(root) => {
                let read: BTreeSet<PathBuf> = read.filter_map(|path| Some(self.find(path)?.1)).collect();
                let mut files = listing::directory(root);
                files.retain(|file| listing::is_evidence(&file.name) || read.contains(Path::new(&file.name)));
                files
            }
        }
    }

    /// Opens a file that was listed.
    pub(super) fn open_listed(&self, file: &Listed) -> Option<Opened> {
        match &file.place {
            Place::Bundle(path) => self.open(path),
            Place::Path(path) => streamed(path),
        }
    }
}

/// Opens a regular file, unpacked if it is packed.
fn streamed(path: &Path) -> Option<Opened> {
    let unpacked = unpacking(regular(path).ok()?).ok()?;
    let plain: Box<dyn Read + Send> = Box::new(Plain::new(unpacked));
    Some(opened(Inner::Stream(plain.take(MAX_FILE))))
}

fn opened(inner: Inner) -> Opened {
    BufReader::with_capacity(64 << 10, Evidence(inner))
}

fn name_of(file: &Path) -> PathBuf {
    PathBuf::from(file.file_name().unwrap_or_default())
}

/// Returns the true path of a regular file below `root`; `None` if it is not there, or a link leads out of the directory:
/// who made the directory could have a file of the reader's told in the report.
pub(super) fn inside(root: &Path, name: &str) -> Option<PathBuf> {
    let whole = root.join(name);
    let there = fs::metadata(&whole).is_ok_and(|meta| meta.is_file());
    there.then(|| fs::canonicalize(&whole).ok()).flatten().filter(|real| real.starts_with(root))
}

/// Opens a file that is a regular one; never waits, as the opening of a pipe would.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub(super) fn regular(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
