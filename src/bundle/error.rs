//! What can go wrong while a bundle is written. A full disk is a kind of its own: the operator
//! can do something about it, and what was written before must stay readable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::BundlePathError;

/// A failure to write a bundle or a file beside it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BundleError {
    /// The file system is full, over quota, or down to the reserve.
    #[error(
        "write {}: the disk is full ({available} bytes free, {needed} needed); what was written before is kept",
        path.display()
    )]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
        /// Bytes that should be free.
        needed: u64,
        /// Bytes that are free; 0 if unknown.
        available: u64,
    },
    /// Any other I/O error.
    #[error("{action} {}", path.display())]
    Io {
        /// Verb: `create`, `write`, `rename`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// A path that must not go into a bundle.
    #[error(transparent)]
    Path(#[from] BundlePathError),
    /// Two files of the same name.
    #[error("add {0} to the bundle: it holds a file of that name already")]
    Duplicate(String),
    /// A value that has no JSON form; a defect of ours.
    #[error("encode {what} as JSON")]
    Json {
        /// Which file.
        what: String,
        /// The cause.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// The task that writes the bundle has ended.
    #[error("write {}: the writer of this bundle has ended", path.display())]
    Ended {
        /// The bundle.
        path: PathBuf,
    },
}

impl BundleError {
    /// Returns `source` as a failure to `action` the file `path`; a full disk is told apart.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::DiskFull { path: path.to_owned(), needed: 0, available: free_bytes(path).unwrap_or(0) };
        }
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Returns whether the disk is the cause.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}

/// Returns whether `error` says that the file system or the quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the bytes an unprivileged user may still write where `path` is (or its directory, if
/// it does not exist).
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = match rustix::fs::statvfs(path) {
        Err(rustix::io::Errno::NOENT) => rustix::fs::statvfs(path.parent().unwrap_or(Path::new(".")))?,
        other => other?,
    };
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
