//! Bundles unpacked to be read: in one pass, into one temporary file that has no name and goes with the view, checked
//! against the manifest on the way. Trusts nothing it reads; called by `source.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::files::{Files, MAX_FILE, Store};
use super::view::{NodeView, Subject};
use crate::bundle::reader::{End, read_json};
use crate::bundle::verify::{Tee, disagreements, end_problem};
use crate::bundle::{Bundle, Manifest, ReadError, free_bytes, layout};
use crate::evidence::StepRecord;

/// Unpacked of one bundle.
const MAX_BUNDLE: u64 = 16 << 30;
/// Records of steps that are read; a bundle has some hundred.
const MAX_RECORDS: usize = 10_000;
/// Bytes of all of them.
const MAX_RECORD_BYTES: u64 = 64 << 20;
/// Left free where bundles are unpacked.
const RESERVE: u64 = 32 << 20;
/// Areas that rules read; of files elsewhere, as steps of one's own, as much is unpacked as somebody would look at.
const AREAS: [&str; 8] = ["cluster/", "containerd/", "cri/", "docker/", "host/", "kernel/", "kubelet/", "node/"];
/// See [`AREAS`].
const LOOKED_AT: u64 = 16 << 20;
/// Sentences kept of what does not agree.
const PROBLEMS: usize = 50;

/// Opens a bundle. The temporary directory needs as much room as the bundle has evidence.
pub(super) fn unpacked(path: &Path) -> Result<NodeView, ReadError> {
    let bundle = Bundle::open(path)?;
    let dir = std::env::temp_dir();
    let store = tempfile::tempfile_in(&dir).map_err(|source| ReadError::NoPlace {
        path: path.to_owned(),
        dir: dir.clone(),
        source,
    })?;
    let mut unpacking =
        Unpacking { path, dir: &dir, file: store, at: 0, index: BTreeMap::new(), failed: None, free: free_bytes };
    let mut found: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut manifest: Option<Manifest> = None;
    let (mut records, mut record_bytes): (Vec<StepRecord>, u64) = (Vec::new(), 0);
    let (mut altered, mut limits) = (Vec::new(), Vec::new());
    let end = bundle.each(|entry, body| {
        let mut tee = Tee::new(body);
        let name = entry.path.as_str();
        if name == layout::MANIFEST {
            manifest = read_json(entry, &mut tee);
            if manifest.is_none() {
                altered.push("manifest.json cannot be understood".to_owned());
            }
        } else if name.starts_with(layout::RECORDS) {
            record_bytes = record_bytes.saturating_add(entry.size);
            if records.len() < MAX_RECORDS && record_bytes <= MAX_RECORD_BYTES {
                records.extend(read_json::<StepRecord>(entry, &mut tee));
            }
        } else {
            let most = if AREAS.iter().any(|area| name.starts_with(area)) { MAX_FILE } else { LOOKED_AT };
            if entry.size > MAX_FILE {
                limits.push(format!("{name} is larger than {} GiB", MAX_FILE >> 30));
            }
            if unpacking.take(name, entry.size.min(most), &mut tee).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        io::copy(&mut tee, &mut io::sink())?;
        let (len, sha256) = tee.told();
        if len == entry.size {
            found.insert(name.to_owned(), (len, sha256));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(failed) = unpacking.failed {
        return Err(failed);
    }
    let end = end.unwrap_or(End::Open);
    let unfinished = end_problem(&end, manifest.is_some());
    let open = manifest.is_none() && matches!(end, End::Open | End::Cut { .. });
    if !open {
        altered.extend(unfinished.clone());
    }
    disagreements(bundle.header(), manifest.as_ref(), &records, &found, &mut altered);
    altered.truncate(PROBLEMS);
    let subject = subject(bundle.header().node.as_str(), manifest.as_ref(), &records, &unpacking.index);
    let steps = manifest.as_ref().map_or(records, |m| m.steps.clone());
    let files = Files::Store(Store { file: Arc::new(unpacking.file), index: unpacking.index });
    let mut view = NodeView::of_files(bundle.header().node.clone(), manifest, steps, files);
    view.run = Some(bundle.header().run_id.clone());
    view.subject = subject;
    view.unfinished = unfinished.filter(|_| open);
    view.altered = altered;
    view.limits = limits;
    Ok(view)
}

/// Tells whether it is the cluster's evidence: by how it was got, else by what is in it, else by its name.
pub(super) fn subject(
    name: &str,
    manifest: Option<&Manifest>,
    steps: &[StepRecord],
    index: &BTreeMap<String, (u64, u64)>,
) -> Subject {
    let cluster = match manifest {
        Some(manifest) => manifest.connection.transport == "kubernetes-api",
        None if !steps.is_empty() => steps.iter().all(|step| step.id.area() == "cluster"),
        None => {
            let own = [layout::HEADER, layout::PLAN];
            let rest = || index.keys().filter(|path| !own.contains(&path.as_str()));
            rest().all(|path| path.starts_with("cluster/")) && (rest().next().is_some() || may_be_cluster(name))
        }
    };
    if cluster { Subject::Cluster } else { Subject::Node }
}

/// Tells whether the bundle of a cluster may be called so; nodes may, too.
pub(super) fn may_be_cluster(name: &str) -> bool {
    name == "cluster" || name == "cluster-api" || name.starts_with("cluster-api-")
}

struct Unpacking<'a> {
    path: &'a Path,
    dir: &'a Path,
    file: File,
    at: u64,
    index: BTreeMap<String, (u64, u64)>,
    failed: Option<ReadError>,
    /// Tells the bytes free in a directory.
    free: fn(&Path) -> io::Result<u64>,
}

impl Unpacking<'_> {
    /// Keeps at most `most` bytes of a file. A packed stream that breaks ends the file there; what came is kept.
    fn take(&mut self, name: &str, most: u64, body: &mut dyn Read) -> ControlFlow<()> {
        let most = most.min(MAX_BUNDLE - self.at.min(MAX_BUNDLE));
        let free = (self.free)(self.dir).unwrap_or(u64::MAX);
        if free < most.saturating_add(RESERVE) {
            return self.fail(ReadError::NoRoom {
                path: self.path.to_owned(),
                dir: self.dir.to_owned(),
                needed: self.at.saturating_add(most).saturating_add(RESERVE),
                free: free.saturating_add(self.at),
            });
        }
        let (begin, mut body) = (self.at, body.take(most));
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if let Err(source) = self.file.write_all(buffer.get(..n).unwrap_or_default()) {
                return self.fail(ReadError::Open { path: self.dir.to_owned(), source });
            }
            self.at += n as u64;
        }
        self.index.insert(name.to_owned(), (begin, self.at - begin));
        ControlFlow::Continue(())
    }

    fn fail(&mut self, error: ReadError) -> ControlFlow<()> {
        self.failed = Some(error);
        ControlFlow::Break(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_it_says_so_before_anything_is_written() {
        let unpacking = |free| Unpacking {
            path: Path::new("run/worker-001.tar.zst"),
            dir: Path::new("/tmp"),
            file: tempfile::tempfile().unwrap(),
            at: 0,
            index: BTreeMap::new(),
            failed: None,
            free,
        };
        let mut enough = unpacking(|_| Ok(RESERVE + 10));
        assert!(enough.take("a", 10, &mut &b"0123456789"[..]).is_continue());
        assert_eq!(enough.index["a"], (0, 10));
        let mut few = unpacking(|_| Ok(RESERVE + 9));
        assert!(few.take("a", 10, &mut &b"0123456789"[..]).is_break());
        let said = few.failed.unwrap().to_string();
        assert!(
            said.starts_with("run/worker-001.tar.zst needs at least 32.0 MiB of room to be unpacked and /tmp has"),
            "{said}"
        );
        assert!(said.ends_with("set TMPDIR to a directory with more"), "{said}");
        assert_eq!(few.file.metadata().unwrap().len(), 0);
    }
}
