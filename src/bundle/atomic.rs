//! Small files written whole or not at all: a temporary file beside the target, synced, then
//! renamed over it. For `run.json` and the like; evidence goes through the bundle writer.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::BundleError;

/// Writes `bytes` to `path` with mode 0600, replacing what is there in one step.
///
/// # Errors
/// When the directory or the disk does not allow it; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    write_with(path, |file| file.write_all(bytes))
}

/// Does the same with what `fill` writes, for what need not be in memory as a whole.
///
/// # Errors
/// As [`write()`], and when `fill` fails.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), BundleError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let fail = |e| BundleError::io("write", path, e);
    // tempfile creates with mode 0600 and O_EXCL, and removes the file if we do not get to rename it.
    let mut file = tempfile::Builder::new().prefix(".plegcollect-").tempfile_in(dir).map_err(fail)?;
    fill(file.as_file_mut()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    sync_dir(dir)
}

/// Makes a rename in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), BundleError> {
    let fail = |e| BundleError::io("sync directory", dir, e);
    match File::open(dir).map_err(fail)?.sync_all() {
        // Some network file systems cannot sync a directory; there is nothing better to do there.
        Err(e) if matches!(e.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => Ok(()),
        other => other.map_err(fail),
    }
}

/// Returns whether something is at `path`, links included.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_whole_files_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");

        let missing = dir.path().join("no/run.json");
        assert!(write(&missing, b"x").unwrap_err().to_string().contains("run.json"));
    }
}
