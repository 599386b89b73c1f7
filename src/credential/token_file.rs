//! A token in a file. Read again when the token was refused: projected tokens are replaced on disk now and then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;

use super::secret_file::{read_open_file, read_secret_file};
use super::token_text::{LONGEST, token_of};
use super::{CredentialError, TokenSource};

/// For a file system that hangs.
const WITHIN: Duration = Duration::from_secs(10);
/// What is read of the file; only its first line counts.
const MOST: usize = LONGEST * 2;
const WHAT: &str = "the token file";

/// The first line of a file.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    /// Only its owner may read it.
    owners_alone: bool,
}

impl TokenFile {
    /// Returns the source, after one look at the file, which only its owner may read.
    ///
    /// # Errors
    /// It cannot be read, others may read it, it is no plain file, or holds no token.
    pub fn open(path: &Path) -> Result<Self, CredentialError> {
        read(path, true)?;
        Ok(Self { path: path.to_owned(), owners_alone: true })
    }

    /// Returns the source for the `tokenFile` of a kubeconfig, not looked at yet. Others may read it: the files that are
    /// projected into pods have mode 0644, and kubectl takes them.
    #[must_use]
    pub fn of_kubeconfig(path: PathBuf) -> Self {
        Self { path, owners_alone: false }
    }
}

fn read(path: &Path, owners_alone: bool) -> Result<SecretString, CredentialError> {
    let shown = path.display();
    // A pipe could be read once only, and waits for whoever writes to it.
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(CredentialError(format!(
            "{WHAT} {shown} is no plain file: a command's output is taken by token-command (--kubelet-token-command)"
        )));
    }
    let bytes = if owners_alone { read_secret_file(path, WHAT, MOST) } else { read_open_file(path, WHAT, MOST) }?;
    token_of(&bytes, &format!("{WHAT} {shown}"))
}

impl TokenSource for TokenFile {
    fn token(&self, _fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        let (path, owners_alone) = (self.path.clone(), self.owners_alone);
        async move {
            let shown = path.display().to_string();
            let reading = tokio::task::spawn_blocking(move || read(&path, owners_alone));
            match tokio::time::timeout(WITHIN, reading).await {
                Ok(Ok(token)) => token.map(Some),
                Ok(Err(_)) => Err(CredentialError(format!("cannot read {WHAT} {shown}"))),
                Err(_) => Err(CredentialError(format!("{WHAT} {shown} was not read within {} s", WITHIN.as_secs()))),
            }
        }
        .boxed()
    }

    fn renewable(&self) -> bool {
        true
    }
}
