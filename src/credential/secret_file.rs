//! Files that hold a secret: only their owner may read them, and what was read is wiped.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::CredentialError;

/// Reads a file that only its owner may read, `most` bytes of it at most. `what` names it: `the token file`.
///
/// # Errors
/// It cannot be read, others may read it, or it is longer. The sentence ends with what to do, where that is known.
pub fn read_secret_file(path: &Path, what: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let shown = path.display();
    let failed = |e: std::io::Error| CredentialError(format!("cannot read {what} {shown}: {e}"));
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.mode() & 0o077 != 0 {
        return Err(CredentialError(format!("{what} {shown} may be read by others: chmod 600 {shown}")));
    }
    whole(file, path, what, most)
}

/// Reads a file that others may read as well, `most` bytes of it at most; what was read is wiped all the same.
///
/// # Errors
/// It cannot be read, or it is longer.
pub(super) fn read_open_file(path: &Path, what: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let file = File::open(path).map_err(|e| CredentialError(format!("cannot read {what} {}: {e}", path.display())))?;
    whole(file, path, what, most)
}

fn whole(file: File, path: &Path, what: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let shown = path.display();
    // All at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most.saturating_add(1)));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|e| CredentialError(format!("cannot read {what} {shown}: {e}")))?;
    if bytes.len() > most {
        return Err(CredentialError(format!("{what} {shown} is longer than {} KiB", most >> 10)));
    }
    Ok(bytes)
}
