//! Appending to a known_hosts file, or to another one of lines, so that neither two nodes of one
//! run, nor two runs, nor an `ssh` beside them can lose or garble a line. Knows nothing of what
//! the lines mean.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

/// Tells whether a file is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of the file at `path`, if there is one.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// Returns the line that records `key` for `name`, with its line break; `None` if the name
/// would mean something else in a file (a pattern, a list, a marker).
pub(crate) fn line(name: &str, key: &KeyData) -> Option<String> {
    let special = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '*' | '?' | '!');
    if name.is_empty() || name.contains(special) || name.starts_with(['#', '@', '|']) {
        return None;
    }
    let blob = PublicKey::from(key.clone()).to_bytes().ok()?;
    Some(format!("{name} {} {}\n", key.algorithm(), STANDARD.encode(blob)))
}

/// A file of lines open for appending, locked until dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    file: File,
}

impl Locked {
    /// Opens and locks the file. A missing one is created with mode 0600, its directories with 0700.
    ///
    /// # Errors
    /// Whatever the system says; `TimedOut` if another program held the lock for `patience`. Blocks
    /// that long.
    pub(crate) fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let deadline = Instant::now() + patience;
        loop {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            lock(&file, deadline)?;
            // `ssh-keygen -R` replaces the file: then the lock is on one nobody reads any more.
            let (ours, there) = (file.metadata()?, std::fs::metadata(path)?);
            if (ours.dev(), ours.ino()) == (there.dev(), there.ino()) {
                return Ok(Self { file });
            }
        }
    }

    /// Appends `line` in one write, after a line break if the file lacks its last one.
    ///
    /// # Errors
    /// Whatever the system says, a full disk for example.
    pub(crate) fn append(&mut self, line: &str) -> io::Result<()> {
        let mut last = [b'\n'];
        let meta = self.file.metadata()?;
        if meta.is_file() && meta.len() > 0 {
            self.file.seek(SeekFrom::End(-1))?;
            self.file.read_exact(&mut last)?;
        }
        let separator = if last == [b'\n'] { "" } else { "\n" };
        // One write in append mode lands whole, even beside an ssh that takes no lock.
        let whole = format!("{separator}{line}");
        self.file.write_all(whole.as_bytes())
    }
}

fn lock(file: &File, deadline: Instant) -> io::Result<()> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another program keeps it locked"));
            }
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}
