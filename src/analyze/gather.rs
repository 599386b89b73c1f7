//! Walks what the operator named and opens one node's evidence after another, each once, with the cluster's evidence of its
//! run at hand. Memory and disk hold one node at a time. Called by every command that reads evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cluster::ClusterView;
use super::recognise::{Recognised, recognised};
use super::source::{Source, header_of, holds_cluster, name_of, name_of_file, not, of_files, sound, sources};
use super::unpack::may_be_cluster;
use super::view::{NodeView, Subject};
use crate::bundle::{Bundle, ReadError, layout};
use crate::inventory::NodeName;
use crate::printable::printable;

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// Which, printable.
    pub path: String,
    /// Why, one sentence, printable.
    pub reason: String,
}

/// Evidence of one node or cluster, known by its header alone.
struct Item {
    kind: Kind,
    /// As the evidence calls it.
    name: NodeName,
    /// As it is told.
    told: NodeName,
    /// Evidence of one run has one key; what was put together by hand, one for each directory.
    run: String,
    run_id: Option<String>,
}

enum Kind {
    One(Source),
    Files(Vec<(&'static str, PathBuf)>),
}

/// Opens everything at these paths and calls `each` with a view and the path of its evidence, printable: nodes, and the
/// cluster of a run ([`NodeView::is_cluster`]) before its nodes. What cannot be read is returned, and keeps nothing else from
/// being read.
///
/// A bundle that is named twice, or whose node and run are there already, is opened once, the sealed one if there is. Nodes of
/// one name in several runs are told apart by `NAME_RUN`. Single files of one directory are one node's, unless two
/// of them are the same kind of file or name different machines.
pub fn gather(paths: &[PathBuf], mut each: impl FnMut(&NodeView, &str)) -> Vec<NotRead> {
    let mut not_read = Vec::new();
    let (found, beside) = look(paths, &mut not_read);
    let items = told_apart(once(found));
    let mut runs: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for item in &items {
        if seen.insert(item.run.as_str()) {
            runs.push(&item.run);
        }
    }
    let mut of_run: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in &items {
        of_run.entry(&item.run).or_default().push(item);
    }
    for run in runs {
        let mut cluster: Option<Arc<ClusterView>> = None;
        let list = of_run.remove(run).unwrap_or_default();
        // The cluster's evidence comes first, so that its nodes can be held against it.
        let (first, rest): (Vec<&Item>, Vec<&Item>) = list.into_iter().partition(|item| item.may_be_cluster());
        if first.is_empty() {
            cluster = rest.first().and_then(|item| item.cluster_beside(&beside));
        }
        for item in first.into_iter().chain(rest) {
            let mut view = match item.view() {
                Ok(view) => view,
                Err(error) => {
                    not_read.push(told(item.path(), &error));
                    continue;
                }
            };
            if view.is_cluster() {
                cluster = Some(Arc::new(ClusterView::read(&view)));
            } else if view.run.is_none() && holds_cluster(&view) {
                // A directory made by hand may hold both, and is told as both.
                tell_cluster(&mut view, &mut |view| each(view, &item.shown()));
                each(&view, &item.shown());
                continue;
            }
            view.cluster.clone_from(&cluster);
            each(&view, &item.shown());
        }
    }
    not_read
}

/// Tells the cluster's part of a view of a node, and leaves it to the node to be held against.
fn tell_cluster(view: &mut NodeView, each: &mut dyn FnMut(&NodeView)) {
    let node = view.node.clone();
    view.subject = Subject::Cluster;
    view.node = sound("cluster").unwrap_or_else(|| node.clone());
    view.cluster = Some(Arc::new(ClusterView::read(view)));
    each(view);
    (view.subject, view.node) = (Subject::Node, node);
}

impl Item {
    fn may_be_cluster(&self) -> bool {
        match &self.kind {
            Kind::One(_) => may_be_cluster(self.name.as_str()),
            Kind::Files(files) => files.iter().all(|(stands_for, _)| stands_for.starts_with("cluster/")),
        }
    }

    fn view(&self) -> Result<NodeView, ReadError> {
        let mut view = match &self.kind {
            Kind::One(source) => source.view()?,
            Kind::Files(files) => of_files(files, self.name.clone()),
        };
        view.node = self.told.clone();
        Ok(view)
    }

    fn path(&self) -> &Path {
        match &self.kind {
            Kind::One(source) => source.path(),
            Kind::Files(files) => files.first().map_or(Path::new(""), |(_, path)| path),
        }
    }

    fn shown(&self) -> String {
        let paths: Vec<&Path> = match &self.kind {
            Kind::One(source) => vec![source.path()],
            Kind::Files(files) => files.iter().map(|(_, path)| path.as_path()).collect(),
        };
        let paths: Vec<String> = paths.iter().map(|path| printable(&path.to_string_lossy(), 400)).collect();
        paths.join(", ")
    }

    /// Reads the cluster's evidence of the same run that lies beside a bundle which was named alone.
    fn cluster_beside(&self, dirs: &BTreeSet<PathBuf>) -> Option<Arc<ClusterView>> {
        let run = self.run_id.as_ref()?;
        let dir = self.path().parent()?;
        // Of a directory that was named itself everything has been looked at.
        if dirs.contains(&fs::canonicalize(dir).ok()?) {
            return None;
        }
        let names = ["cluster", "cluster-api"].into_iter();
        let paths =
            names.flat_map(|name| [layout::SEALED, layout::PARTIAL].map(|end| dir.join(format!("{name}{end}"))));
        paths.into_iter().find_map(|path| {
            // No link is followed to what was not named, and a pipe would wait for its writer.
            fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Bundle::open(&path).ok().filter(|bundle| bundle.header().run_id == *run)?;
            let view = Source::Bundle(path).view().ok()?;
            view.is_cluster().then(|| Arc::new(ClusterView::read(&view)))
        })
    }
}

/// Looks at the paths without opening more than headers; returns also the directories that were named.
fn look(paths: &[PathBuf], not_read: &mut Vec<NotRead>) -> (Vec<Item>, BTreeSet<PathBuf>) {
    let (mut items, mut files, mut dirs, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let list = match sources(path) {
            Ok(list) => list,
            Err(error) => {
                not_read.push(told(path, &error));
                continue;
            }
        };
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let given = !whole.is_dir();
        if !given {
            dirs.insert(whole.clone());
        }
        for source in list {
            let at = source.path().to_owned();
            let Ok(real) = fs::canonicalize(&at) else {
                not_read.push(NotRead { path: shown(&at), reason: "it is a link that leads nowhere".to_owned() });
                continue;
            };
            if !given && !real.starts_with(&whole) {
                let reason = "it is a link out of its directory; name what it leads to, if that is meant".to_owned();
                not_read.push(NotRead { path: shown(&at), reason });
                continue;
            }
            // A hard link is the same file under two names.
            let identity = fs::metadata(&real).map(|meta| (meta.dev(), meta.ino()));
            if identity.is_ok_and(|identity| !seen.insert(identity)) {
                continue;
            }
            match source {
                Source::File(path) => files.push(path),
                source => match item(source) {
                    Ok(item) => items.push(item),
                    Err(error) => not_read.push(told(&at, &error)),
                },
            }
        }
    }
    items.extend(of_bare_files(files, not_read));
    (items, dirs)
}

/// Looks at the header of a bundle or of a directory.
fn item(source: Source) -> Result<Item, ReadError> {
    let header = match &source {
        Source::Bundle(path) => {
            super::files::regular(path).map_err(|source| ReadError::Open { path: path.clone(), source })?;
            Some(Bundle::open(path)?.header().clone())
        }
        _ => header_of(source.path())?,
    };
    let (name, run_id) = match header {
        Some(header) => (header.node, Some(header.run_id)),
        None => (name_of(source.path())?, None),
    };
    let run = run_id.clone().unwrap_or_else(|| parent(source.path()));
    Ok(Item { kind: Kind::One(source), told: name.clone(), name, run, run_id })
}

fn parent(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned()
}

/// Puts single files together that are of one node.
fn of_bare_files(files: Vec<PathBuf>, not_read: &mut Vec<NotRead>) -> Vec<Item> {
    let mut dirs: Vec<(String, Vec<(PathBuf, Recognised)>)> = Vec::new();
    for file in files {
        let what = match recognised(&file) {
            Ok(what) => what,
            Err(why) => {
                not_read.push(NotRead { path: shown(&file), reason: why });
                continue;
            }
        };
        let dir = parent(&file);
        match dirs.iter_mut().find(|(known, _)| *known == dir) {
            Some((_, list)) => list.push((file, what)),
            None => dirs.push((dir, vec![(file, what)])),
        }
    }
    let mut items = Vec::new();
    for (dir, list) in dirs {
        let mut kinds: Vec<&str> = list.iter().map(|(_, what)| what.stands_for).collect();
        kinds.sort_unstable();
        let twice = kinds.windows(2).any(|pair| pair.first() == pair.last());
        let mut hosts: Vec<&str> = list.iter().filter_map(|(_, what)| what.host.as_deref()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let of = |files: Vec<(&'static str, PathBuf)>, name: Result<NodeName, ReadError>, run: String| {
            let name = name.or_else(|_| name_of(Path::new("unnamed")));
            name.ok().map(|name| Item { kind: Kind::Files(files), told: name.clone(), name, run, run_id: None })
        };
        if twice || hosts.len() > 1 || list.len() == 1 {
            for (file, what) in &list {
                let name = name_of_file(file, what.host.as_deref());
                items.extend(of(vec![(what.stands_for, file.clone())], name, shown(file)));
            }
        } else {
            let (cluster, node): (Vec<_>, Vec<_>) =
                list.iter().map(|(f, w)| (w.stands_for, f.clone())).partition(|(path, _)| path.starts_with("cluster/"));
            let host = hosts.first().copied();
            if !cluster.is_empty() {
                items.extend(of(cluster, sound("cluster").ok_or_else(|| not(Path::new(&dir), "no name")), dir.clone()));
            }
            if let Some((_, only)) = node.first().filter(|_| node.len() == 1) {
                let name = name_of_file(only, host);
                items.extend(of(node, name, dir));
            } else if !node.is_empty() {
                let name = name_of_file(Path::new(&dir), host);
                items.extend(of(node, name, dir));
            }
        }
    }
    items
}

/// Leaves one of the bundles that have the same node and run: the sealed one, the larger one, the first.
fn once(items: Vec<Item>) -> Vec<Item> {
    let rank = |item: &Item| {
        let sealed = item.path().to_string_lossy().ends_with(layout::SEALED);
        (sealed, fs::metadata(item.path()).map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 }))
    };
    let mut kept: Vec<Item> = Vec::new();
    let mut at: BTreeMap<(String, NodeName), usize> = BTreeMap::new();
    for item in items {
        let Some(run) = item.run_id.clone() else {
            kept.push(item);
            continue;
        };
        match at.get(&(run.clone(), item.name.clone())).and_then(|at| kept.get_mut(*at)) {
            Some(other) if rank(&item) > rank(other) => *other = item,
            Some(_) => {}
            None => {
                at.insert((run, item.name.clone()), kept.len());
                kept.push(item);
            }
        }
    }
    kept
}

/// Gives nodes of one name that are not one and the same different names.
fn told_apart(mut items: Vec<Item>) -> Vec<Item> {
    let mut count: BTreeMap<NodeName, usize> = BTreeMap::new();
    for item in &items {
        *count.entry(item.name.clone()).or_default() += 1;
    }
    let mut taken: BTreeSet<NodeName> = items.iter().map(|item| item.name.clone()).collect();
    let mut numbers: BTreeMap<NodeName, u32> = BTreeMap::new();
    for item in &mut items {
        if count.get(&item.name).is_none_or(|n| *n < 2) {
            continue;
        }
        let run = item.run_id.as_deref().map(|run| run.strip_prefix("plegcollect-").unwrap_or(run));
        let stem: String = item.name.as_str().chars().take(150).collect();
        let named = run.and_then(|run| sound(&format!("{stem}_{run}")));
        let number = numbers.entry(item.name.clone()).or_default();
        let numbered = std::iter::from_fn(|| {
            *number += 1;
            sound(&format!("{stem}_{number}"))
        });
        if let Some(name) = named.into_iter().chain(numbered).find(|name| !taken.contains(name)) {
            taken.insert(name.clone());
            item.told = name;
        }
    }
    items
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), 400)
}

/// Words an error with its causes.
pub fn told(path: &Path, error: &ReadError) -> NotRead {
    let mut reason = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        reason.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    NotRead { path: shown(path), reason: printable(&reason, 600) }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
