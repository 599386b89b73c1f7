//! Where evidence comes from: bundles of any state, run directories, directories made by hand, single files. Trusts nothing
//! it reads; called by `gather.rs`, and by who opens one path alone.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::files::{MAX_FILE, inside, regular};
use super::known_names::OTHER_NAMES;
use super::recognise::{Recognised, holds_tar, is_zstd, recognised};
use super::rules::reads;
use super::unpack::{self, unpacked};
use super::view::{NodeView, Subject};
use crate::bundle::reader::bundles_at;
use crate::bundle::{Header, Manifest, ReadError, layout};
use crate::evidence::StepRecord;
use crate::inventory::NodeName;

/// Files of our own form in a directory: header, manifest, records.
const MAX_JSON: u64 = 64 << 20;
/// Records read of a directory.
const MAX_RECORDS: usize = 10_000;
/// Entries of a directory that are looked at.
const MAX_ENTRIES: usize = 1_000_000;
/// Bundles, directories and files of one path.
pub(super) const MAX_SOURCES: usize = 20_000;

/// Evidence of one node or of the cluster, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A bundle, sealed or not.
    Bundle(PathBuf),
    /// A directory with the files of one node.
    Directory(PathBuf),
    /// One file.
    File(PathBuf),
}

/// Returns the evidence at a path: a bundle, a file, the bundles of a run directory, the files of one node in a directory,
/// or what lies in the directories right below it.
///
/// # Errors
/// When it cannot be read, or nothing in it is known.
pub fn sources(path: &Path) -> Result<Vec<Source>, ReadError> {
    let meta = fs::metadata(path).map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
    if meta.is_dir() {
        return directory(path);
    }
    if !meta.is_file() {
        return Err(not(path, "it is neither a file nor a directory"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let packed = name.ends_with(layout::SEALED)
        || name.ends_with(layout::PARTIAL)
        || (is_zstd(path) && (holds_tar(path) || name.ends_with(".partial")));
    Ok(vec![if packed { Source::Bundle(path.to_owned()) } else { Source::File(path.to_owned()) }])
}

fn directory(path: &Path) -> Result<Vec<Source>, ReadError> {
    match bundles_at(path) {
        Ok(bundles) => return bounded(path, bundles.into_iter().map(Source::Bundle).collect()),
        Err(ReadError::NotABundle { .. }) => {}
        Err(other) => return Err(other),
    }
    if holds_known(path) {
        return Ok(vec![Source::Directory(path.to_owned())]);
    }
    let fail = |source| ReadError::Open { path: path.to_owned(), source };
    let mut below = Vec::new();
    for entry in fs::read_dir(path).map_err(fail)?.take(MAX_ENTRIES) {
        let entry = entry.map_err(fail)?;
        // Links are not followed here: they may lead anywhere.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        }
        if below.len() > MAX_SOURCES {
            break;
        }
    }
    below.sort();
    let mut found = Vec::new();
    for dir in below {
        match bundles_at(&dir) {
            Ok(bundles) => found.extend(bundles.into_iter().map(Source::Bundle)),
            Err(_) if holds_known(&dir) => found.push(Source::Directory(dir)),
            Err(_) => {}
        }
    }
    if found.is_empty() {
        return Err(not(
            path,
            "neither the directory nor those right below it hold bundles or files with the names they have in a bundle, \
             as kubelet/journal.txt or kubelet.log",
        ));
    }
    bounded(path, found)
}

fn bounded(path: &Path, sources: Vec<Source>) -> Result<Vec<Source>, ReadError> {
    if sources.len() > MAX_SOURCES {
        return Err(not(path, &format!("it holds more than {MAX_SOURCES} bundles; name some of them")));
    }
    Ok(sources)
}

/// Paths of a bundle that rules read.
fn known() -> impl Iterator<Item = &'static str> {
    reads().chain(OTHER_NAMES.iter().map(|(path, _)| *path))
}

fn holds_known(dir: &Path) -> bool {
    let Ok(name) = "unnamed".parse::<NodeName>() else { return false };
    let view = NodeView::of_dir(name, None, Vec::new(), dir.to_owned());
    known().any(|file| view.open(file).is_some())
}

impl Source {
    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Bundle(path) | Self::Directory(path) | Self::File(path) => path,
        }
    }

    /// Opens it. A bundle is unpacked, and needs as much room in the temporary directory as it has evidence.
    ///
    /// # Errors
    /// When it cannot be read, is of a later major version, holds what no bundle holds, or nothing in it is known.
    pub fn view(&self) -> Result<NodeView, ReadError> {
        match self {
            Self::Bundle(path) => {
                // Also what a link of a run directory leads to: a pipe or a device is never waited for.
                regular(path).map_err(|source| ReadError::Open { path: path.clone(), source })?;
                unpacked(path)
            }
            Self::Directory(path) => of_directory(path),
            Self::File(path) => {
                let Recognised { stands_for, host } = recognised(path).map_err(|why| not(path, &why))?;
                Ok(of_files(&[(stands_for, path.clone())], name_of_file(path, host.as_deref())?))
            }
        }
    }
}

/// Returns the view of single files of one node, or of the cluster if they are all its.
pub(super) fn of_files(files: &[(&'static str, PathBuf)], name: NodeName) -> NodeView {
    let cluster = files.iter().all(|(stands_for, _)| stands_for.starts_with("cluster/"));
    let mut view = NodeView::of_named(name, files.to_vec());
    view.subject = if cluster { Subject::Cluster } else { Subject::Node };
    view.limits = limits(&view);
    view
}

/// Names the node of a single file: as a log in it does, else by its own name.
pub(super) fn name_of_file(path: &Path, host: Option<&str>) -> Result<NodeName, ReadError> {
    match host.and_then(sound) {
        Some(name) => Ok(name),
        None => name_of(path),
    }
}

fn of_directory(path: &Path) -> Result<NodeView, ReadError> {
    let header = header_of(path)?;
    let manifest: Option<Manifest> = header.as_ref().and_then(|_| json(path, layout::MANIFEST));
    let steps = manifest.as_ref().map_or_else(|| records(path), |m| m.steps.clone());
    let name = match &header {
        Some(header) => header.node.clone(),
        None => name_of(path)?,
    };
    let mut view = NodeView::of_dir(name, manifest, steps, path.to_owned());
    if !known().any(|file| view.open(file).is_some()) && header.is_none() {
        return Err(not(path, "the directory holds no files with the names they have in a bundle"));
    }
    view.run = header.map(|header| header.run_id);
    view.subject = if holds_node(&view) { Subject::Node } else { Subject::Cluster };
    view.limits = limits(&view);
    Ok(view)
}

/// Tells whether something in it is of a node.
fn holds_node(view: &NodeView) -> bool {
    match &view.manifest {
        Some(manifest) => manifest.connection.transport != "kubernetes-api",
        None if unpack::may_be_cluster(view.name.as_str()) && !view.steps.is_empty() => {
            view.steps.iter().any(|step| step.id.area() != "cluster")
        }
        None => {
            let cluster = known().any(|file| file.starts_with("cluster/") && view.open(file).is_some());
            !cluster || known().any(|file| !file.starts_with("cluster/") && view.open(file).is_some())
        }
    }
}

/// Tells whether a view of a node has evidence of the cluster beside it, as a directory made by hand may.
pub(super) fn holds_cluster(view: &NodeView) -> bool {
    known().any(|file| file.starts_with("cluster/") && view.open(file).is_some())
}

/// Returns what is too large to be read whole.
fn limits(view: &NodeView) -> Vec<String> {
    let mut files: Vec<&str> = known().collect();
    files.sort_unstable();
    files.dedup();
    let too_large = view.too_large(files.into_iter());
    too_large.iter().map(|file| format!("{file} is larger than {} GiB", MAX_FILE >> 30)).collect()
}

/// Returns the header of a bundle that was unpacked by hand; `None` if it is no such directory.
///
/// # Errors
/// When it was written by a later major version.
pub(super) fn header_of(path: &Path) -> Result<Option<Header>, ReadError> {
    // The manifest repeats it.
    let read = json::<Header>(path, layout::HEADER).or_else(|| json(path, layout::MANIFEST));
    let Some(header) = read else { return Ok(None) };
    if !header.format.is_readable() {
        return Err(ReadError::Version { path: path.to_owned(), version: header.format });
    }
    Ok(Some(header))
}

fn json<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    let root = fs::canonicalize(dir).ok()?;
    let mut bytes = Vec::new();
    regular(&inside(&root, name)?).ok()?.take(MAX_JSON).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn records(dir: &Path) -> Vec<StepRecord> {
    let Ok(entries) = fs::read_dir(dir.join(layout::RECORDS)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .take(MAX_RECORDS)
        .filter_map(|entry| Some(format!("{}{}", layout::RECORDS, entry.ok()?.file_name().to_str()?)))
        .collect();
    names.sort();
    let mut records: Vec<StepRecord> = names.iter().filter_map(|name| json(dir, name)).collect();
    records.sort_by_key(|record| record.started);
    records
}

pub(super) fn not(path: &Path, reason: &str) -> ReadError {
    ReadError::NotABundle { path: path.to_owned(), reason: reason.to_owned() }
}

/// Names the node of a directory or file: its own name as far as a node may be called so.
pub(super) fn name_of(path: &Path) -> Result<NodeName, ReadError> {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    sound(&name).or_else(|| sound("unnamed")).ok_or_else(|| not(path, "its name cannot be that of a node"))
}

/// Makes a name of a text, as far as a node may be called so.
pub(super) fn sound(text: &str) -> Option<NodeName> {
    let fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = text.chars().filter(fit).take(200).collect();
    name.trim_start_matches(['.', '-']).parse().ok()
}
