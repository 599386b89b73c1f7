//! The keys of kubelets seen before, in a file that all runs of one user share. A key is recorded at its first use and never
//! replaced here: that is a person's decision. Knows nothing of TLS; used by whoever asks a kubelet.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::inventory::NodeName;
use crate::printable::printable;
use crate::session::http::Spki;
use crate::session::{FileStamp, LockedFile};

/// A line is written in no time; a lock that is held longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than 60,000 nodes.
const MOST_BYTES: u64 = 8 << 20;
/// Longest part of a wrong line that is shown.
const SHOWN: usize = 60;

/// The keys of kubelets seen before, in a file of lines `NODE sha256:HEX TIME`; blank lines and those that begin with `#` are
/// passed over. Nothing is read before the first question. All functions block for the local disk.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The file that `keys` were read from.
    stamp: Option<FileStamp>,
    keys: HashMap<NodeName, (Spki, Timestamp)>,
}

/// Why the file cannot be used. One sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PinsError(String);

impl Pins {
    /// Returns the keys in the file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// Returns `$XDG_STATE_HOME/plegcollect/kubelet-keys`, or the same below `~/.local/state`.
    ///
    /// # Errors
    /// If neither is known.
    pub fn default_path() -> Result<PathBuf, PinsError> {
        path_below(std::env::var_os("XDG_STATE_HOME"), std::env::home_dir())
    }

    /// Returns the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file, before any node is contacted; one that is not there yet is well.
    ///
    /// # Errors
    /// If it cannot be read, is no plain file, or has a line that cannot be used.
    pub fn check(&self) -> Result<(), PinsError> {
        if std::fs::metadata(&self.path).is_ok_and(|meta| !meta.is_file()) {
            return Err(PinsError(format!("{} is no plain file to keep kubelets' keys in", self.path.display())));
        }
        self.known().map(drop)
    }

    /// Returns the key of a node's kubelet, and when it was recorded; `None` if it was not.
    ///
    /// # Errors
    /// If the file cannot be read, or has a line that cannot.
    pub fn look(&self, node: &NodeName) -> Result<Option<(Spki, Timestamp)>, PinsError> {
        Ok(self.known()?.keys.get(node).copied())
    }

    /// Records the key of a node's kubelet as of now, unless it is recorded already, and returns since when it is. File and
    /// directories are created for their owner alone. Waits up to 10 s for another run that writes.
    ///
    /// # Errors
    /// If another key is recorded for the node, or the file cannot be read or written.
    pub fn remember(&self, node: &NodeName, key: Spki) -> Result<Timestamp, PinsError> {
        let wrong = |error: io::Error| self.unwritable(&error);
        let mut file = LockedFile::open(&self.path, PATIENCE).map_err(wrong)?;
        // Another run, or another node's thread, may have been here before us.
        if let Some((recorded, since)) = self.look(node)? {
            if recorded == key {
                return Ok(since);
            }
            let file = self.path.display();
            return Err(PinsError(format!(
                "{file} has another key for {node} since {since}, {recorded}: if the kubelet was given a new key, delete \
                 that line"
            )));
        }
        let now = Timestamp::now();
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(line, "{node} {key} {now}");
        file.append(&line).map_err(wrong)?;
        Ok(now)
    }

    /// Returns what the file holds now; read again only if it has changed.
    fn known(&self) -> Result<MutexGuard<'_, Known>, PinsError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = FileStamp::of(&self.path);
        if known.stamp.is_none() || known.stamp != stamp {
            // Taken before reading: what is appended meanwhile changes it, and is read the next time.
            *known = Known::default();
            known.keys = parse(&self.read()?).map_err(|(line, why)| {
                PinsError(format!("line {line} of {} cannot be used: {why}", self.path.display()))
            })?;
            known.stamp = stamp;
        }
        Ok(known)
    }

    fn read(&self) -> Result<String, PinsError> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text));
        let file = self.path.display();
        match read {
            Ok(_) if u64::try_from(text.len()).is_ok_and(|len| len > MOST_BYTES) => Err(PinsError(format!(
                "{file} is larger than {} MiB: is it the file with kubelets' keys?",
                MOST_BYTES >> 20
            ))),
            Ok(_) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(text),
            Err(error) => Err(PinsError(format!("cannot read the kubelets' keys in {file}: {error}"))),
        }
    }

    fn unwritable(&self, error: &io::Error) -> PinsError {
        let file = self.path.display();
        PinsError(format!(
            "cannot record a kubelet's key in {file}: {error}; name a file that can be written, or use a ca"
        ))
    }
}

fn path_below(state: Option<OsString>, home: Option<PathBuf>) -> Result<PathBuf, PinsError> {
    // Relative ones are to be ignored (XDG Base Directory Specification).
    let state = state.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(home.filter(|path| path.is_absolute())?.join(".local/state"));
    let state = state.or_else(home).ok_or_else(|| {
        PinsError("no place for the kubelets' keys: neither XDG_STATE_HOME nor a home directory is known".to_owned())
    })?;
    Ok(state.join("plegcollect/kubelet-keys"))
}

/// # Errors
/// Number of the wrong line, from 1, and what is wrong with it.
fn parse(text: &str) -> Result<HashMap<NodeName, (Spki, Timestamp)>, (usize, String)> {
    let mut keys: HashMap<NodeName, (Spki, Timestamp)> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.first().is_none_or(|first| first.starts_with('#')) {
            continue;
        }
        let &[node, key, time] = fields.as_slice() else {
            let shown = printable(line, SHOWN);
            return Err((number, format!("{shown:?} is not NODE sha256:HEX TIME")));
        };
        let shown = printable(time, SHOWN);
        let time = time.parse().map_err(|_| (number, format!("{shown:?} is no time such as 2026-01-31T12:00:00Z")))?;
        let node: NodeName = node.parse().map_err(|error| (number, format!("{error}")))?;
        let key: Spki = key.parse().map_err(|error| (number, error))?;
        match keys.get(&node) {
            Some((other, _)) if *other != key => return Err((number, format!("{node} has another key further up"))),
            Some(_) => {}
            None => {
                keys.insert(node, (key, time));
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn written(text: &str) -> (tempfile::TempDir, Pins) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        io::Write::write_all(&mut File::create(&path).unwrap(), text.as_bytes()).unwrap();
        (dir, Pins::new(path))
    }

    #[test]
    fn a_key_is_kept_and_files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/plegcollect/kubelet-keys");
        let pins = Pins::new(path.clone());
        assert_eq!(pins.look(&name("worker-1")), Ok(None));
        assert!(!path.exists(), "asking writes nothing");
        let since = pins.remember(&name("worker-1"), Spki([1; 32])).unwrap();
        assert_eq!(pins.remember(&name("worker-1"), Spki([1; 32])), Ok(since));
        pins.remember(&name("worker-2"), Spki([1; 32])).unwrap();
        for pins in [pins, Pins::new(path.clone())] {
            assert_eq!(pins.look(&name("worker-1")), Ok(Some((Spki([1; 32]), since))));
            assert_eq!(pins.look(&name("worker")), Ok(None));
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!((mode(path.parent().unwrap()), mode(&dir.path().join("state"))), (0o700, 0o700));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().next().unwrap(), format!("worker-1 sha256:{} {since}", "01".repeat(32)));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn another_key_is_refused_and_not_written() {
        let (_dir, pins) = written("");
        pins.remember(&name("worker-1"), Spki([1; 32])).unwrap();
        let before = std::fs::read(pins.path()).unwrap();
        let error = pins.remember(&name("worker-1"), Spki([2; 32])).unwrap_err().to_string();
        assert!(error.contains("another key for worker-1") && error.contains(&"01".repeat(32)), "{error}");
        assert_eq!(std::fs::read(pins.path()).unwrap(), before);
    }

    #[test]
    fn many_nodes_in_two_runs_at_once_lose_and_double_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/keys");
        let runs = [Pins::new(path.clone()), Pins::new(path.clone())];
        std::thread::scope(|scope| {
            for run in &runs {
                for node in 0..64_u8 {
                    scope.spawn(move || run.remember(&name(&format!("worker-{node}")), Spki([node; 32])).unwrap());
                }
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 64, "{text}");
        assert_eq!(parse(&text).unwrap().len(), 64);
    }

    #[test]
    fn a_wrong_line_is_named() {
        let key = format!("sha256:{}", "ab".repeat(32));
        let time = "2026-11-21T06:00:00Z";
        for (text, line, why) in [
            ("# kubelets\n\nworker-1\n".to_owned(), 3, "is not NODE sha256:HEX TIME"),
            (format!("worker-1 {key} {time} more\n"), 1, "is not NODE sha256:HEX TIME"),
            (format!("worker-1 {key} yesterday\n"), 1, "is no time"),
            (format!("-x {key} {time}\n"), 1, "it starts with"),
            (format!("worker-1 sha256:ab {time}\n"), 1, "is no key"),
            (format!("a {key} {time}\na sha256:{} {time}\n", "cd".repeat(32)), 2, "another key further up"),
            (format!("a {key} {time}\nb {key} 2026-1"), 2, "is no time"),
        ] {
            let (_dir, pins) = written(&text);
            let error = pins.look(&name("other")).unwrap_err().to_string();
            let start = format!("line {line} of {} cannot be used: ", pins.path().display());
            assert!(error.starts_with(&start) && error.contains(why), "{error}");
            assert_eq!(pins.remember(&name("other"), Spki([0; 32])).unwrap_err().to_string(), error);
            assert_eq!(std::fs::read_to_string(pins.path()).unwrap(), text, "nothing is added to it");
        }
    }

    #[test]
    fn a_line_added_by_hand_counts_at_once_even_without_its_line_break() {
        let (_dir, pins) = written("");
        assert_eq!(pins.look(&name("a")), Ok(None));
        let text = format!("a sha256//{}= 2026-11-21T06:00:00Z", "A".repeat(43));
        io::Write::write_all(&mut File::create(pins.path()).unwrap(), text.as_bytes()).unwrap();
        assert!(pins.look(&name("a")).unwrap().is_some());
        pins.remember(&name("b"), Spki([0; 32])).unwrap();
        assert_eq!(std::fs::read_to_string(pins.path()).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let (dir, file) = written("");
        for path in [file.path().join("below/keys"), PathBuf::from("/proc/plegcollect/keys"), dir.path().to_owned()] {
            let error = Pins::new(path.clone()).remember(&name("a"), Spki([0; 32])).unwrap_err().to_string();
            let start = format!("cannot record a kubelet's key in {}: ", path.display());
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn the_usual_place_is_the_users_state_directory() {
        let path = |state: &str, home: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            path_below(some(state).map(OsString::from), some(home).map(PathBuf::from)).ok()
        };
        assert_eq!(path("/s", "/h").unwrap(), Path::new("/s/plegcollect/kubelet-keys"));
        assert_eq!(path("", "/h").unwrap(), Path::new("/h/.local/state/plegcollect/kubelet-keys"));
        assert_eq!(path("relative", "/h").unwrap(), Path::new("/h/.local/state/plegcollect/kubelet-keys"));
        assert_eq!(path("relative", ""), None);
    }
}
