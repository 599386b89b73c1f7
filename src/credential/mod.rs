//! Credentials for kubelets and API servers: where a token or a client certificate comes from, kept in memory that is wiped,
//! renewed once when it is refused and its source can give another. Never printed; every token is told to the run's
//! redactor before it is used for the first time. Knows no HTTP; made by `cli/` and `cluster/`, used by `kubelet/`.

mod authorities;
mod cache;
mod certificate;
mod child;
mod command_output;
mod secret_file;
mod token_command;
mod token_env;
mod token_file;
mod token_text;

#[cfg(test)]
mod source_tests;

use futures::future::BoxFuture;
use secrecy::SecretString;

pub use authorities::authorities_file;
pub use cache::{Bearer, Credential, OnSecret};
use certificate::read_certificates;
pub use certificate::{client_certificate, client_certificate_from_pem};
pub use secret_file::read_secret_file;
pub use token_command::TokenCommand;
pub use token_env::TokenEnv;
pub use token_file::TokenFile;
pub use token_text::token_of;
// For `cluster/`: a kubeconfig's plug-in is run as a token command is.
#[cfg(feature = "cluster")]
pub(crate) use {
    child::{Printed, printed},
    command_output::complaint,
};

/// Where tokens come from.
pub trait TokenSource: Send + Sync {
    /// Returns a token; `fresh`: the one given before was refused. `None`: the source holds no token (a client
    /// certificate only).
    ///
    /// # Errors
    /// One sentence that holds nothing secret.
    fn token(&self, fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>>;
    /// Whether another call may give another token.
    fn renewable(&self) -> bool;
}

/// Why there is no credential. One sentence that holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialError(pub String);
