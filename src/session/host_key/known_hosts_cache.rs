//! The known_hosts files of a run: each parsed once, kept up to date with what this run appends.
//! Judges nothing; `host_key` does.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::keys::ssh_key::public::KeyData;

use crate::session::host_key::known_hosts::{KnownHosts, Marker};
use crate::session::host_key::known_hosts_file::Stamp;

/// A line that speaks of a server.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) marker: Marker,
    pub(super) key: KeyData,
    pub(super) path: PathBuf,
    pub(super) line: usize,
}

/// Parsed files by path.
#[derive(Debug, Default)]
pub(super) struct Cache {
    files: Mutex<HashMap<PathBuf, Cached>>,
}

#[derive(Debug)]
struct Cached {
    file: Arc<KnownHosts>,
    /// What this run appended since: parsing the file again for each of a thousand new nodes
    /// would cost more than the connections. Key and line by name.
    added: HashMap<String, (KeyData, usize)>,
    stamp: Option<Stamp>,
}

impl Cache {
    /// Returns the lines of a file that speak of `name`; reads the file on the first call.
    ///
    /// # Errors
    /// Whatever the system says to reading it; a missing file is an empty one.
    pub(super) fn find(&self, path: &Path, name: &str) -> io::Result<Vec<Hit>> {
        let (file, added) = {
            let mut files = self.files();
            let cached = match files.entry(path.to_owned()) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => new.insert(Cached::load(path)?),
            };
            (cached.file.clone(), cached.added.get(name).cloned())
        };
        // Outside the lock: many hashed names take milliseconds.
        let found = file.matching(name).into_iter().map(|e| (e.marker, e.key.clone(), e.line));
        let added = added.map(|(key, line)| (Marker::Host, key, line));
        let hit = |(marker, key, line)| Hit { marker, key, path: path.to_owned(), line };
        Ok(found.chain(added).map(hit).collect())
    }

    /// Reads the file again if it is not as it was read, or as this run left it.
    ///
    /// # Errors
    /// Those of [`Self::find`].
    pub(super) fn refresh(&self, path: &Path) -> io::Result<()> {
        let mut files = self.files();
        if files.get(path).is_none_or(|c| c.stamp.is_none() || c.stamp != Stamp::of(path)) {
            files.insert(path.to_owned(), Cached::load(path)?);
        }
        Ok(())
    }

    /// Notes a line this run appended; call it while the file is still locked.
    pub(super) fn appended(&self, path: &Path, name: &str, key: &KeyData) {
        if let Some(cached) = self.files().get_mut(path) {
            let line = cached.file.lines() + cached.added.len() + 1;
            cached.added.insert(name.to_owned(), (key.clone(), line));
            cached.stamp = Stamp::of(path);
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Cached>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn load(path: &Path) -> io::Result<Self> {
        // The stamp first: a change in between then shows as one.
        let stamp = Stamp::of(path);
        Ok(Self { file: Arc::new(KnownHosts::load(path)?), added: HashMap::new(), stamp })
    }
}
