//! Which files a node's evidence consists of, by the names under which findings cite them. Follows no links: a collection
//! made by hand may have been unpacked from anything. Reads no content; called through the view.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::wording;

/// Directories of a bundle that hold evidence.
const AREAS: &[&str] =
    &["cluster", "cni", "containerd", "cri", "cri-o", "crio", "docker", "host", "kernel", "kubelet", "net", "node"];

/// Files of one node; a bundle has some hundred.
const FILES: usize = 4000;
/// Entries of directories that are looked at.
const ENTRIES: usize = 100_000;
/// Directories below the first.
const DEPTH: usize = 8;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name as findings cite it, printable.
    pub name: String,
    /// Bytes, packed if it is.
    pub size: u64,
    /// Where it is; the view opens it.
    pub(super) place: Place,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In a bundle, under this path.
    Bundle(String),
    /// Among the operator's files.
    Path(PathBuf),
}

/// Returns the one file at a path.
pub(super) fn single(path: &Path) -> Option<Listed> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let name = wording::path(Path::new(path.file_name().unwrap_or_default()));
    Some(Listed { name, size: meta.len(), place: Place::Path(path.to_owned()) })
}

/// Returns the files in a directory, in the order of their names.
pub(super) fn directory(dir: &Path) -> Vec<Listed> {
    let mut files = BTreeSet::new();
    let mut left = ENTRIES;
    walk(dir, dir, DEPTH, &mut left, &mut files);
    files.into_iter().collect()
}

/// Returns whether a file of a collection made by hand is evidence by its place: such a collection may lie in a directory
/// with other things, which are nobody's business.
pub(super) fn is_evidence(name: &str) -> bool {
    let area = name.split_once('/').map(|(area, _)| area);
    area.is_some_and(|area| AREAS.contains(&area))
}

fn walk(dir: &Path, root: &Path, depth: usize, left: &mut usize, files: &mut BTreeSet<Listed>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() && depth > 0 {
            walk(&path, root, depth - 1, left, files);
        } else if meta.is_file() && files.len() < FILES {
            let name = wording::path(path.strip_prefix(root).unwrap_or(&path));
            files.insert(Listed { name, size: meta.len(), place: Place::Path(path) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::analyze::view::NodeView;
    use crate::inventory::NodeName;
    use crate::plan::catalog::Catalog;

    #[test]
    fn every_step_of_the_catalog_writes_where_evidence_is_looked_for() {
        for step in Catalog::builtin().steps() {
            assert!(AREAS.contains(&step.id.area()), "{}", step.id.area());
        }
    }

    #[test]
    fn a_collection_made_by_hand_shows_its_evidence_and_nothing_that_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["kubelet.log", "docker/a<b>.txt", "private/diary.txt", "letter.txt"] {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            File::create(file).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("docker/link.txt")).unwrap();
        let node: NodeName = "n".parse().unwrap();
        let view = NodeView::of_dir(node, None, Vec::new(), dir.path().to_owned());
        let names: Vec<String> = view.files().into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["docker/a<b>.txt", "kubelet.log"]);
    }
}
