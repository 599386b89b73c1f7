//! A token that stands in a kubeconfig. Those in a file it names: `credential/`; those of exec plug-ins: `plugin.rs`.

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;

use crate::credential::{CredentialError, TokenSource};

/// A token that stays the same.
pub(super) struct FixedToken(pub(super) SecretString);

impl TokenSource for FixedToken {
    fn token(&self, _: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        async { Ok(Some(self.0.clone())) }.boxed()
    }

    fn renewable(&self) -> bool {
        false
    }
}
